import { gunzipSync, gzipSync } from "node:zlib";
import { canonicalJson } from "@weir/shared/model/canonical-json";
import type { DailyReport } from "@weir/shared/model/report";
import type { Calendar } from "@weir/shared/operators/calendar";
import { dailyReport } from "@weir/shared/operators/report";
import type { ThresholdHistory } from "@weir/shared/operators/thresholds";
import { reportChanges } from "../report-changes.ts";
import type { SqlDatabase } from "./database.ts";
import { SqlReportSource } from "./report-source.ts";

/** A report that was made. */
export interface MadeReport {
  /** With the revision of the issued report of the same content, the next one where it has changed, 1 without any. */
  readonly report: DailyReport;
  /** Canonical JSON of report. */
  readonly bytes: string;
  /** The newest that was issued; undefined: none was. */
  readonly issued: IssuedBytes | undefined;
  /** Health of days, among them this one, that was not kept and is now known. */
  readonly health: ReadonlyMap<string, ReadonlyMap<string, number>>;
}

/** The newest report of a day as it was issued. */
export interface IssuedBytes {
  readonly revision: number;
  readonly bytes: string;
}

/** A revision that is ready to be issued: all that takes long is done. Texts are UTF-8, to be handed over. */
export interface NewRevision {
  readonly day: string;
  readonly revision: number;
  readonly issuedAtMs: number;
  readonly devices: number;
  readonly worstHealth: number;
  /** JSON. */
  readonly completeness: string;
  /** Against the revision before, JSON; null: this is the first. */
  readonly changes: string | null;
  /** Of the changes, in words. */
  readonly summary: string | null;
  /** The report's bytes, by gzip: what is written within the transaction that issues them is little. */
  readonly body: Uint8Array;
  /** Of its devices: see DayHealth. */
  readonly health: Uint8Array;
}

/** Health of every device on a day, to be kept: JSON of pairs of `site/device` and health. */
export interface DayHealth {
  readonly day: string;
  readonly body: Uint8Array;
}

const utf8 = new TextEncoder();

/** The fastest: a report is names and numbers, and a tenth of its length by any. */
const GZIP_LEVEL = 1;

/**
 * The report of a day from what is stored; undefined without readings. It only reads: call it within one transaction,
 * whose snapshot it then speaks of. batch: everything merged anew from the windows.
 */
export function makeReport(
  db: SqlDatabase,
  thresholds: ThresholdHistory,
  calendar: Calendar,
  day: string,
  options: { readonly batch: boolean },
): MadeReport | undefined {
  const source = new SqlReportSource(db, thresholds, calendar, options);
  const issued = issuedBytes(db, day);
  const report = dailyReport(source, day, issued?.revision ?? 1);
  if (!report) return undefined;
  const own = new Map(report.devices.map(({ site, device, health }) => [`${site}/${device}`, health]));
  const health = new Map([...source.computed, [day, own]]);
  const bytes = canonicalJson(report);
  if (!issued || bytes === issued.bytes) return { report, bytes, issued, health };
  const revised = { ...report, revision: issued.revision + 1 };
  return { report: revised, bytes: canonicalJson(revised), issued, health };
}

/** What is to be issued of a report that was made; undefined: it was issued as it is. */
export function newRevision({ report, bytes, issued, health }: MadeReport, nowMs: number): NewRevision | undefined {
  if (issued?.bytes === bytes) return undefined;
  const changes = issued ? reportChanges(JSON.parse(issued.bytes) as DailyReport, report) : null;
  return {
    day: report.day,
    revision: report.revision,
    issuedAtMs: nowMs,
    devices: report.devices.length,
    worstHealth: report.devices.reduce((worst, device) => Math.min(worst, device.health), Infinity),
    completeness: JSON.stringify(report.completeness),
    changes: changes && JSON.stringify(changes),
    summary: changes?.summary ?? null,
    // Memory of its own, that can be handed over: what zlib gives may lie in that of others.
    body: new Uint8Array(gzipSync(bytes, { level: GZIP_LEVEL })),
    health: healthBody(health.get(report.day) ?? new Map()),
  };
}

/** The health that a report has made known, to be kept; of days without readings there is none. */
export function dayHealths({ health }: MadeReport): DayHealth[] {
  const found = [...health].filter(([, devices]) => devices.size > 0);
  return found.map(([day, devices]) => ({ day, body: healthBody(devices) }));
}

function healthBody(devices: ReadonlyMap<string, number>): Uint8Array {
  return utf8.encode(JSON.stringify([...devices]));
}

/** The newest report of a day as it was issued; undefined: none was. */
export function issuedBytes(db: SqlDatabase, day: string): IssuedBytes | undefined {
  const sql = "SELECT revision, body FROM reports WHERE day = ? ORDER BY revision DESC LIMIT 1";
  const row = db.get<{ revision: number; body: StoredBody }>(sql, day);
  return row && { revision: row.revision, bytes: Buffer.from(storedBytes(row.body)).toString() };
}

/** A report's body in a row: by gzip; in files of before, the text itself; empty: no longer kept. */
export type StoredBody = Uint8Array | string;

/** The bytes of a stored body; empty: it is no longer kept. */
export function storedBytes(body: StoredBody): Uint8Array {
  return typeof body === "string" ? utf8.encode(body) : gunzipSync(body);
}
