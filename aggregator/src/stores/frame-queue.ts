import type { Lane } from "@weir/shared/wire/messages";
import { decodeFrame } from "@weir/shared/wire/messages";
import type { SqlDatabase } from "./database.ts";
import type { FrameChanges, FrameOrigin, FrameStore } from "./frames.ts";
import { createFrameChanges } from "./frames.ts";

/** A frame that has arrived. sender: whom to tell what became of it. */
export interface QueuedFrame<Sender> {
  readonly sender: Sender;
  readonly origin: FrameOrigin;
  readonly lane: Lane;
  readonly seq: number;
  readonly body: Uint8Array;
}

/** What one transaction came to. */
export interface AppliedFrames<Sender> {
  /** Committed, in order. */
  readonly frames: ReadonlyArray<QueuedFrame<Sender>>;
  readonly changes: FrameChanges;
  /** A frame that cannot be applied, which is no longer in the queue. Its sender's other frames must be dropped. */
  readonly failed?: { readonly frame: QueuedFrame<Sender>; readonly error: unknown };
}

/**
 * A transaction takes no more frames once it has taken this long, ms: what comes meanwhile, alerts among it, waits. One
 * frame may take longer, as it cannot be split.
 */
const APPLY_MS_MAX = 5;

/** Frames of one transaction, at most: when one of them spoils it, each is applied by itself. */
const FRAMES_PER_COMMIT_MAX = 64;

/** Frames that wait to be applied: a queue for each lane, each in order of arrival. */
export class FrameQueue<Sender> {
  readonly #db: SqlDatabase;
  readonly #store: FrameStore;
  readonly #now: () => number;
  readonly #waiting: Record<Lane, Array<QueuedFrame<Sender>>> = { alerts: [], data: [] };
  /** Frames at the head of each queue among which one has spoilt a transaction. */
  readonly #suspects: Record<Lane, number> = { alerts: 0, data: 0 };

  /** now: the clock, ms. */
  constructor(db: SqlDatabase, store: FrameStore, now: () => number) {
    this.#db = db;
    this.#store = store;
    this.#now = now;
  }

  push(frame: QueuedFrame<Sender>): void {
    this.#waiting[frame.lane].push(frame);
  }

  /** Forgets what waits of a sender. */
  drop(sender: Sender): void {
    for (const lane of ["alerts", "data"] as const) {
      this.#waiting[lane] = this.#waiting[lane].filter((frame) => frame.sender !== sender);
    }
  }

  waiting(lane: Lane): number {
    return this.#waiting[lane].length;
  }

  /**
   * Applies the first frames of a lane in one transaction, as many as fit. When one of them spoils it, nothing is
   * applied, and the next calls apply them one by one, so that only the sender of the bad one suffers.
   */
  applyNext(lane: Lane): AppliedFrames<Sender> {
    const waiting = this.#waiting[lane];
    const isSuspect = this.#suspects[lane] > 0;
    const countMax = isSuspect ? 1 : Math.min(FRAMES_PER_COMMIT_MAX, waiting.length);
    if (isSuspect) this.#suspects[lane]--;
    const changes = createFrameChanges();
    let count = 0;
    try {
      this.#db.transaction(() => {
        const endMs = performance.now() + APPLY_MS_MAX;
        do {
          const { origin, seq, body } = waiting[count++]!;
          this.#store.apply(origin, lane, seq, decodeFrame(body), this.#now(), changes);
        } while (count < countMax && performance.now() < endMs);
      });
    } catch (error) {
      if (count === 1) return { frames: [], changes: createFrameChanges(), failed: { frame: waiting.shift()!, error } };
      this.#suspects[lane] = count;
      return { frames: [], changes: createFrameChanges() };
    }
    return { frames: waiting.splice(0, count), changes };
  }
}
