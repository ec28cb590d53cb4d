import * as assert from "uvu/assert";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import Database from "better-sqlite3";
import { openDataFile } from "@weir/agent/store/data-file";
import { partialFrames } from "@weir/agent/pipeline/frames";
import type { OutboxRow, WaitingRefold } from "@weir/agent/store/commit-batch";
import type { Store } from "@weir/agent/store/store";
import { WindowAccumulator } from "@weir/shared/operators/windows";
import { SCHEMA_VERSION } from "@weir/agent/store/schema";
import { Store as AgentStore } from "@weir/agent/store/store";
import { CodedError } from "@weir/shared/errors";
import { suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";
import {
  blockEntry,
  checkpointAt,
  EMPTY_BATCH,
  frame,
  newDataFile,
  openStore,
  thresholdsEntry,
} from "./store-fixture.ts";

const test = suite("store");

let path: string;
let store: Store;

test.before.each(() => {
  path = newDataFile();
  store = openStore(path);
});
test.after.each(() => store.close());

function reopen(): void {
  store.close();
  store = openStore(path);
}

function seqs(lane: "alerts" | "data"): number[] {
  return store.frames(lane, 0, 1000).map(({ seq }) => seq);
}

/** What stands in the file, asked past the store. */
function ask<T>(sql: string): T {
  const db = new Database(path, { readonly: true });
  try {
    return db.prepare(sql).pluck().all() as T;
  } finally {
    db.close();
  }
}

function failsWith(code: string, work: () => unknown): void {
  assert.throws(work, (error: unknown) => error instanceof CodedError && error.code === code);
}

test("syncs every commit through the write-ahead log", () => {
  const db = openDataFile(newDataFile(), { readonly: false });
  assert.is(db.pragma("journal_mode", { simple: true }), "wal");
  assert.is(db.pragma("synchronous", { simple: true }), 2, "FULL");
  assert.is(db.pragma("busy_timeout", { simple: true }), 5000);
  db.close();
});

test("writes a batch whole or not at all", () => {
  store.commit({
    ...EMPTY_BATCH,
    entries: [blockEntry(1)],
    series: [{ index: 0, site: "s", device: "d", metric: "m" }],
  });
  const before = { lastSeq: store.lastSeq, logBytes: store.logBytes, outboxBytes: store.outboxBytes };
  const series = [{ index: 0, site: "other", device: "d", metric: "m" }];
  const broken = {
    ...EMPTY_BATCH,
    entries: [blockEntry(2)],
    frames: [frame("data"), frame("alerts")],
    ledger: [{ source: "s", reason: "stored", count: 1, ticked: 0 }],
    deadLetters: [{ source: "s", topic: "t", reason: "json_shape", bytes: 1, head: new Uint8Array(1) }],
    checkpoint: { pages: [{ page: 0, seq: 1, positions: new Uint8Array(8), episodes: [] }], recoverSeq: 1 },
  };
  assert.throws(() => store.commit({ ...broken, series }), /UNIQUE/);
  // The last thing written fails as well: everything before it is taken back.
  const unwritable = { pages: [{ page: 0, seq: 1, positions: null as never, episodes: [] }], recoverSeq: 1 };
  assert.throws(() => store.commit({ ...broken, checkpoint: unwritable }), /NOT NULL/);
  for (const table of ["outbox", "ledger", "dead_letters", "state", "lanes"])
    assert.equal(ask(`SELECT count(*) FROM ${table}`), [0]);
  assert.equal({ lastSeq: store.lastSeq, logBytes: store.logBytes, outboxBytes: store.outboxBytes }, before);
  store.commit({ ...EMPTY_BATCH, entries: [blockEntry(2)], frames: [frame("data")] });
  assert.equal(ask("SELECT seq FROM log"), [1, 2]);
  assert.equal(seqs("data"), [1]);
});

test("counts log and lanes on after a restart and after everything was acknowledged", () => {
  store.commit({
    ...EMPTY_BATCH,
    entries: [blockEntry(1), blockEntry(2)],
    frames: [frame("data"), frame("data"), frame("alerts")],
  });
  store.acknowledge("data", 2);
  store.acknowledge("alerts", 1);
  reopen();
  assert.is(store.outboxBytes, 0);
  store.commit({ ...EMPTY_BATCH, entries: [blockEntry(3)], frames: [frame("alerts"), frame("data", 5)] });
  assert.is(store.lastSeq, 3);
  assert.equal(seqs("data"), [3]);
  assert.equal(seqs("alerts"), [2]);
  reopen();
  assert.is(store.outboxBytes, 15);
});

test("counts the log on even when every entry has been trimmed", () => {
  store.commit({ ...EMPTY_BATCH, entries: [blockEntry(1), blockEntry(2)], checkpoint: checkpointAt(2) });
  store.trimLog({ bytesMax: 0, receivedBeforeMs: 0, rowsMax: 100, piecesByAge: true });
  assert.equal(ask("SELECT count(*) FROM log"), [0]);
  reopen();
  store.commit({ ...EMPTY_BATCH, entries: [blockEntry(3)] });
  assert.equal(ask("SELECT seq FROM log"), [3]);
  assert.is(store.readCheckpoint().recoverSeq, 2);
});

test("counts on from what the aggregator has seen when the file is an older copy", () => {
  store.commit({ ...EMPTY_BATCH, frames: [frame("data")] });
  store.acknowledge("data", 40);
  reopen();
  store.commit({ ...EMPTY_BATCH, frames: [frame("data")] });
  assert.equal(seqs("data"), [41]);
  reopen();
  store.commit({ ...EMPTY_BATCH, frames: [frame("data")] });
  assert.equal(seqs("data"), [41, 42]);
});

test("acknowledges one lane up to a frame and no further", () => {
  store.commit({ ...EMPTY_BATCH, frames: [frame("data", 1), frame("data", 2), frame("data", 4), frame("alerts", 8)] });
  store.acknowledge("data", 2);
  assert.equal(seqs("data"), [3]);
  assert.equal(seqs("alerts"), [1]);
  assert.is(store.outboxBytes, 12);
});

const FIRST_MS = 60_000 * 2 ** 24;

/** Frames of seven readings each, of series 1, 2, 3, 1, …, a minute after the other. */
function partialRows(count: number): OutboxRow[] {
  const fold = new WindowAccumulator(60_000);
  return Array.from({ length: count }, (_, i) => {
    for (let reading = 0; reading < 7; reading++) fold.add(1 + (i % 3), FIRST_MS + i * 60_000 + reading, 1, 0, 0, 0);
    return partialFrames(fold.drain())[0]!;
  });
}

test("the oldest partials of a full outbox go and nothing else, and wait to be made again", () => {
  const partials = partialRows(6);
  const bytes = partials[0]!.body.length;
  assert.ok(partials.every(({ body }) => body.length === bytes));
  store.commit({ ...EMPTY_BATCH, frames: [frame("data", 100, false), ...partials, frame("alerts", 100)] });
  assert.equal(store.trimOutbox(200 + 6 * bytes), { frames: 0, bytes: 0, isMore: false, lostReadings: 0, refolds: [] });
  const wait = (series: number, fromMs: number, owed: number): WaitingRefold => ({
    series,
    fromMs: FIRST_MS + fromMs,
    replacePartials: true,
    owed,
  });
  assert.equal(store.trimOutbox(200 + 4 * bytes + 1), {
    frames: 2,
    bytes: 2 * bytes,
    isMore: false,
    lostReadings: 0,
    refolds: [wait(1, 0, 7), wait(2, 60_000, 7)],
  });
  assert.equal(seqs("data"), [1, 4, 5, 6, 7]);
  assert.is(store.outboxBytes, 200 + 4 * bytes);
  const some = store.trimOutbox(0, 1);
  assert.equal([some.frames, some.isMore], [1, true]);
  const rest = store.trimOutbox(0, 3);
  assert.equal([rest.frames, rest.isMore], [3, false]);
  assert.equal(seqs("data"), [1]);
  assert.equal(seqs("alerts"), [1]);
  assert.is(store.outboxBytes, 200);
  reopen();
  assert.is(store.outboxBytes, 200);
  assert.equal(store.waitingRefolds(), [wait(1, 0, 14), wait(2, 60_000, 14), wait(3, 120_000, 14)]);
});

test("drops thousands of partials in well under a second", () => {
  const partials = partialRows(4000);
  const bytes = partials.reduce((sum, { body }) => sum + body.length, 0);
  store.commit({ ...EMPTY_BATCH, frames: partials });
  const startMs = performance.now();
  assert.ok(store.trimOutbox(bytes / 40).frames > 3800);
  const tookMs = performance.now() - startMs;
  assert.ok(tookMs < 1000, `took ${Math.round(tookMs)} ms`);
});

test("trims the log by bytes: the oldest first, never a threshold version", () => {
  const entries = [thresholdsEntry(1), ...Array.from({ length: 10 }, (_, i) => blockEntry(i)), thresholdsEntry(2)];
  store.commit({ ...EMPTY_BATCH, entries, checkpoint: checkpointAt(12) });
  const blockBytes = blockEntry(1).body.length;
  const bytesMax = store.logBytes - 3 * blockBytes;
  assert.is(store.trimLog({ bytesMax, receivedBeforeMs: 0, rowsMax: 100, piecesByAge: true }), 3);
  assert.equal(ask("SELECT seq FROM log ORDER BY seq"), [1, 5, 6, 7, 8, 9, 10, 11, 12]);
  assert.is(store.logBytes, bytesMax);
  assert.equal(ask("SELECT sum(length(body)) FROM log"), [bytesMax]);
  assert.is(store.trimLog({ bytesMax: 0, receivedBeforeMs: 0, rowsMax: 100, piecesByAge: true }), 7);
  assert.equal(
    store.thresholdVersions(1000).map(({ version }) => version),
    [1, 2],
  );
  reopen();
  assert.is(store.logBytes, thresholdsEntry(1).body.length * 2);
});

test("forgets the episodes that no log is left to judge anew, and knows from when on it is whole", () => {
  assert.is(store.wholeFromMs, -Infinity);
  const episode = (startedAtMs: number, lastTsMs: number) => ({
    series: 0,
    kind: "high",
    startedAtMs,
    lastTsMs,
    breaches: 2,
    severity: "warning",
    worstValue: 1,
    worstTsMs: 0,
    low: null,
    high: null,
    thresholdVersion: 1,
    forMs: 0,
    gapMs: 100,
    fired: true,
    dirty: false,
  });
  const closedEpisodes = [episode(0, 300), episode(350, 950), episode(2000, 2100)] as never;
  const entries = [1000, 500, 3000].map((tsMs) => blockEntry(tsMs));
  store.commit({ ...EMPTY_BATCH, entries, closedEpisodes, checkpoint: checkpointAt(3) });
  assert.is(
    store.trimLog({ bytesMax: blockEntry(3000).body.length, receivedBeforeMs: 0, rowsMax: 100, piecesByAge: true }),
    2,
  );
  assert.is(store.wholeFromMs, 1001);
  assert.equal(
    store.episodesFrom(0, 0).map(({ startedMs }) => startedMs),
    [350, 2000],
  );
  reopen();
  assert.is(store.wholeFromMs, 1001);
});

test("trims the log by age of receipt, and no more entries at once than it is told", () => {
  for (const receivedMs of [1000, 2000, 3000])
    store.commit({ ...EMPTY_BATCH, receivedMs, entries: [blockEntry(9), blockEntry(9)] });
  store.commit({ ...EMPTY_BATCH, checkpoint: checkpointAt(6) });
  assert.is(store.trimLog({ bytesMax: 1e9, receivedBeforeMs: 2001, rowsMax: 3, piecesByAge: true }), 3);
  assert.is(store.trimLog({ bytesMax: 1e9, receivedBeforeMs: 2001, rowsMax: 3, piecesByAge: true }), 1);
  assert.is(store.trimLog({ bytesMax: 1e9, receivedBeforeMs: 2001, rowsMax: 3, piecesByAge: true }), 0);
  assert.equal(ask("SELECT seq FROM log"), [5, 6]);
});

test("never trims what recovery still has to fold", () => {
  store.commit({ ...EMPTY_BATCH, entries: [blockEntry(1)], checkpoint: checkpointAt(1) });
  store.commit({ ...EMPTY_BATCH, entries: [blockEntry(2), blockEntry(3)] });
  assert.is(store.trimLog({ bytesMax: 0, receivedBeforeMs: 1e12, rowsMax: 100, piecesByAge: true }), 1);
  assert.equal(ask("SELECT seq FROM log"), [2, 3]);
});

test("keeps the newest dead letters", () => {
  const letter = (n: number) => ({
    source: "s",
    topic: `t${n}`,
    reason: "json_shape",
    bytes: n,
    head: Uint8Array.of(n),
  });
  store.commit({ ...EMPTY_BATCH, deadLetters: [1, 2, 3, 4, 5].map(letter) });
  store.trimDeadLetters(2);
  assert.equal(
    store.deadLetters(10).map(({ topic, atMs }) => [topic, atMs]),
    [
      ["t5", 1000],
      ["t4", 1000],
    ],
  );
  store.trimDeadLetters(2);
  assert.is(store.deadLetters(10).length, 2);
  store.trimDeadLetters(0);
  assert.is(store.deadLetters(10).length, 0);
});

test("reads the log in order across its pages of reading, and by event time", () => {
  store.commit({ ...EMPTY_BATCH, entries: Array.from({ length: 200 }, (_, i) => blockEntry(i * 10, i)) });
  const values = Array.from(store.entries(0), (entry) => (entry.kind === "block" ? entry.block.value[0] : -1));
  assert.equal(
    values,
    Array.from({ length: 200 }, (_, i) => i),
  );
  assert.is([...store.entries(150)].length, 50);
  assert.is([...store.readings.all(1900)].length, 10);
});

test("refuses a file of another version, another kind, and one that is not there", () => {
  const other = new Database(join(dirname(path), "other.db"));
  other.pragma("user_version = 99");
  other.close();
  failsWith("DATA_FILE_VERSION", () => openStore(join(dirname(path), "other.db")));
  writeFileSync(join(dirname(path), "text.db"), "This is not a database. ".repeat(100));
  failsWith("BAD_DATA_FILE", () => openStore(join(dirname(path), "text.db")));
  mkdirSync(join(dirname(path), "folder.db"));
  failsWith("NO_DATA_FILE", () => openStore(join(dirname(path), "folder.db")));
  failsWith("NO_DATA_FILE", () => new AgentStore(join(tempFolder(), "agent.db"), { readonly: true }));
  failsWith("NO_DATA_FILE", () => new AgentStore(join(tempFolder(), "missing", "agent.db"), { readonly: true }));
});

test("brings a file of the version before up to this one; a reader takes it as it is", () => {
  const made = new Database(path);
  made.exec(`ALTER TABLE refolds DROP COLUMN owed; INSERT INTO refolds VALUES (3, 5, 1);
    ALTER TABLE outbox DROP COLUMN checksum; INSERT INTO outbox VALUES ('data', 1, 0, 0, x'00')`);
  made.pragma("user_version = 3");
  made.close();
  new AgentStore(path, { readonly: true }).close();
  reopen();
  assert.equal(store.waitingRefolds(), [{ series: 3, fromMs: 5, replacePartials: true, owed: 0 }]);
  assert.is(store.frames("data", 0, 10).length, 1);
  assert.is(store.sql.get<{ user_version: number }>("PRAGMA user_version")!.user_version, SCHEMA_VERSION);
});

test("makes the folder, and one incarnation a file", () => {
  const deep = join(tempFolder(), "a", "b", "agent.db");
  const made = openStore(deep);
  const { incarnation } = made;
  assert.match(incarnation, /^[0-9a-f-]{36}$/);
  assert.is.not(incarnation, store.incarnation);
  made.close();
  const again = openStore(deep);
  assert.is(again.incarnation, incarnation);
  again.close();
});

test("can be read beside a writer, and not written", () => {
  store.commit({ ...EMPTY_BATCH, entries: [blockEntry(1)] });
  const reader = new AgentStore(path, { readonly: true });
  store.commit({ ...EMPTY_BATCH, entries: [blockEntry(2)] });
  // As the file was when it was opened: one view, however long it is read.
  assert.is([...reader.entries(0)].length, 1);
  assert.throws(() => reader.commit({ ...EMPTY_BATCH, entries: [blockEntry(3)] }), /readonly/);
  reader.close();
});
