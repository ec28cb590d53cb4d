import { existsSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { randomUUID } from "node:crypto";
import Database from "better-sqlite3";
import { CodedError, errorMessage } from "@weir/shared/errors";
import { isDamage } from "./damage.ts";
import { makeFolder } from "./make-folder.ts";
import { SCHEMA_VERSION, TABLES, UPGRADES } from "./schema.ts";
import { walDamage } from "./wal-damage.ts";

/** Versions that a later program may write; a number beyond is no version but damage. */
const SCHEMA_VERSION_MAX = 999;

/**
 * Opens the agent's file, making it and its tables at first. readonly: for replays beside a running agent.
 *
 * synchronous=FULL: an acknowledged reading survives a power cut, since the commit it waits for has been through fsync
 * of the write-ahead log. Throws CodedError BAD_DATA_FILE (not SQLite's), DATA_FILE_DAMAGED, NO_DATA_FILE (it cannot be
 * opened now: permissions, a lock, a full disk) or DATA_FILE_VERSION.
 *
 * Checked at each start are the write-ahead log, the header, the version, that all tables are there and that the file has
 * its id. The pages
 * of a file of gigabytes are not read for it: damage in them shows when they are, and is dealt with then.
 */
export function openDataFile(path: string, options: { readonly readonly: boolean }): Database.Database {
  let db: Database.Database | undefined;
  try {
    if (!options.readonly) {
      makeFolder(dirname(path));
      // Before SQLite opens the file, and forgets what it cannot read of it. Beside a running agent it would be its own.
      const problem = walDamage(path);
      if (problem !== undefined) throw damaged(path, problem);
    }
    // A file of one byte is a new one to SQLite, as is an empty one.
    const wasEmpty = existsSync(path) && statSync(path).size <= 1;
    db = new Database(path, { readonly: options.readonly, fileMustExist: options.readonly });
    db.pragma("busy_timeout = 5000");
    if (wasEmpty) throw damaged(path, "it is empty, and every file of an agent begins with a header");
    if (!options.readonly) {
      db.pragma("journal_mode = WAL");
      db.pragma("synchronous = FULL");
      // A checkpoint of the write-ahead log every 4 MiB: it stays small on a gateway's flash.
      db.pragma("wal_autocheckpoint = 1000");
      // 8 MiB: the log is written and rarely read.
      db.pragma("cache_size = -8192");
      if (db.pragma("user_version", { simple: true }) === 0 && tablesOf(db).length === 0) {
        db.transaction(makeTables)(db);
      }
      upgrade(db);
    }
    checkVersion(db, path, options.readonly);
    checkContents(db, path);
    return db;
  } catch (error) {
    db?.close();
    if (error instanceof CodedError) throw error;
    throw openingError(path, error);
  }
}

/** What an error of SQLite or of the system means for a start. Only what is wrong with the file itself is damage. */
function openingError(path: string, error: unknown): CodedError {
  const { code } = error as { code?: string };
  if (code === "SQLITE_NOTADB") {
    return new CodedError("BAD_DATA_FILE", `${path} is not a data file of an agent: ${errorMessage(error)}.`, {
      cause: error,
    });
  }
  if (isDamage(error)) return damaged(path, errorMessage(error), error);
  // better-sqlite3 has its own error, without a code, for a folder that is not there.
  if (code === "SQLITE_CANTOPEN" || !existsSync(dirname(path))) {
    const message = `Cannot open ${path}: check data.dir and its permissions.`;
    return new CodedError("NO_DATA_FILE", message, { cause: error });
  }
  const remedy = code?.startsWith("SQLITE_BUSY")
    ? "Another program has it open and locked: end that one."
    : "Check data.dir, its permissions and the disk.";
  return new CodedError("NO_DATA_FILE", `Cannot open ${path}: ${errorMessage(error)}. ${remedy}`, { cause: error });
}

/** Makes the tables of a new file in the caller's transaction, and gives it an id. */
export function makeTables(db: Database.Database): void {
  db.exec(TABLES);
  db.prepare("INSERT INTO meta VALUES ('incarnation', ?)").run(randomUUID());
  db.pragma(`user_version = ${SCHEMA_VERSION}`);
}

/** Brings the tables of an earlier version up to this one, as far as they can be. */
function upgrade(db: Database.Database): void {
  const version = (): number => Number(db.pragma("user_version", { simple: true }));
  for (let from = version(); UPGRADES.has(from); from = version()) {
    db.transaction(() => {
      db.exec(UPGRADES.get(from)!);
      db.pragma(`user_version = ${from + 1}`);
    })();
  }
}

/** Who only reads takes a version that is about to be upgraded as it is: an upgrade adds what only a writer looks at. */
function checkVersion(db: Database.Database, path: string, isReadonly: boolean): void {
  const version = Number(db.pragma("user_version", { simple: true }));
  if (version === SCHEMA_VERSION || (isReadonly && UPGRADES.has(version))) return;
  if (version <= 0 || version > SCHEMA_VERSION_MAX) {
    throw damaged(path, `its header says that its tables are of version ${version}`);
  }
  throw new CodedError(
    "DATA_FILE_VERSION",
    `${path} has tables of version ${String(version)}; this program reads version ${SCHEMA_VERSION}. Move it away to begin anew.`,
  );
}

function checkContents(db: Database.Database, path: string): void {
  const tables = new Set(tablesOf(db));
  const missing = [...TABLES.matchAll(/^CREATE TABLE (\w+)/gm)].map(([, name]) => name!).filter((n) => !tables.has(n));
  if (missing.length > 0) throw damaged(path, `it has no table ${missing.join(", ")}`);
  const incarnation: unknown = db.prepare("SELECT value FROM meta WHERE key = 'incarnation'").pluck(true).get();
  if (typeof incarnation !== "string" || !/^[0-9a-f-]{36}$/.test(incarnation))
    throw damaged(path, "it has lost its id");
}

function tablesOf(db: Database.Database): string[] {
  return db.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").pluck(true).all() as string[];
}

function damaged(path: string, what: string, cause?: unknown): CodedError {
  return new CodedError(
    "DATA_FILE_DAMAGED",
    `${path} is damaged: ${what}. weir-agent run sets it aside and begins a new one.`,
    { cause },
  );
}
