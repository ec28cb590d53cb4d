/**
 * Watched time: when an agent ran and its sources were connected, as its clock ticks tell. Only in watched time can a
 * device be silent; while an agent or its broker was down, it is nobody's fault that nothing came.
 */

/** A clock tick of the log, as far as operators need it. */
export interface ClockTick {
  readonly nowMs: number;
  /** Since the tick before, the same process ran and its sources were connected; absent: it did. */
  readonly watching?: boolean;
  /** Series that were found silent at this tick, each with its position then: silences that began to be open. */
  readonly silent?: ReadonlyArray<readonly [series: number, startedAtMs: number]>;
}

/**
 * Ticks further apart than this are a clock that was set, and cover nothing; where they come more rarely, those further
 * apart than twice the step before, and than the longer bound in any case.
 */
export const WATCH_GAP_MS = 180_000;
export const WATCH_GAP_MS_MAX = 1_200_000;

/** Stretches that are kept, at most; when full, the oldest is forgotten: nothing so old is found silent any more. */
export const STRETCHES_MAX = 65_536;

/**
 * The union of the stretches between successive ticks, in the order of the log.
 *
 * It only grows at its end: a stretch counts as far as it lies beyond all that was watched before. So what has been
 * said of a gap that ends before throughMs never changes, whatever the clock does; and while a clock that was set back
 * passes again through time that it had been through, nothing is found silent.
 */
export class WatchedTime {
  /** By stretch, ascending and apart from each other: from, to, and what was watched before it, ms. */
  readonly #fromMs: number[] = [];
  readonly #toMs: number[] = [];
  readonly #beforeMs: number[] = [];
  #lastMs = Infinity;
  #lastStepMs = 0;

  /** Up to this event time nothing changes any more: the end of the newest stretch; -Infinity before the first. */
  get throughMs(): number {
    return this.#toMs.at(-1) ?? -Infinity;
  }

  /** All that was watched, ms. */
  get totalMs(): number {
    const last = this.#toMs.length - 1;
    return last < 0 ? 0 : this.#beforeMs[last]! + this.#toMs[last]! - this.#fromMs[last]!;
  }

  /** Takes the next tick of the log into account. */
  add({ nowMs, watching = true }: ClockTick): void {
    const stepMs = nowMs - this.#lastMs;
    const reachMs = Math.min(WATCH_GAP_MS_MAX, Math.max(WATCH_GAP_MS, 2 * this.#lastStepMs));
    const fromMs = Math.max(this.#lastMs, this.throughMs);
    this.#lastMs = nowMs;
    this.#lastStepMs = watching ? stepMs : 0;
    if (watching && stepMs > 0 && stepMs <= reachMs && nowMs > fromMs) this.#cover(fromMs, nowMs);
  }

  /** Watched time in (fromMs, toMs], ms. */
  between(fromMs: number, toMs: number): number {
    return Math.max(0, this.#until(toMs) - this.#until(fromMs));
  }

  #cover(fromMs: number, toMs: number): void {
    const last = this.#toMs.length - 1;
    if (last >= 0 && this.#toMs[last] === fromMs) {
      this.#toMs[last] = toMs;
      return;
    }
    this.#beforeMs.push(this.totalMs);
    this.#fromMs.push(fromMs);
    this.#toMs.push(toMs);
    if (this.#toMs.length <= STRETCHES_MAX) return;
    for (const column of [this.#fromMs, this.#toMs, this.#beforeMs]) column.shift();
  }

  /** Watched time up to tsMs, ms, with all that was forgotten. */
  #until(tsMs: number): number {
    let low = 0;
    let high = this.#fromMs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#fromMs[middle]! < tsMs) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return this.#beforeMs[0] ?? 0;
    return this.#beforeMs[low - 1]! + Math.min(tsMs, this.#toMs[low - 1]!) - this.#fromMs[low - 1]!;
  }
}
