import type { Block, SeriesKey } from "@weir/shared/model/reading";
import type { ThresholdVersion } from "@weir/shared/model/thresholds";
import type { Lane, TickFrame } from "@weir/shared/wire/messages";
import type { PageRow } from "../pipeline/pages.ts";
import type { PastEpisode } from "../pipeline/refold.ts";
import { BlockColumns, decodeBlockInto } from "./block-codec.ts";
import type { CheckpointRows, CommitBatch, DeadLetter, LedgerRow, WaitingRefold } from "./commit-batch.ts";
import { Compacted } from "./compacted.ts";
import { openDataFile } from "./data-file.ts";
import { ENTRY_BLOCK, ENTRY_THRESHOLDS, ENTRY_TICK } from "./schema.ts";
import type { FrameRow } from "./outbox-rows.ts";
import { frameChecksum, INSERT_FRAME, wholeFrames } from "./outbox-rows.ts";
import { Sql } from "./sql.ts";
import { StoredReadings } from "./stored-readings.ts";
import type { LogBounds } from "./trim-log.ts";
import { deleteDoomed, findDoomed } from "./trim-log.ts";
import type { OutboxTrim } from "./trim-outbox.ts";
import { OUTBOX_LOSS, trimOutbox } from "./trim-outbox.ts";

/** A clock tick as the log has it. */
export type LogTick = Omit<TickFrame, "kind">;

/** An entry of the log: the three kinds of thing that reach an operator. */
export type LogEntry = { readonly seq: number } & (
  | { readonly kind: "block"; readonly block: Block }
  | { readonly kind: "thresholds"; readonly version: ThresholdVersion }
  | { readonly kind: "tick"; readonly tick: LogTick }
);

/** Entries of one read of the log, at most: bounds the memory of a fold. */
const READ_ENTRIES_MAX = 16;

/** Writes and reads the agent's file. Synchronous; one instance a process writes. */
export class Store {
  /** The connection, for parts of the file that have a module of their own. */
  readonly sql: Sql;
  readonly compacted: Compacted;
  readonly readings: StoredReadings;
  readonly incarnation: string;
  #lastSeq: number;
  #logBytes: number;
  #outboxBytes: number;
  #wholeFromMs: number;
  readonly #laneSeq: Record<Lane, number>;

  constructor(path: string, options: { readonly readonly: boolean }) {
    this.sql = new Sql(openDataFile(path, options));
    // What only reads has one view of the file, however long it reads.
    if (options.readonly) this.sql.run("BEGIN");
    this.compacted = new Compacted(this.sql, (work) => this.#rewriteLog(work));
    this.readings = new StoredReadings(this.sql);
    this.incarnation = String(this.meta("incarnation"));
    this.#wholeFromMs = Number(this.meta("log_whole_from_ms") ?? -Infinity);
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
    return this.#wholeFromMs;
  }

  /** The log entry after which recovery has to fold: what came before is in the checkpoint, and may be compacted. */
  get recoverSeq(): number {
    return Number(this.meta("recover_seq") ?? 0);
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
        const checksum = frameChecksum(body);
        this.sql.run(INSERT_FRAME, lane, ++laneSeq[lane], readings, Number(droppable), checksum, body);
        outboxBytes += body.length;
      }
      if (batch.frames.length > 0) {
        for (const [lane, last] of Object.entries(laneSeq))
          this.sql.run("REPLACE INTO lanes VALUES (?, ?)", lane, last);
      }
      this.#writeAside(batch);
      this.#writeRefolds(batch);
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

  #writeRefolds({ refolds, refoldsDone }: Pick<CommitBatch, "refolds" | "refoldsDone">): void {
    for (const series of refoldsDone) this.sql.run("DELETE FROM refolds WHERE series = ?", series);
    for (const request of refolds) {
      const sql = `INSERT INTO refolds VALUES (?, ?, ?, ?) ON CONFLICT (series) DO UPDATE SET
        from_ms = min(from_ms, excluded.from_ms), replace_partials = max(replace_partials, excluded.replace_partials),
        owed = owed + excluded.owed`;
      const owed = "owed" in request ? request.owed : 0;
      this.sql.run(sql, request.series, request.fromMs, Number(request.replacePartials), owed);
    }
  }

  /** Re-folds that are still to be run. */
  waitingRefolds(): WaitingRefold[] {
    type Row = { series: number; fromMs: number; replacePartials: number; owed: number };
    const sql =
      "SELECT series, from_ms AS fromMs, replace_partials AS replacePartials, owed FROM refolds ORDER BY series";
    return this.sql.all<Row>(sql).map((row) => ({ ...row, replacePartials: row.replacePartials === 1 }));
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
      recoverSeq: this.recoverSeq,
      pages: rows.map((row) => ({ ...row, episodes: JSON.parse(row.episodes) as PageRow["episodes"] })),
    };
  }

  /** Log entries after a sequence, in order. A block is lent until the next entry is asked for. */
  *entries(afterSeq: number): Generator<LogEntry> {
    const sql = "SELECT seq, kind, body FROM log WHERE seq > ? ORDER BY seq LIMIT ?";
    const columns = new BlockColumns();
    let seq = afterSeq;
    for (;;) {
      const rows = this.sql.all<{ seq: number; kind: number; body: Buffer }>(sql, seq, READ_ENTRIES_MAX);
      for (const row of rows) yield decodeEntry(row, columns);
      if (rows.length < READ_ENTRIES_MAX) return;
      seq = rows.at(-1)!.seq;
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
  episodesFrom(series: number, fromMs: number): PastEpisode[] {
    return this.sql.all(
      `SELECT kind, started_ms AS startedMs, last_ms AS lastMs, gap_ms AS gapMs, fired FROM episodes
       WHERE series = ? AND last_ms + gap_ms >= ? ORDER BY started_ms`,
      series,
      fromMs,
    );
  }

  /** The oldest frames of a lane after a sequence, at most `limit`. Throws DATA_FILE_DAMAGED for one that has changed. */
  frames(lane: Lane, afterSeq: number, limit: number): readonly FrameRow[] {
    const sql = "SELECT seq, checksum, body FROM outbox WHERE lane = ? AND seq > ? ORDER BY seq LIMIT ?";
    return wholeFrames(lane, this.sql.all<FrameRow>(sql, lane, afterSeq, limit));
  }

  /** The newest frames of a lane after a sequence, newest first, at most `limit`. */
  newestFrames(lane: Lane, afterSeq: number, limit: number): readonly FrameRow[] {
    const sql = "SELECT seq, checksum, body FROM outbox WHERE lane = ? AND seq > ? ORDER BY seq DESC LIMIT ?";
    return wholeFrames(lane, this.sql.all<FrameRow>(sql, lane, afterSeq, limit));
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
   * Holds the outbox to its bound; the re-folds that make the deleted partials again, and the count of those that nobody can
   * make, are in the file with that. See trim-outbox.ts.
   */
  trimOutbox(bytesMax: number, framesMax: number = Infinity): OutboxTrim {
    const bytes = this.#outboxBytes;
    if (bytes <= bytesMax) return { frames: 0, bytes: 0, isMore: false, lostReadings: 0, refolds: [] };
    const trim = this.sql.transaction(() => {
      const done = trimOutbox(this.sql, bytes, { bytesMax, framesMax, wholeFromMs: this.#wholeFromMs });
      this.#writeRefolds({ refolds: done.refolds, refoldsDone: [] });
      if (done.lostReadings > 0) {
        const { source, reason } = OUTBOX_LOSS;
        const sql = `INSERT INTO ledger VALUES (?, ?, ?, 0)
          ON CONFLICT (source, reason) DO UPDATE SET count = count + excluded.count`;
        this.sql.run(sql, source, reason, done.lostReadings);
      }
      return done;
    });
    this.#outboxBytes = bytes - trim.bytes;
    return trim;
  }

  /**
   * Deletes the oldest readings and ticks past the bounds, never threshold versions or what is not checkpointed; says
   * how many rows. See trim-log.ts.
   */
  trimLog(bounds: LogBounds): number {
    const { doomed, bytes, wholeFromMs } = findDoomed(this.sql, bounds, this.#logBytes, this.recoverSeq);
    if (doomed.length === 0) return 0;
    const wholeMs = Math.max(this.#wholeFromMs, wholeFromMs);
    this.#rewriteLog(() => {
      deleteDoomed(this.sql, doomed);
      if (wholeMs > this.#wholeFromMs) {
        this.#setMeta("log_whole_from_ms", wholeMs);
        // No re-fold reaches back to these any more.
        this.sql.run("DELETE FROM episodes WHERE last_ms + gap_ms < ?", wholeMs);
      }
      return -bytes;
    });
    this.#wholeFromMs = wholeMs;
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

  #rewriteLog(work: () => number): void {
    const bytes = this.sql.transaction(() => {
      const after = this.#logBytes + work();
      this.#setMeta("log_bytes", after);
      return after;
    });
    this.#logBytes = bytes;
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
  if (kind === ENTRY_TICK) return { seq, kind: "tick", tick: json as LogTick };
  return { seq, kind: "thresholds", version: json as ThresholdVersion };
}

function isEmpty(batch: CommitBatch): boolean {
  const { checkpoint, receivedMs: _, ...lists } = batch;
  return checkpoint === undefined && Object.values(lists).every((list) => list.length === 0);
}
