import type { SeriesKey } from "@weir/shared/model/reading";
import { seriesName } from "@weir/shared/model/reading";
import type { DeadLetter } from "../store/commit-batch.ts";
import type { StoredReadings } from "./admission.ts";
import { Admission, NEW, TOO_LATE } from "./admission.ts";
import type { Batch, ReadingColumns } from "./batch.ts";
import { retainRows } from "./batch.ts";
import type { Ledger } from "./ledger.ts";
import { SeriesOrder } from "./series-order.ts";

/** Dead letters of readings that came too late, of one batch, at most. */
const TOO_LATE_LETTERS_MAX = 16;

/** What is new in a batch. */
export interface Admitted {
  /** Ordered by series; lent until the next batch. It may be empty. */
  readonly block: ReadingColumns;
  /** Of readings that came too late. */
  readonly deadLetters: readonly DeadLetter[];
}

/** Admits batches: orders them by series, keeps what is new, and counts in the ledger what became of each reading. */
export class BatchAdmission {
  readonly #admission: Admission;
  readonly #order = new SeriesOrder();
  readonly #ledger: Ledger;
  readonly #keyOf: (series: number) => SeriesKey;
  #keep = new Uint8Array(0);

  constructor(stored: StoredReadings, ledger: Ledger, keyOf: (series: number) => SeriesKey) {
    this.#admission = new Admission(stored);
    this.#ledger = ledger;
    this.#keyOf = keyOf;
  }

  /** Late readings looked up in the log since the start. */
  get lookups(): number {
    return this.#admission.lookups;
  }

  /** Sets the newest stored time of a series, at a start. */
  restore(series: number, newestMs: number): void {
    this.#admission.restore(series, newestMs);
  }

  /** The caller must store what is new. wholeFromMs: event time from which on the log holds every reading. */
  admit(batch: Batch, wholeFromMs: number): Admitted {
    const block = this.#order.apply(batch.readings);
    const { count } = block;
    if (count === 0) return { block, deadLetters: [] };
    if (this.#keep.length < count) this.#keep = new Uint8Array(count * 2);
    const keep = this.#keep;
    const refused = this.#admission.admit(block, keep, wholeFromMs);
    this.#count(batch.sources, block);
    if (refused === 0) return { block, deadLetters: [] };
    const deadLetters: DeadLetter[] = [];
    for (let i = 0; i < count && deadLetters.length < TOO_LATE_LETTERS_MAX; i++) {
      if (keep[i] === TOO_LATE) deadLetters.push(this.#letterOf(batch.sources, block, i));
    }
    retainRows(block, keep, NEW);
    return { block, deadLetters };
  }

  #count(sources: readonly string[], block: ReadingColumns): void {
    const stored = sources.map(() => 0);
    const duplicates = sources.map(() => 0);
    const tooLate = sources.map(() => 0);
    for (let i = 0; i < block.count; i++) {
      const fate = this.#keep[i];
      const counts = fate === NEW ? stored : fate === TOO_LATE ? tooLate : duplicates;
      counts[block.source[i]!]!++;
    }
    sources.forEach((source, number) => {
      this.#ledger.add(source, "stored", stored[number]!);
      this.#ledger.add(source, "duplicate", duplicates[number]!);
      this.#ledger.add(source, "rejected.time_before_log", tooLate[number]!);
    });
  }

  /** The message is gone; what it said of this reading is written anew. */
  #letterOf(sources: readonly string[], { series, tsMs, value, source }: ReadingColumns, row: number): DeadLetter {
    const head = Buffer.from(JSON.stringify({ ts: tsMs[row], value: value[row] }));
    const topic = seriesName(this.#keyOf(series[row]!));
    return { source: sources[source[row]!]!, topic, reason: "time_before_log", bytes: head.length, head };
  }
}
