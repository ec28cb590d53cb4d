import type { WaitingRefold } from "../store/commit-batch.ts";
import type { Store } from "../store/store.ts";
import { AgeClock } from "./age-clock.ts";
import type { Ledger } from "./ledger.ts";

/** Rows of the log deleted at one checkpoint, at most. */
const TRIM_ROWS_MAX = 4096;

/**
 * Frames of the outbox deleted in one turn, at most. Each is read, and asks for re-folds of the series in it, which takes
 * some tenths of a millisecond; alerts wait meanwhile.
 */
const TRIM_FRAMES_MAX = 16;

/** Compaction merges pieces before they are so old, ms. */
const PIECE_AGE_MS_MAX = 4 * 3_600_000;

/** How much the data file keeps. */
export interface StoreBounds {
  readonly deadLetterCountMax: number;
  readonly outboxBytesMax: number;
  readonly logBytesMax: number;
  readonly logAgeMaxMs: number;
}

/** What one turn of trimming has come to. */
export interface Trimmed {
  /** Of the log, how many went. */
  readonly rows: number;
  /** They wait since for what the outbox had no room for. */
  readonly refolds: readonly WaitingRefold[];
  /** The outbox is still too full: what else is to be trimmed waits for the next turn. */
  readonly isMore: boolean;
}

/** Holds outbox, log and dead letters to their bounds, and enters in the ledger what was lost by it. */
export class StoreTrimmer {
  readonly #store: Store;
  readonly #ledger: Ledger;
  readonly #bounds: StoreBounds;
  readonly #warn: (message: string) => void;
  readonly #ageClock: AgeClock;
  #isOutboxFull = false;

  /** nowMs: the clock. */
  constructor(store: Store, ledger: Ledger, bounds: StoreBounds, nowMs: number, warn: (message: string) => void) {
    this.#store = store;
    this.#ledger = ledger;
    this.#bounds = bounds;
    this.#warn = warn;
    this.#ageClock = new AgeClock(store, nowMs);
  }

  /**
   * Trims, of the outbox some frames: nowMs is the clock. Throws what SQLite throws, such as for a full disk; what is not
   * deleted then is at the next call.
   */
  trim(nowMs: number): Trimmed {
    const { outboxBytesMax, logBytesMax, logAgeMaxMs, deadLetterCountMax } = this.#bounds;
    const { frames, lostReadings, refolds, isMore } = this.#store.trimOutbox(outboxBytesMax, TRIM_FRAMES_MAX);
    // In the file it is counted already.
    this.#ledger.addUnsent(lostReadings);
    if (isMore) return { rows: 0, refolds, isMore };
    if (frames > 0 !== this.#isOutboxFull) this.#tellOfOutbox(frames > 0);
    const piecesByAge = logAgeMaxMs < PIECE_AGE_MS_MAX;
    const receivedBeforeMs = this.#ageClock.at(nowMs) - logAgeMaxMs;
    const rows = this.#store.trimLog({ bytesMax: logBytesMax, receivedBeforeMs, rowsMax: TRIM_ROWS_MAX, piecesByAge });
    this.#store.trimDeadLetters(deadLetterCountMax);
    return { rows, refolds, isMore };
  }

  #tellOfOutbox(isFull: boolean): void {
    this.#isOutboxFull = isFull;
    const bound = `${this.#bounds.outboxBytesMax} bytes at most`;
    if (isFull) {
      this.#warn(
        `Outbox is full: ${bound}. Its oldest partial frames go, no alerts; they are made again from the log once the ` +
          "uplink has made room. Check the uplink or raise outbox.bytes_max.",
      );
    } else this.#warn(`Outbox is no longer full: ${bound}.`);
  }
}
