import { SILENCE_NOT_JUDGED } from "../model/thresholds.ts";
import { grownRows, growFloat64 } from "./columns.ts";
import type { Silences } from "./silence.ts";

/** Silences that begin to fire at one tick, at most; the rest follows at the next: bounds its entry in the log. */
export const SILENT_TICK_MAX = 10_000;

/** How long each series has been quiet while a fold lived, in watched time: whether it is alive, whatever its clock. */
export class QuietSeries {
  /** Where the tick before found each series; NaN: something older came since. */
  #positionMs = new Float64Array(0);
  /** What had been watched when a tick first found the series at that position. */
  #sinceMs = new Float64Array(0);

  /** A reading came that is not newer than its series' position: the device is alive, and its clock is behind. */
  heard(series: number): void {
    if (series < this.#positionMs.length) this.#positionMs[series] = NaN;
  }

  /**
   * Series below seriesEnd, at most SILENT_TICK_MAX, of which nothing came for as long as the fold allows, with their
   * positions: so much was watched since ticks found them there, and since that event time too.
   */
  find(
    seriesEnd: number,
    fold: { positionMs(series: number): number; silenceMs(series: number): number; readonly silences: Silences },
  ): Array<readonly [series: number, positionMs: number]> {
    const rows = this.#positionMs.length;
    if (seriesEnd > rows) {
      this.#positionMs = growFloat64(this.#positionMs, grownRows(rows, seriesEnd - 1), -Infinity);
      this.#sinceMs = growFloat64(this.#sinceMs, this.#positionMs.length, 0);
    }
    const found: Array<readonly [number, number]> = [];
    const { watched } = fold.silences;
    const nowMs = watched.elapsedMs;
    for (let series = 0; series < seriesEnd && found.length < SILENT_TICK_MAX; series++) {
      const positionMs = fold.positionMs(series);
      if (this.#positionMs[series] !== positionMs) {
        this.#positionMs[series] = positionMs;
        this.#sinceMs[series] = nowMs;
      } else if (positionMs !== -Infinity && this.#sinceMs[series]! < nowMs) {
        const limitMs = fold.silenceMs(series);
        if (limitMs < 0 || limitMs === SILENCE_NOT_JUDGED || nowMs - this.#sinceMs[series]! < limitMs) continue;
        if (watched.between(positionMs, Infinity) >= limitMs) found.push([series, positionMs]);
      }
    }
    return found;
  }
}
