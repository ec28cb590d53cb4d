import type { Store } from "../store/store.ts";
import type { Ledger } from "./ledger.ts";

/** Rows of the log deleted at one checkpoint, at most. */
const TRIM_ROWS_MAX = 4096;

/** Compaction merges pieces before they are so old, ms. */
const PIECE_AGE_MS_MAX = 4 * 3_600_000;

/** How much the data file keeps. */
export interface StoreBounds {
  readonly deadLetterCountMax: number;
  readonly outboxBytesMax: number;
  readonly logBytesMax: number;
  readonly logAgeMaxMs: number;
}

/**
 * Holds outbox, log and dead letters to their bounds, and enters in the ledger what was lost by it. nowMs: the clock.
 * Returns how many rows of the log went. Throws what SQLite throws, such as for a full disk; what is not deleted then is at the next call.
 */
export function trimStore(
  store: Store,
  ledger: Ledger,
  bounds: StoreBounds,
  nowMs: number,
  warn: (message: string) => void,
): number {
  const dropped = store.trimOutbox(bounds.outboxBytesMax);
  if (dropped.frames > 0) {
    ledger.add("uplink", "lost.outbox_full", dropped.readings);
    warn(
      `Outbox is full: ${bounds.outboxBytesMax} bytes at most; dropped the ${dropped.frames} oldest partial frames, ` +
        "no alerts. Check the uplink or raise outbox.bytes_max.",
    );
  }
  const piecesByAge = bounds.logAgeMaxMs < PIECE_AGE_MS_MAX;
  const receivedBeforeMs = nowMs - bounds.logAgeMaxMs;
  const rows = store.trimLog({ bytesMax: bounds.logBytesMax, receivedBeforeMs, rowsMax: TRIM_ROWS_MAX, piecesByAge });
  store.trimDeadLetters(bounds.deadLetterCountMax);
  return rows;
}
