import { readFileSync } from "node:fs";
import { CodedError, errorMessage } from "@weir/shared/errors";
import type { Alert } from "@weir/shared/model/alert";
import type { Band, SeriesBand, ThresholdVersion } from "@weir/shared/model/thresholds";
import { createCalendar } from "@weir/shared/operators/calendar";
import { parseBandRules } from "@weir/shared/rules/parse-rules";
import type { Store } from "./store/store.ts";

/** Bands of a band by hour of the week: Monday 00:00 first. */
const HOURS_OF_WEEK = 168;

/** Alerts of one kind and severity of a device: under the versions in force, and under the candidate. */
export interface BacktestKind {
  readonly kind: string;
  readonly severity: string;
  readonly inForce: number;
  readonly candidate: number;
}

export interface BacktestDevice {
  readonly site: string;
  readonly device: string;
  readonly inForce: number;
  readonly candidate: number;
  /** By kind, then severity. */
  readonly kinds: readonly BacktestKind[];
}

/** How many alerts a candidate would have raised, next to how many were. Devices with most of the candidate's first. */
export interface Backtest {
  readonly inForce: number;
  readonly candidate: number;
  readonly devices: readonly BacktestDevice[];
}

/**
 * The version that `text` names: a number of a version in the log, or a file of rules or of a whole version, as
 * docs/thresholds.md and the aggregator's API have them. It judges the whole of event time. timezone: of a file of rules.
 * Throws CodedError BAD_CANDIDATE that says what is wrong.
 */
export function readCandidate(text: string, store: Store, timezone: string): ThresholdVersion {
  const known = store.thresholdVersions(Number.MAX_SAFE_INTEGER);
  if (/^\d+$/.test(text)) {
    const version = known.find((one) => one.version === Number(text));
    if (version) return { ...version, effectiveFromMs: -Infinity };
    const there = known.length > 0 ? `it has ${known.map((one) => one.version).join(", ")}` : "it has none";
    throw new CodedError("BAD_CANDIDATE", `The log has no threshold version ${text}: ${there}.`);
  }
  try {
    const json: unknown = JSON.parse(readFileSync(text, "utf8"));
    // A number of its own, so that its alerts are told from those of the log.
    const next = Math.max(0, ...known.map((one) => one.version)) + 1;
    return parseCandidate(json, next, timezone);
  } catch (error) {
    throw new CodedError("BAD_CANDIDATE", `--thresholds ${text}: ${errorMessage(error)}`, { cause: error });
  }
}

/**
 * A version from JSON: rules, or a whole version, whose own number and start do not matter here. number: for one without.
 * Throws CodedError BAD_RULES or BAD_TIMEZONE.
 */
export function parseCandidate(json: unknown, number: number, timezone: string): ThresholdVersion {
  if (!isRecord(json)) throw new CodedError("BAD_RULES", "it must be an object: rules, or a whole threshold version.");
  const version = {
    version: typeof json.version === "number" && json.version > 0 ? json.version : number,
    effectiveFromMs: -Infinity,
    createdAtMs: 0,
    timezone: typeof json.timezone === "string" ? json.timezone : timezone,
    note: typeof json.note === "string" ? json.note : "",
  };
  // Says what is wrong with a name that is none.
  createCalendar(version.timezone);
  if (json.series === undefined) return { ...version, rules: parseBandRules(json), series: [] };
  if (!Array.isArray(json.series)) throw new CodedError("BAD_RULES", "series must be a list.");
  const rules = json.rules === undefined ? [] : parseBandRules(json);
  return { ...version, rules, series: json.series.map(parseSeriesBand) };
}

function parseSeriesBand(entry: unknown, index: number): SeriesBand {
  const where = `series[${index}]`;
  if (!isRecord(entry)) throw new CodedError("BAD_RULES", `${where} is not an object.`);
  const { site, device, metric, band, hourOfWeek, baseline } = entry;
  if (typeof site !== "string" || typeof device !== "string" || typeof metric !== "string") {
    throw new CodedError("BAD_RULES", `${where} must name its site, device and metric.`);
  }
  const parsed: SeriesBand = { site, device, metric, band: parseBand(band, `${where}.band`) };
  const baselined = isRecord(baseline)
    ? { ...parsed, baseline: baseline as unknown as SeriesBand["baseline"] & {} }
    : parsed;
  if (hourOfWeek === undefined || hourOfWeek === null) return baselined;
  if (!Array.isArray(hourOfWeek) || hourOfWeek.length !== HOURS_OF_WEEK) {
    throw new CodedError("BAD_RULES", `${where}.hourOfWeek must have ${HOURS_OF_WEEK} bands.`);
  }
  const hours = hourOfWeek.map((hour, at) => parseBand(hour, `${where}.hourOfWeek[${at}]`));
  return { ...baselined, hourOfWeek: hours };
}

/** Bands are checked as those of rules are. */
function parseBand(band: unknown, where: string): Band {
  try {
    return parseBandRules({ rules: [{ band }] })[0]!.band;
  } catch (error) {
    throw new CodedError("BAD_RULES", errorMessage(error).replaceAll("rules[0].band", where), { cause: error });
  }
}

/** Counts alerts by device, kind and severity. Those that late data took back do not count. */
export function compareAlerts(inForce: Iterable<Alert>, candidate: Iterable<Alert>): Backtest {
  const kinds = new Map<string, { alert: Alert; inForce: number; candidate: number }>();
  const count = (alerts: Iterable<Alert>, side: "inForce" | "candidate"): void => {
    for (const alert of alerts) {
      if (alert.state === "withdrawn") continue;
      const name = JSON.stringify([alert.site, alert.device, alert.kind, alert.severity]);
      let counts = kinds.get(name);
      if (!counts) kinds.set(name, (counts = { alert, inForce: 0, candidate: 0 }));
      counts[side]++;
    }
  };
  count(inForce, "inForce");
  count(candidate, "candidate");
  const devices = new Map<string, { site: string; device: string; kinds: BacktestKind[] }>();
  for (const { alert, ...counts } of kinds.values()) {
    const { site, device, kind, severity } = alert;
    const name = `${site}/${device}`;
    const known = devices.get(name) ?? { site, device, kinds: [] };
    known.kinds.push({ kind, severity, ...counts });
    devices.set(name, known);
  }
  const all = [...devices.values()].map((device) => ({
    ...device,
    inForce: sum(device.kinds, "inForce"),
    candidate: sum(device.kinds, "candidate"),
    kinds: device.kinds.toSorted((a, b) => order(`${a.kind} ${a.severity}`, `${b.kind} ${b.severity}`)),
  }));
  all.sort((a, b) => b.candidate - a.candidate || order(`${a.site}/${a.device}`, `${b.site}/${b.device}`));
  return { inForce: sum(all, "inForce"), candidate: sum(all, "candidate"), devices: all };
}

/** A table for a person: a row a device, kind and severity, and the sums. */
export function describeBacktest({ inForce, candidate, devices }: Backtest): string {
  const rows = [["DEVICE", "KIND", "SEVERITY", "IN FORCE", "CANDIDATE", "DIFFERENCE"]];
  for (const { site, device, kinds } of devices) {
    for (const kind of kinds) {
      rows.push([`${site}/${device}`, kind.kind, kind.severity, ...numbers(kind.inForce, kind.candidate)]);
    }
  }
  rows.push(["total", "", "", ...numbers(inForce, candidate)]);
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const cell = (text: string, column: number): string =>
    column < 3 ? text.padEnd(widths[column]!) : text.padStart(widths[column]!);
  return `${rows.map((row) => row.map(cell).join("  ").trimEnd()).join("\n")}\n`;
}

function numbers(inForce: number, candidate: number): string[] {
  const difference = candidate - inForce;
  return [String(inForce), String(candidate), difference > 0 ? `+${difference}` : String(difference)];
}

function sum(
  parts: ReadonlyArray<{ readonly inForce: number; readonly candidate: number }>,
  side: "inForce" | "candidate",
): number {
  return parts.reduce((total, part) => total + part[side], 0);
}

/** Of names, by code units: the same on every machine. */
function order(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
