import { existsSync, statSync } from "node:fs";
import { dirname } from "node:path";
import SQLite from "better-sqlite3";
import { CodedError, errorMessage } from "@weir/shared/errors";
import { makeFolder } from "./make-folder.ts";

/** Version of the tables below; a file with another is refused rather than guessed at. */
const SCHEMA_VERSION = 3;

const TABLES = `
CREATE TABLE agents (
  agent TEXT PRIMARY KEY, incarnation TEXT NOT NULL, software TEXT NOT NULL, last_seen_ms INTEGER NOT NULL,
  clock_ms INTEGER NOT NULL DEFAULT 0, threshold_version INTEGER, status TEXT
) WITHOUT ROWID;

-- The newest frame applied of each lane: written in the transaction that applies it.
CREATE TABLE cursors (
  agent TEXT NOT NULL, incarnation TEXT NOT NULL, lane TEXT NOT NULL, seq INTEGER NOT NULL,
  PRIMARY KEY (agent, incarnation, lane)
) WITHOUT ROWID;

CREATE TABLE series (
  id INTEGER PRIMARY KEY, agent TEXT NOT NULL, site TEXT NOT NULL, device TEXT NOT NULL, metric TEXT NOT NULL,
  first_ts_ms INTEGER, last_ts_ms INTEGER, last_value REAL,
  readings INTEGER NOT NULL DEFAULT 0,
  -- Windows are kept from here on, a local hour's start; of the hours before there is only the merged cell.
  windows_from_ms INTEGER, UNIQUE (site, device, metric)
);
CREATE TABLE agent_series (
  agent TEXT NOT NULL, incarnation TEXT NOT NULL, idx INTEGER NOT NULL, series INTEGER NOT NULL,
  PRIMARY KEY (agent, incarnation, idx)
) WITHOUT ROWID;

-- Partials of windows, as agents send them. By time first: what comes together lies together, so that a frame changes
-- few pages of the file.
CREATE TABLE windows (
  start_ms INTEGER NOT NULL, series INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (start_ms, series)
) WITHOUT ROWID;
-- Partials of local hours. An hour with readings is either here or in hours_unmerged, never in both; see cells.ts.
CREATE TABLE hours (
  series INTEGER NOT NULL, start_ms INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (series, start_ms)
) WITHOUT ROWID;
-- Hours whose windows have changed, all of which are kept: what they hold is what their windows hold.
CREATE TABLE hours_unmerged (
  series INTEGER NOT NULL, start_ms INTEGER NOT NULL, end_ms INTEGER NOT NULL, PRIMARY KEY (series, start_ms)
) WITHOUT ROWID;
CREATE INDEX hours_unmerged_by_time ON hours_unmerged (start_ms, series);
-- Which partials there are. level 0: windows; level 1: hours, those not merged with an empty body.
CREATE VIEW cells AS
  SELECT series, 0 AS level, start_ms, body FROM windows
  UNION ALL SELECT series, 1, start_ms, body FROM hours
  UNION ALL SELECT series, 1, start_ms, x'' FROM hours_unmerged;

CREATE TABLE alerts (
  id TEXT PRIMARY KEY, agent TEXT NOT NULL, site TEXT NOT NULL, device TEXT NOT NULL, metric TEXT NOT NULL,
  kind TEXT NOT NULL, severity TEXT NOT NULL, state TEXT NOT NULL, started_ms INTEGER NOT NULL, ended_ms INTEGER,
  value REAL NOT NULL, low REAL, high REAL, threshold_version INTEGER NOT NULL, breaches INTEGER NOT NULL,
  updated_ms INTEGER NOT NULL, acked_by TEXT, acked_ms INTEGER
);
CREATE INDEX alerts_by_update ON alerts (updated_ms);
CREATE INDEX alerts_by_device ON alerts (site, device, started_ms);
CREATE INDEX alerts_firing ON alerts (site, device) WHERE state = 'firing';

-- What agents refused and lost on a local day, which begins at day_ms: one row an agent, part of the ledger and reason.
-- Kept as long as the day's report can be made, which is for good.
CREATE TABLE losses (
  day_ms INTEGER NOT NULL, agent TEXT NOT NULL, part TEXT NOT NULL, reason TEXT NOT NULL, count INTEGER NOT NULL,
  PRIMARY KEY (day_ms, agent, part, reason)
) WITHOUT ROWID;

CREATE TABLE thresholds (
  version INTEGER PRIMARY KEY, state TEXT NOT NULL, effective_from_ms INTEGER NOT NULL, created_ms INTEGER NOT NULL,
  note TEXT NOT NULL, body TEXT NOT NULL
);
CREATE TABLE threshold_acks (agent TEXT NOT NULL, version INTEGER NOT NULL, PRIMARY KEY (agent, version)) WITHOUT ROWID;

-- devices, worst_health and completeness are those of the body, which is long: canonical JSON by gzip, or, in files of
-- before, as text; empty: no longer kept. changes: against the revision before.
CREATE TABLE reports (
  id INTEGER PRIMARY KEY, day TEXT NOT NULL, revision INTEGER NOT NULL, issued_ms INTEGER NOT NULL,
  devices INTEGER NOT NULL, worst_health REAL NOT NULL, completeness TEXT NOT NULL, changes TEXT, body TEXT NOT NULL,
  UNIQUE (day, revision)
);
-- Local days with readings; changed: since the day's report was last looked at, see day-marks.ts.
CREATE TABLE days (day TEXT PRIMARY KEY, changed INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE day_health (day TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;

-- Window cells that InfluxDB does not hold in their present form.
CREATE TABLE influx_queue (
  series INTEGER NOT NULL, start_ms INTEGER NOT NULL, generation INTEGER NOT NULL, PRIMARY KEY (series, start_ms)
) WITHOUT ROWID;
`;

/** What is left of the write-ahead log once it is through; it grows while a long read transaction holds its snapshot. */
const WAL_BYTES_KEPT: number = 64 * 2 ** 20;

/** Only for speed: a file may lack them. */
const INDEXES = "CREATE INDEX IF NOT EXISTS alerts_by_start ON alerts (started_ms DESC, id);";

/** A connection with statements prepared once. Synchronous. One of a process writes the file; others may read it. */
export class SqlDatabase {
  readonly #db: SQLite.Database;
  readonly #statements = new Map<string, SQLite.Statement>();
  readonly #path: string;

  /**
   * Opens the aggregator's file, making it and its tables at first. synchronous=FULL: agents forget a frame once it is
   * acknowledged. Throws CodedError BAD_DATA_FILE, DATA_FILE_DAMAGED or DATA_FILE_VERSION; whatever is read or written
   * later throws DATA_FILE_DAMAGED where the file contradicts itself.
   */
  constructor(path: string, options: { readonly readonly: boolean }) {
    this.#path = path;
    // Of none or one byte SQLite would make a new file: thresholds, reports and alerts would be gone without a word.
    if (existsSync(path) && statSync(path).size <= 1) throw damaged(path, "it is empty");
    try {
      if (!options.readonly) makeFolder(dirname(path));
      this.#db = new SQLite(path, { readonly: options.readonly, fileMustExist: options.readonly });
      this.#db.pragma("busy_timeout = 5000");
      if (!options.readonly) this.#prepareFile();
    } catch (error) {
      // Another kind of file altogether is left for a person to look at: data.dir may be the wrong one.
      if (isDamage(error) && !isForeign(error)) throw damaged(path, errorMessage(error), error);
      throw new CodedError("BAD_DATA_FILE", `Cannot open ${path}: ${String(error)}. Check data.dir.`, { cause: error });
    }
    const version = this.#db.pragma("user_version", { simple: true });
    if (version !== SCHEMA_VERSION) {
      this.#db.close();
      const found = String(version);
      throw new CodedError(
        "DATA_FILE_VERSION",
        `${path} has tables of version ${found}; this program reads ${SCHEMA_VERSION}. Move it away to begin anew.`,
      );
    }
  }

  #prepareFile(): void {
    this.#db.pragma("journal_mode = WAL");
    this.#db.pragma("synchronous = FULL");
    this.#db.pragma("cache_size = -65536");
    this.#db.pragma("temp_store = MEMORY");
    this.#db.pragma(`journal_size_limit = ${WAL_BYTES_KEPT}`);
    // Additions that files of this version may lack.
    const hasTables = this.#db.pragma("user_version", { simple: true }) === SCHEMA_VERSION;
    if (hasTables) this.#db.exec(INDEXES);
    if (this.#db.pragma("user_version", { simple: true }) !== 0) return;
    this.#db.transaction(() => {
      this.#db.exec(TABLES);
      this.#db.exec(INDEXES);
      this.#db.pragma(`user_version = ${SCHEMA_VERSION}`);
    })();
  }

  all<T>(sql: string, ...values: unknown[]): T[] {
    return this.#told(() => this.#statement(sql).all(...values) as T[]);
  }

  get<T>(sql: string, ...values: unknown[]): T | undefined {
    return this.#told(() => this.#statement(sql).get(...values) as T | undefined);
  }

  run(sql: string, ...values: unknown[]): number {
    return this.#told(() => this.#statement(sql).run(...values).changes);
  }

  /** Runs work in a transaction: all of it, or, when it throws, nothing. */
  transaction<T>(work: () => T): T {
    return this.#told(() => this.#db.transaction(work)());
  }

  close(): void {
    this.#db.close();
  }

  /** Does work; of damage that it meets, the error says what a person can do. */
  #told<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw isDamage(error) ? damaged(this.#path, errorMessage(error), error) : error;
    }
  }

  #statement(sql: string): SQLite.Statement {
    let statement = this.#statements.get(sql);
    if (!statement) this.#statements.set(sql, (statement = this.#db.prepare(sql)));
    return statement;
  }
}

/** True for what SQLite says of a file that contradicts itself. */
function isDamage(error: unknown): boolean {
  return /^SQLITE_(CORRUPT|NOTADB)/.test(String((error as { code?: unknown } | null)?.code));
}

function isForeign(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === "SQLITE_NOTADB";
}

function damaged(path: string, what: string, cause?: unknown): CodedError {
  const remedy = `Stop the aggregator, keep a copy of ${path} with its -wal, and put back a backup, or what "sqlite3 COPY .recover" makes of it. What agents have not been acknowledged they send again; only a store that holds nothing to keep may be moved away.`;
  return new CodedError("DATA_FILE_DAMAGED", `${path} is damaged: ${what}. ${remedy}`, { cause });
}
