import type { Alert } from "@weir/shared/model/alert";
import type { DailyReport } from "@weir/shared/model/report";
import type { Band, Baseline, ThresholdVersion } from "@weir/shared/model/thresholds";
import { exactMean } from "../support/exact-mean.ts";

/**
 * What a plant has to say of its readings, reckoned a second time: from what is written (docs, and the docstrings of
 * shared/src/model and of the operators where the pages are silent) and by the plainest means there are. Readings are
 * sorted, filtered and counted; sums are whole numbers; quantiles are read off the sorted values. It shares types with
 * the program and no code, so that an error in an operator, which the live path, the batch and the replay would all
 * make alike, does not go unseen.
 */

/** A reading as a device gave it. */
export interface GivenReading {
  readonly site: string;
  readonly device: string;
  readonly metric: string;
  readonly tsMs: number;
  readonly value: number;
  /** It brought no time of its own. */
  readonly stamped: boolean;
}

/** A clock tick. watching: since the one before, the same process ran and its sources were connected. */
export interface GivenTick {
  readonly nowMs: number;
  readonly watching: boolean;
  /** Readings refused since the tick before, by reason. */
  readonly rejected: Readonly<Record<string, number>>;
}

/** All that reports and alerts are made of. Readings, in any order, may hold one several times. */
export interface Given {
  readonly timezone: string;
  readonly agent: string;
  readonly readings: readonly GivenReading[];
  readonly versions: readonly ThresholdVersion[];
  readonly ticks: readonly GivenTick[];
}

/** An alert without its id. */
export type PlainAlert = Omit<Alert, "id">;

type Key = Pick<GivenReading, "site" | "device" | "metric">;

/** What judges at some time. version undefined: none is in force yet; band undefined: it says nothing of the series. */
interface Judge {
  readonly version: ThresholdVersion | undefined;
  readonly band: Band | undefined;
}

interface Judged extends GivenReading {
  readonly judge: Judge;
  readonly breach: "low" | "high" | null;
  readonly critical: boolean;
}

const DAY_MS = 86_400_000;

// Time zones, by the engine's own words.

interface LocalTime {
  readonly day: string;
  /** Hours on both sides of a change of the clock have different names. */
  readonly hourName: string;
  /** 0: Monday 00:00. */
  readonly hourOfWeek: number;
}

const WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const formats = new Map<string, Intl.DateTimeFormat>();
const localTimes = new Map<string, LocalTime>();

/** What clocks on the wall show. */
function localTime(timezone: string, tsMs: number): LocalTime {
  const name = `${timezone} ${tsMs}`;
  let local = localTimes.get(name);
  if (!local) localTimes.set(name, (local = askLocalTime(timezone, tsMs)));
  if (localTimes.size > 100_000) localTimes.clear();
  return local;
}

function askLocalTime(timezone: string, tsMs: number): LocalTime {
  let format = formats.get(timezone);
  if (!format) {
    const date = { year: "numeric", month: "2-digit", day: "2-digit", weekday: "short" } as const;
    const time = { hour: "2-digit", hourCycle: "h23", timeZoneName: "longOffset" } as const;
    format = new Intl.DateTimeFormat("en-US", { timeZone: timezone, ...date, ...time });
    formats.set(timezone, format);
  }
  const parts = new Map(format.formatToParts(tsMs).map(({ type, value }) => [type, value]));
  const of = (type: Intl.DateTimeFormatPartTypes): string => parts.get(type) ?? "";
  const day = `${of("year")}-${of("month")}-${of("day")}`;
  return {
    day,
    hourName: `${day} ${of("hour")} ${of("timeZoneName")}`,
    hourOfWeek: WEEKDAYS.indexOf(of("weekday")) * 24 + Number(of("hour")),
  };
}

/** The local day that holds tsMs, YYYY-MM-DD. */
export function dayOf(timezone: string, tsMs: number): string {
  return localTime(timezone, tsMs).day;
}

/** The first millisecond of a local day: looked for by quarters of an hour, then by halves of what is left. */
export function startOfDay(timezone: string, day: string): number {
  const quarterMs = 900_000;
  let afterMs = Date.parse(`${day}T00:00:00Z`) - DAY_MS;
  while (dayOf(timezone, afterMs) < day) afterMs += quarterMs;
  let beforeMs = afterMs - quarterMs;
  while (afterMs - beforeMs > 1) {
    const middleMs = Math.floor((beforeMs + afterMs) / 2);
    if (dayOf(timezone, middleMs) < day) beforeMs = middleMs;
    else afterMs = middleMs;
  }
  return afterMs;
}

/** The day so many days after (or, below 0, before) a day. */
export function dayAfter(day: string, days: number): string {
  return new Date(Date.parse(`${day}T00:00:00Z`) + days * DAY_MS).toISOString().slice(0, 10);
}

// Thresholds.

/** The version that judges an event time: the last to come into force by then; of two at once the higher number. */
function versionAt(versions: readonly ThresholdVersion[], tsMs: number): ThresholdVersion | undefined {
  return inOrder(versions.filter(({ effectiveFromMs }) => effectiveFromMs <= tsMs)).at(-1);
}

/** In the order in which they come into force. */
function inOrder(versions: readonly ThresholdVersion[]): ThresholdVersion[] {
  return versions.toSorted((a, b) => a.effectiveFromMs - b.effectiveFromMs || a.version - b.version);
}

/** What a version says of a series: its own entry, else the last rule that matches, else nothing. */
function entryOf(
  version: ThresholdVersion,
  key: Key,
): { readonly band: Band; readonly hourOfWeek?: readonly Band[]; readonly baseline?: Baseline } | undefined {
  const names = ["site", "device", "metric"] as const;
  const own = version.series.find((entry) => names.every((name) => entry[name] === key[name]));
  return own ?? version.rules.findLast(({ match }) => names.every((name) => matches(match[name], key[name])));
}

/** `*` is any run of characters, everything else itself. */
function matches(pattern: string, name: string): boolean {
  if (pattern === "") return name === "";
  if (pattern[0] !== "*") return name[0] === pattern[0] && matches(pattern.slice(1), name.slice(1));
  return matches(pattern.slice(1), name) || (name !== "" && matches(pattern, name.slice(1)));
}

function judgeAt(versions: readonly ThresholdVersion[], key: Key, tsMs: number): Judge {
  const version = versionAt(versions, tsMs);
  const entry = version && entryOf(version, key);
  const ofHour = version && entry?.hourOfWeek?.[localTime(version.timezone, tsMs).hourOfWeek];
  return { version, band: ofHour ?? entry?.band };
}

/** Above a critical limit, or a warning one; else below. */
function judge(reading: GivenReading, versions: readonly ThresholdVersion[]): Judged {
  const by = judgeAt(versions, reading, reading.tsMs);
  const { value } = reading;
  const above = (limit: number | null | undefined): boolean => typeof limit === "number" && value > limit;
  const below = (limit: number | null | undefined): boolean => typeof limit === "number" && value < limit;
  const criticalHigh = above(by.band?.criticalHigh);
  const criticalLow = below(by.band?.criticalLow);
  const high = criticalHigh || above(by.band?.warningHigh);
  const low = criticalLow || below(by.band?.warningLow);
  return { ...reading, judge: by, breach: high ? "high" : low ? "low" : null, critical: criticalHigh || criticalLow };
}

/** Each reading once, judged, by series, and within each by time, then by value. */
function judgedBySeries({ readings, versions }: Given): Judged[][] {
  const distinct = new Map(
    readings.toReversed().map((one) => [`${one.site}/${one.device}/${one.metric} ${one.tsMs} ${one.value}`, one]),
  );
  const bySeries = new Map<string, Judged[]>();
  for (const reading of distinct.values()) {
    const name = `${reading.site}/${reading.device}/${reading.metric}`;
    bySeries.set(name, [...(bySeries.get(name) ?? []), judge(reading, versions)]);
  }
  return [...bySeries.values()].map((list) => list.sort((a, b) => a.tsMs - b.tsMs || a.value - b.value));
}

// Alerts.

/** All alerts, once the clock has gone on for so long that whatever is silent has been found so. */
export function expectedAlerts(given: Given): PlainAlert[] {
  return judgedBySeries(given).flatMap((series) => [
    ...breachAlerts(series, "low"),
    ...breachAlerts(series, "high"),
    ...silenceAlerts(series, given),
  ]);
}

/** Of a series' readings in order: runs of breaches, none further from the one before than the gap of that one. */
function breachAlerts(series: readonly Judged[], kind: "low" | "high"): PlainAlert[] {
  const episodes: Judged[][] = [];
  for (const breach of series.filter(({ breach: side }) => side === kind)) {
    const before = episodes.at(-1)?.at(-1);
    if (before && breach.tsMs - before.tsMs <= before.judge.band!.gapMs) episodes.at(-1)!.push(breach);
    else episodes.push([breach]);
  }
  const newestMs = series.at(-1)!.tsMs;
  return episodes.flatMap((episode) => {
    const first = episode[0]!;
    const last = episode.at(-1)!;
    if (last.tsMs - first.tsMs < first.judge.band!.forMs) return [];
    const furthest = (kind === "high" ? Math.max : Math.min)(...episode.map(({ value }) => value));
    const worst = episode.find(({ value }) => value === furthest)!;
    const isOver = newestMs - last.tsMs > last.judge.band!.gapMs;
    return [
      {
        ...nameOf(first),
        kind,
        severity: episode.some(({ critical }) => critical) ? "critical" : "warning",
        state: isOver ? "resolved" : "firing",
        startedAtMs: first.tsMs,
        endedAtMs: isOver ? last.tsMs : null,
        value: furthest,
        low: worst.judge.band!.warningLow,
        high: worst.judge.band!.warningHigh,
        thresholdVersion: worst.judge.version!.version,
        breaches: episode.length,
      } as const,
    ];
  });
}

/** Gaps between readings, and the one after the newest, of which as much was watched as makes a silence. */
function silenceAlerts(series: readonly Judged[], { versions, ticks }: Given): PlainAlert[] {
  const watched = watchedTime(ticks);
  return series.flatMap((reading, i) => {
    const { tsMs: startedAtMs } = reading;
    const endedAtMs = series[i + 1]?.tsMs ?? null;
    const { version, band } = judgeAt(versions, reading, startedAtMs);
    const limitMs = silenceMs(band);
    const watchedMs = watched
      .map(({ fromMs, toMs }) => Math.min(toMs, endedAtMs ?? Infinity) - Math.max(fromMs, startedAtMs))
      .reduce((sum, overlapMs) => sum + Math.max(0, overlapMs), 0);
    if (limitMs === null || watchedMs < limitMs) return [];
    return [
      {
        ...nameOf(reading),
        kind: "silence",
        severity: "warning",
        state: endedAtMs === null ? "firing" : "resolved",
        startedAtMs,
        endedAtMs,
        value: (endedAtMs === null ? limitMs : endedAtMs - startedAtMs) / 1000,
        low: null,
        high: limitMs / 1000,
        thresholdVersion: version!.version,
        breaches: 0,
      } as const,
    ];
  });
}

/** How long a silence is; null: it is not judged. */
function silenceMs(band: Band | undefined): number | null {
  if (!band || band.intervalMs === null || band.silenceIntervals === 0) return null;
  const intervals = band.silenceIntervals ?? null;
  return intervals === null ? Math.max(60_000, 10 * band.intervalMs) : Math.ceil(intervals * band.intervalMs);
}

interface Stretch {
  readonly fromMs: number;
  readonly toMs: number;
}

/**
 * Between two ticks, where sources were connected and the clock went on without a jump: three minutes, or twice the
 * watched step before where ticks come more rarely, but no more than twenty. While the clock is behind where it was, nothing
 * is watched; but where it was set back by more than an hour, it had been wrong, and goes on from there. What was watched
 * once does not count again: stretches are apart.
 */
function watchedTime(ticks: readonly GivenTick[]): Stretch[] {
  const found: Stretch[] = [];
  let throughMs = -Infinity;
  ticks.forEach(({ nowMs, watching }, i) => {
    const before = ticks[i - 1];
    if (nowMs < throughMs - 3_600_000) throughMs = nowMs;
    else if (before && watching) {
      const stepMs = nowMs - before.nowMs;
      const beforeThat = ticks[i - 2];
      const stepBeforeMs = beforeThat && before.watching ? before.nowMs - beforeThat.nowMs : 0;
      const jumpMs = Math.min(20 * 60_000, Math.max(3 * 60_000, 2 * stepBeforeMs));
      const fromMs = Math.max(before.nowMs, throughMs);
      if (stepMs > jumpMs || fromMs >= nowMs) return;
      found.push({ fromMs, toMs: nowMs });
      throughMs = nowMs;
    }
  });
  const stretches: Stretch[] = [];
  for (const { fromMs, toMs } of found.toSorted((a, b) => a.fromMs - b.fromMs)) {
    const newMs = Math.max(fromMs, ...stretches.map((stretch) => stretch.toMs));
    if (newMs < toMs) stretches.push({ fromMs: newMs, toMs });
  }
  return stretches;
}

function nameOf({ site, device, metric }: Key): Key {
  return { site, device, metric };
}

// Reports.

/** A number that is known but for what rounding and the sketch may take from it. */
interface About {
  readonly least: number;
  readonly most: number;
}

interface ExpectedMetric {
  readonly metric: string;
  readonly count: number;
  readonly min: number;
  readonly max: number;
  readonly mean: number;
  readonly breaches: number;
  readonly critical: number;
  readonly p50: About;
  readonly p99: About;
  readonly drift: About | null;
  readonly expected: number;
  readonly stamped: number;
}

interface ExpectedDevice {
  readonly site: string;
  readonly device: string;
  readonly alerts: number;
  readonly metrics: readonly ExpectedMetric[];
}

/**
 * What is wrong with a day's report, one line each. alerts: of all days; undefined: their number is not looked at.
 * healthOf: of a device on another day, as reported; undefined where it was not.
 */
export function reportProblems(
  given: Given,
  day: string,
  report: DailyReport | undefined,
  alerts: readonly PlainAlert[] | undefined,
  healthOf: (day: string, site: string, device: string) => number | undefined,
): string[] {
  const { timezone } = given;
  const all = judgedBySeries(given);
  const ofDay = all.map((series) => series.filter(({ tsMs }) => dayOf(timezone, tsMs) === day));
  if (ofDay.every((readings) => readings.length === 0)) return report ? ["a report without readings"] : [];
  if (!report) return ["no report"];
  const problems = new Problems();
  const devices = expectedDevices(given, day, all, ofDay, alerts ?? []);
  problems.same("day", report.day, day);
  problems.same("timezone", report.timezone, timezone);
  checkCompleteness(problems, given, day, report, devices);
  checkLineage(problems, given, report, ofDay.flat());
  problems.same("devices", report.devices.map(titleOf), devices.map(titleOf));
  for (const expected of devices) {
    const got = report.devices.find((one) => titleOf(one) === titleOf(expected));
    if (!got) continue;
    const within = problems.within(titleOf(expected));
    if (alerts) within.same("alerts", got.alerts, expected.alerts);
    checkDevice(within, got, expected);
    checkTrend(within.within("trend"), day, got, (earlier) => healthOf(earlier, got.site, got.device));
  }
  return problems.lines;
}

class Problems {
  readonly lines: string[];
  readonly #where: string;

  constructor(lines: string[] = [], where = "") {
    this.lines = lines;
    this.#where = where;
  }

  within(name: string): Problems {
    return new Problems(this.lines, `${this.#where}${name}: `);
  }

  same(what: string, got: unknown, expected: unknown): void {
    const [is, ought] = [JSON.stringify(got), JSON.stringify(expected)];
    if (is !== ought) this.lines.push(`${this.#where}${what} is ${is} where ${ought} is expected`);
  }

  about(what: string, got: number | null, expected: About | null): void {
    if (got === null && expected === null) return;
    if (got !== null && expected !== null && got >= expected.least && got <= expected.most) return;
    this.lines.push(`${this.#where}${what} is ${got} where ${JSON.stringify(expected)} is expected`);
  }
}

function titleOf({ site, device }: Pick<Key, "site" | "device">): string {
  return `${site}/${device}`;
}

function expectedDevices(
  given: Given,
  day: string,
  all: readonly Judged[][],
  ofDay: readonly Judged[][],
  alerts: readonly PlainAlert[],
): ExpectedDevice[] {
  const titles = [...new Set(ofDay.flat().map(titleOf))].toSorted();
  return titles.map((title) => {
    const [site = "", device = ""] = title.split("/");
    const own = ofDay.flat().filter((one) => titleOf(one) === title);
    const newestMs = Math.max(...own.map(({ tsMs }) => tsMs));
    const metrics = all.flatMap((everReading, index) => {
      const readings = ofDay[index]!;
      if (readings.length === 0 || titleOf(readings[0]!) !== title) return [];
      return [expectedMetric(given, day, readings, everReading[0]!.tsMs, newestMs)];
    });
    const began = alerts.filter((one) => titleOf(one) === title && dayOf(given.timezone, one.startedAtMs) === day);
    const byName = metrics.toSorted((a, b) => (a.metric < b.metric ? -1 : 1));
    return { site, device, alerts: began.length, metrics: byName };
  });
}

/** firstMs: of the series' first reading ever. newestMs: of the device's newest of the day. */
function expectedMetric(
  given: Given,
  day: string,
  readings: readonly Judged[],
  firstMs: number,
  newestMs: number,
): ExpectedMetric {
  const values = readings.map(({ value }) => value).toSorted((a, b) => a - b);
  const said = readings.flatMap(({ judge: { version, band } }) => (version && band ? [version] : []));
  const last = inOrder(said).at(-1);
  const entry = last && entryOf(last, readings[0]!);
  const clockMs = Math.max(-Infinity, ...given.ticks.map(({ nowMs }) => nowMs));
  const endMs = startOfDay(given.timezone, dayAfter(day, 1));
  const untilMs = Math.min(endMs, Math.max(clockMs, newestMs + 1));
  const stretchMs = untilMs - Math.max(startOfDay(given.timezone, day), firstMs);
  const intervalMs = entry?.band.intervalMs ?? medianGap(readings, given.timezone);
  return {
    metric: readings[0]!.metric,
    count: values.length,
    min: values[0]!,
    max: values.at(-1)!,
    mean: exactMean(values),
    breaches: readings.filter(({ breach }) => breach !== null).length,
    critical: readings.filter(({ critical }) => critical).length,
    p50: quantile(values, 50),
    p99: quantile(values, 99),
    drift: entry?.baseline ? driftFrom(values, entry.baseline) : null,
    expected: intervalMs === null ? values.length : Math.max(1, Math.round(stretchMs / intervalMs)),
    stamped: readings.filter(({ stamped }) => stamped).length,
  };
}

/** The median gap between readings, those within a local hour counted as their mean; null where there is none. */
function medianGap(readings: readonly Judged[], timezone: string): number | null {
  const hours = new Map<string, number[]>();
  for (const { tsMs } of readings) {
    const { hourName } = localTime(timezone, tsMs);
    hours.set(hourName, [...(hours.get(hourName) ?? []), tsMs]);
  }
  const gaps: number[] = [];
  let beforeMs: number | undefined;
  for (const times of hours.values()) {
    const firstMs = times[0]!;
    const lastMs = times.at(-1)!;
    if (beforeMs !== undefined) gaps.push(firstMs - beforeMs);
    const steps = times.length - 1;
    for (let i = 0; i < steps; i++) gaps.push((lastMs - firstMs) / steps);
    beforeMs = lastMs;
  }
  gaps.sort((a, b) => a - b);
  return gaps[Math.ceil(gaps.length / 2) - 1] || null;
}

/**
 * By nearest rank. The least and the greatest are exact; else the middle of a bucket that is 2^-12 of its value wide, to
 * half a key, which is 2^-20 of it; and what is smaller than 1e-300 may pass for 0.
 */
function quantile(sorted: readonly number[], percent: number): About {
  const rank = Math.max(1, Math.ceil((percent * sorted.length) / 100));
  const exact = sorted[rank - 1]!;
  const error = rank === 1 || rank === sorted.length ? 0 : Math.abs(exact) * (2 ** -13 + 2 ** -21) + 1e-300;
  return { least: Math.max(sorted[0]!, exact - error), most: Math.min(sorted.at(-1)!, exact + error) };
}

/** The mean shift of three quantiles as a share of the baseline's spread. */
function driftFrom(sorted: readonly number[], { p05, p50, p95 }: Baseline): About {
  const shifts = (
    [
      [5, p05],
      [50, p50],
      [95, p95],
    ] as const
  ).map(([percent, base]) => {
    const { least, most } = quantile(sorted, percent);
    const ends = [Math.abs(least - base), Math.abs(most - base)];
    return { least: least <= base && base <= most ? 0 : Math.min(...ends), most: Math.max(...ends) };
  });
  const share = (shift: number): number => (shift === 0 ? 0 : Math.min(1, shift / 3 / (p95 - p05)));
  return {
    least: share(shifts.reduce((sum, { least }) => sum + least, 0)) * (1 - 1e-12),
    most: share(shifts.reduce((sum, { most }) => sum + most, 0)) * (1 + 1e-12),
  };
}

function checkCompleteness(
  problems: Problems,
  given: Given,
  day: string,
  report: DailyReport,
  devices: readonly ExpectedDevice[],
): void {
  const metrics = devices.flatMap((device) => device.metrics);
  const rejected: Record<string, number> = {};
  for (const tick of given.ticks.filter(({ nowMs }) => dayOf(given.timezone, nowMs) === day)) {
    for (const [reason, count] of Object.entries(tick.rejected)) rejected[reason] = (rejected[reason] ?? 0) + count;
  }
  const got = report.completeness;
  const within = problems.within("completeness");
  within.same("readings", got.readings, total(metrics, "count"));
  within.same("expectedReadings", got.expectedReadings, total(metrics, "expected"));
  within.same("ratio", got.ratio, shareThatCame(metrics));
  within.same("stampedReadings", got.stampedReadings, total(metrics, "stamped"));
  within.same("reasons", Object.keys(got.rejected).toSorted(), Object.keys(rejected).toSorted());
  for (const [reason, count] of Object.entries(rejected)) within.same(reason, got.rejected[reason], count);
  within.same("dropped", got.dropped, {});
}

function checkLineage(problems: Problems, given: Given, { lineage }: DailyReport, readings: readonly Judged[]): void {
  const judged = readings.flatMap(({ judge: { version, band } }) => (version && band ? [version.version] : []));
  const versions = [...new Set(judged)].toSorted((a, b) => a - b);
  const times = readings.map(({ tsMs }) => tsMs);
  const range = { firstTsMs: Math.min(...times), lastTsMs: Math.max(...times), readings: times.length };
  problems.same("thresholdVersions", lineage.thresholdVersions, versions);
  const sources = lineage.sources.map(({ agent, firstTsMs, lastTsMs, readings: count }) => {
    return { agent, firstTsMs, lastTsMs, readings: count };
  });
  problems.same("sources", sources, [{ agent: given.agent, ...range }]);
}

function total(metrics: readonly ExpectedMetric[], field: "count" | "expected" | "stamped" | "breaches"): number {
  return metrics.reduce((sum, metric) => sum + metric[field], 0);
}

/** What is more than expected of one makes up for no other. */
function shareThatCame(metrics: readonly ExpectedMetric[]): number {
  const came = metrics.reduce((sum, { count, expected }) => sum + Math.min(count, expected), 0);
  return came / total(metrics, "expected");
}

type DeviceReport = DailyReport["devices"][number];

function checkDevice(problems: Problems, got: DeviceReport, { metrics }: ExpectedDevice): void {
  problems.same("readings", got.readings, total(metrics, "count"));
  problems.same("expectedReadings", got.expectedReadings, total(metrics, "expected"));
  problems.same("availability", got.availability, shareThatCame(metrics));
  problems.same("breaches", got.breaches, total(metrics, "breaches"));
  problems.same(
    "metrics",
    got.metrics.map(({ metric, count, min, max, mean, breaches }) => ({ metric, count, min, max, mean, breaches })),
    metrics.map(({ metric, count, min, max, mean, breaches }) => ({ metric, count, min, max, mean, breaches })),
  );
  for (const expected of metrics) {
    const metric = got.metrics.find((one) => one.metric === expected.metric);
    if (!metric) continue;
    const within = problems.within(expected.metric);
    within.about("p50", metric.p50, expected.p50);
    within.about("p99", metric.p99, expected.p99);
    within.about("drift", metric.drift, expected.drift);
  }
  checkHealth(problems.within("health"), got, metrics);
}

/** To a tenth: rounded either way where it is half-way, since the parts are tenths themselves. */
function checkHealth(problems: Problems, got: DeviceReport, metrics: readonly ExpectedMetric[]): void {
  const tenth = (value: number): About => ({ least: value - 0.05 - 1e-9, most: value + 0.05 + 1e-9 });
  // Critical breaches count thrice; a tenth of the readings is as bad as it gets.
  const share = Math.max(...metrics.map(({ count, breaches, critical }) => (breaches + 2 * critical) / count));
  const drift = Math.max(0, ...got.metrics.map((metric) => metric.drift ?? 0));
  const { availability, breaches, drift: drifted } = got.healthParts;
  problems.about("availability", availability, tenth(100 * shareThatCame(metrics)));
  problems.about("breaches", breaches, tenth(100 - 100 * Math.min(1, share / 0.1)));
  problems.about("drift", drifted, tenth(100 - 100 * drift));
  problems.about("score", got.health, tenth(0.3 * availability + 0.5 * breaches + 0.2 * drifted));
  for (const score of [availability, breaches, drifted, got.health]) {
    problems.same("tenths", score, Number(score.toFixed(1)));
  }
}

/** Theil–Sen over the last 30 days, by the scores reported of them. */
function checkTrend(
  problems: Problems,
  day: string,
  { health, trend }: DeviceReport,
  healthOf: (day: string) => number | undefined,
): void {
  const scores: Array<{ readonly at: number; readonly health: number }> = [{ at: 0, health }];
  for (let ago = 1; ago < 30; ago++) {
    const earlier = healthOf(dayAfter(day, -ago));
    if (earlier !== undefined) scores.push({ at: -ago, health: earlier });
  }
  problems.same("days", trend.days, scores.length);
  if (scores.length < 3) {
    problems.same("slope", [trend.slopePerDay, trend.daysUntilCritical], [null, null]);
    return;
  }
  const slopes = scores
    .flatMap((a, i) => scores.slice(i + 1).map((b) => (a.health - b.health) / (a.at - b.at)))
    .toSorted((a, b) => a - b);
  const half = (slopes.length - 1) / 2;
  const median = (slopes[Math.floor(half)]! + slopes[Math.ceil(half)]!) / 2;
  problems.about("slope", trend.slopePerDay, { least: median - 0.0005 - 1e-9, most: median + 0.0005 + 1e-9 });
  const slope = trend.slopePerDay ?? 0;
  const left = Math.max(0, health - 40) / -slope;
  const until = slope < 0 ? { least: left - 0.05 - 1e-9, most: left + 0.05 + 1e-9 } : null;
  problems.about("days until critical", trend.daysUntilCritical, until);
}
