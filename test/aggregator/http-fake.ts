import type {
  AgentView,
  AlertFilter,
  AlertView,
  DeviceDetail,
  DeviceView,
  LiveEvent,
  Queries,
  Quarantine,
  ReportListing,
  ReportRevision,
  SeriesColumns,
  SeriesRange,
  ThresholdListing,
} from "@weir/aggregator/queries";
import { reportCsv } from "@weir/aggregator/http/report-csv";
import { reportPage } from "@weir/aggregator/http/report-html";
import { reportChanges } from "@weir/aggregator/report-changes";
import { CodedError } from "@weir/shared/errors";
import type { AlertKind, AlertState, Severity } from "@weir/shared/model/alert";
import { alertId } from "@weir/shared/model/alert";
import { canonicalJson } from "@weir/shared/model/canonical-json";
import type { DailyReport, DeviceReport } from "@weir/shared/model/report";
import type { Band, ThresholdVersion } from "@weir/shared/model/thresholds";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** A small plant in memory that answers as the stores do, and can be told what happens next. */
export interface FakeQueries extends Queries {
  /** Adds or replaces an alert and tells the watchers. */
  push(alert: AlertView): void;
  emit(event: LiveEvent): void;
  readonly listeners: number;
  /** What train, publish and report were asked, oldest first. */
  readonly asked: unknown[];
  /** Thrown by the next call of any method that can fail. */
  failNext: Error | undefined;
  isReady: boolean;
  reportOf(day: string): DailyReport | undefined;
}

/** A device whose clock is ahead, and one of which no reading was ever taken. */
const QUARANTINE = { sinceMs: 12 * MINUTE_MS, lastMs: 900, aheadMs: 52_000, readings: 1431 };

const METRICS: ReadonlyArray<{ name: string; base: number; swing: number; high: number; low: number | null }> = [
  { name: "bearing_temperature", base: 62, swing: 9, high: 74, low: null },
  { name: "vibration_rms", base: 2.4, swing: 0.8, high: 3.6, low: null },
  { name: "oil_pressure", base: 4.2, swing: 0.4, high: 5, low: 3.5 },
];

const DEVICES: ReadonlyArray<{ site: string; device: string; agent: string; health: number | null; ageMs: number }> = [
  { site: "leipzig", device: "press-01", agent: "gw-leipzig-1", health: 96.4, ageMs: 4_000 },
  { site: "leipzig", device: "press-02", agent: "gw-leipzig-1", health: 58.2, ageMs: 5_000 },
  { site: "leipzig", device: "press-03", agent: "gw-leipzig-1", health: 99.1, ageMs: 4_000 },
  { site: "leipzig", device: "conveyor-a", agent: "gw-leipzig-1", health: 88.7, ageMs: 9_000 },
  { site: "brno", device: "pump-7", agent: "gw-brno-1", health: 31.5, ageMs: 3_000 },
  { site: "brno", device: "pump-8", agent: "gw-brno-1", health: 97.8, ageMs: 3_000 },
  { site: "brno", device: "compressor-2", agent: "gw-brno-1", health: 74.9, ageMs: 6_000 },
  { site: "ostrava", device: "fan-north", agent: "gw-ostrava-1", health: null, ageMs: 3 * HOUR_MS },
];

/** An alert of the plant; fields may be given otherwise. */
export function fakeAlert(nowMs: number, over: Partial<AlertView> = {}): AlertView {
  const key = { site: "brno", device: "pump-7", metric: "bearing_temperature", ...over };
  const kind: AlertKind = over.kind ?? "high";
  const startedAtMs = over.startedAtMs ?? nowMs - 90_000;
  return {
    kind,
    severity: "critical",
    state: "firing",
    endedAtMs: null,
    value: 91.37,
    low: null,
    high: 74,
    thresholdVersion: 3,
    breaches: 87,
    agent: "gw-brno-1",
    ackedBy: null,
    ackedAtMs: null,
    inhibited: false,
    ...key,
    startedAtMs,
    id: over.id ?? alertId(key, kind, startedAtMs),
  };
}

/** nowMs: the newest event time of the plant. */
export function createFakeQueries(nowMs: number, options: { readonly alerts?: number } = {}): FakeQueries {
  const alerts = new Map<string, AlertView>();
  for (const alert of manyAlerts(nowMs, options.alerts ?? 24)) alerts.set(alert.id, alert);
  if (options.alerts === undefined) for (const alert of silences(nowMs)) alerts.set(alert.id, alert);
  const listeners = new Set<(event: LiveEvent) => void>();
  const versions = fakeVersions(nowMs);
  const asked: unknown[] = [];
  const reports = new Map<string, DailyReport>();
  for (let age = 0; age < 9; age++) {
    const day = new Date(nowMs - age * DAY_MS).toISOString().slice(0, 10);
    reports.set(day, fakeReport(day, age === 0 ? 0 : age === 2 ? 2 : 1, nowMs - age * DAY_MS));
  }

  const fake: FakeQueries = {
    asked,
    failNext: undefined,
    isReady: true,
    get listeners() {
      return listeners.size;
    },
    emit(event) {
      for (const listener of listeners) listener(event);
    },
    push(alert) {
      alerts.set(alert.id, alert);
      fake.emit({ type: "alert", alert });
    },
    agents: () => (mayFail(), fakeAgents(nowMs)),
    devices: async () => (mayFail(), DEVICES.map((entry) => deviceView(entry, nowMs, alerts))),
    device(site, device) {
      const entry = DEVICES.find((candidate) => candidate.site === site && candidate.device === device);
      return entry && deviceDetail(deviceView(entry, nowMs, alerts));
    },
    series(site, device, metric, range) {
      asked.push(range);
      return fakeColumns(site, device, metric, range, nowMs);
    },
    alerts(filter) {
      mayFail();
      return [...alerts.values()]
        .filter((alert) => matches(alert, filter))
        .sort(newestFirst)
        .slice(0, filter.limit);
    },
    acknowledge(id, by) {
      const alert = alerts.get(id);
      if (!alert) return undefined;
      if (alert.ackedBy === null) fake.push({ ...alert, ackedBy: by, ackedAtMs: nowMs });
      return alerts.get(id);
    },
    reportDays: () => [...reports.values()].map(listing),
    async report(day, { recompute, format }) {
      mayFail();
      asked.push({ day, recompute });
      const report = reports.get(day);
      if (!report) return undefined;
      if (format === "csv") return Buffer.from(reportCsv(report));
      if (format === "html") return Buffer.from(reportPage(report, fakeRevisions(report)));
      return Buffer.from(canonicalJson(report));
    },
    reportOf: (day) => reports.get(day),
    revision(day, revision) {
      const newest = reports.get(day);
      if (!newest || revision > newest.revision) return undefined;
      return revision < newest.revision ? new Uint8Array(0) : Buffer.from(canonicalJson(newest));
    },
    revisions(day) {
      const report = reports.get(day);
      return report && { day, total: report.revision, revisions: fakeRevisions(report) };
    },
    thresholds: () => versions.map(thresholdListing),
    threshold: (version) => versions.find((candidate) => candidate.version === version),
    async train({ days, note }) {
      mayFail();
      asked.push({ train: days });
      const version = versions.length + 1;
      const trained = { ...versions[0]!, version, note, createdAtMs: nowMs };
      versions.unshift(trained);
      return { ...thresholdListing(trained), state: "draft", agents: [] };
    },
    publish(version, { effectiveFromMs }) {
      const found = versions.findIndex((candidate) => candidate.version === version);
      if (found < 0) throw new CodedError("UNKNOWN_VERSION", `There is no threshold version ${version}.`);
      asked.push({ publish: version, effectiveFromMs });
      versions[found] = { ...versions[found]!, effectiveFromMs: effectiveFromMs ?? nowMs + MINUTE_MS };
      published.add(version);
      return thresholdListing(versions[found]);
    },
    ready: () => fake.isReady,
    metrics: () => "# TYPE weir_readings_total counter\nweir_readings_total 12\n",
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  const published = new Set([1, 2, 3]);
  return fake;

  function mayFail(): void {
    const error = fake.failNext;
    fake.failNext = undefined;
    if (error) throw error;
  }
  function thresholdListing(version: ThresholdVersion): ThresholdListing {
    const isPublished = published.has(version.version);
    return {
      version: version.version,
      state: isPublished ? "published" : "draft",
      effectiveFromMs: version.effectiveFromMs,
      createdAtMs: version.createdAtMs,
      note: version.note,
      rules: version.rules.length,
      series: version.series.length,
      agents: !isPublished
        ? []
        : version.version === 3
          ? ["gw-brno-1", "gw-leipzig-1"]
          : fakeAgents(nowMs).map((a) => a.agent),
    };
  }
}

function matches(alert: AlertView, filter: AlertFilter): boolean {
  return (
    (filter.state === undefined || alert.state === filter.state) &&
    (filter.site === undefined || alert.site === filter.site) &&
    (filter.device === undefined || alert.device === filter.device) &&
    (filter.inhibited === undefined || alert.inhibited === filter.inhibited) &&
    (filter.sinceMs === undefined || alert.startedAtMs >= filter.sinceMs)
  );
}

function newestFirst(a: AlertView, b: AlertView): number {
  return b.startedAtMs - a.startedAtMs;
}

/** Of the gateway that is offline, and one whose gateway is there. */
function silences(nowMs: number): AlertView[] {
  const over = { kind: "silence", severity: "warning", value: 60, low: null, high: 60, breaches: 0 } as const;
  const away = { site: "ostrava", device: "fan-north", agent: "gw-ostrava-1", inhibited: true };
  return [
    fakeAlert(nowMs, { ...over, ...away, metric: "vibration_rms", startedAtMs: nowMs - 3 * HOUR_MS }),
    fakeAlert(nowMs, { ...over, ...away, metric: "oil_pressure", startedAtMs: nowMs - 3 * HOUR_MS - 5000 }),
    fakeAlert(nowMs, { ...over, device: "pump-8", metric: "oil_pressure", startedAtMs: nowMs - 4 * MINUTE_MS }),
  ];
}

function manyAlerts(nowMs: number, count: number): AlertView[] {
  const alerts: AlertView[] = [];
  for (let i = 0; i < count; i++) {
    const entry = DEVICES[(i * 3 + 4) % (DEVICES.length - 1)]!;
    const metric = METRICS[i % METRICS.length]!;
    const kind: AlertKind = metric.low !== null && i % 2 === 1 ? "low" : "high";
    const severity: Severity = i % 4 === 0 ? "critical" : "warning";
    const state: AlertState = i < 4 ? "firing" : i % 11 === 10 ? "withdrawn" : "resolved";
    const startedAtMs = nowMs - 70_000 - Math.round(i ** 1.7) * 7 * MINUTE_MS;
    const limit = kind === "high" ? metric.high : metric.low!;
    const acked = i % 3 === 2;
    alerts.push(
      fakeAlert(nowMs, {
        site: entry.site,
        device: entry.device,
        metric: metric.name,
        agent: entry.agent,
        kind,
        severity,
        state,
        startedAtMs,
        low: metric.low,
        high: metric.high,
        endedAtMs: state === "firing" ? null : startedAtMs + 4 * MINUTE_MS + i * 1000,
        value: Number((limit * (kind === "high" ? 1.04 + (i % 5) * 0.03 : 0.86)).toFixed(3)),
        breaches: 12 + ((i * 37) % 400),
        ackedBy: acked ? "Jana Nováková" : null,
        ackedAtMs: acked ? startedAtMs + 2 * MINUTE_MS : null,
      }),
    );
  }
  return alerts;
}

function deviceView(
  entry: (typeof DEVICES)[number],
  nowMs: number,
  alerts: ReadonlyMap<string, AlertView>,
): DeviceView {
  const firing = [...alerts.values()].filter(
    (alert) =>
      alert.state === "firing" && !alert.inhibited && alert.site === entry.site && alert.device === entry.device,
  );
  return {
    site: entry.site,
    device: entry.device,
    agent: entry.agent,
    metrics: METRICS.map((metric) => metric.name),
    firstTsMs: nowMs - 20 * DAY_MS,
    lastTsMs: nowMs - entry.ageMs,
    watermarkMs: nowMs - entry.ageMs,
    firing: firing.length,
    health: entry.health,
    quarantine: entry.device === "press-02" ? { agent: entry.agent, ...quarantine(nowMs) } : null,
  };
}

function quarantine(nowMs: number): Omit<Quarantine, "agent"> {
  return { ...QUARANTINE, sinceMs: nowMs - QUARANTINE.sinceMs, lastMs: nowMs - QUARANTINE.lastMs };
}

function deviceDetail(view: DeviceView): DeviceDetail {
  const series = METRICS.map(({ name, base, swing }, index) => ({
    metric: name,
    lastTsMs: view.lastTsMs,
    lastValue: Number(signal(base, swing, view.lastTsMs, index).toFixed(3)),
  }));
  return { ...view, series };
}

/** A day's swing with some noise, the same for the same time. */
function signal(base: number, swing: number, tsMs: number, seed: number): number {
  const noise = Math.sin(tsMs / 7919 + seed) * Math.cos(tsMs / 1013 + seed * 3);
  return base + swing * (0.55 * Math.sin((tsMs / DAY_MS) * 2 * Math.PI) + 0.25 * Math.sin(tsMs / 1.1e6) + 0.2 * noise);
}

function fakeColumns(
  site: string,
  device: string,
  metric: string,
  { fromMs, toMs, stepMs: askedStepMs }: SeriesRange,
  nowMs: number,
): SeriesColumns | undefined {
  const index = METRICS.findIndex((candidate) => candidate.name === metric);
  const kind = METRICS[index];
  if (!kind) return undefined;
  const stepMs = Math.max(askedStepMs, 10_000);
  const rows: Array<{ tsMs: number; min: number; max: number; mean: number; breaches: number }> = [];
  const burstMs = device === "pump-7" ? nowMs - 12 * MINUTE_MS : Number.NaN;
  for (let tsMs = Math.ceil(fromMs / stepMs) * stepMs; tsMs < Math.min(toMs, nowMs); tsMs += stepMs) {
    // An hour without data a day, so that charts have a gap to show.
    if (tsMs % DAY_MS > 3 * HOUR_MS && tsMs % DAY_MS < 4 * HOUR_MS) continue;
    const near = Math.max(0, 1 - Math.abs(tsMs - burstMs) / (4 * MINUTE_MS)) || 0;
    const mean = signal(kind.base, kind.swing, tsMs, index) + near * kind.swing * 2.2;
    const spread = kind.swing * (0.12 + 0.05 * Math.sin(tsMs / 3e5));
    const max = mean + spread;
    rows.push({ tsMs, min: mean - spread, max, mean, breaches: max > kind.high ? Math.ceil(near * 9) + 1 : 0 });
  }
  return {
    site,
    device,
    metric,
    stepMs: askedStepMs,
    tsMs: rows.map((row) => row.tsMs),
    count: rows.map(() => Math.max(1, stepMs / 1000)),
    min: rows.map((row) => row.min),
    max: rows.map((row) => row.max),
    mean: rows.map((row) => row.mean),
    breaches: rows.map((row) => row.breaches),
    low: rows.map(() => kind.low),
    high: rows.map(() => kind.high),
  };
}

function fakeAgents(nowMs: number): AgentView[] {
  const ledger = {
    stored: 182_440_119,
    duplicates: 2_210,
    rejected: { json_malformed: 14, time_ahead: 3 },
    dropped: {},
  };
  const there = {
    connected: true,
    caughtUp: true,
    gauges: { refolds_total: 4 },
    quarantined: [],
    inhibitedAlerts: 0,
  };
  return [
    {
      agent: "gw-brno-1",
      ...there,
      lastSeenMs: nowMs - 800,
      version: "0.1.0",
      thresholdVersion: 3,
      series: 9,
      readings: 182_440_119,
      ledger,
    },
    {
      agent: "gw-leipzig-1",
      ...there,
      quarantined: [
        { site: "leipzig", device: "press-02", ...quarantine(nowMs) },
        { site: "leipzig", device: "press-99", ...quarantine(nowMs), aheadMs: 7_260_000, readings: 1 },
      ],
      lastSeenMs: nowMs - 400,
      version: "0.1.0",
      thresholdVersion: 3,
      series: 12,
      readings: 204_118_330,
      ledger: { stored: 204_118_330, duplicates: 0, rejected: {}, dropped: {} },
    },
    {
      agent: "gw-ostrava-1",
      ...there,
      connected: false,
      caughtUp: false,
      inhibitedAlerts: 2,
      lastSeenMs: nowMs - 3 * HOUR_MS,
      version: "0.1.0",
      thresholdVersion: 2,
      series: 3,
      readings: 9_180_004,
      ledger: { stored: 9_180_004, duplicates: 41, rejected: { topic_unmapped: 1204 }, dropped: { log_full: 30 } },
    },
  ];
}

const BAND: Band = {
  warningLow: null,
  warningHigh: 74,
  criticalLow: null,
  criticalHigh: 85,
  forMs: 0,
  gapMs: 300_000,
  intervalMs: 1000,
};

function fakeVersions(nowMs: number): ThresholdVersion[] {
  const make = (version: number, ageMs: number, note: string): ThresholdVersion => ({
    version,
    effectiveFromMs: nowMs - ageMs,
    createdAtMs: nowMs - ageMs - 5 * MINUTE_MS,
    timezone: "Europe/Prague",
    note,
    rules: [{ match: { site: "*", device: "pump-*", metric: "bearing_temperature" }, band: BAND }],
    series: DEVICES.flatMap(({ site, device }) =>
      METRICS.map((metric) => ({
        site,
        device,
        metric: metric.name,
        band: { ...BAND, warningHigh: metric.high, warningLow: metric.low, criticalHigh: metric.high * 1.15 },
        baseline: { p05: metric.base - metric.swing, p50: metric.base, p95: metric.base + metric.swing },
      })),
    ),
  });
  return [
    make(4, -30 * MINUTE_MS, "trained from 14 days, with the new compressor"),
    make(3, 2 * DAY_MS, "trained from 14 days"),
    make(2, 9 * DAY_MS, "trained from 7 days"),
    make(1, 18 * DAY_MS, "by hand, from the data sheets"),
  ];
}

/** The report as it was before readings of two devices came late. */
function beforeLateData(report: DailyReport): DailyReport {
  const devices = report.devices.map((device): DeviceReport => {
    if (!["pump-7", "press-01"].includes(device.device)) return device;
    const [metric, ...others] = device.metrics;
    const earlier = { ...metric!, count: metric!.count - 300, p99: metric!.p99 - 1.25 };
    return { ...device, readings: device.readings - 300, health: device.health - 1.5, metrics: [earlier, ...others] };
  });
  const { completeness } = report;
  const readings = completeness.readings - 600;
  const ratio = readings / completeness.expectedReadings;
  return { ...report, devices, completeness: { ...completeness, readings, ratio } };
}

/** All revisions, newest first: each but the first as if the same readings had come late. */
function fakeRevisions(report: DailyReport): ReportRevision[] {
  const before = beforeLateData(report);
  const changes = reportChanges(before, report);
  return Array.from({ length: report.revision }, (_, index) => {
    const revision = report.revision - index;
    const issuedAtMs = Date.parse(`${report.day}T00:10:00Z`) + DAY_MS + revision * HOUR_MS;
    const { completeness } = report;
    if (revision === 1) return { revision, issuedAtMs, completenessBefore: null, completeness, changes: null };
    return { revision, issuedAtMs, completenessBefore: before.completeness, completeness, changes };
  });
}

function listing(report: DailyReport): ReportListing {
  const { day, revision, devices } = report;
  const issuedAtMs = revision === 0 ? null : Date.parse(`${day}T00:10:00Z`) + DAY_MS;
  const worstHealth = revision === 0 ? null : Math.min(...devices.map((device) => device.health));
  const changeSummary = revision > 1 ? reportChanges(beforeLateData(report), report).summary : null;
  return { day, revision, issuedAtMs, devices: devices.length, worstHealth, changeSummary };
}

function fakeReport(day: string, revision: number, endMs: number): DailyReport {
  const devices = DEVICES.filter((entry) => entry.health !== null).map((entry): DeviceReport => {
    const health = entry.health!;
    const readings = Math.round(259_200 * (0.9 + health / 1000));
    return {
      site: entry.site,
      device: entry.device,
      health,
      healthParts: {
        availability: Math.min(100, 60 + health / 2.5),
        breaches: Math.max(0, Number((health * 1.1 - 10).toFixed(1))),
        drift: Math.min(100, Number((health + 4).toFixed(1))),
      },
      availability: readings / 259_200,
      readings,
      expectedReadings: 259_200,
      alerts: health < 70 ? 7 : health < 90 ? 2 : 0,
      breaches: health < 70 ? 412 : health < 90 ? 31 : 0,
      metrics: METRICS.map((metric) => ({
        metric: metric.name,
        count: Math.round(readings / 3),
        min: metric.base - metric.swing * 1.1,
        max: metric.high * 1.08,
        mean: metric.base + 0.123456789,
        p50: metric.base,
        p99: metric.high,
        breaches: health < 90 ? 12 : 0,
        drift: metric.name === "oil_pressure" ? null : 0.042,
      })),
      trend: {
        days: 9,
        slopePerDay: health < 40 ? -2.31 : health < 70 ? -0.42 : 0.05,
        daysUntilCritical: health < 40 ? 0 : health < 70 ? 43.3 : null,
      },
    };
  });
  const readings = devices.reduce((sum, device) => sum + device.readings, 0);
  const expectedReadings = devices.reduce((sum, device) => sum + device.expectedReadings, 0);
  return {
    day,
    timezone: "Europe/Prague",
    revision,
    devices,
    completeness: {
      readings,
      expectedReadings,
      ratio: readings / expectedReadings,
      stampedReadings: 120,
      rejected: { json_malformed: 14, time_ahead: 3 },
      dropped: {},
    },
    lineage: {
      operatorVersion: 2,
      thresholdVersions: [2, 3],
      sources: [
        {
          agent: "gw-brno-1",
          firstTsMs: endMs - DAY_MS,
          lastTsMs: endMs - 1000,
          readings: Math.round(readings * 0.45),
        },
        {
          agent: "gw-leipzig-1",
          firstTsMs: endMs - DAY_MS,
          lastTsMs: endMs - 1000,
          readings: Math.round(readings * 0.55),
        },
      ],
    },
  };
}
