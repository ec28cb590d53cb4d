import type { Store } from "../store/store.ts";

/** A clock that is further ahead of where it was last believed has jumped, or the gateway was off for as long, ms. */
const JUMP_MS = 86_400_000;
/** It is believed again when it has gone on for so long. */
const LASTS_MS = 86_400_000;
/** The data file is told where it was last at steps of so much, ms. */
const NOTED_MS = 600_000;
const BELIEVED = "age_clock_ms";
/** Since when it has gone on after a jump, and where it was last: two numbers, none where it is believed. */
const JUMPED = "age_clock_jumped";

/**
 * The clock by which the log is old. What is deleted is gone for good, so a clock that jumps ahead, as one may that has
 * lost its battery until the network sets it right, must not make the whole log old: it is believed a day later. The
 * gateway need not be on all that day: some are switched off each night.
 */
export class AgeClock {
  readonly #store: Store;
  #believedMs: number;
  #jumpedMs: number;
  #lastMs: number;
  #notedMs: number;

  /** Begins where an earlier process has left it in the data file. */
  constructor(store: Store, nowMs: number) {
    this.#store = store;
    const believed = store.meta(BELIEVED);
    this.#believedMs = Number(believed ?? nowMs);
    const [jumpedMs = NaN, lastMs = nowMs] = numbers(store.meta(JUMPED));
    this.#jumpedMs = jumpedMs;
    this.#lastMs = lastMs;
    this.#notedMs = believed === undefined ? NaN : Number.isNaN(jumpedMs) ? this.#believedMs : lastMs;
  }

  /** What to take for the time when the gateway's clock says nowMs; to be asked more often than once a day. */
  at(nowMs: number): number {
    const stepMs = nowMs - this.#lastMs;
    const hadJumped = !Number.isNaN(this.#jumpedMs);
    this.#lastMs = nowMs;
    if (nowMs - this.#believedMs > JUMP_MS) {
      const goesOn = hadJumped && stepMs >= 0 && stepMs <= JUMP_MS;
      if (!goesOn) this.#jumpedMs = nowMs;
      if (nowMs - this.#jumpedMs < LASTS_MS) {
        if (!goesOn || this.#isToBeNoted(nowMs)) this.#note(JUMPED, `${this.#jumpedMs} ${nowMs}`);
        return this.#believedMs;
      }
    }
    this.#jumpedMs = NaN;
    this.#believedMs = nowMs;
    if (hadJumped) this.#note(JUMPED, "");
    if (hadJumped || this.#isToBeNoted(nowMs)) this.#note(BELIEVED, nowMs);
    return nowMs;
  }

  #isToBeNoted(nowMs: number): boolean {
    return !(Math.abs(nowMs - this.#notedMs) < NOTED_MS);
  }

  #note(key: string, value: string | number): void {
    this.#store.setMeta(key, value);
    this.#notedMs = this.#lastMs;
  }
}

function numbers(text: string | number | undefined): number[] {
  return text === undefined || text === "" ? [] : String(text).split(" ").map(Number);
}
