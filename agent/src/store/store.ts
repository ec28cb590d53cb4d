import type { Block, SeriesKey } from "@weir/shared/model/reading";
import type { ThresholdVersion } from "@weir/shared/model/thresholds";
import type { Episode } from "@weir/shared/operators/episodes";
import type { Lane, TickFrame } from "@weir/shared/wire/messages";
import type { PageRow } from "../pipeline/pages.ts";
import { BlockColumns, decodeBlockInto } from "./block-codec.ts";
import { openDataFile } from "./data-file.ts";
import { ENTRY_BLOCK, ENTRY_THRESHOLDS, ENTRY_TICK } from "./schema.ts";
import { Sql } from "./sql.ts";

/** An entry of the log: the three kinds of thing that reach an operator. */
export type LogEntry = { readonly seq: number } & (
  | { readonly kind: "block"; readonly block: Block }
  | { readonly kind: "thresholds"; readonly version: ThresholdVersion }
  | { readonly kind: "tick"; readonly tick: Omit<TickFrame, "kind"> }
);

/** An entry as it is written: body encoded. */
export interface EntryRow {
  readonly kind: number;
  readonly minTsMs: number | null;
  readonly maxTsMs: number | null;
  readonly readings: number;
  readonly body: Uint8Array;
}

/** A frame for the uplink. droppable: window partials, which go first when the outbox is full. */
export interface OutboxRow {
  readonly lane: Lane;
  readonly readings: number;
  readonly droppable: boolean;
  readonly body: Uint8Array;
}

/** A refused message, as much of it as is kept. bytes: of the payload, as many as were seen. */
export interface DeadLetter {
  readonly source: string;
  readonly topic: string;
  readonly reason: string;
  readonly bytes: number;
  readonly head: Uint8Array;
}

/** A count of the ledger as it now stands; ticked: what the newest tick had told of. */
export interface LedgerRow {
  readonly source: string;
  readonly reason: string;
  readonly count: number;
  readonly ticked: number;
}

/** Pages of state; recoverSeq: the log entry after which recovery has to fold. */
export interface CheckpointRows {
  readonly pages: readonly PageRow[];
  readonly recoverSeq: number;
}

/** All that one group commit writes: the log, what the fold emitted from it, and the state, or nothing of them. */
export interface CommitBatch {
  readonly receivedMs: number;
  readonly entries: readonly EntryRow[];
  readonly series: ReadonlyArray<SeriesKey & { readonly index: number }>;
  readonly frames: readonly OutboxRow[];
  readonly deadLetters: readonly DeadLetter[];
  readonly ledger: readonly LedgerRow[];
  readonly closedEpisodes: readonly Episode[];
  /** Episodes that a re-fold takes the place of: all of a series from a start on. */
  readonly dropEpisodes: ReadonlyArray<{ readonly series: number; readonly fromMs: number }>;
  readonly checkpoint: CheckpointRows | undefined;
}

/** A stored episode, as much as a re-fold needs. */
export interface EpisodeRow {
  readonly kind: "high" | "low";
  readonly startedMs: number;
  readonly lastMs: number;
  readonly gapMs: number;
  readonly fired: number;
}

/** Entries of one read of the log, at most: bounds the memory of a fold. */
const READ_ENTRIES_MAX = 16;

/** Writes and reads the agent's file. Synchronous; one instance a process writes. */
export class Store {
  /** The connection, for parts of the file that have a module of their own. */
  readonly sql: Sql;
  readonly incarnation: string;
  #lastSeq: number;
  #logBytes: number;
  #outboxBytes: number;
  readonly #laneSeq: Record<Lane, number>;

  constructor(path: string, options: { readonly readonly: boolean }) {
    this.sql = new Sql(openDataFile(path, options));
    this.incarnation = String(this.meta("incarnation"));
    this.#lastSeq = Math.max(this.sql.number("SELECT max(seq) FROM log") ?? 0, Number(this.meta("log_seq") ?? 0));
    this.#logBytes = Number(this.meta("log_bytes") ?? 0);
    this.#outboxBytes = this.sql.number("SELECT sum(length(body)) FROM outbox") ?? 0;
    this.#laneSeq = { alerts: 0, data: 0 };
    for (const row of this.sql.all<{ lane: Lane; last_seq: number }>("SELECT lane, last_seq FROM lanes")) {
      this.#laneSeq[row.lane] = row.last_seq;
    }
  }

  /** Sequence of the newest log entry, 0 before the first. */
  get lastSeq(): number {
    return this.#lastSeq;
  }

  /** Bytes of the log's bodies, and of the outbox's. */
  get logBytes(): number {
    return this.#logBytes;
  }

  get outboxBytes(): number {
    return this.#outboxBytes;
  }

  /** Event time from which on the log still holds every reading that it was ever given; -Infinity: none was trimmed. */
  get wholeFromMs(): number {
    return Number(this.meta("log_whole_from_ms") ?? -Infinity);
  }

  /** Writes a batch whole or, when it throws, not at all. */
  commit(batch: CommitBatch): void {
    if (isEmpty(batch)) return;
    let seq = this.#lastSeq;
    let logBytes = this.#logBytes;
    let outboxBytes = this.#outboxBytes;
    const laneSeq = { ...this.#laneSeq };
    this.sql.transaction(() => {
      for (const { index, site, device, metric } of batch.series) {
        this.sql.run("INSERT INTO series VALUES (?, ?, ?, ?, ?)", index, site, device, metric, batch.receivedMs);
      }
      for (const row of batch.entries) {
        const sql = "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?)";
        this.sql.run(sql, ++seq, row.kind, batch.receivedMs, row.minTsMs, row.maxTsMs, row.readings, row.body);
        logBytes += row.body.length;
      }
      for (const { lane, readings, droppable, body } of batch.frames) {
        const sql = "INSERT INTO outbox (lane, seq, readings, droppable, body) VALUES (?, ?, ?, ?, ?)";
        this.sql.run(sql, lane, ++laneSeq[lane], readings, Number(droppable), body);
        outboxBytes += body.length;
      }
      if (batch.frames.length > 0) {
        for (const [lane, last] of Object.entries(laneSeq))
          this.sql.run("REPLACE INTO lanes VALUES (?, ?)", lane, last);
      }
      this.#writeAside(batch);
      if (batch.entries.length > 0) {
        this.#setMeta("log_bytes", logBytes);
        this.#setMeta("log_seq", seq);
      }
      if (batch.checkpoint) this.#writeCheckpoint(batch.checkpoint);
    });
    this.#lastSeq = seq;
    this.#logBytes = logBytes;
    this.#outboxBytes = outboxBytes;
    Object.assign(this.#laneSeq, laneSeq);
  }

  #writeAside(batch: CommitBatch): void {
    for (const { source, topic, reason, bytes, head } of batch.deadLetters) {
      const sql = "INSERT INTO dead_letters (at_ms, source, topic, reason, bytes, head) VALUES (?, ?, ?, ?, ?, ?)";
      this.sql.run(sql, batch.receivedMs, source, topic, reason, bytes, head);
    }
    for (const { source, reason, count, ticked } of batch.ledger) {
      this.sql.run("REPLACE INTO ledger VALUES (?, ?, ?, ?)", source, reason, count, ticked);
    }
    for (const { series, fromMs } of batch.dropEpisodes) {
      this.sql.run("DELETE FROM episodes WHERE series = ? AND started_ms >= ?", series, fromMs);
    }
    for (const { series, kind, startedAtMs, lastTsMs, gapMs, fired } of batch.closedEpisodes) {
      const sql = "REPLACE INTO episodes VALUES (?, ?, ?, ?, ?, ?)";
      this.sql.run(sql, series, kind, startedAtMs, lastTsMs, gapMs, Number(fired));
    }
  }

  #writeCheckpoint({ pages, recoverSeq }: CheckpointRows): void {
    for (const { page, seq, positions, episodes } of pages) {
      this.sql.run("REPLACE INTO state VALUES (?, ?, ?, ?)", page, seq, positions, JSON.stringify(episodes));
    }
    this.#setMeta("recover_seq", recoverSeq);
  }

  /** The newest checkpoint: recoverSeq 0 and no pages where there is none yet. */
  readCheckpoint(): CheckpointRows {
    type Row = { page: number; seq: number; positions: Uint8Array; episodes: string };
    const rows = this.sql.all<Row>("SELECT page, seq, positions, episodes FROM state ORDER BY page");
    return {
      recoverSeq: Number(this.meta("recover_seq") ?? 0),
      pages: rows.map((row) => ({ ...row, episodes: JSON.parse(row.episodes) as Episode[] })),
    };
  }

  /**
   * Log entries after a sequence, in order; those of which nothing lies in [fromMs, toMs) may be left out. A block is
   * lent until the next entry is asked for.
   */
  *entries(afterSeq: number, range?: { readonly fromMs: number; readonly toMs: number }): Generator<LogEntry> {
    const sql = `SELECT seq, kind, body FROM log WHERE seq > ?
      ${range ? `AND (kind <> ${ENTRY_BLOCK} OR (max_ts >= ? AND min_ts < ?))` : ""} ORDER BY seq LIMIT ?`;
    const bounds = range ? [range.fromMs, range.toMs] : [];
    const columns = new BlockColumns();
    let seq = afterSeq;
    for (;;) {
      const rows = this.sql.all<{ seq: number; kind: number; body: Buffer }>(sql, seq, ...bounds, READ_ENTRIES_MAX);
      for (const row of rows) yield decodeEntry(row, columns);
      if (rows.length < READ_ENTRIES_MAX) return;
      seq = rows.at(-1)!.seq;
    }
  }

  /** Blocks of the log that may hold readings with fromMs ≤ time ≤ toMs, in log order; each lent until the next. */
  *blocks(fromMs: number, toMs: number): Generator<Block> {
    const sql = `SELECT seq FROM log WHERE kind = ${ENTRY_BLOCK} AND max_ts >= ? AND min_ts <= ? ORDER BY seq`;
    const columns = new BlockColumns();
    for (const { seq } of this.sql.all<{ seq: number }>(sql, fromMs, toMs)) {
      const row = this.sql.all<{ body: Buffer }>("SELECT body FROM log WHERE seq = ?", seq)[0];
      if (row) yield decodeBlockInto(row.body, columns);
    }
  }

  /** Threshold versions of the log up to a sequence. */
  thresholdVersions(throughSeq: number): ThresholdVersion[] {
    const sql = `SELECT body FROM log WHERE kind = ${ENTRY_THRESHOLDS} AND seq <= ? ORDER BY seq`;
    return this.sql
      .all<{ body: Buffer }>(sql, throughSeq)
      .map(({ body }) => JSON.parse(body.toString()) as ThresholdVersion);
  }

  /** The data dictionary by index. */
  allSeries(): Array<SeriesKey & { readonly index: number }> {
    return this.sql.all('SELECT idx AS "index", site, device, metric FROM series ORDER BY idx');
  }

  ledger(): LedgerRow[] {
    return this.sql.all("SELECT source, reason, count, ticked FROM ledger ORDER BY source, reason");
  }

  /** Stored episodes of a series that a breach at or after fromMs - their gap could belong to, or that began later. */
  episodesFrom(series: number, fromMs: number): EpisodeRow[] {
    return this.sql.all(
      `SELECT kind, started_ms AS startedMs, last_ms AS lastMs, gap_ms AS gapMs, fired FROM episodes
       WHERE series = ? AND last_ms + gap_ms >= ? ORDER BY started_ms`,
      series,
      fromMs,
    );
  }

  /** The oldest frames of a lane after a sequence, at most `limit`. */
  frames(lane: Lane, afterSeq: number, limit: number): Array<{ readonly seq: number; readonly body: Uint8Array }> {
    const sql = "SELECT seq, body FROM outbox WHERE lane = ? AND seq > ? ORDER BY seq LIMIT ?";
    return this.sql.all(sql, lane, afterSeq, limit);
  }

  /** Forgets frames that the aggregator has committed. */
  acknowledge(lane: Lane, throughSeq: number): void {
    this.sql.transaction(() => {
      const sql = "SELECT sum(length(body)) FROM outbox WHERE lane = ? AND seq <= ?";
      const bytes = this.sql.number(sql, lane, throughSeq) ?? 0;
      this.sql.run("DELETE FROM outbox WHERE lane = ? AND seq <= ?", lane, throughSeq);
      this.#outboxBytes -= bytes;
      // A data file put back from a copy counts on from what the aggregator has already seen.
      if (throughSeq > this.#laneSeq[lane]) {
        this.#laneSeq[lane] = throughSeq;
        this.sql.run("REPLACE INTO lanes VALUES (?, ?)", lane, throughSeq);
      }
    });
  }

  /**
   * Drops the oldest window partials until the outbox holds at most bytesMax. Returns how many frames, and how many
   * readings were in them: for the ledger.
   */
  trimOutbox(bytesMax: number): { readonly frames: number; readonly readings: number } {
    let frames = 0;
    let readings = 0;
    let bytes = this.#outboxBytes;
    if (bytes <= bytesMax) return { frames, readings };
    const sql = "SELECT lane, seq, readings, length(body) AS bytes FROM outbox WHERE droppable = 1 ORDER BY seq";
    type Row = { lane: Lane; seq: number; readings: number; bytes: number };
    this.sql.transaction(() => {
      for (const row of this.sql.all<Row>(sql)) {
        if (bytes <= bytesMax) break;
        this.sql.run("DELETE FROM outbox WHERE lane = ? AND seq = ?", row.lane, row.seq);
        bytes -= row.bytes;
        frames++;
        readings += row.readings;
      }
    });
    this.#outboxBytes = bytes;
    return { frames, readings };
  }

  /** Deletes the oldest entries past the bounds, never threshold versions or what is not checkpointed; says how many. */
  trimLog(bounds: {
    readonly bytesMax: number;
    readonly receivedBeforeMs: number;
    readonly entriesMax: number;
  }): number {
    const throughSeq = Number(this.meta("recover_seq") ?? 0);
    const sql = `SELECT seq, received_ms AS receivedMs, max_ts AS maxTsMs, length(body) AS bytes FROM log
      WHERE seq <= ? AND kind <> ${ENTRY_THRESHOLDS} ORDER BY seq LIMIT ?`;
    type Row = { seq: number; receivedMs: number; maxTsMs: number | null; bytes: number };
    const oldest = this.sql.all<Row>(sql, throughSeq, bounds.entriesMax);
    const doomed: number[] = [];
    let bytes = this.#logBytes;
    let wholeFromMs = this.wholeFromMs;
    for (const row of oldest) {
      if (bytes <= bounds.bytesMax && row.receivedMs >= bounds.receivedBeforeMs) break;
      doomed.push(row.seq);
      bytes -= row.bytes;
      if (row.maxTsMs !== null) wholeFromMs = Math.max(wholeFromMs, row.maxTsMs + 1);
    }
    if (doomed.length === 0) return 0;
    this.sql.transaction(() => {
      for (const seq of doomed) this.sql.run("DELETE FROM log WHERE seq = ?", seq);
      this.#setMeta("log_bytes", bytes);
      if (wholeFromMs === -Infinity) return;
      this.#setMeta("log_whole_from_ms", wholeFromMs);
      // No re-fold reaches back to these any more.
      this.sql.run("DELETE FROM episodes WHERE last_ms + gap_ms < ?", wholeFromMs);
    });
    this.#logBytes = bytes;
    return doomed.length;
  }

  /** Keeps the newest `countMax` dead letters. */
  trimDeadLetters(countMax: number): void {
    this.sql.run("DELETE FROM dead_letters WHERE id <= (SELECT max(id) FROM dead_letters) - ?", countMax);
  }

  deadLetters(limit: number): Array<DeadLetter & { readonly atMs: number }> {
    const sql = "SELECT at_ms AS atMs, source, topic, reason, bytes, head FROM dead_letters ORDER BY id DESC LIMIT ?";
    return this.sql.all(sql, limit);
  }

  meta(key: string): string | number | undefined {
    return this.sql.all<{ value: string | number }>("SELECT value FROM meta WHERE key = ?", key)[0]?.value;
  }

  /** Keeps a small fact outside the log, such as the revision of a report that the aggregator told of. */
  setMeta(key: string, value: string | number): void {
    this.#setMeta(key, value);
  }

  close(): void {
    this.sql.close();
  }

  #setMeta(key: string, value: string | number): void {
    this.sql.run("REPLACE INTO meta VALUES (?, ?)", key, value);
  }
}

function decodeEntry(
  { seq, kind, body }: { seq: number; kind: number; body: Buffer },
  columns: BlockColumns,
): LogEntry {
  if (kind === ENTRY_BLOCK) return { seq, kind: "block", block: decodeBlockInto(body, columns) };
  const json = JSON.parse(body.toString()) as unknown;
  if (kind === ENTRY_TICK) return { seq, kind: "tick", tick: json as Omit<TickFrame, "kind"> };
  return { seq, kind: "thresholds", version: json as ThresholdVersion };
}

function isEmpty(batch: CommitBatch): boolean {
  const { checkpoint, receivedMs: _, ...lists } = batch;
  return checkpoint === undefined && Object.values(lists).every((list) => list.length === 0);
}
