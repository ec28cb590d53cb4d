import { mkdirSync } from "node:fs";
import type { Store } from "@weir/agent/store/store";
import { canonicalJson } from "@weir/shared/model/canonical-json";
import type { Alert } from "@weir/shared/model/alert";
import type { DailyReport } from "@weir/shared/model/report";
import type { Band, ThresholdVersion } from "@weir/shared/model/thresholds";
import type { Calendar } from "@weir/shared/operators/calendar";
import type { ClockTick } from "@weir/shared/operators/watched";
import { exactMean } from "../support/exact-mean.ts";
import type { KeptReading } from "./agent-side.ts";
import { AgentSide } from "./agent-side.ts";
import { AggregatorSide, WHOLE } from "./aggregator-side.ts";

/** Readings that must be there, and all else that the plain batch is made of. */
export interface Given {
  readonly calendar: Calendar;
  readonly windowMs: number;
  readonly versions: readonly ThresholdVersion[];
  readonly readings: readonly KeptReading[];
  /** The clock ticks of the agent's log, in order. */
  readonly ticks: readonly ClockTick[];
}

/** A day's report by each path, as bytes. */
export interface ReportPaths {
  readonly live: string | undefined;
  readonly recomputed: string | undefined;
  readonly replay: string | undefined;
}

/** What a plant has come to: under faults, in one process or in several. */
export interface Outcome {
  readonly given: Given;
  report(day: string): ReportPaths;
  /** By id; withdrawn ones left out. */
  readonly alerts: readonly Alert[];
  readonly replayedAlerts: readonly Alert[];
}

/**
 * Holds what a plant has come to against the plain batch over the same readings, and against counts and sums made here
 * by other means. Returns what is wrong, one line each. folder: for the batch.
 */
export function checkOutcome(outcome: Outcome, folder: string): string[] {
  const problems: string[] = [];
  const { given } = outcome;
  mkdirSync(folder);
  const batch = plainBatch(given, folder);
  const days = new Set(given.readings.map(({ tsMs }) => given.calendar.dayOf(tsMs)));
  for (const day of [...days].toSorted()) {
    const { live, recomputed, replay } = outcome.report(day);
    compare(problems, `${day}: recomputed against live`, recomputed, live);
    compare(problems, `${day}: replay against live`, replay, live);
    const report = live === undefined ? undefined : (JSON.parse(live) as DailyReport);
    const plain = batch.aggregator.reports.make(day, { batch: false })?.report;
    compare(problems, `${day}: live against the plain batch`, comparable(report), comparable(plain));
    if (report) checkDay(problems, given, day, report);
  }
  compareAlerts(problems, "alerts: live against the plain batch", outcome.alerts, batch.aggregator.alerts());
  compareAlerts(problems, "alerts: replay against live", outcome.replayedAlerts, outcome.alerts);
  batch.agent.close();
  batch.aggregator.close();
  return problems;
}

/**
 * A fresh plant that is given each reading once, by time, with all versions from the start; then the same clock ticks, in
 * their order, since what was watched is a fold over them.
 */
function plainBatch(
  { calendar, windowMs, versions, readings, ticks }: Given,
  folder: string,
): { readonly agent: AgentSide; readonly aggregator: AggregatorSide } {
  const names = [...new Set(readings.map(({ site, device }) => `${site}/${device}`))].toSorted();
  const devices = names.map((name) => {
    const [site = "", device = ""] = name.split("/");
    return { site, device, metrics: [], source: "listen", qos: 1 } as const;
  });
  const indexOf = new Map(names.map((name, index) => [name, index]));
  const agent = new AgentSide(folder, {
    devices,
    windowMs,
    batchReadingsMax: 8192,
    compactsSoon: false,
    outboxBytesMax: 2 ** 30,
  });
  const aggregator = new AggregatorSide(folder, calendar);
  for (const version of versions) {
    aggregator.publish(version);
    agent.deliver(version);
  }
  const sorted = readings.toSorted((a, b) => a.tsMs - b.tsMs || a.value - b.value);
  for (const { site, device, metric, tsMs, value, stamped } of sorted) {
    agent.nowMs = tsMs;
    agent.send(indexOf.get(`${site}/${device}`)!, stamped ? "stamped" : "single", [{ metric, tsMs, value }]);
  }
  for (const { nowMs, watching = true } of ticks) agent.tick(nowMs, watching);
  agent.pipeline.checkpoint();
  aggregator.connect(agent, agent.nowMs, WHOLE);
  return { agent, aggregator };
}

/** The clock ticks of an agent's log, in order. */
export function ticksOf(store: Store): ClockTick[] {
  return [...store.entries(0)].flatMap((entry) => (entry.kind === "tick" ? [entry.tick] : []));
}

/**
 * What has to be the same in both: all but the revision, which counts how often the report was issued on the way, and
 * the losses, which the plain batch has none of, as it is only given what was accepted.
 */
function comparable(report: DailyReport | undefined): string | undefined {
  if (!report) return undefined;
  const { rejected: _r, dropped: _d, ...completeness } = report.completeness;
  return canonicalJson({ ...report, revision: 0, completeness });
}

function compare(problems: string[], what: string, got: string | undefined, expected: string | undefined): void {
  if (got === expected) return;
  problems.push(`${what} differ: ${difference(got ?? "nothing", expected ?? "nothing")}`);
}

/** The place where two texts part, with what is around it. */
function difference(got: string, expected: string): string {
  let at = 0;
  while (at < got.length && got[at] === expected[at]) at++;
  const from = Math.max(0, at - 60);
  return `…${got.slice(from, at + 60)}… where …${expected.slice(from, at + 60)}… is expected`;
}

function compareAlerts(problems: string[], what: string, got: readonly Alert[], expected: readonly Alert[]): void {
  const texts = new Map(expected.map((alert) => [alert.id, canonicalJson({ ...alert })]));
  const wrong = got.filter((alert) => texts.get(alert.id) !== canonicalJson({ ...alert }));
  const missing = expected.filter(({ id }) => !got.some((alert) => alert.id === id));
  for (const alert of wrong) {
    problems.push(`${what}: ${canonicalJson({ ...alert })} where ${texts.get(alert.id) ?? "nothing"} is expected`);
  }
  for (const alert of missing) problems.push(`${what}: ${canonicalJson({ ...alert })} is missing`);
}

/** Counts, bounds, means and breaches by plain arithmetic over the readings that must be there. */
function checkDay(
  problems: string[],
  { calendar, versions, readings: all }: Given,
  day: string,
  report: DailyReport,
): void {
  const bySeries = new Map<string, KeptReading[]>();
  for (const reading of all) {
    if (calendar.dayOf(reading.tsMs) !== day) continue;
    const name = `${reading.site}/${reading.device}/${reading.metric}`;
    bySeries.set(name, [...(bySeries.get(name) ?? []), reading]);
  }
  const seen = report.devices.flatMap(({ site, device, metrics }) =>
    metrics.map((metric) => ({ ...metric, name: `${site}/${device}/${metric.metric}` })),
  );
  const got = seen.map(({ name, count, min, max, mean, breaches }) => ({ name, count, min, max, mean, breaches }));
  const expected = [...bySeries].map(([name, readings]) => {
    const values = readings.map(({ value }) => value);
    const breaches = readings.filter((reading) => isBreach(reading, versions)).length;
    const bounds = { min: Math.min(...values), max: Math.max(...values), mean: exactMean(values) };
    return { name, count: values.length, ...bounds, breaches };
  });
  const byName = (a: { readonly name: string }, b: { readonly name: string }): number => (a.name < b.name ? -1 : 1);
  compare(
    problems,
    `${day}: sums of the report against the readings acknowledged`,
    JSON.stringify(got.toSorted(byName)),
    JSON.stringify(expected.toSorted(byName)),
  );
}

function isBreach(reading: KeptReading, versions: readonly ThresholdVersion[]): boolean {
  const judging = versions
    .filter(({ effectiveFromMs }) => effectiveFromMs <= reading.tsMs)
    .toSorted((a, b) => a.effectiveFromMs - b.effectiveFromMs || a.version - b.version)
    .at(-1);
  const band = judging && bandOf(reading, judging);
  if (!band) return false;
  return reading.value > (band.warningHigh ?? Infinity) || reading.value < (band.warningLow ?? -Infinity);
}

/** By the hour of the week only in UTC, which is all that is drawn where versions are trained. */
function bandOf({ site, device, metric, tsMs }: KeptReading, version: ThresholdVersion): Band | undefined {
  const own = version.series.find((one) => one.site === site && one.device === device && one.metric === metric);
  if (!own) return version.rules.findLast(({ match }) => ["*", metric].includes(match.metric))?.band;
  const time = new Date(tsMs);
  return own.hourOfWeek?.[((time.getUTCDay() + 6) % 7) * 24 + time.getUTCHours()] ?? own.band;
}

/** Readings by the ledger's groups: received, stored, duplicate, rejected, dropped, lost. */
export type LedgerCounts = ReadonlyMap<string, number>;

/** The ledger's counts by source, and what is wrong with them: received = stored + duplicate + rejected + dropped. */
export function checkLedger(store: Store): {
  readonly bySource: Map<string, LedgerCounts>;
  readonly problems: string[];
} {
  const bySource = new Map<string, Map<string, number>>();
  for (const { source, reason, count } of store.ledger()) {
    const group = reason.split(".")[0]!;
    const counts = bySource.get(source) ?? new Map<string, number>();
    counts.set(group, (counts.get(group) ?? 0) + count);
    bySource.set(source, counts);
  }
  const problems: string[] = [];
  for (const [source, counts] of bySource) {
    const of = (group: string): number => counts.get(group) ?? 0;
    const sum = of("stored") + of("duplicate") + of("rejected") + of("dropped");
    if (of("received") !== sum) problems.push(`ledger of ${source} does not balance: ${described(counts)}`);
  }
  return { bySource, problems };
}

/** Counts of the ledger, for a person. */
export function described(counts: LedgerCounts): string {
  return JSON.stringify(Object.fromEntries(counts));
}
