import { HOUR_MS } from "@weir/shared/operators/calendar";
import { BlockColumns, decodeBlockInto, encodeBlock } from "../store/block-codec.ts";
import type { BlockInfo, Compacted, PieceRow, StripInfo } from "../store/compacted.ts";
import { chunkHour, STRIP_SERIES, STRIP_SHIFT } from "../store/compacted.ts";
import { Rows } from "../store/rows.ts";
import { ChunkWriter } from "./chunk-writer.ts";

/**
 * Compaction in the background: blocks of the log are cut into pieces, and pieces merged into chunks; see
 * store/compacted.ts for what these are.
 *
 * Two steps, because an hour of 100,000 readings a second fits into no memory: a cut sorts half a million readings, a
 * merge an hour of 256 series. Each is a job that only reads until its end, so it can be left at any time to let readings
 * in; its one transaction comes last. A job that fails is done again from the start.
 */

export interface CompactorOptions {
  /** Readings of a cut, about. */
  readonly cutReadings: number;
  /** Blocks are cut when the oldest has been in the log for so long, however few they are, ms. */
  readonly cutAfterMs: number;
  /** Readings of a strip's pieces that are merged at once, before their hour is over. */
  readonly mergeReadings: number;
  /** How long after its end an hour is merged: most late readings are there by then, ms. */
  readonly settleMs: number;
  /** How soon after a merge a strip is merged again because of readings of hours past, ms. */
  readonly mergeAgainMs: number;
}

/** What is sensible from ten readings a second to a million. */
export const COMPACTOR_DEFAULTS: CompactorOptions = {
  cutReadings: 2 ** 18,
  cutAfterMs: 600_000,
  mergeReadings: 2 ** 18,
  settleMs: 300_000,
  mergeAgainMs: 600_000,
};

/** Readings that a job handles between two places at which it can be left. */
const STEP_READINGS = 8192;
/** How often it is looked whether there is anything to do, ms. */
const LOOK_INTERVAL_MS = 1000;
/** Rest after a job that failed, ms. */
const RETRY_MS = 60_000;
/** Blocks of one cut, at most. */
const CUT_BLOCKS_MAX = 8192;

type Job = Generator<void, void>;

interface Strip {
  readings: number;
  minTsMs: number;
  mergedMs: number;
}

/** Does a little compaction whenever it is given a turn. One instance a store. */
export class Compactor {
  readonly #store: Compacted;
  readonly #options: CompactorOptions;
  readonly #strips = new Map<number, Strip>();
  /** Blocks that wait for a cut, as far as they have been looked up, and the readings in them. */
  #blocks: BlockInfo[] = [];
  #blockReadings = 0;
  #job: Job | undefined;
  #lookedMs = -Infinity;
  #failedMs = -Infinity;
  readonly #columns = new BlockColumns();
  readonly #rows = new Rows();
  readonly #sorted = new Rows();
  /** Since the start: readings cut and merged, jobs done, and the time they took. */
  readonly #done = { cut: 0, merged: 0, jobs: 0, ms: 0 };

  constructor(store: Compacted, options: CompactorOptions = COMPACTOR_DEFAULTS) {
    this.#store = store;
    this.#options = options;
    for (const info of store.strips()) this.#noteStrip(info);
  }

  /** Numbers for metrics. */
  get gauges(): Record<string, number> {
    let waiting = 0;
    for (const { readings } of this.#strips.values()) waiting += readings;
    return {
      compaction_cut_readings_total: this.#done.cut,
      compaction_merged_readings_total: this.#done.merged,
      compaction_jobs_total: this.#done.jobs,
      compaction_seconds_total: this.#done.ms / 1000,
      compaction_piece_readings: waiting,
    };
  }

  /**
   * Goes on with what is to be done for about budgetMs. throughSeq: blocks up to here may be cut; the fold no longer
   * needs them as they are. nowMs: the clock. Throws what SQLite throws; the job is then begun anew in a minute.
   */
  turn(throughSeq: number, nowMs: number, budgetMs: number): void {
    const startedMs = performance.now();
    try {
      if (!this.#job && isWithin(nowMs, this.#lookedMs, LOOK_INTERVAL_MS)) return;
      if (isWithin(nowMs, this.#failedMs, RETRY_MS)) return;
      do {
        this.#job ??= this.#nextJob(throughSeq, nowMs);
        if (!this.#job) break;
        if (this.#job.next().done === true) {
          this.#job = undefined;
          this.#done.jobs++;
        }
      } while (performance.now() - startedMs < budgetMs);
    } catch (error) {
      this.#job = undefined;
      this.#failedMs = nowMs;
      throw error;
    } finally {
      this.#done.ms += performance.now() - startedMs;
    }
  }

  /** A job is under way. */
  get isBusy(): boolean {
    return this.#job !== undefined;
  }

  /** Rows were deleted from the log by others: what the present job has read may be among them. */
  restart(): void {
    this.#job = undefined;
    this.#forgetBlocks(this.#blocks.length);
  }

  /** Compacts all there is, whatever its age, in one go: for tests. */
  finish(throughSeq: number, nowMs: number): void {
    this.#job = undefined;
    const run = (job: Job): void => {
      while (job.next().done !== true);
      this.#done.jobs++;
    };
    for (;;) {
      this.#lookUpBlocks(throughSeq);
      if (this.#blocks.length === 0) break;
      run(this.#cut());
    }
    const strips = Array.from(this.#strips.keys());
    for (const strip of strips) while (this.#strips.has(strip)) run(this.#merge(strip, Infinity, nowMs));
  }

  #noteStrip({ strip, readings, minTsMs }: StripInfo): void {
    const known = this.#strips.get(strip);
    if (!known) this.#strips.set(strip, { readings, minTsMs, mergedMs: -Infinity });
    else {
      known.readings += readings;
      known.minTsMs = Math.min(known.minTsMs, minTsMs);
    }
  }

  #nextJob(throughSeq: number, nowMs: number): Job | undefined {
    const job = this.#dueCut(throughSeq, nowMs) ?? this.#dueMerge(nowMs);
    // Looked again at once after a job: there may be more.
    this.#lookedMs = job ? -Infinity : nowMs;
    return job;
  }

  #dueCut(throughSeq: number, nowMs: number): Job | undefined {
    const { cutReadings, cutAfterMs } = this.#options;
    this.#lookUpBlocks(throughSeq);
    const [oldest] = this.#blocks;
    if (!oldest) return undefined;
    const isOld = nowMs - oldest.receivedMs >= cutAfterMs;
    const isFull = this.#blockReadings >= cutReadings || this.#blocks.length === CUT_BLOCKS_MAX;
    return isFull || isOld ? this.#cut() : undefined;
  }

  #lookUpBlocks(throughSeq: number): void {
    const afterSeq = this.#blocks.at(-1)?.seq ?? 0;
    for (const block of this.#store.blocks(afterSeq, throughSeq, CUT_BLOCKS_MAX - this.#blocks.length)) {
      this.#blocks.push(block);
      this.#blockReadings += block.readings;
    }
  }

  /** The first blocks are no longer in the log, or nobody knows. */
  #forgetBlocks(count: number): void {
    for (const { readings } of this.#blocks.splice(0, count)) this.#blockReadings -= readings;
  }

  #dueMerge(nowMs: number): Job | undefined {
    const { mergeReadings, mergeAgainMs, settleMs } = this.#options;
    for (const [strip, { readings, minTsMs, mergedMs }] of this.#strips) {
      if (readings >= mergeReadings) return this.#merge(strip, Infinity, nowMs);
      const settledMs = chunkHour(nowMs - settleMs);
      const isRested = nowMs - mergedMs >= mergeAgainMs || nowMs < mergedMs;
      if (minTsMs < settledMs && isRested) return this.#merge(strip, settledMs, nowMs);
    }
    return undefined;
  }

  /** Cuts the blocks that wait, oldest first, as many as one cut takes. */
  *#cut(): Job {
    const rows = this.#rows;
    rows.clear();
    const blocks: BlockInfo[] = [];
    const next: number[] = [];
    const ends: number[] = [];
    let bytes = 0;
    let lastYield = 0;
    for (const block of this.#blocks) {
      if (rows.count >= this.#options.cutReadings) break;
      const body = this.#store.blockBody(block.seq);
      const columns = decodeBlockInto(body, this.#columns);
      next.push(rows.count);
      rows.append(columns, 0, columns.count);
      ends.push(rows.count);
      blocks.push(block);
      bytes += body.length;
      if (rows.count - lastYield < STEP_READINGS) continue;
      lastYield = rows.count;
      yield;
    }
    if (blocks.length === 0) return;
    const pieces: PieceRow[] = [];
    const receivedMs = blocks.at(-1)!.receivedMs;
    const seq = blocks.at(-1)!.seq;
    let taken = 0;
    lastYield = 0;
    while (taken < rows.count) {
      const strip = lowestStrip(rows, next, ends);
      const sorted = this.#takeStrip(strip, next, ends);
      taken += sorted.count;
      sorted.sort();
      pieces.push(pieceOf(sorted, strip, seq, receivedMs));
      if (taken - lastYield < STEP_READINGS) continue;
      lastYield = taken;
      yield;
    }
    this.#store.cut(pieces, blocks, bytes);
    this.#forgetBlocks(blocks.length);
    for (const piece of pieces) this.#noteStrip(piece);
    this.#done.cut += rows.count;
  }

  /** The rows of one strip from all blocks of the cut, each ordered by series. */
  #takeStrip(strip: number, next: number[], ends: readonly number[]): Rows {
    const { series } = this.#rows;
    const end = (strip + 1) * STRIP_SERIES;
    const sorted = this.#sorted;
    sorted.clear();
    for (let i = 0; i < ends.length; i++) {
      const from = next[i]!;
      const blockEnd = ends[i]!;
      let to = from;
      while (to < blockEnd && series[to]! < end) to++;
      if (to === from) continue;
      sorted.append(this.#rows, from, to);
      next[i] = to;
    }
    return sorted;
  }

  /** Merges the pieces of a strip into chunks of the hours before settledMs; what is later stays one piece. */
  *#merge(strip: number, settledMs: number, nowMs: number): Job {
    const rows = this.#rows;
    rows.clear();
    let receivedMs = 0;
    let throughSeq = 0;
    let bytes = 0;
    let lastYield = 0;
    const pieces = this.#store.pieces(strip);
    for (const piece of pieces) {
      if (rows.count > 0 && rows.count + piece.readings > 2 * this.#options.mergeReadings) break;
      const body = this.#store.pieceBody(strip, piece.seq);
      const columns = decodeBlockInto(body, this.#columns);
      rows.append(columns, 0, columns.count);
      bytes += body.length;
      throughSeq = piece.seq;
      receivedMs = Math.max(receivedMs, piece.receivedMs);
      if (rows.count - lastYield < STEP_READINGS) continue;
      lastYield = rows.count;
      yield;
    }
    // Trimmed meanwhile.
    if (rows.count === 0) return this.#refresh(strip, nowMs);
    rows.sort();
    yield;
    const writing = new ChunkWriter(this.#store, receivedMs);
    const rest = this.#sorted;
    rest.clear();
    lastYield = 0;
    for (let from = 0, to = 0; from < rows.count; from = to) {
      to = endOfHour(rows, from);
      if (chunkHour(rows.tsMs[from]!) < settledMs) writing.add(rows, from, to);
      else rest.append(rows, from, to);
      if (to - lastYield < STEP_READINGS) continue;
      lastYield = to;
      yield;
    }
    const restPiece = rest.count > 0 ? pieceOf(rest, strip, throughSeq, receivedMs) : undefined;
    const { chunks, replaced } = writing;
    this.#store.merge({ strip, throughSeq, rest: restPiece, replaced, chunks, bytes: bytes + writing.bytesReplaced });
    this.#done.merged += rows.count - rest.count;
    this.#refresh(strip, nowMs);
  }

  #refresh(strip: number, mergedMs: number): void {
    const left = this.#store.strip(strip);
    if (left) this.#strips.set(strip, { ...left, mergedMs });
    else this.#strips.delete(strip);
  }
}

/** Whether less than lengthMs has passed since a time; a clock that was put back has. */
function isWithin(nowMs: number, sinceMs: number, lengthMs: number): boolean {
  return nowMs >= sinceMs && nowMs - sinceMs < lengthMs;
}

/** The strip of the first row that is not taken. */
function lowestStrip({ series }: Rows, next: readonly number[], ends: readonly number[]): number {
  let lowest = Infinity;
  for (let i = 0; i < ends.length; i++) {
    if (next[i]! < ends[i]!) lowest = Math.min(lowest, series[next[i]!]! >>> STRIP_SHIFT);
  }
  return lowest;
}

function pieceOf(rows: Rows, strip: number, seq: number, receivedMs: number): PieceRow {
  let minTsMs = Infinity;
  let maxTsMs = -Infinity;
  for (let i = 0; i < rows.count; i++) {
    const tsMs = rows.tsMs[i]!;
    if (tsMs < minTsMs) minTsMs = tsMs;
    if (tsMs > maxTsMs) maxTsMs = tsMs;
  }
  const body = encodeBlock(rows.view(0, rows.count));
  return { strip, seq, receivedMs, minTsMs, maxTsMs, readings: rows.count, body };
}

/** Where the rows of the series and hour of row `from` end. */
function endOfHour({ count, series, tsMs }: Rows, from: number): number {
  const one = series[from]!;
  const endMs = chunkHour(tsMs[from]!) + HOUR_MS;
  let to = from + 1;
  while (to < count && series[to] === one && tsMs[to]! < endMs) to++;
  return to;
}
