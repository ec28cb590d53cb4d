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

/** A clock that comes back from further ahead had been wrong: what it said of the future holds up nothing. */
export const SET_BACK_MS = 3_600_000;

/** What was said of series that begin so far beyond what is being watched anew is gone through when the clock gets there. */
const REOPENED_MS = 86_400_000;

/**
 * Since the clock was set back far, time is being watched that earlier ticks passed over: gaps that reach beyond fromMs may
 * have to be judged anew, of series whose first reading is after firstAfterMs and no later than firstThroughMs.
 */
export interface Reopened {
  readonly fromMs: number;
  readonly firstAfterMs: number;
  readonly firstThroughMs: number;
}

/**
 * The union of the stretches between successive ticks, in the order of the log.
 *
 * It grows at throughMs, the end of what was watched: what has been said of a gap that ends before it never changes.
 * While a clock that was set back a little passes again through time that it had been through, nothing is added.
 *
 * A clock that was set back by more than SET_BACK_MS had been wrong, perhaps by years: throughMs goes back with it, and
 * what was not watched yet can be. What had been said of gaps there then changes; add() tells from when on. It does so
 * when such time is watched, not when the clock is set back: a gateway that starts in 1970 until the network tells it the
 * time watches nothing there, and what it does watch lies where it goes on.
 */
export class WatchedTime {
  /** By stretch, ascending and apart from each other: from, to, and what was watched before it, ms. */
  readonly #fromMs: number[] = [];
  readonly #toMs: number[] = [];
  readonly #beforeMs: number[] = [];
  #throughMs = -Infinity;
  /** Since the clock was set back far: gaps of series that begin up to here were told to be judged anew; Infinity: of all. */
  #reopenedMs = Infinity;
  #elapsedMs = 0;
  #lastMs = Infinity;
  #lastStepMs = 0;

  /** Up to this event time nothing changes any more, unless the clock is set back far; -Infinity before the first stretch. */
  get throughMs(): number {
    return this.#throughMs;
  }

  /**
   * Since the clock was set back far: gaps of series that begin up to this time have been, or need not be, judged anew.
   * Infinity where it never was.
   */
  get reopenedMs(): number {
    return this.#reopenedMs;
  }

  /** All that was watched, ms. */
  get totalMs(): number {
    const last = this.#toMs.length - 1;
    return last < 0 ? 0 : this.#beforeMs[last]! + this.#toMs[last]! - this.#fromMs[last]!;
  }

  /**
   * How long was watched, ms, whatever the clock said: also where it passed through the same time again. Left out are
   * ticks that came late because the process stood still: what had arrived meanwhile was not read yet.
   */
  get elapsedMs(): number {
    return this.#elapsedMs;
  }

  /** Takes the next tick of the log into account. Returns which gaps may have to be judged anew; undefined: none. */
  add({ nowMs, watching = true }: ClockTick): Reopened | undefined {
    const lastMs = this.#lastMs;
    const lastStepMs = this.#lastStepMs;
    const stepMs = nowMs - lastMs;
    const reachMs = Math.min(WATCH_GAP_MS_MAX, Math.max(WATCH_GAP_MS, 2 * lastStepMs));
    this.#lastMs = nowMs;
    this.#lastStepMs = watching ? stepMs : 0;
    if (nowMs < this.#throughMs - SET_BACK_MS) {
      this.#throughMs = nowMs;
      this.#reopenedMs = -Infinity;
      return undefined;
    }
    if (!watching || stepMs <= 0 || stepMs > reachMs) return undefined;
    if (lastStepMs <= 0 || stepMs <= 2 * lastStepMs) this.#elapsedMs += stepMs;
    const fromMs = Math.max(lastMs, this.#throughMs);
    if (nowMs <= fromMs) return undefined;
    this.#throughMs = nowMs;
    return this.#cover(fromMs, nowMs);
  }

  /** Watched time in (fromMs, toMs], ms. */
  between(fromMs: number, toMs: number): number {
    return Math.max(0, this.#until(toMs) - this.#until(fromMs));
  }

  /** The newest time before toMs from which on so much was watched up to it; -Infinity where less was. */
  back(toMs: number, lengthMs: number): number {
    const wanted = this.#until(toMs) - lengthMs;
    if (this.#toMs.length === 0 || wanted < this.#beforeMs[0]!) return -Infinity;
    let at = this.#beforeMs.length - 1;
    while (this.#beforeMs[at]! > wanted) at--;
    return Math.min(toMs, this.#fromMs[at]! + wanted - this.#beforeMs[at]!);
  }

  /** Adds a stretch. Returns what has to be judged anew because it lies before the end of others. */
  #cover(fromMs: number, toMs: number): Reopened | undefined {
    const last = this.#toMs.length - 1;
    if (last >= 0 && this.#toMs[last] === fromMs) {
      this.#toMs[last] = toMs;
      return undefined;
    }
    if (last < 0 || this.#toMs[last]! < fromMs) {
      this.#splice(last + 1, 0, fromMs, toMs);
      return undefined;
    }
    return this.#fill(fromMs, toMs);
  }

  /** As #cover, of a stretch that begins before the end of the last. */
  #fill(fromMs: number, toMs: number): Reopened | undefined {
    const holeMs = this.#watchedTo(fromMs);
    if (holeMs >= toMs) return undefined;
    const firstAfterMs = this.#reopenedMs;
    const isReopened = toMs > firstAfterMs;
    if (isReopened) this.#reopenedMs = toMs + REOPENED_MS;
    const first = this.#firstEnding(fromMs);
    let end = first;
    while (end < this.#fromMs.length && this.#fromMs[end]! <= toMs) end++;
    const joinedFromMs = end > first ? Math.min(fromMs, this.#fromMs[first]!) : fromMs;
    const joinedToMs = end > first ? Math.max(toMs, this.#toMs[end - 1]!) : toMs;
    this.#splice(first, end - first, joinedFromMs, joinedToMs);
    return isReopened ? { fromMs: holeMs, firstAfterMs, firstThroughMs: this.#reopenedMs } : undefined;
  }

  /** Puts one stretch in the place of some. */
  #splice(at: number, count: number, fromMs: number, toMs: number): void {
    const forgottenMs = this.#beforeMs[0] ?? 0;
    this.#fromMs.splice(at, count, fromMs);
    this.#toMs.splice(at, count, toMs);
    this.#beforeMs.splice(at, count, 0);
    for (let i = at; i < this.#fromMs.length; i++) {
      const before = i - 1;
      this.#beforeMs[i] = i === 0 ? forgottenMs : this.#beforeMs[before]! + this.#toMs[before]! - this.#fromMs[before]!;
    }
    if (this.#toMs.length <= STRETCHES_MAX) return;
    for (const column of [this.#fromMs, this.#toMs, this.#beforeMs]) column.shift();
  }

  /** The first stretch that ends at or after a time; as many as there are where none does. */
  #firstEnding(tsMs: number): number {
    let low = 0;
    let high = this.#toMs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#toMs[middle]! < tsMs) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Up to when all was watched from a time on: the time itself where what follows was not. */
  #watchedTo(tsMs: number): number {
    const at = this.#firstEnding(tsMs);
    return at < this.#toMs.length && this.#fromMs[at]! <= tsMs ? this.#toMs[at]! : tsMs;
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
