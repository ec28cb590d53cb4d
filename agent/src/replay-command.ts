import type { CliCommand } from "@weir/shared/config/cli";
import { CodedError } from "@weir/shared/errors";
import type { Alert } from "@weir/shared/model/alert";
import { canonicalJson } from "@weir/shared/model/canonical-json";
import type { ThresholdVersion } from "@weir/shared/model/thresholds";
import type { Calendar } from "@weir/shared/operators/calendar";
import { createCalendar, DAY_MS } from "@weir/shared/operators/calendar";
import type { MemoryReport } from "@weir/shared/operators/memory-report";
import { dailyReport } from "@weir/shared/operators/report";
import { compareAlerts, describeBacktest, readCandidate } from "./backtest.ts";
import { replayLog } from "./replay.ts";
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

/**
 * Runs `weir-agent replay` beside an agent or without one. write: to standard output. nowMs: the clock. Returns the exit
 * code. Throws CodedErrors: BAD_REPLAY, BAD_DAY, BAD_TIMEZONE, BAD_CANDIDATE for what the command line has wrong,
 * NO_READINGS where the log holds none of those days, and those of the store.
 */
export function runReplay(
  settings: AgentSettings,
  options: Options,
  write: (text: string) => void,
  nowMs: number,
): number {
  const days = readDays(options);
  const store = new Store(dataFile(settings), { readonly: true });
  try {
    const calendar = createCalendar(String(options.timezone ?? store.meta("timezone") ?? "UTC"));
    // Checked before the log is read, which may take a while.
    const fromMs = calendar.dayRange(days.from).startMs;
    const toMs = calendar.dayRange(days.to).endMs;
    const candidate =
      typeof options.thresholds === "string" ? readCandidate(options.thresholds, store, calendar.timezone) : undefined;
    const agent = String(store.meta("agent") ?? agentName(settings));
    const replay = (versions?: readonly ThresholdVersion[]): MemoryReport =>
      replayLog(store, calendar, agent, undefined, versions);
    const replayed = replay();
    if (!hasReadings(replayed, fromMs, toMs)) throw noReadings(days, calendar);
    const within = (report: MemoryReport): Alert[] =>
      [...report.alerts()].filter(({ startedAtMs }) => startedAtMs >= fromMs && startedAtMs < toMs);
    if (candidate) {
      const backtest = compareAlerts(within(replayed), within(replay([candidate])));
      const versions = replayed.thresholds.versions().map(({ version }) => version);
      const what = { from: days.from, to: days.to, timezone: calendar.timezone, versions };
      if (options.json === true) write(`${canonicalJson({ ...what, ...backtest })}\n`);
      else write(`Alerts ${describeDays(days)} (${calendar.timezone}), by their start.\n${describeBacktest(backtest)}`);
    } else if (options.alerts === true) {
      for (const alert of sortedAlerts(within(replayed))) write(`${canonicalJson(alert)}\n`);
    } else writeReports(replayed, store, days, write, nowMs);
    return 0;
  } finally {
    store.close();
  }
}

function writeReports(
  replayed: MemoryReport,
  store: Store,
  days: Days,
  write: (text: string) => void,
  nowMs: number,
): void {
  const firstTsMs = replayed.allSeries().reduce((first, series) => Math.min(first, series.firstTsMs), Infinity);
  const first = later(days.from, replayed.calendar.dayOf(firstTsMs));
  const last = earlier(days.to, replayed.calendar.dayOf(nowMs + AHEAD_MS_MAX));
  for (let day = first; day <= last; day = dayAfter(day)) {
    const report = dailyReport(replayed, day, Number(store.meta(`report ${day}`) ?? 1));
    // Of one day the bytes alone, which are those of the aggregator.
    if (report) write(days.isOne ? canonicalJson(report) : `${canonicalJson(report)}\n`);
  }
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

function dayAfter(day: string): string {
  return new Date(Date.parse(`${day}T00:00:00Z`) + DAY_MS).toISOString().slice(0, 10);
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

/** By start, then by id; without those that late data took back. */
function sortedAlerts(alerts: readonly Alert[]): Alert[] {
  const ofId = (a: Alert, b: Alert): number => (a.id < b.id ? -1 : 1);
  return alerts
    .filter(({ state }) => state !== "withdrawn")
    .toSorted((a, b) => a.startedAtMs - b.startedAtMs || ofId(a, b));
}
