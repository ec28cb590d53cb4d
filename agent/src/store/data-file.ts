import { existsSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { randomUUID } from "node:crypto";
import Database from "better-sqlite3";
import { CodedError } from "@weir/shared/errors";
import { SCHEMA_VERSION, TABLES } from "./schema.ts";

/**
 * Opens the agent's file, making it and its tables at first. readonly: for replays beside a running agent.
 *
 * synchronous=FULL: an acknowledged reading survives a power cut, since the commit it waits for has been through fsync
 * of the write-ahead log. Throws CodedError BAD_DATA_FILE, NO_DATA_FILE or DATA_FILE_VERSION.
 */
export function openDataFile(path: string, options: { readonly readonly: boolean }): Database.Database {
  try {
    if (!options.readonly) mkdirSync(dirname(path), { recursive: true });
    const db = new Database(path, { readonly: options.readonly, fileMustExist: options.readonly });
    db.pragma("busy_timeout = 5000");
    if (options.readonly) return checkVersion(db, path);
    db.pragma("journal_mode = WAL");
    db.pragma("synchronous = FULL");
    // A checkpoint of the write-ahead log every 4 MiB: it stays small on a gateway's flash.
    db.pragma("wal_autocheckpoint = 1000");
    // 8 MiB: the log is written and rarely read.
    db.pragma("cache_size = -8192");
    if (db.pragma("user_version", { simple: true }) === 0) {
      db.transaction(() => {
        db.exec(TABLES);
        db.prepare("INSERT INTO meta VALUES ('incarnation', ?)").run(randomUUID());
        db.pragma(`user_version = ${SCHEMA_VERSION}`);
      })();
    }
    return checkVersion(db, path);
  } catch (error) {
    if (error instanceof CodedError) throw error;
    // better-sqlite3 has its own error, without a code, for a folder that is not there.
    const missing = (error as { code?: string }).code === "SQLITE_CANTOPEN" || !existsSync(dirname(path));
    throw missing
      ? new CodedError("NO_DATA_FILE", `Cannot open ${path}: check data.dir and its permissions.`, { cause: error })
      : new CodedError("BAD_DATA_FILE", `${path} is not a data file of an agent: ${String(error)}.`, { cause: error });
  }
}

function checkVersion(db: Database.Database, path: string): Database.Database {
  const version = db.pragma("user_version", { simple: true });
  if (version === SCHEMA_VERSION) return db;
  db.close();
  throw new CodedError(
    "DATA_FILE_VERSION",
    `${path} has tables of version ${String(version)}; this program reads version ${SCHEMA_VERSION}. Move it away to begin anew.`,
  );
}
