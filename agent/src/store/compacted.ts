import { HOUR_MS } from "@weir/shared/operators/calendar";
import type { Sql } from "./sql.ts";

/**
 * The compacted part of the log, as rows.
 *
 * Blocks of the log hold what came together, so one series' readings are spread over all of them. Compaction rewrites
 * them twice: some seconds or minutes of blocks into one *piece* for each strip of 256 series, and an hour of a strip's
 * pieces into *chunks*, one for each series and hour of event time. A reading is in a block, in a piece or in a chunk,
 * never in two of them: each step is one transaction. compact.ts decides when.
 */

/** Series whose readings are in one piece: strip of a series: series >>> STRIP_SHIFT. */
export const STRIP_SHIFT = 8;
export const STRIP_SERIES: number = 2 ** STRIP_SHIFT;

/** The readings of one strip from some blocks of the log, by series and time. seq: the newest of those blocks. */
export interface PieceRow {
  readonly strip: number;
  readonly seq: number;
  readonly receivedMs: number;
  readonly minTsMs: number;
  readonly maxTsMs: number;
  readonly readings: number;
  readonly body: Uint8Array;
}

/** Readings of one series within one hour of event time (UTC), by time. Those of one hour don't overlap in time. */
export interface ChunkRow {
  readonly hourMs: number;
  readonly series: number;
  readonly minTsMs: number;
  readonly maxTsMs: number;
  /** When the newest of them was received. */
  readonly receivedMs: number;
  readonly readings: number;
  readonly body: Uint8Array;
}

/** A chunk without its body. */
export type ChunkInfo = Omit<ChunkRow, "body">;

/** What is known of a block of the log without decoding it. */
export interface BlockInfo {
  readonly seq: number;
  readonly receivedMs: number;
  readonly readings: number;
}

/** All pieces of a strip. */
export interface StripInfo {
  readonly strip: number;
  readonly readings: number;
  readonly minTsMs: number;
}

/** The pieces and chunks that a merge takes the place of, and what it writes. bytes: of the bodies that go. */
export interface Merge {
  readonly strip: number;
  readonly throughSeq: number;
  readonly rest: PieceRow | undefined;
  readonly replaced: readonly ChunkInfo[];
  readonly chunks: readonly ChunkRow[];
  readonly bytes: number;
}

/** The hour of event time, UTC, that a time belongs to. */
export function chunkHour(tsMs: number): number {
  return Math.floor(tsMs / HOUR_MS) * HOUR_MS;
}

/** Changes the log within a transaction; work returns by how many bytes its bodies grew. */
export type RewriteLog = (work: () => number) => void;

/** Reads and writes pieces and chunks. */
export class Compacted {
  readonly #sql: Sql;
  readonly #rewrite: RewriteLog;

  constructor(sql: Sql, rewrite: RewriteLog) {
    this.#sql = sql;
    this.#rewrite = rewrite;
  }

  /** The oldest blocks of the log after one sequence and up to another, at most `limit`. */
  blocks(afterSeq: number, throughSeq: number, limit: number): BlockInfo[] {
    const sql = `SELECT seq, received_ms AS receivedMs, readings FROM log INDEXED BY log_blocks
      WHERE kind = 1 AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?`;
    return this.#sql.all(sql, afterSeq, throughSeq, limit);
  }

  blockBody(seq: number): Buffer {
    return this.#sql.get<{ body: Buffer }>("SELECT body FROM log WHERE seq = ?", seq)!.body;
  }

  /** Puts pieces in the place of blocks, which they hold all readings of. bytes: of those blocks' bodies. */
  cut(pieces: readonly PieceRow[], blocks: readonly BlockInfo[], bytes: number): void {
    this.#rewrite(() => {
      for (const { seq } of blocks) this.#sql.run("DELETE FROM log WHERE seq = ?", seq);
      let grown = -bytes;
      for (const piece of pieces) {
        this.#addPiece(piece);
        grown += piece.body.length;
      }
      return grown;
    });
  }

  /** What there is of pieces, by strip. */
  strips(): StripInfo[] {
    return this.#sql.all(`SELECT strip, sum(readings) AS readings, min(min_ts) AS minTsMs
      FROM pieces INDEXED BY pieces_by_strip GROUP BY strip ORDER BY strip`);
  }

  /** What there is of pieces of one strip; undefined where there is none. */
  strip(strip: number): StripInfo | undefined {
    return this.#sql.get(
      `SELECT strip, sum(readings) AS readings, min(min_ts) AS minTsMs FROM pieces INDEXED BY pieces_by_strip
       WHERE strip = ? GROUP BY strip`,
      strip,
    );
  }

  /** Pieces of a strip in the order they were cut, without their bodies. */
  pieces(strip: number): Array<Pick<PieceRow, "seq" | "receivedMs" | "readings">> {
    const sql = `SELECT seq, received_ms AS receivedMs, readings FROM pieces INDEXED BY pieces_by_strip
      WHERE strip = ? ORDER BY seq`;
    return this.#sql.all(sql, strip);
  }

  pieceBody(strip: number, seq: number): Buffer {
    return this.#sql.get<{ body: Buffer }>("SELECT body FROM pieces WHERE strip = ? AND seq = ?", strip, seq)!.body;
  }

  /** Chunks of a series and hour by time, without their bodies. */
  chunkInfos(hourMs: number, series: number): ChunkInfo[] {
    const sql = `SELECT hour_ms AS hourMs, series, min_ts AS minTsMs, max_ts AS maxTsMs, received_ms AS receivedMs,
      readings FROM chunks WHERE hour_ms = ? AND series = ? ORDER BY min_ts`;
    return this.#sql.all(sql, hourMs, series);
  }

  chunkBody({ hourMs, series, minTsMs }: ChunkInfo): Buffer {
    const sql = "SELECT body FROM chunks WHERE hour_ms = ? AND series = ? AND min_ts = ?";
    return this.#sql.get<{ body: Buffer }>(sql, hourMs, series, minTsMs)!.body;
  }

  /** Writes a merge whole. */
  merge({ strip, throughSeq, rest, replaced, chunks, bytes }: Merge): void {
    this.#rewrite(() => {
      let grown = -bytes;
      this.#sql.run("DELETE FROM pieces WHERE strip = ? AND seq <= ?", strip, throughSeq);
      for (const { hourMs, series, minTsMs } of replaced) {
        this.#sql.run("DELETE FROM chunks WHERE hour_ms = ? AND series = ? AND min_ts = ?", hourMs, series, minTsMs);
      }
      for (const { hourMs, series, minTsMs, maxTsMs, receivedMs, readings, body } of chunks) {
        const sql = "INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?)";
        this.#sql.run(sql, hourMs, series, minTsMs, maxTsMs, receivedMs, readings, body);
        grown += body.length;
      }
      if (rest) this.#addPiece(rest);
      return grown + (rest?.body.length ?? 0);
    });
  }

  #addPiece({ strip, seq, receivedMs, minTsMs, maxTsMs, readings, body }: PieceRow): void {
    const sql = "INSERT INTO pieces VALUES (?, ?, ?, ?, ?, ?, ?)";
    this.#sql.run(sql, strip, seq, receivedMs, minTsMs, maxTsMs, readings, body);
  }
}
