/** Version of the tables below; a file with a later one is refused rather than guessed at. */
export const SCHEMA_VERSION = 4;

/** What makes a file of an earlier version one of the next, by the earlier; older files are refused. */
export const UPGRADES: ReadonlyMap<number, string> = new Map([
  [
    3,
    `ALTER TABLE refolds ADD COLUMN owed INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE outbox ADD COLUMN checksum INTEGER;`,
  ],
]);

/** Kinds of log entries. */
export const ENTRY_BLOCK = 1;
export const ENTRY_THRESHOLDS = 2;
export const ENTRY_TICK = 3;

/** All tables of a new file. */
export const TABLES: string = `
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;

-- The one ordered log. min_ts and max_ts are event times of a block's readings, null for other entries.
CREATE TABLE log (
  seq INTEGER PRIMARY KEY, kind INTEGER NOT NULL, received_ms INTEGER NOT NULL,
  min_ts INTEGER, max_ts INTEGER, readings INTEGER NOT NULL, body BLOB NOT NULL
);
-- Of blocks, all that is known without decoding them: compaction keeps them few.
CREATE INDEX log_blocks ON log (seq, min_ts, max_ts, readings, received_ms) WHERE kind = ${ENTRY_BLOCK};

-- Compaction, first step: blocks of the log rewritten as one piece a strip, readings by series and time. See compact.ts.
CREATE TABLE pieces (
  strip INTEGER NOT NULL, seq INTEGER NOT NULL, received_ms INTEGER NOT NULL,
  min_ts INTEGER NOT NULL, max_ts INTEGER NOT NULL, readings INTEGER NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (strip, seq)
) WITHOUT ROWID;
CREATE INDEX pieces_by_strip ON pieces (strip, seq, min_ts, max_ts, readings, received_ms);
-- Second step: the readings of one series and hour of event time, by time. Long hours are cut into parts that follow
-- each other in time; received_ms is the newest of its readings'.
CREATE TABLE chunks (
  hour_ms INTEGER NOT NULL, series INTEGER NOT NULL, min_ts INTEGER NOT NULL, max_ts INTEGER NOT NULL,
  received_ms INTEGER NOT NULL, readings INTEGER NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (hour_ms, series, min_ts)
) WITHOUT ROWID;
CREATE INDEX chunks_by_receipt ON chunks (received_ms);

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

-- Series that are to be folded again, from when on, and whether their partials are to be replaced; see refolder.ts. owed:
-- readings of partials that a full outbox had no room for, which the re-fold makes again.
CREATE TABLE refolds (
  series INTEGER PRIMARY KEY, from_ms INTEGER NOT NULL, replace_partials INTEGER NOT NULL,
  owed INTEGER NOT NULL DEFAULT 0
);

-- checksum: CRC-32 of the body, null of frames from before it was kept. A frame that a disk has changed must not be sent:
-- the aggregator would count it.
CREATE TABLE outbox (
  lane TEXT NOT NULL, seq INTEGER NOT NULL, readings INTEGER NOT NULL, droppable INTEGER NOT NULL, checksum INTEGER,
  body BLOB NOT NULL, PRIMARY KEY (lane, seq)
);
CREATE TABLE lanes (lane TEXT PRIMARY KEY, last_seq INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE dead_letters (
  id INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, source TEXT NOT NULL, topic TEXT NOT NULL,
  reason TEXT NOT NULL, bytes INTEGER NOT NULL, head BLOB NOT NULL
);

-- Devices whose clocks ran ahead of the gateway's: their readings were refused until the clock came back.
CREATE TABLE quarantine (
  site TEXT NOT NULL, device TEXT NOT NULL, since_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL,
  ahead_ms INTEGER NOT NULL, readings INTEGER NOT NULL, released_ms INTEGER,
  PRIMARY KEY (site, device)
) WITHOUT ROWID;

-- Files that are being imported, or were: how far, so that an import goes on where it was stopped.
CREATE TABLE imports (
  file TEXT PRIMARY KEY, rows INTEGER NOT NULL, done INTEGER NOT NULL, at_ms INTEGER NOT NULL
) WITHOUT ROWID;

-- Counts since the file was made; ticked: what the newest clock tick had already told of.
CREATE TABLE ledger (
  source TEXT NOT NULL, reason TEXT NOT NULL, count INTEGER NOT NULL, ticked INTEGER NOT NULL,
  PRIMARY KEY (source, reason)
) WITHOUT ROWID;
`;
