import { mkdirSync } from "node:fs";
import type { Store } from "@weir/agent/store/store";
import { canonicalJson } from "@weir/shared/model/canonical-json";
import type { Alert } from "@weir/shared/model/alert";
import { alertId } from "@weir/shared/model/alert";
import type { DailyReport } from "@weir/shared/model/report";
import type { ThresholdVersion } from "@weir/shared/model/thresholds";
import type { Calendar } from "@weir/shared/operators/calendar";
import type { ClockTick } from "@weir/shared/operators/watched";
import type { PlainAlert } from "../integration/oracle.ts";
import { expectedAlerts, reportProblems } from "../integration/oracle.ts";
import type { KeptReading } from "./agent-side.ts";
import { AgentSide } from "./agent-side.ts";
import { AGENT, AggregatorSide, WHOLE } from "./aggregator-side.ts";

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
 * Holds what a plant has come to against the plain batch over the same readings, and against the oracle, which shares no
 * code with either. Returns what is wrong, one line each. folder: for the batch.
 */
export function checkOutcome(outcome: Outcome, folder: string): string[] {
  const problems: string[] = [];
  const { given } = outcome;
  mkdirSync(folder);
  const batch = plainBatch(given, folder);
  const days = new Set(given.readings.map(({ tsMs }) => given.calendar.dayOf(tsMs)));
  const reports = new Map<string, DailyReport>();
  for (const day of [...days].toSorted()) {
    const { live, recomputed, replay } = outcome.report(day);
    compare(problems, `${day}: recomputed against live`, recomputed, live);
    compare(problems, `${day}: replay against live`, replay, live);
    const report = live === undefined ? undefined : (JSON.parse(live) as DailyReport);
    const plain = batch.aggregator.reports.make(day, { batch: false })?.report;
    compare(problems, `${day}: live against the plain batch`, comparable(report), comparable(plain));
    if (report) reports.set(day, report);
  }
  checkByOracle(problems, given, reports, outcome.alerts);
  compareAlerts(problems, "alerts: live against the plain batch", outcome.alerts, batch.aggregator.alerts());
  compareAlerts(problems, "alerts: replay against live", outcome.replayedAlerts, outcome.alerts);
  batch.agent.close();
  batch.aggregator.close();
  return problems;
}

/** Reports and alerts against what is written of them: see test/integration/oracle.ts. */
function checkByOracle(
  problems: string[],
  { calendar, versions, readings, ticks }: Given,
  reports: ReadonlyMap<string, DailyReport>,
  alerts: readonly Alert[],
): void {
  const given = {
    timezone: calendar.timezone,
    agent: AGENT,
    readings,
    versions,
    ticks: ticks.map(({ nowMs, watching = true }) => ({ nowMs, watching, rejected: {} })),
  };
  const healthOf = (day: string, site: string, device: string): number | undefined =>
    reports.get(day)?.devices.find((one) => one.site === site && one.device === device)?.health;
  for (const [day, report] of reports) {
    // What was refused and lost is the ledger's to say.
    const kept = { ...report, completeness: { ...report.completeness, rejected: {}, dropped: {} } };
    const found = reportProblems(given, day, kept, undefined, healthOf);
    problems.push(...found.map((problem) => `${day}, by the oracle: ${problem}`));
  }
  // Whether the last gap is a silence depends on when the clock ticked last.
  const isSure = ({ kind, state }: PlainAlert): boolean => kind !== "silence" || state === "resolved";
  const ids = (alert: PlainAlert): Alert => ({ ...alert, id: alertId(alert, alert.kind, alert.startedAtMs) });
  const expected = expectedAlerts(given).filter(isSure).map(ids);
  compareAlerts(problems, "alerts, by the oracle", alerts.filter(isSure), expected);
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
