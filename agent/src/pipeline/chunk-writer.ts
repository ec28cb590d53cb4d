import { BlockColumns, decodeBlockInto, encodeBlock } from "../store/block-codec.ts";
import type { ChunkInfo, ChunkRow, Compacted } from "../store/compacted.ts";
import { chunkHour } from "../store/compacted.ts";
import { Rows } from "../store/rows.ts";

/** Readings of a chunk, at most, but for those of one millisecond: a late reading is looked up by decoding it. */
const CHUNK_READINGS_MAX = 2048;
/** Chunks with fewer are joined with what follows them. */
const CHUNK_READINGS_MIN: number = CHUNK_READINGS_MAX / 2;

/**
 * Makes the chunks of one merge: new ones, and those in which late readings find their place. Chunks of one series and
 * hour never overlap in time.
 */
export class ChunkWriter {
  readonly #store: Compacted;
  readonly #receivedMs: number;
  readonly #rows = new Rows();
  readonly #columns = new BlockColumns();
  readonly chunks: ChunkRow[] = [];
  /** Chunks that the new ones take the place of, and the bytes of their bodies. */
  readonly replaced: ChunkInfo[] = [];
  bytesReplaced = 0;

  /** receivedMs: when the newest reading of the merge was received. */
  constructor(store: Compacted, receivedMs: number) {
    this.#store = store;
    this.#receivedMs = receivedMs;
  }

  /** Adds rows [from, to) of one series and hour, by time. Once for each series and hour. */
  add(rows: Rows, from: number, to: number): void {
    const series = rows.series[from]!;
    const hourMs = chunkHour(rows.tsMs[from]!);
    const known = this.#store.chunkInfos(hourMs, series);
    const touched = known.length === 0 ? [] : touchedBy(known, rows.tsMs[from]!, rows.tsMs[to - 1]!);
    if (touched.length === 0) {
      this.#write(rows, from, to, hourMs, this.#receivedMs);
      return;
    }
    const joined = this.#rows;
    joined.clear();
    let receivedMs = this.#receivedMs;
    for (const chunk of touched) {
      const body = this.#store.chunkBody(chunk);
      const columns = decodeBlockInto(body, this.#columns);
      joined.append(columns, 0, columns.count);
      receivedMs = Math.max(receivedMs, chunk.receivedMs);
      this.replaced.push(chunk);
      this.bytesReplaced += body.length;
    }
    joined.append(rows, from, to);
    joined.sortByTime(0, joined.count);
    this.#write(joined, 0, joined.count, hourMs, receivedMs);
  }

  /** Writes rows by time as chunks of about the same size. */
  #write(rows: Rows, from: number, to: number, hourMs: number, receivedMs: number): void {
    const { tsMs } = rows;
    const parts = Math.ceil((to - from) / CHUNK_READINGS_MAX);
    const size = Math.ceil((to - from) / parts);
    for (let start = from, end = from; start < to; start = end) {
      end = Math.min(to, start + size);
      // Readings of one time are in one chunk.
      while (end < to && tsMs[end] === tsMs[end - 1]) end++;
      this.chunks.push({
        hourMs,
        series: rows.series[start]!,
        minTsMs: tsMs[start]!,
        maxTsMs: tsMs[end - 1]!,
        receivedMs,
        readings: end - start,
        body: encodeBlock(rows.view(start, end)),
      });
    }
  }
}

/** Chunks that hold times within [fromMs, toMs], and small ones beside them. */
function touchedBy(chunks: readonly ChunkInfo[], fromMs: number, toMs: number): ChunkInfo[] {
  const overlapping = chunks.filter(({ minTsMs, maxTsMs }) => maxTsMs >= fromMs && minTsMs <= toMs);
  const before = chunks.findLast(({ maxTsMs }) => maxTsMs < fromMs);
  const after = chunks.find(({ minTsMs }) => minTsMs > toMs);
  const isSmall = (chunk: ChunkInfo | undefined): chunk is ChunkInfo =>
    chunk !== undefined && chunk.readings < CHUNK_READINGS_MIN;
  return [...(isSmall(before) ? [before] : []), ...overlapping, ...(isSmall(after) ? [after] : [])];
}
