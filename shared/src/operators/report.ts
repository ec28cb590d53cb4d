import type { SeriesKey } from "../model/reading.ts";
import type { Completeness, DailyReport, DeviceReport, Lineage, MetricReport } from "../model/report.ts";
import type { Calendar } from "./calendar.ts";
import { DAY_MS } from "./calendar.ts";
import {
  breachShare,
  driftFrom,
  expectedCount,
  expectedInterval,
  healthParts,
  healthScore,
  healthTrend,
  OPERATOR_VERSION,
  TREND_DAYS,
} from "./health.ts";
import type { Partial } from "./partial.ts";
import { mergeAll, mergeVersions, partialMean, partialQuantile } from "./partial.ts";
import type { Cell } from "./rollup.ts";
import type { ThresholdHistory } from "./thresholds.ts";

/** One series that the report may speak of. */
export interface ReportSeries extends SeriesKey {
  readonly series: number;
  readonly agent: string;
  /** Event time of its earliest reading ever: nothing is expected before. */
  readonly firstTsMs: number;
}

/** What a report is made from. The live path and the batch path differ only in what stands behind this. */
export interface ReportSource {
  /** Every series that has readings; any order. */
  allSeries(): readonly ReportSeries[];
  /** Hour cells of a series that start in [fromMs, toMs), ascending. */
  hours(series: number, fromMs: number, toMs: number): readonly Cell[];
  /** Alerts of a device that began in [fromMs, toMs), withdrawn ones not counted. */
  alertCount(site: string, device: string, fromMs: number, toMs: number): number;
  /** dayHealth of a day before, where it is kept and current; undefined: it is computed. */
  knownHealth(day: string): ReadonlyMap<string, number> | undefined;
  /** Up to when the agent's clock, as its log tells it, has come: ms; a day is over when this has passed its end. */
  clockMs(agent: string): number;
  /** What was refused and lost in receive time [fromMs, toMs), by reason. */
  losses(fromMs: number, toMs: number): Pick<Completeness, "rejected" | "dropped">;
  readonly thresholds: ThresholdHistory;
  readonly calendar: Calendar;
}

/** A series' readings of the day. */
interface SeriesCells {
  readonly key: ReportSeries;
  readonly cells: readonly Cell[];
  readonly partial: Partial;
}

interface SeriesDay {
  readonly key: ReportSeries;
  readonly partial: Partial;
  readonly expected: number;
  readonly drift: number | null;
}

/** Some of the devices of a day's report, and what they add to the whole of it. */
export interface DayPart {
  /** By site and device. */
  readonly devices: readonly DeviceReport[];
  readonly lineage: Lineage;
  readonly expectedReadings: number;
  /** Of the expected readings, how many came. */
  readonly cameReadings: number;
  readonly stampedReadings: number;
}

/** The report of a local day (YYYY-MM-DD); undefined when no series has a reading on it. */
export function dailyReport(source: ReportSource, day: string, revision: number): DailyReport | undefined {
  return joinParts(source, day, revision, [dayPart(source, day)]);
}

/** What the report of a day says of the devices of a source; undefined when none has a reading on it. */
export function dayPart(source: ReportSource, day: string): DayPart | undefined {
  const { startMs, endMs } = source.calendar.dayRange(day);
  const byDevice = seriesDaysByDevice(source, startMs, endMs);
  if (byDevice.size === 0) return undefined;
  const names = [...byDevice.keys()].toSorted();
  const history = healthHistory(source, day);
  const all = [...byDevice.values()].flat();
  return {
    devices: names.map((name) => deviceReport(source, startMs, endMs, byDevice.get(name)!, history)),
    lineage: lineageOf(all),
    ...expectedAndCame(all),
    stampedReadings: total(all, ({ partial }) => partial.stamped),
  };
}

/** The report of a day from parts, no two of which know the same device; undefined when there are none. */
export function joinParts(
  source: Pick<ReportSource, "calendar" | "losses">,
  day: string,
  revision: number,
  found: ReadonlyArray<DayPart | undefined>,
): DailyReport | undefined {
  const parts = found.filter((part) => part !== undefined);
  if (parts.length === 0) return undefined;
  const { startMs, endMs } = source.calendar.dayRange(day);
  const devices = parts.flatMap((part) => part.devices);
  const sum = (count: (part: DayPart) => number): number => parts.reduce((all, part) => all + count(part), 0);
  const expectedReadings = sum((part) => part.expectedReadings);
  return {
    day,
    timezone: source.calendar.timezone,
    revision,
    completeness: {
      readings: devices.reduce((all, device) => all + device.readings, 0),
      expectedReadings,
      ratio: shareOf(
        sum((part) => part.cameReadings),
        expectedReadings,
      ),
      stampedReadings: sum((part) => part.stampedReadings),
      ...source.losses(startMs, endMs),
    },
    lineage: {
      operatorVersion: OPERATOR_VERSION,
      thresholdVersions: parts.reduce<readonly number[]>(
        (versions, { lineage }) => mergeVersions(versions, lineage.thresholdVersions),
        [],
      ),
      sources: sumSources(parts.flatMap(({ lineage }) => lineage.sources)),
    },
    devices: devices.toSorted((a, b) => compareText(`${a.site}/${a.device}`, `${b.site}/${b.device}`)),
  };
}

/** The health of every device on a day, by `site/device`; devices without readings are absent. */
export function dayHealth(source: ReportSource, day: string): Map<string, number> {
  const { startMs, endMs } = source.calendar.dayRange(day);
  const health = new Map<string, number>();
  for (const [name, seriesDays] of seriesDaysByDevice(source, startMs, endMs)) {
    health.set(name, healthOf(seriesDays).health);
  }
  return health;
}

function seriesDaysByDevice(source: ReportSource, startMs: number, endMs: number): Map<string, SeriesDay[]> {
  const byDevice = new Map<string, SeriesCells[]>();
  for (const key of source.allSeries()) {
    const cells = source.hours(key.series, startMs, endMs);
    const partial = mergeAll(cells.map((cell) => cell.partial));
    if (!partial) continue;
    const name = `${key.site}/${key.device}`;
    const ofDevice = byDevice.get(name);
    if (ofDevice) ofDevice.push({ key, cells, partial });
    else byDevice.set(name, [{ key, cells, partial }]);
  }
  const seriesDays = new Map<string, SeriesDay[]>();
  for (const [name, ofDevice] of byDevice) {
    // The device's watermark, and no other's: a device whose clock runs ahead moves the expectation of itself alone.
    const newestTsMs = ofDevice.reduce((newest, { partial }) => Math.max(newest, partial.lastTsMs), -Infinity);
    seriesDays.set(
      name,
      ofDevice.map((series) => seriesDay(source, startMs, endMs, newestTsMs, series)),
    );
  }
  return seriesDays;
}

/** newestTsMs: the newest event time of the device on the day. */
function seriesDay(
  source: ReportSource,
  startMs: number,
  endMs: number,
  newestTsMs: number,
  { key, cells, partial }: SeriesCells,
): SeriesDay {
  const version = source.thresholds.lastInForce(partial.versions);
  const thresholds = version === undefined ? undefined : source.thresholds.lookup(version, key);
  // A day that is over is expected whole; the present one up to the agent's clock, or the device's where that is ahead.
  const untilMs = Math.min(endMs, Math.max(source.clockMs(key.agent), newestTsMs + 1));
  const stretchMs = untilMs - Math.max(startMs, key.firstTsMs);
  const expected = expectedCount(stretchMs, expectedInterval(cells, thresholds?.band), partial.count);
  const drift = thresholds?.baseline ? driftFrom(thresholds.baseline, partial) : null;
  return { key, partial, expected, drift };
}

function healthOf(seriesDays: readonly SeriesDay[]): Pick<DeviceReport, "health" | "healthParts" | "availability"> {
  const { expectedReadings, cameReadings } = expectedAndCame(seriesDays);
  const availability = shareOf(cameReadings, expectedReadings);
  let share = 0;
  let drift: number | null = null;
  for (const entry of seriesDays) {
    share = Math.max(share, breachShare(entry.partial));
    if (entry.drift !== null) drift = Math.max(drift ?? 0, entry.drift);
  }
  const parts = healthParts({ availability, breachShare: share, drift });
  return { health: healthScore(parts), healthParts: parts, availability };
}

/** Expected readings, and how many came: a series that sends more than expected makes up for no other. */
function expectedAndCame(seriesDays: readonly SeriesDay[]): Pick<DayPart, "expectedReadings" | "cameReadings"> {
  return {
    expectedReadings: total(seriesDays, ({ expected }) => expected),
    cameReadings: total(seriesDays, ({ partial, expected }) => Math.min(partial.count, expected)),
  };
}

function shareOf(came: number, expected: number): number {
  return expected === 0 ? 1 : came / expected;
}

function deviceReport(
  source: ReportSource,
  startMs: number,
  endMs: number,
  seriesDays: readonly SeriesDay[],
  history: HealthHistory,
): DeviceReport {
  const { site, device } = seriesDays[0]!.key;
  const health = healthOf(seriesDays);
  const sorted = seriesDays.toSorted(
    // Two agents may have readings of one metric; their order must not be the store's.
    (a, b) => compareText(a.key.metric, b.key.metric) || compareText(a.key.agent, b.key.agent),
  );
  return {
    site,
    device,
    ...health,
    readings: total(seriesDays, ({ partial }) => partial.count),
    expectedReadings: total(seriesDays, ({ expected }) => expected),
    alerts: source.alertCount(site, device, startMs, endMs),
    breaches: total(seriesDays, ({ partial }) => partial.low + partial.high),
    metrics: sorted.map(metricReport),
    trend: trendOf(history, site, device, health.health),
  };
}

function metricReport({ key, partial, drift }: SeriesDay): MetricReport {
  return {
    metric: key.metric,
    count: partial.count,
    min: partial.min,
    max: partial.max,
    mean: partialMean(partial),
    p50: partialQuantile(partial, 0.5),
    p99: partialQuantile(partial, 0.99),
    breaches: partial.low + partial.high,
    drift,
  };
}

/** dayHealth of the days that a trend looks back on, oldest first; day: index since 1970-01-01. */
interface HealthHistory {
  readonly today: number;
  readonly before: ReadonlyArray<{ readonly day: number; readonly health: ReadonlyMap<string, number> }>;
}

function healthHistory(source: ReportSource, day: string): HealthHistory {
  const today = Math.round(Date.parse(`${day}T00:00:00Z`) / DAY_MS);
  const before = [];
  for (let index = today - TREND_DAYS + 1; index < today; index++) {
    const earlier = new Date(index * DAY_MS).toISOString().slice(0, 10);
    before.push({ day: index, health: source.knownHealth(earlier) ?? dayHealth(source, earlier) });
  }
  return { today, before };
}

function trendOf(history: HealthHistory, site: string, device: string, health: number): DeviceReport["trend"] {
  const scores: Array<{ readonly day: number; readonly health: number }> = [];
  for (const earlier of history.before) {
    const score = earlier.health.get(`${site}/${device}`);
    if (score !== undefined) scores.push({ day: earlier.day, health: score });
  }
  scores.push({ day: history.today, health });
  return healthTrend(scores);
}

function lineageOf(seriesDays: readonly SeriesDay[]): Lineage {
  let versions: readonly number[] = [];
  for (const { partial } of seriesDays) versions = mergeVersions(versions, partial.versions);
  const sources = seriesDays.map(({ key: { agent }, partial: { firstTsMs, lastTsMs, count } }) => {
    return { agent, firstTsMs, lastTsMs, readings: count };
  });
  return { operatorVersion: OPERATOR_VERSION, thresholdVersions: versions, sources: sumSources(sources) };
}

/** One source an agent, by agent. */
function sumSources(parts: Lineage["sources"]): Lineage["sources"] {
  const sources = new Map<string, Lineage["sources"][number]>();
  for (const { agent, firstTsMs, lastTsMs, readings } of parts) {
    const known = sources.get(agent) ?? { firstTsMs: Infinity, lastTsMs: -Infinity, readings: 0 };
    sources.set(agent, {
      agent,
      firstTsMs: Math.min(known.firstTsMs, firstTsMs),
      lastTsMs: Math.max(known.lastTsMs, lastTsMs),
      readings: known.readings + readings,
    });
  }
  return [...sources.values()].toSorted((a, b) => compareText(a.agent, b.agent));
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

function total(seriesDays: readonly SeriesDay[], count: (seriesDay: SeriesDay) => number): number {
  return seriesDays.reduce((sum, entry) => sum + count(entry), 0);
}
