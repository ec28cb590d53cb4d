/**
 * JSON schemas of what the API answers, for OpenAPI. They describe and do not filter: answers are what Queries gives.
 */

type Schema = Readonly<Record<string, unknown>>;

const text: Schema = { type: "string" };
const whole: Schema = { type: "integer" };
const number: Schema = { type: "number" };
const timeMs: Schema = { type: "integer", description: "milliseconds since 1970-01-01 UTC" };
const counts: Schema = { type: "object", additionalProperties: { type: "integer" }, description: "counts by reason" };

function nullable(schema: Schema): Schema {
  return { ...schema, type: [schema["type"], "null"] };
}

function listOf(items: Schema): Schema {
  return { type: "array", items };
}

function object(properties: Readonly<Record<string, Schema>>, description?: string): Schema {
  const required = Object.keys(properties);
  return { type: "object", required, properties, ...(description === undefined ? {} : { description }) };
}

const alert = object(
  {
    id: text,
    site: text,
    device: text,
    metric: text,
    kind: { type: "string", description: "high or low: outside the band; silence: no readings; others may come" },
    severity: { type: "string", enum: ["warning", "critical"] },
    state: { type: "string", enum: ["firing", "resolved", "withdrawn"] },
    startedAtMs: timeMs,
    endedAtMs: nullable(timeMs),
    value: { type: "number", description: "the worst reading; of silence: seconds" },
    low: nullable(number),
    high: nullable(number),
    thresholdVersion: whole,
    breaches: whole,
    agent: text,
    ackedBy: nullable(text),
    ackedAtMs: nullable(timeMs),
    inhibited: {
      type: "boolean",
      description: "silence that is firing while its agent is away: held back, as nothing can be heard of the device",
    },
  },
  "An episode of breaches or of silence of one series and kind.",
);

const quarantineProperties = {
  sinceMs: timeMs,
  lastMs: { ...timeMs, description: "when the reading refused last came, by the agent's clock" },
  aheadMs: { type: "integer", description: "how far that reading's time was ahead of the agent's clock, ms" },
  readings: { type: "integer", description: "refused since sinceMs" },
};

const agent = object({
  agent: text,
  connected: { type: "boolean" },
  caughtUp: { type: "boolean", description: "connected, and what it had to tell of alerts since it was away is here" },
  lastSeenMs: nullable(timeMs),
  version: text,
  thresholdVersion: nullable(whole),
  series: whole,
  readings: whole,
  ledger: object({ stored: whole, duplicates: whole, rejected: counts, dropped: counts }),
  gauges: { type: "object", additionalProperties: number, description: "numbers of its inner life by name" },
  quarantined: listOf(object({ site: text, device: text, ...quarantineProperties })),
  inhibitedAlerts: { type: "integer", description: "silence alerts of its devices held back while it is away" },
});

const deviceProperties = {
  site: text,
  device: text,
  agent: text,
  metrics: listOf(text),
  firstTsMs: timeMs,
  lastTsMs: timeMs,
  watermarkMs: {
    ...timeMs,
    description: "the device's own watermark: its newest accepted event time; no other device moves it",
  },
  firing: { type: "integer", description: "alerts that are firing and not held back" },
  health: nullable(number),
  quarantine: {
    ...nullable(object({ agent: text, ...quarantineProperties })),
    description: "its readings are refused because its clock runs ahead of its agent's; null: they are taken",
  },
};

const seriesColumns = object(
  {
    site: text,
    device: text,
    metric: text,
    stepMs: whole,
    tsMs: listOf(timeMs),
    count: listOf(whole),
    min: listOf(number),
    max: listOf(number),
    mean: listOf(number),
    breaches: listOf(whole),
    low: listOf(nullable(number)),
    high: listOf(nullable(number)),
  },
  "Columns of equal length, a row a step that has readings.",
);

const thresholdListing = object({
  version: whole,
  state: { type: "string", enum: ["draft", "published"] },
  effectiveFromMs: timeMs,
  createdAtMs: timeMs,
  note: text,
  rules: whole,
  series: whole,
  agents: listOf(text),
});

const band = object({
  warningLow: nullable(number),
  warningHigh: nullable(number),
  criticalLow: nullable(number),
  criticalHigh: nullable(number),
  forMs: whole,
  gapMs: whole,
  intervalMs: nullable(number),
});

const thresholdVersion = object({
  version: whole,
  effectiveFromMs: timeMs,
  createdAtMs: timeMs,
  timezone: text,
  note: text,
  rules: listOf(object({ match: object({ site: text, device: text, metric: text }), band })),
  series: listOf({
    type: "object",
    required: ["site", "device", "metric", "band"],
    properties: {
      site: text,
      device: text,
      metric: text,
      band,
      hourOfWeek: { type: "array", items: band, description: "168 bands, Monday 00:00 first" },
      baseline: object({ p05: number, p50: number, p95: number }),
    },
  }),
});

const metricReport = object({
  metric: text,
  count: whole,
  min: number,
  max: number,
  mean: number,
  p50: number,
  p99: number,
  breaches: whole,
  drift: nullable(number),
});

const completeness = object({
  readings: whole,
  expectedReadings: whole,
  ratio: number,
  stampedReadings: whole,
  rejected: counts,
  dropped: counts,
});

const dailyReport = object(
  {
    day: text,
    timezone: text,
    revision: whole,
    completeness,
    lineage: object({
      operatorVersion: whole,
      thresholdVersions: listOf(whole),
      sources: listOf(object({ agent: text, firstTsMs: timeMs, lastTsMs: timeMs, readings: whole })),
    }),
    devices: listOf(
      object({
        site: text,
        device: text,
        health: number,
        healthParts: object({ availability: number, breaches: number, drift: number }),
        availability: number,
        readings: whole,
        expectedReadings: whole,
        alerts: whole,
        breaches: whole,
        metrics: listOf(metricReport),
        trend: object({ days: whole, slopePerDay: nullable(number), daysUntilCritical: nullable(number) }),
      }),
    ),
  },
  "A day's health of every device, as canonical JSON.",
);

const changeKind: Schema = { type: "string", enum: ["added", "gone", "changed"] };
const fieldValue: Schema = { type: ["number", "string", "null"] };
const fieldChanges: Schema = listOf(object({ field: text, before: fieldValue, after: fieldValue }));

const reportChanges = object({
  summary: text,
  fields: { ...fieldChanges, description: "of completeness, lineage and time zone" },
  fieldsLeftOut: whole,
  devices: listOf(
    object({
      site: text,
      device: text,
      change: changeKind,
      fields: fieldChanges,
      metrics: listOf(object({ metric: text, change: changeKind, fields: fieldChanges })),
      metricsLeftOut: whole,
    }),
  ),
  devicesLeftOut: { type: "integer", description: "devices that differ and are not listed" },
});

const reportRevisions = object(
  {
    day: text,
    total: { type: "integer", description: "0: not issued yet" },
    revisions: listOf(
      object({
        revision: whole,
        issuedAtMs: timeMs,
        completenessBefore: nullable(completeness),
        completeness,
        changes: { ...nullable(reportChanges), description: "against the revision before; null: this is the first" },
      }),
    ),
  },
  "The newest revisions of a day's report, newest first.",
);

/** Named schemas, components of the OpenAPI document. */
export const NAMED_SCHEMAS: ReadonlyArray<Schema & { readonly $id: string }> = [
  { $id: "Alert", ...alert },
  { $id: "Agent", ...agent },
  { $id: "Device", ...object(deviceProperties) },
  {
    $id: "DeviceDetail",
    ...object({
      ...deviceProperties,
      series: listOf(object({ metric: text, lastTsMs: timeMs, lastValue: number })),
    }),
  },
  { $id: "SeriesColumns", ...seriesColumns },
  {
    $id: "ReportListing",
    ...object({
      day: text,
      revision: whole,
      issuedAtMs: nullable(timeMs),
      devices: whole,
      worstHealth: nullable(number),
      changeSummary: { ...nullable(text), description: "what the newest revision changed; null: there is none" },
    }),
  },
  { $id: "ReportRevisions", ...reportRevisions },
  { $id: "DailyReport", ...dailyReport },
  { $id: "ThresholdListing", ...thresholdListing },
  { $id: "ThresholdVersion", ...thresholdVersion },
  { $id: "Error", ...object({ error: object({ code: text, message: text }) }) },
];

/** Answers of a route: `ok` under 200, and the error's shape under the other statuses it can have. */
export function responses(ok: Schema, ...errorStatuses: readonly number[]): Readonly<Record<string, unknown>> {
  const answers: Record<string, unknown> = { 200: ok };
  for (const status of errorStatuses) answers[status] = { $ref: "Error#" };
  return answers;
}

/** Reference to a named schema. */
export function ref(name: string): Schema {
  return { $ref: `${name}#` };
}

/** A list of a named schema. */
export function refs(name: string): Schema {
  return listOf(ref(name));
}
