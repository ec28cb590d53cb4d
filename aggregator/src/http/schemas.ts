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
    kind: { type: "string", enum: ["high", "low"] },
    severity: { type: "string", enum: ["warning", "critical"] },
    state: { type: "string", enum: ["firing", "resolved", "withdrawn"] },
    startedAtMs: timeMs,
    endedAtMs: nullable(timeMs),
    value: { type: "number", description: "the worst reading" },
    low: nullable(number),
    high: nullable(number),
    thresholdVersion: whole,
    breaches: whole,
    agent: text,
    ackedBy: nullable(text),
    ackedAtMs: nullable(timeMs),
  },
  "An episode of breaches of one series and kind.",
);

const agent = object({
  agent: text,
  connected: { type: "boolean" },
  lastSeenMs: nullable(timeMs),
  version: text,
  thresholdVersion: nullable(whole),
  series: whole,
  readings: whole,
  ledger: object({ stored: whole, duplicates: whole, rejected: counts, dropped: counts }),
});

const deviceProperties = {
  site: text,
  device: text,
  agent: text,
  metrics: listOf(text),
  firstTsMs: timeMs,
  lastTsMs: timeMs,
  firing: whole,
  health: nullable(number),
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

const dailyReport = object(
  {
    day: text,
    timezone: text,
    revision: whole,
    completeness: object({
      readings: whole,
      expectedReadings: whole,
      ratio: number,
      stampedReadings: whole,
      rejected: counts,
      dropped: counts,
    }),
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
    }),
  },
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
