import type { Block, SeriesKey } from "@weir/shared/model/reading";
import type { DeadLetter } from "../store/commit-batch.ts";
import type { LedgerReason } from "./ledger.ts";
import type { AheadReadings } from "./quarantine.ts";

/** A series that was registered since the last batch. */
export type NewSeries = SeriesKey & { readonly index: number };

/** A change of a count of the ledger. */
export interface LedgerChange {
  readonly source: string;
  readonly reason: LedgerReason;
  readonly count: number;
}

/**
 * What the intake hands to the core for one group commit. The core lends the columns: it gives them back when the batch
 * is durable.
 */
export interface Batch {
  readonly readings: ReadingColumns;
  /** Names of the sources by the number that readings carry. */
  readonly sources: readonly string[];
  /** Series that the readings may refer to and the core does not know yet. */
  readonly series: readonly NewSeries[];
  readonly deadLetters: readonly DeadLetter[];
  /** Counts of what was received, rejected and dropped since the batch before. */
  readonly ledger: readonly LedgerChange[];
  /** Readings refused as too far ahead of the clock, by series; they are in the ledger too. Absent: none. */
  readonly ahead?: readonly AheadReadings[];
}

/** Readings in columns that grow: a block being built. Plain fields, so that it can go from one thread to another. */
export interface ReadingColumns extends Block {
  count: number;
  series: Uint32Array<ArrayBuffer>;
  tsMs: Float64Array<ArrayBuffer>;
  value: Float64Array<ArrayBuffer>;
  stamped: Uint8Array<ArrayBuffer>;
  /** Number of the source that each reading came from, for the ledger. */
  source: Uint8Array<ArrayBuffer>;
}

/** Columns with room for `rows` readings, and none in them. */
export function createColumns(rows: number): ReadingColumns {
  return {
    count: 0,
    series: new Uint32Array(rows),
    tsMs: new Float64Array(rows),
    value: new Float64Array(rows),
    stamped: new Uint8Array(rows),
    source: new Uint8Array(rows),
  };
}

/** Makes room for `rows` readings; those in the columns stay. */
export function growColumns(columns: ReadingColumns, rows: number): void {
  const grown = createColumns(rows);
  grown.series.set(columns.series);
  grown.tsMs.set(columns.tsMs);
  grown.value.set(columns.value);
  grown.stamped.set(columns.stamped);
  grown.source.set(columns.source);
  Object.assign(columns, { ...grown, count: columns.count });
}

/** Keeps only the rows whose mark is `keep`, in order. */
export function retainRows(columns: ReadingColumns, marks: Uint8Array, keep: number): void {
  let kept = 0;
  for (let i = 0; i < columns.count; i++) {
    if (marks[i] !== keep) continue;
    columns.series[kept] = columns.series[i]!;
    columns.tsMs[kept] = columns.tsMs[i]!;
    columns.value[kept] = columns.value[i]!;
    columns.stamped[kept] = columns.stamped[i]!;
    columns.source[kept] = columns.source[i]!;
    kept++;
  }
  columns.count = kept;
}

/** The memory of columns, to be handed over rather than copied to another thread. */
export function buffersOf({ series, tsMs, value, stamped, source }: ReadingColumns): ArrayBuffer[] {
  return [series.buffer, tsMs.buffer, value.buffer, stamped.buffer, source.buffer];
}
