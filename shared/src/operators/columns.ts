/** Columns by series index grow in steps of this many rows: few copies, little waste. */
export const COLUMN_STEP_ROWS = 4096;

/** Series of one page: state is flushed and written a page at a time. Page of a series: series >> PAGE_SHIFT. */
export const PAGE_SERIES = 1024;
export const PAGE_SHIFT = 10;

/** Rows to allocate so that index `row` fits: the next whole step, at least half as much again as now. */
export function grownRows(rows: number, row: number): number {
  const wanted = Math.max(row + 1, Math.ceil(rows * 1.5));
  return Math.ceil(wanted / COLUMN_STEP_ROWS) * COLUMN_STEP_ROWS;
}

/** A copy of `column` with `rows` rows; the new ones hold `fill`. */
export function growFloat64(column: Float64Array, rows: number, fill: number): Float64Array<ArrayBuffer> {
  const grown = new Float64Array(rows);
  grown.set(column);
  if (fill !== 0) grown.fill(fill, column.length);
  return grown;
}

/** A copy of `column` with `rows` rows; the new ones hold `fill`. */
export function growInt32(column: Int32Array, rows: number, fill: number): Int32Array<ArrayBuffer> {
  const grown = new Int32Array(rows);
  grown.set(column);
  if (fill !== 0) grown.fill(fill, column.length);
  return grown;
}

/** Bytes of a line of the cache. */
const LINE_BYTES = 64;
/** The allocator puts large pieces of memory this far behind a line's begin: its own header is there. */
const HEADER_BYTES = 16;

/**
 * Memory for rows that are made of whole lines of the cache, zeroed, as doubles and, the same memory, as integers. Rows
 * begin where lines begin, as far as the allocator does as expected; where not, rows are only slower.
 */
export function alignedRows(bytes: number): {
  readonly doubles: Float64Array<ArrayBuffer>;
  readonly integers: Int32Array<ArrayBuffer>;
} {
  const buffer = new ArrayBuffer(bytes + LINE_BYTES);
  const offset = LINE_BYTES - HEADER_BYTES;
  return {
    doubles: new Float64Array(buffer, offset, bytes / 8),
    integers: new Int32Array(buffer, offset, bytes / 4),
  };
}
