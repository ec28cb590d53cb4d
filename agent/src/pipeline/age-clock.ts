import type { Store } from "../store/store.ts";

/** A clock that is further ahead of where it was last believed has jumped, or the gateway was off for as long, ms. */
const JUMP_MS = 86_400_000;
/** It is believed again when it has gone on for so long. */
const LASTS_MS = 86_400_000;
/** The data file is told where it was last believed at steps of so much, ms. */
const NOTED_MS = 3_600_000;
const META = "age_clock_ms";

/**
 * The clock by which the log is old. What is deleted is gone for good, so a clock that jumps ahead, as one may that has
 * lost its battery until the network sets it right, must not make the whole log old: it is believed a day later.
 */
export class AgeClock {
  readonly #store: Store;
  #believedMs: number;
  #notedMs: number;
  #jumpedMs = NaN;
  #lastMs: number;

  /** Begins where an earlier process has left it in the data file. */
  constructor(store: Store, nowMs: number) {
    this.#store = store;
    this.#notedMs = Number(store.meta(META) ?? NaN);
    this.#believedMs = Number.isNaN(this.#notedMs) ? nowMs : this.#notedMs;
    this.#lastMs = nowMs;
  }

  /** What to take for the time when the gateway's clock says nowMs; to be asked more often than once a day. */
  at(nowMs: number): number {
    const stepMs = nowMs - this.#lastMs;
    this.#lastMs = nowMs;
    if (nowMs - this.#believedMs > JUMP_MS) {
      if (!(stepMs >= 0 && stepMs <= JUMP_MS) || Number.isNaN(this.#jumpedMs)) this.#jumpedMs = nowMs;
      if (nowMs - this.#jumpedMs < LASTS_MS) return this.#believedMs;
    }
    this.#jumpedMs = NaN;
    this.#believedMs = nowMs;
    if (!(Math.abs(nowMs - this.#notedMs) < NOTED_MS)) {
      this.#store.setMeta(META, nowMs);
      this.#notedMs = nowMs;
    }
    return nowMs;
  }
}
