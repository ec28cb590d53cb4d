import type { Store } from "../store/store.ts";
import type { Ledger } from "./ledger.ts";

/** Log entries deleted at one checkpoint, at most. */
const TRIM_ENTRIES_MAX = 4096;

/** How much the data file keeps. */
export interface StoreBounds {
  readonly deadLetterCountMax: number;
  readonly outboxBytesMax: number;
  readonly logBytesMax: number;
  readonly logAgeMaxMs: number;
}

/**
 * Holds outbox, log and dead letters to their bounds, and enters in the ledger what was lost by it. nowMs: the clock.
 * Throws what SQLite throws, such as for a full disk; what is not deleted then is at the next call.
 */
export function trimStore(
  store: Store,
  ledger: Ledger,
  bounds: StoreBounds,
  nowMs: number,
  warn: (message: string) => void,
): void {
  const dropped = store.trimOutbox(bounds.outboxBytesMax);
  if (dropped.frames > 0) {
    ledger.add("uplink", "lost.outbox_full", dropped.readings);
    warn(
      `Outbox is full: ${bounds.outboxBytesMax} bytes at most; dropped the ${dropped.frames} oldest partial frames, ` +
        "no alerts. Check the uplink or raise outbox.bytes_max.",
    );
  }
  const receivedBeforeMs = nowMs - bounds.logAgeMaxMs;
  store.trimLog({ bytesMax: bounds.logBytesMax, receivedBeforeMs, entriesMax: TRIM_ENTRIES_MAX });
  store.trimDeadLetters(bounds.deadLetterCountMax);
}
