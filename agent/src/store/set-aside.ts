import { closeSync, existsSync, fsyncSync, openSync, readdirSync, renameSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import Database from "better-sqlite3";
import { CodedError, errorMessage } from "@weir/shared/errors";
import { makeTables } from "./data-file.ts";
import { frameChecksum, INSERT_FRAME } from "./outbox-rows.ts";
import type { Salvage } from "./salvage.ts";
import { salvage } from "./salvage.ts";
import { ENTRY_THRESHOLDS } from "./schema.ts";
import { alertFrames } from "../pipeline/frames.ts";

/**
 * What is done with a data file that is damaged: it is kept under another name, and a new file with what could be read
 * of it takes its place.
 *
 * The new file is made whole beside the damaged one before anything is renamed, so that a crash at any moment leaves
 * either the damaged file in its place, or the new one (see finishSetAside). The damaged file itself is not written.
 */

/** Salvage reads no longer than this, about, ms: a gateway should watch again soon. */
const SALVAGE_MS_MAX = 10_000;

const SUFFIXES = ["", "-wal", "-shm"];

const NOTHING: Salvage = {
  versions: [],
  series: [],
  ledger: [],
  meta: [],
  imports: [],
  alertFrames: [],
  endedAlerts: [],
  newestTsMs: -Infinity,
  logReadings: 0,
  lostReadings: 0,
  unread: ["the file"],
};

export interface SetAsideOptions {
  /** The clock, ms. */
  readonly nowMs: number;
  /** Readings may be as far ahead of the clock as this. */
  readonly aheadMaxMs: number;
  /** Damaged files kept, at least 1; the oldest go. */
  readonly keptMax: number;
}

/** Where a damaged file now is, and what a person should know of it. */
export interface SetAsideFile {
  readonly movedTo: string;
  readonly message: string;
}

/**
 * Sets a damaged data file aside and puts a new one in its place. No connection may be writing it. problem: what is
 * wrong, for the message. Throws CodedError DATA_FILE_DAMAGED when that is impossible, such as for a full disk.
 */
export function setAside(path: string, problem: string, options: SetAsideOptions): SetAsideFile {
  try {
    let found = salvage(path, options.nowMs, SALVAGE_MS_MAX, () => performance.now());
    try {
      makeNext(path, found, options);
    } catch (error) {
      // What was read of it may be too odd for a new file. A disk that is full now may have room at the next start.
      if (isDisk(error)) throw error;
      found = NOTHING;
      makeNext(path, found, options);
    }
    const movedTo = freeName(path, options.nowMs);
    for (const suffix of SUFFIXES) moveIfThere(path + suffix, movedTo + suffix);
    renameSync(`${path}.next`, path);
    syncFolder(path);
    const deleted = deleteOldest(path, movedTo, options.keptMax);
    return { movedTo, message: describe(path, problem, movedTo, found, deleted, options) };
  } catch (error) {
    const message = `${path} is damaged (${problem}) and cannot be set aside: ${errorMessage(error)}.`;
    throw new CodedError("DATA_FILE_DAMAGED", message, { cause: error });
  }
}

/** Whether the disk, or who may write it, is what keeps a file from being made. */
function isDisk(error: unknown): boolean {
  const code = String((error as { code?: unknown } | null)?.code);
  return /^SQLITE_(FULL|IOERR|CANTOPEN|READONLY|PERM)|^E[A-Z]+$/.test(code);
}

/** Ends what a crash within setAside left half done. To be called before a data file is opened for writing. */
export function finishSetAside(path: string): void {
  const next = `${path}.next`;
  if (!existsSync(next)) return;
  if (existsSync(path)) {
    // Nothing was renamed yet: the damaged file is found and set aside again.
    removeFile(next);
    return;
  }
  const newest = setAsideFiles(path).at(-1);
  // A write-ahead log of the old file must never meet the new one.
  for (const suffix of SUFFIXES.slice(1)) {
    if (newest) moveIfThere(path + suffix, newest + suffix);
    else rmSync(path + suffix, { force: true });
  }
  renameSync(next, path);
  syncFolder(path);
}

/** Data files set aside beside a data file, the oldest first. */
export function setAsideFiles(path: string): string[] {
  const prefix = `${basename(path)}.corrupt-`;
  return readdirSync(dirname(path))
    .filter((name) => name.startsWith(prefix) && !/-(wal|shm)$/.test(name))
    .toSorted()
    .map((name) => join(dirname(path), name));
}

/** Makes the file that is to take the place of a damaged one: one transaction, one file, on disk when this returns. */
function makeNext(path: string, found: Salvage, options: SetAsideOptions): void {
  const next = `${path}.next`;
  removeFile(next);
  const db = new Database(next);
  try {
    db.pragma("synchronous = FULL");
    db.transaction(() => {
      makeTables(db);
      fillNext(db, found, options);
    })();
  } finally {
    db.close();
  }
}

/** In the caller's transaction. */
function fillNext(db: Database.Database, found: Salvage, options: SetAsideOptions): void {
  const meta = db.prepare("REPLACE INTO meta VALUES (?, ?)");
  for (const [key, value] of found.meta) meta.run(key, value);
  const log = db.prepare("INSERT INTO log VALUES (?, ?, ?, NULL, NULL, 0, ?)");
  let logBytes = 0;
  found.versions.forEach((version, index) => {
    const body = Buffer.from(JSON.stringify(version));
    log.run(index + 1, ENTRY_THRESHOLDS, options.nowMs, body);
    logBytes += body.length;
  });
  meta.run("log_seq", found.versions.length);
  meta.run("log_bytes", logBytes);
  // What the old log held is not in this one: no re-fold may take this one for all that there was.
  const wholeFromMs = Math.max(found.newestTsMs + 1, found.unread.length > 0 ? options.nowMs : -Infinity);
  if (wholeFromMs > -Infinity)
    meta.run("log_whole_from_ms", Math.min(wholeFromMs, options.nowMs + options.aheadMaxMs + 1));
  const names = new Set<string>();
  const series = db.prepare("INSERT INTO series VALUES (?, ?, ?, ?, ?)");
  for (const { site, device, metric } of found.series) {
    const name = `${site}/${device}/${metric}`;
    if (names.has(name)) continue;
    series.run(names.size, site, device, metric, options.nowMs);
    names.add(name);
  }
  const ledger = db.prepare("REPLACE INTO ledger VALUES (?, ?, ?, ?)");
  for (const { source, reason, count, ticked } of found.ledger) ledger.run(source, reason, count, ticked);
  const lost = lostReadings(found);
  if (lost > 0) {
    db.prepare(
      `INSERT INTO ledger VALUES ('data_file', 'lost.data_file', ?, 0)
       ON CONFLICT DO UPDATE SET count = count + excluded.count`,
    ).run(lost);
  }
  for (const row of found.imports) {
    const columns = Object.keys(row);
    const places = columns.map(() => "?").join(", ");
    db.prepare(`INSERT OR IGNORE INTO imports (${columns.join(", ")}) VALUES (${places})`).run(...Object.values(row));
  }
  const outbox = db.prepare(INSERT_FRAME);
  const bodies = [...found.alertFrames, ...alertFrames(found.endedAlerts).map(({ body }) => body)];
  bodies.forEach((body, index) => outbox.run("alerts", index + 1, 0, 0, frameChecksum(body), body));
  db.prepare("INSERT INTO lanes VALUES ('alerts', ?)").run(bodies.length);
}

/**
 * At least one where it cannot be known: a report must not call itself complete. At most what was stored: readings that
 * were folded again wait twice.
 */
function lostReadings({ lostReadings: waiting, ledger, unread }: Salvage): number {
  const stored = ledger.reduce((sum, { reason, count }) => (reason === "stored" ? sum + count : sum), 0);
  const known = stored > 0 && !unread.includes("ledger") ? Math.min(waiting, stored) : waiting;
  return Math.max(known, unread.length > 0 ? 1 : 0);
}

/** A name that no file has: with -wal and -shm it keeps its write-ahead log. */
function freeName(path: string, nowMs: number): string {
  const stamp = new Date(nowMs).toISOString().replace(/[-:]|\.\d+/g, "");
  const first = `${path}.corrupt-${stamp}`;
  let name = first;
  for (let i = 2; SUFFIXES.some((suffix) => existsSync(name + suffix)); i++) name = `${first}-${i}`;
  return name;
}

function moveIfThere(from: string, to: string): void {
  if (existsSync(from)) renameSync(from, to);
}

function removeFile(path: string): void {
  for (const suffix of [...SUFFIXES, "-journal"]) rmSync(path + suffix, { force: true });
}

/** Renames are durable once their folder is. */
function syncFolder(path: string): void {
  const folder = openSync(dirname(path), "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

function deleteOldest(path: string, movedTo: string, keptMax: number): string[] {
  const others = setAsideFiles(path).filter((name) => name !== movedTo);
  const doomed = others.slice(0, Math.max(0, others.length - (keptMax - 1)));
  for (const name of doomed) removeFile(name);
  return doomed;
}

function describe(
  path: string,
  problem: string,
  movedTo: string,
  found: Salvage,
  deleted: readonly string[],
  { keptMax }: SetAsideOptions,
): string {
  const { versions, series, unread, logReadings } = found;
  const alerts = found.alertFrames.length + found.endedAlerts.length;
  const least = unread.length > 0 ? "at least " : "";
  const unreadText = unread.length > 0 ? ` What could not be read whole: ${unread.join(", ")}.` : "";
  const deletedText = deleted.length > 0 ? `; deleted for it: ${deleted.map((name) => basename(name)).join(", ")}` : "";
  return [
    `The data file ${path} is damaged: ${problem}.`,
    `It is now ${movedTo}, and a new file is in its place.`,
    `Kept: ${versions.length} threshold versions, ${series.length} series, the ledger, ${alerts} alerts on their way.`,
    `Lost to the aggregator, as lost.data_file: ${least}${lostReadings(found)} readings whose summaries were not acknowledged.`,
    `Not replayed any more: ${least}${logReadings} readings of the log.${unreadText}`,
    `Check the disk. The newest ${keptMax} damaged files are kept (data.corrupt_files_max)${deletedText}; copy one to look into it.`,
  ].join(" ");
}
