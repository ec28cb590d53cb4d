import type { CliCommand } from "@weir/shared/config/cli";
import { CodedError } from "@weir/shared/errors";
import type { Alert } from "@weir/shared/model/alert";
import { canonicalJson } from "@weir/shared/model/canonical-json";
import { longestGapMs } from "@weir/shared/model/thresholds";
import type { SeriesKey } from "@weir/shared/model/reading";
import type { DailyReport } from "@weir/shared/model/report";
import type { Calendar } from "@weir/shared/operators/calendar";
import { createCalendar, DAY_MS } from "@weir/shared/operators/calendar";
import type { MemoryReport } from "@weir/shared/operators/memory-report";
import { TREND_DAYS } from "@weir/shared/operators/health";
import type { DayPart } from "@weir/shared/operators/report";
import { dayPart, joinParts } from "@weir/shared/operators/report";
import { compareAlerts, describeBacktest, readCandidate } from "./backtest.ts";
import { LogReplay } from "./replay.ts";
import type { AgentSettings } from "./settings.ts";
import { agentName, dataFile } from "./settings.ts";
import { Store } from "./store/store.ts";

/** `weir-agent replay` as the command line knows it. */
export const replayCommand: CliCommand = {
  summary: "Fold the log again: health reports, the same bytes as the aggregator's; alerts; or a backtest.",
  options: {
    day: { type: "string", placeholder: "YYYY-MM-DD", doc: "the day, local to the plant's time zone" },
    from: {
      type: "string",
      placeholder: "YYYY-MM-DD",
      doc: "instead of --day: the first of some days, one report a line",
    },
    to: { type: "string", placeholder: "YYYY-MM-DD", doc: "the last of them" },
    alerts: { type: "boolean", doc: "print the alerts that began in those days, one a line, rather than reports" },
    thresholds: {
      type: "string",
      placeholder: "FILE|VERSION",
      doc: "backtest: count the alerts that these thresholds would have raised (rules, a version in JSON, or a number)",
    },
    timezone: { type: "string", placeholder: "ZONE", doc: "IANA name; default: what the aggregator told, else UTC" },
    json: { type: "boolean", doc: "of a backtest: print JSON rather than a table" },
  },
};

type Options = Readonly<Record<string, string | true>>;

/** Local days, both inclusive. */
interface Days {
  readonly from: string;
  readonly to: string;
  /** --day was given: one report, and nothing else. */
  readonly isOne: boolean;
}

/** Readings are nowhere further ahead of the clock: the most that time.ahead_max can be, and a day. */
const AHEAD_MS_MAX: number = 366 * DAY_MS;

const TRIMMED_TRENDS =
  "Trends look back to before the log was trimmed: they, and numbers made of them, may differ from the aggregator's.";

/**
 * Runs `weir-agent replay` beside an agent or without one. write: to standard output; note: a line for the person who
 * waits. nowMs: the clock. Returns the exit code. Throws CodedErrors: BAD_REPLAY, BAD_DAY, BAD_TIMEZONE, BAD_CANDIDATE for
 * what the command line has wrong, NO_READINGS where the log holds none of those days, LOG_TRIMMED where it did once, and
 * those of the store.
 */
export function runReplay(
  settings: AgentSettings,
  options: Options,
  write: (text: string) => void,
  note: (line: string) => void,
  nowMs: number,
): number {
  const asked = readDays(options);
  const store = new Store(dataFile(settings), { readonly: true });
  try {
    const calendar = createCalendar(String(options.timezone ?? store.meta("timezone") ?? "UTC"));
    // Checked before the log is read, which may take a while.
    for (const day of [asked.from, asked.to]) calendar.dayRange(day);
    const candidate =
      typeof options.thresholds === "string" ? readCandidate(options.thresholds, store, calendar.timezone) : undefined;
    const inForce = store.thresholdVersions(Number.MAX_SAFE_INTEGER);
    const gapMs = longestGapMs(candidate ? [...inForce, candidate] : inForce);
    const days = wholeDays(asked, store.wholeFromMs + gapMs, calendar, note);
    const { startMs: fromMs } = calendar.dayRange(days.from);
    const { endMs: toMs } = calendar.dayRange(days.to);
    // What began before these days may reach into them by a gap, and reports look back on the days of their trends.
    let readFromMs = fromMs - gapMs - 1;
    if (candidate === undefined && options.alerts !== true) {
      readFromMs = Math.min(readFromMs, calendar.dayRange(daysBefore(days.from, TREND_DAYS - 1)).startMs);
      if (readFromMs < store.wholeFromMs) note(TRIMMED_TRENDS);
    }
    const agent = String(store.meta("agent") ?? agentName(settings));
    const replay = new LogReplay(store, calendar, agent, { fromMs: readFromMs });
    const span = { days, fromMs, toMs };
    if (candidate) {
      const other = new LogReplay(store, calendar, agent, { fromMs: readFromMs, candidate });
      const isKnown = (key: SeriesKey): boolean => other.thresholds.lookup(candidate.version, key) !== undefined;
      if (!store.allSeries().some(isKnown))
        note("The candidate has no band for any series of the log: check its names.");
      const backtest = compareAlerts(alertsWithin(replay, span), alertsWithin(other, span));
      const versions = inForce.map(({ version }) => version).toSorted((a, b) => a - b);
      const what = { from: days.from, to: days.to, timezone: calendar.timezone, versions };
      if (options.json === true) write(`${canonicalJson({ ...what, ...backtest })}\n`);
      else write(`Alerts ${describeDays(days)} (${calendar.timezone}), by their start.\n${describeBacktest(backtest)}`);
    } else if (options.alerts === true) {
      for (const alert of alertsWithin(replay, span)) write(`${canonicalJson(alert)}\n`);
    } else {
      const reports = reportsOf(replay, span, (day) => Number(store.meta(`report ${day}`) ?? 1), nowMs);
      // Of one day the bytes alone, which are those of the aggregator.
      for (const report of reports) write(days.isOne ? canonicalJson(report) : `${canonicalJson(report)}\n`);
    }
    return 0;
  } finally {
    store.close();
  }
}

/** Of the days asked for, those from wholeFromMs on; notes what is left out. Throws CodedError LOG_TRIMMED. */
function wholeDays(days: Days, wholeFromMs: number, calendar: Calendar, note: (line: string) => void): Days {
  if (wholeFromMs === -Infinity) return days;
  const day = calendar.dayOf(wholeFromMs);
  const whole = calendar.dayRange(day).startMs < wholeFromMs ? daysBefore(day, -1) : day;
  if (whole <= days.from) return days;
  const limit = `The log is whole only from ${whole} on`;
  const advice = "older reports are at the aggregator (see log.bytes_max and log.age_max).";
  if (whole > days.to)
    throw new CodedError("LOG_TRIMMED", `${limit}, and cannot tell ${describeDays(days)}: ${advice}`);
  note(`${limit}; days before are left out: ${advice}`);
  return { ...days, from: whole };
}

/** Days asked for, from local midnight to local midnight. */
interface Span {
  readonly days: Days;
  readonly fromMs: number;
  readonly toMs: number;
}

/**
 * Alerts that began within, by start, then by id; without those that late data took back. Throws CodedError NO_READINGS.
 */
function alertsWithin(replay: LogReplay, { days, fromMs, toMs }: Span): Alert[] {
  const alerts: Alert[] = [];
  let isEmpty = true;
  for (const group of replay.groups()) {
    const report = replay.fold(group);
    isEmpty &&= !hasReadings(report, fromMs, toMs);
    for (const alert of report.alerts()) {
      const { startedAtMs, state } = alert;
      if (startedAtMs >= fromMs && startedAtMs < toMs && state !== "withdrawn") alerts.push(alert);
    }
  }
  if (isEmpty) throw noReadings(days, replay.calendar);
  const ofId = (a: Alert, b: Alert): number => (a.id < b.id ? -1 : 1);
  return alerts.toSorted((a, b) => a.startedAtMs - b.startedAtMs || ofId(a, b));
}

/** The reports of the days that have readings. revisionOf: a day's. Throws CodedError NO_READINGS. */
function reportsOf(
  replay: LogReplay,
  { days }: Span,
  revisionOf: (day: string) => number,
  nowMs: number,
): DailyReport[] {
  const { calendar } = replay;
  const last = earlier(days.to, calendar.dayOf(nowMs + AHEAD_MS_MAX));
  const parts = new Map<string, DayPart[]>();
  for (const group of replay.groups()) {
    const report = replay.fold(group);
    const firstTsMs = report.allSeries().reduce((first, series) => Math.min(first, series.firstTsMs), Infinity);
    if (firstTsMs === Infinity) continue;
    for (let day = later(days.from, calendar.dayOf(firstTsMs)); day <= last; day = daysBefore(day, -1)) {
      const part = dayPart(report, day);
      if (part) parts.set(day, [...(parts.get(day) ?? []), part]);
    }
  }
  if (parts.size === 0) throw noReadings(days, calendar);
  return [...parts]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([day, ofDay]) => joinParts(replay, day, revisionOf(day), ofDay)!);
}

function readDays(options: Options): Days {
  const { day, from, to } = options;
  const fail = (problem: string): never => {
    throw new CodedError("BAD_REPLAY", problem);
  };
  if (options.alerts === true && options.thresholds !== undefined) {
    fail("--alerts and --thresholds exclude each other: a backtest counts alerts.");
  }
  if (options.json === true && options.thresholds === undefined) {
    fail("--json is for a backtest (--thresholds): reports and alerts are JSON already.");
  }
  if (typeof day === "string") {
    if (from !== undefined || to !== undefined) fail("--day and --from, --to exclude each other.");
    return { from: day, to: day, isOne: true };
  }
  if (typeof from !== "string" || typeof to !== "string") {
    return fail("replay needs --day YYYY-MM-DD, or --from and --to, both inclusive.");
  }
  // Days compare as text once they are days; what is none is told later, by name.
  if (isDayText(from) && isDayText(to) && from > to) fail(`--from ${from} is after --to ${to}.`);
  return { from, to, isOne: false };
}

function isDayText(text: string): boolean {
  return /^\d{4}-\d{2}-\d{2}$/.test(text);
}

/** A day some days before, or after where `days` is negative. */
function daysBefore(day: string, days: number): string {
  return new Date(Date.parse(`${day}T00:00:00Z`) - days * DAY_MS).toISOString().slice(0, 10);
}

function later(a: string, b: string): string {
  return a > b ? a : b;
}

function earlier(a: string, b: string): string {
  return a < b ? a : b;
}

function hasReadings(report: MemoryReport, fromMs: number, toMs: number): boolean {
  return report.allSeries().some(({ series }) => report.hours(series, fromMs, toMs).length > 0);
}

function noReadings(days: Days, { timezone }: Calendar): CodedError {
  return new CodedError("NO_READINGS", `The log holds no readings ${describeDays(days)} (${timezone}).`);
}

function describeDays({ from, to }: Days): string {
  return from === to ? `of ${from}` : `from ${from} to ${to}`;
}
