import type { DailyReport, DeviceReport, MetricReport } from "@weir/shared/model/report";

/** What a field may hold; null: the field is null or, in one of two reports, not there. */
export type FieldValue = number | string | null;

/** One field that differs. Fields within objects are named with dots, such as `healthParts.drift`. */
export interface FieldChange {
  readonly field: string;
  readonly before: FieldValue;
  readonly after: FieldValue;
}

/** Of a device or metric: not in the report before, no longer in it, or in both and different. */
export type ChangeKind = "added" | "gone" | "changed";

export interface MetricChange {
  readonly metric: string;
  readonly change: ChangeKind;
  /** Those that differ; of a metric that came or went, its count. */
  readonly fields: readonly FieldChange[];
}

export interface DeviceChange {
  readonly site: string;
  readonly device: string;
  readonly change: ChangeKind;
  /** Those that differ; of a device that came or went, its readings and health. */
  readonly fields: readonly FieldChange[];
  readonly metrics: readonly MetricChange[];
  /** Metrics that differ and are not listed. */
  readonly metricsLeftOut: number;
}

/** What differs between a report and the one issued before it, bounded in length. */
export interface ReportChanges {
  /** One line for people, such as `2 devices changed: pump-7 readings 100 → 120, fan-1 gone`. */
  readonly summary: string;
  /** Of completeness, lineage and time zone. */
  readonly fields: readonly FieldChange[];
  readonly fieldsLeftOut: number;
  /** Those that came or went first, then those whose health and readings moved most. */
  readonly devices: readonly DeviceChange[];
  /** Devices that differ and are not listed. */
  readonly devicesLeftOut: number;
}

/** Devices listed, metrics of one device, and fields of the report itself, at most. */
export const DEVICES_LISTED_MAX = 100;
export const METRICS_LISTED_MAX = 50;
export const REPORT_FIELDS_LISTED_MAX = 100;

/** No device is added to the list once it holds this many fields. */
const FIELDS_LISTED_MAX = 1000;

/** Devices that a summary names, and its characters, at most. */
const DEVICES_NAMED_MAX = 3;
const SUMMARY_LENGTH_MAX = 400;

/** What tells most of a change, first; else the first field that differs. */
const TELLING_FIELDS = ["readings", "alerts", "breaches", "health", "availability", "expectedReadings"];

/**
 * What a revision changed. before and after are reports of one day; their revisions are not compared. Where they differ
 * in anything else, the lists and the numbers left out are not all empty.
 */
export function reportChanges(before: DailyReport, after: DailyReport): ReportChanges {
  const fields = differences(reportFields(before), reportFields(after));
  const all = pairs(before.devices, after.devices, ({ site, device }) => `${site}/${device}`)
    .flatMap(([one, other]) => deviceChange(one, other))
    .toSorted(mostFirst);
  const devices: DeviceChange[] = [];
  let listed = 0;
  for (const change of all) {
    if (devices.length >= DEVICES_LISTED_MAX || listed >= FIELDS_LISTED_MAX) break;
    devices.push(change);
    listed += change.fields.length + change.metrics.reduce((sum, metric) => sum + metric.fields.length, 0);
  }
  return {
    summary: summaryOf(all, fields),
    fields: fields.slice(0, REPORT_FIELDS_LISTED_MAX),
    fieldsLeftOut: Math.max(0, fields.length - REPORT_FIELDS_LISTED_MAX),
    devices,
    devicesLeftOut: all.length - devices.length,
  };
}

function deviceChange(before: DeviceReport | undefined, after: DeviceReport | undefined): DeviceChange[] {
  const one = after ?? before;
  if (!one) return [];
  const head = { site: one.site, device: one.device };
  if (!before || !after) {
    const only = ({ readings, health }: DeviceReport): Fields => fieldsOf({ readings, health });
    const fields = differences(before ? only(before) : NOTHING, after ? only(after) : NOTHING);
    return [{ ...head, change: after ? "added" : "gone", fields, metrics: [], metricsLeftOut: 0 }];
  }
  const fields = differences(deviceFields(before), deviceFields(after));
  const metrics = pairs(before.metrics, after.metrics, ({ metric }) => metric).flatMap(([from, to]) =>
    metricChange(from, to),
  );
  if (fields.length === 0 && metrics.length === 0) return [];
  const metricsLeftOut = Math.max(0, metrics.length - METRICS_LISTED_MAX);
  return [{ ...head, change: "changed", fields, metrics: metrics.slice(0, METRICS_LISTED_MAX), metricsLeftOut }];
}

function metricChange(before: MetricReport | undefined, after: MetricReport | undefined): MetricChange[] {
  const metric = (after ?? before)?.metric ?? "";
  if (!before || !after) {
    const fields = [{ field: "count", before: before?.count ?? null, after: after?.count ?? null }];
    return [{ metric, change: after ? "added" : "gone", fields }];
  }
  const fields = differences(fieldsOf(before), fieldsOf(after));
  return fields.length === 0 ? [] : [{ metric, change: "changed", fields }];
}

type Fields = ReadonlyMap<string, FieldValue>;

const NOTHING: Fields = new Map();

function reportFields({ devices: _devices, revision: _revision, lineage, ...rest }: DailyReport): Fields {
  const { sources, thresholdVersions, ...lineageRest } = lineage;
  const bySource = Object.fromEntries(sources.map(({ agent, ...source }) => [agent, source]));
  return fieldsOf({ ...rest, lineage: { ...lineageRest, thresholdVersions, sources: bySource } });
}

function deviceFields({ metrics: _metrics, site: _site, device: _device, ...rest }: DeviceReport): Fields {
  return fieldsOf(rest);
}

/** Every field of an object by its path; lists of plain values are one field. */
function fieldsOf(value: object, path = "", fields = new Map<string, FieldValue>()): Fields {
  for (const [name, member] of Object.entries(value) as Array<[string, unknown]>) {
    const field = path === "" ? name : `${path}.${name}`;
    if (Array.isArray(member)) fields.set(field, member.join(", "));
    else if (typeof member === "object" && member !== null) fieldsOf(member, field, fields);
    else fields.set(field, member as FieldValue);
  }
  return fields;
}

function differences(before: Fields, after: Fields): FieldChange[] {
  const names = new Set([...before.keys(), ...after.keys()]);
  return [...names].flatMap((field) => {
    const change = { field, before: before.get(field) ?? null, after: after.get(field) ?? null };
    return change.before === change.after ? [] : [change];
  });
}

/** Items of two lists side by side by their names. Of items of one name, the first goes with the first, and so on. */
function pairs<T>(
  before: readonly T[],
  after: readonly T[],
  nameOf: (item: T) => string,
): Array<[T | undefined, T | undefined]> {
  const named = (items: readonly T[]): Map<string, T> => {
    const seen = new Map<string, number>();
    return new Map(
      items.map((item) => {
        const name = nameOf(item);
        const nth = seen.get(name) ?? 0;
        seen.set(name, nth + 1);
        return [`${name}\n${nth}`, item];
      }),
    );
  };
  const [ones, others] = [named(before), named(after)];
  const names = new Set([...ones.keys(), ...others.keys()]);
  return [...names].toSorted().map((name) => [ones.get(name), others.get(name)]);
}

function mostFirst(a: DeviceChange, b: DeviceChange): number {
  return (
    Number(a.change === "changed") - Number(b.change === "changed") ||
    moved(b, "health") - moved(a, "health") ||
    moved(b, "readings") - moved(a, "readings")
  );
}

function moved({ fields }: DeviceChange, name: string): number {
  const change = fields.find(({ field }) => field === name);
  return change ? Math.abs(Number(change.after) - Number(change.before)) : 0;
}

function summaryOf(devices: readonly DeviceChange[], fields: readonly FieldChange[]): string {
  if (devices.length === 0) return shortened(fields.slice(0, DEVICES_NAMED_MAX).map(fieldWords).join(", "));
  const named = devices.slice(0, DEVICES_NAMED_MAX).map(deviceWords).join(", ");
  const rest = devices.length - DEVICES_NAMED_MAX;
  const changed = `${devices.length} ${devices.length === 1 ? "device" : "devices"} changed`;
  return shortened(`${changed}: ${named}${rest > 0 ? ` and ${rest} more` : ""}`);
}

function deviceWords({ device, change, fields, metrics }: DeviceChange): string {
  if (change !== "changed") return `${device} ${change}`;
  const telling = TELLING_FIELDS.flatMap((name) => fields.filter(({ field }) => field === name));
  const field = telling[0] ?? fields[0];
  if (field) return `${device} ${fieldWords(field)}`;
  const [metric] = metrics;
  const first = metric?.fields[0];
  return metric && first ? `${device} ${metric.metric} ${fieldWords(first)}` : device;
}

function fieldWords({ field, before, after }: FieldChange): string {
  return `${field} ${fieldText(field, before, 5)} → ${fieldText(field, after, 5)}`;
}

/** A field's value for people: times in ISO 8601, whole numbers as they are, others to so many significant digits. */
export function fieldText(field: string, value: FieldValue, digits: number): string {
  if (value === null || value === "") return "none";
  if (typeof value === "string") return value;
  if (field.endsWith("TsMs")) return new Date(value).toISOString();
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(digits)));
}

function shortened(text: string): string {
  return text.length <= SUMMARY_LENGTH_MAX ? text : `${text.slice(0, SUMMARY_LENGTH_MAX - 1)}…`;
}
