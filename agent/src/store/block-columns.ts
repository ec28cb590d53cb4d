import { CodedError } from "@weir/shared/errors";
import type { ByteReader, ByteWriter } from "@weir/shared/wire/bytes";
import { readStream, streamBits, writeStream } from "./bit-packing.ts";

/**
 * Columns of a block: numbers beside the series they belong to.
 *
 *   column := mode:u8  mode 0 direct: stream(count)
 *                      mode 1 runs:   stream(heads) stream(count - heads)
 *
 * A run is a stretch of rows of one series; its head is its first row. In mode 1, heads stand as they are and the other
 * rows as differences to the row before them: small where one series' numbers are alike and those of two are not.
 */
const MODE_DIRECT = 0;
const MODE_RUNS = 1;

/** Runs pay only where there are some rows to a run: with more heads than this share, sizes are not compared. */
const HEADS_SHARE_MAX = 0.9;

/** Runs take longer to read, so they have to be clearly shorter. */
const RUNS_BITS_SHARE_MAX = 0.97;

/** Sizes of long columns are compared on stretches of so many rows, a third of the column apart. */
const SAMPLE_ROWS = 256;

let heads: Float64Array = new Float64Array(0);
let rest: Float64Array = new Float64Array(0);

/** Appends the first `count` numbers: integers of at most WHOLE_ABS_MAX. series, headCount: where the runs are. */
export function writeColumn(
  writer: ByteWriter,
  numbers: Float64Array,
  count: number,
  series: Uint32Array,
  headCount: number,
): void {
  if (headCount < count * HEADS_SHARE_MAX && runsAreShorter(numbers, count, series)) {
    splitRuns(numbers, 0, count, series);
    writer.uint8(MODE_RUNS);
    writeStream(writer, heads, headCount);
    writeStream(writer, rest, count - headCount);
    return;
  }
  writer.uint8(MODE_DIRECT);
  writeStream(writer, numbers, count);
}

/** Reads `count` numbers into `numbers`. Throws CodedError TRUNCATED or BAD_BLOCK. */
export function readColumn(
  reader: ByteReader,
  numbers: Float64Array,
  count: number,
  series: Uint32Array,
  headCount: number,
): void {
  const mode = reader.uint8();
  if (mode === MODE_DIRECT) {
    readStream(reader, numbers, count);
    return;
  }
  if (mode !== MODE_RUNS) throw new CodedError("BAD_BLOCK", `A block of the log has a column of kind ${mode}.`);
  growScratch(count);
  readStream(reader, heads, headCount);
  readStream(reader, rest, count - headCount);
  joinRuns(numbers, count, series);
}

function runsAreShorter(numbers: Float64Array, count: number, series: Uint32Array): boolean {
  growScratch(count);
  let direct = 0;
  let runs = 0;
  const isLong = count > 4 * SAMPLE_ROWS;
  const rows = isLong ? SAMPLE_ROWS : count;
  for (let from = 0; from + rows <= count; from += isLong ? Math.floor(count / 3) : count) {
    const headCount = splitRuns(numbers, from, from + rows, series);
    direct += streamBits(numbers, from, from + rows);
    runs += streamBits(heads, 0, headCount) + streamBits(rest, 0, rows - headCount);
  }
  return runs < direct * RUNS_BITS_SHARE_MAX;
}

/** Splits rows `from` to `end` into `heads` and `rest`; returns the number of heads. */
function splitRuns(numbers: Float64Array, from: number, end: number, series: Uint32Array): number {
  const [toHeads, toRest] = [heads, rest];
  let head = 0;
  let follower = 0;
  let seriesBefore = ~series[from]!;
  let before = 0;
  for (let i = from; i < end; i++) {
    const number = numbers[i]!;
    const one = series[i]!;
    const changed = one ^ seriesBefore;
    // 1 where the series changes, without a branch: of rows in random runs, the processor would mistake every third.
    const isHead = (changed | -changed) >>> 31;
    toHeads[head] = number;
    toRest[follower] = number - before;
    head += isHead;
    follower += 1 - isHead;
    seriesBefore = one;
    before = number;
  }
  return head;
}

function joinRuns(numbers: Float64Array, count: number, series: Uint32Array): void {
  const [fromHeads, fromRest] = [heads, rest];
  let head = 0;
  let follower = 0;
  let seriesBefore = -1;
  let number = 0;
  for (let i = 0; i < count; i++) {
    const one = series[i]!;
    if (one === seriesBefore) number += fromRest[follower++]!;
    else {
      number = fromHeads[head++]!;
      seriesBefore = one;
    }
    numbers[i] = number;
  }
}

function growScratch(count: number): void {
  if (heads.length >= count) return;
  heads = new Float64Array(count);
  rest = new Float64Array(count);
}
