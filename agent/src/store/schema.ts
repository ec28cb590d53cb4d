import { existsSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { randomUUID } from "node:crypto";
import Database from "better-sqlite3";
import { CodedError } from "@weir/shared/errors";

/** Version of the tables below; a file with another is refused rather than guessed at. */
const SCHEMA_VERSION = 2;

/** Kinds of log entries. */
export const ENTRY_BLOCK = 1;
export const ENTRY_THRESHOLDS = 2;
export const ENTRY_TICK = 3;

const TABLES = `
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;

-- The one ordered log. min_ts and max_ts are event times of a block's readings, null for other entries.
CREATE TABLE log (
  seq INTEGER PRIMARY KEY, kind INTEGER NOT NULL, received_ms INTEGER NOT NULL,
  min_ts INTEGER, max_ts INTEGER, readings INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE INDEX log_by_time ON log (max_ts, min_ts) WHERE kind = ${ENTRY_BLOCK};

-- The data dictionary: what a dense series index stands for.
CREATE TABLE series (
  idx INTEGER PRIMARY KEY, site TEXT NOT NULL, device TEXT NOT NULL, metric TEXT NOT NULL,
  registered_ms INTEGER NOT NULL, UNIQUE (site, device, metric)
);

-- The checkpoint, by pages of series: up to which log entry a page is folded and its windows sent, and its state then.
CREATE TABLE state (
  page INTEGER PRIMARY KEY, seq INTEGER NOT NULL, positions BLOB NOT NULL, episodes TEXT NOT NULL
);

-- Episodes that ended, for re-folds: a late breach may join or split them.
CREATE TABLE episodes (
  series INTEGER NOT NULL, kind TEXT NOT NULL, started_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL,
  gap_ms INTEGER NOT NULL, fired INTEGER NOT NULL, PRIMARY KEY (series, kind, started_ms)
) WITHOUT ROWID;

CREATE TABLE outbox (
  lane TEXT NOT NULL, seq INTEGER NOT NULL, readings INTEGER NOT NULL, droppable INTEGER NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (lane, seq)
);
CREATE TABLE lanes (lane TEXT PRIMARY KEY, last_seq INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE dead_letters (
  id INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, source TEXT NOT NULL, topic TEXT NOT NULL,
  reason TEXT NOT NULL, bytes INTEGER NOT NULL, head BLOB NOT NULL
);

-- Counts since the file was made; ticked: what the newest clock tick had already told of.
CREATE TABLE ledger (
  source TEXT NOT NULL, reason TEXT NOT NULL, count INTEGER NOT NULL, ticked INTEGER NOT NULL,
  PRIMARY KEY (source, reason)
) WITHOUT ROWID;
`;

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
