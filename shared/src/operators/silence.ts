import type { SeriesKey } from "../model/reading.ts";
import { SILENCE_NOT_JUDGED, silenceLimitMs } from "../model/thresholds.ts";
import { grownRows, growFloat64, PAGE_SHIFT } from "./columns.ts";
import type { Emissions } from "./emissions.ts";
import type { Episode } from "./episodes.ts";
import { alertOf, withdrawnAlert } from "./episodes.ts";
import type { InForce } from "./thresholds.ts";
import type { ClockTick, WatchedTime } from "./watched.ts";

/**
 * Silence: a gap between two successive readings of a series, in event time, of which so much was watched as the band in
 * force at its start allows. A pure function of the set of readings, the ticks and the threshold versions.
 *
 * Of a series only those gaps are kept that are silent, are not yet watched to their end, or could hold a silence once a
 * late reading divides them: mostly none. Readings only change the gaps; at the next tick it is seen what they come to.
 */

/** Gaps of a series that are kept, at most; when there are more, the oldest goes, and who asks for it needs a re-fold. */
export const GAPS_KEPT_MAX = 4;

/** Steps of the bands in force that a gap is looked through for; a longer one is kept without a look. */
const STEPS_MAX = 200;

/** In the place of told: nobody was told of a silence. */
const UNTOLD: number = -Infinity;

interface Gap {
  readonly startMs: number;
  /** Infinity while nothing came. */
  endMs: number;
  /** The silence allowed by the band at its start. */
  readonly limitMs: number;
  readonly version: number;
  /** The end that an alert was given for: Infinity while it fires. */
  toldMs: number;
}

interface SeriesGaps {
  /** Ascending; only the last can be open, and is only where it has been told of. */
  gaps: Gap[];
  /** Gaps that end no later than this may have been forgotten. */
  forgottenMs: number;
  /** Forgotten before they were watched to their end: from the start of the first to the end of the last. */
  unsureFromMs: number;
  unsureUntilMs: number;
}

/** The gaps of one series in a checkpoint; null stands for what is infinite. */
export interface SilenceRow {
  readonly series: number;
  /** Start, end, limit, version, and what was told: null for an open end, absent for nothing. */
  readonly gaps: ReadonlyArray<readonly [number, number | null, number, number, (number | null)?]>;
  readonly forgottenMs: number | null;
  readonly unsure: readonly [fromMs: number, untilMs: number] | null;
  /** The next tick has to look at it. */
  readonly pending: boolean;
}

/** Gaps and silences of the series of one fold. */
export class Silences {
  readonly watched: WatchedTime;
  readonly #keyOf: (series: number) => SeriesKey;
  readonly #inForce: (series: number, tsMs: number) => InForce;
  /** By page, then by series. */
  readonly #pages: Array<Map<number, SeriesGaps>> = [];
  /** Series whose gaps the next tick has to look at. */
  readonly #pending = new Set<number>();
  /** By series, the oldest event time; Infinity before the first reading. */
  #firstMs = new Float64Array(0);

  constructor(
    watched: WatchedTime,
    keyOf: (series: number) => SeriesKey,
    inForce: (series: number, tsMs: number) => InForce,
  ) {
    this.watched = watched;
    this.#keyOf = keyOf;
    this.#inForce = inForce;
  }

  /** Whether an alert fires for the gap after the newest reading of a series. */
  isOpen(series: number): boolean {
    return this.#get(series)?.gaps.at(-1)?.endMs === Infinity;
  }

  /** The oldest event time of a series; Infinity before its first reading. */
  firstMs(series: number): number {
    return series < this.#firstMs.length ? this.#firstMs[series]! : Infinity;
  }

  /** Sets the oldest event time of a series: at its first reading, or from a checkpoint. */
  begin(series: number, firstMs: number): void {
    const rows = this.#firstMs.length;
    if (series >= rows) this.#firstMs = growFloat64(this.#firstMs, grownRows(rows, series), Infinity);
    this.#firstMs[series] = firstMs;
  }

  /** A reading at toMs followed in order on one at fromMs. To be called where the gap may be long, or one is open. */
  pass(series: number, fromMs: number, toMs: number, out: Emissions): void {
    const open = this.#get(series)?.gaps.at(-1);
    if (open?.endMs === Infinity) {
      open.endMs = toMs;
      this.#pending.add(series);
    } else if (this.canHold(series, fromMs, toMs)) {
      this.#insert(series, this.#gap(series, fromMs, toMs), out);
    }
  }

  /** A reading came from before its series' position: the gap that it falls into becomes two. */
  divide(series: number, tsMs: number, out: Emissions): void {
    const firstMs = this.firstMs(series);
    if (tsMs < firstMs) {
      this.#firstMs[series] = tsMs;
      const { reopenedMs } = this.watched;
      // Its gaps were to be judged anew when time around firstMs is watched again; now nobody would think of it then.
      if (tsMs <= reopenedMs && reopenedMs < firstMs)
        out.refolds.push({ series, fromMs: tsMs, replacePartials: false });
      if (this.canHold(series, tsMs, firstMs)) this.#insert(series, this.#gap(series, tsMs, firstMs), out);
      return;
    }
    const known = this.#get(series);
    if (!known) return;
    const index = known.gaps.findIndex(({ startMs, endMs }) => startMs < tsMs && tsMs < endMs);
    const gap = known.gaps[index];
    if (!gap) {
      // Whatever it divides was forgotten, or is too short to hold a silence.
      if (tsMs < known.forgottenMs) out.refolds.push({ series, fromMs: tsMs, replacePartials: false });
      return;
    }
    const { endMs } = gap;
    gap.endMs = tsMs;
    this.#pending.add(series);
    if (gap.toldMs === UNTOLD && !this.canHold(series, gap.startMs, tsMs)) known.gaps.splice(index, 1);
    if (this.canHold(series, tsMs, endMs)) this.#insert(series, this.#gap(series, tsMs, endMs), out);
  }

  /**
   * Whether a gap is a silence, could become one as more is watched, or could hold one that begins at a reading within
   * it: where limits become shorter on the way.
   */
  canHold(series: number, fromMs: number, toMs: number): boolean {
    const isWatched = toMs <= this.watched.throughMs;
    let stepMs = fromMs;
    for (let step = 0; stepMs < toMs; step++) {
      const lengthMs = isWatched ? this.watched.between(stepMs, toMs) : toMs - stepMs;
      if (lengthMs <= 0) return false;
      if (step === STEPS_MAX) return true;
      const { band, untilMs } = this.#inForce(series, stepMs);
      const limitMs = silenceLimitMs(band);
      if (limitMs !== SILENCE_NOT_JUDGED && lengthMs >= limitMs) return true;
      stepMs = untilMs;
    }
    return false;
  }

  /**
   * Takes a tick into account. Since the clock was set back far, time is watched that was passed over: what was said of
   * the gaps of series beyond it is said anew. positionMs: of series below seriesEnd; -Infinity passes one over.
   */
  watch(tick: ClockTick, seriesEnd: number, positionMs: (series: number) => number, out: Emissions): void {
    const reopened = this.watched.add(tick);
    if (!reopened) return;
    const { fromMs, firstAfterMs, firstThroughMs } = reopened;
    for (let series = 0; series < seriesEnd; series++) {
      const firstMs = this.firstMs(series);
      if (positionMs(series) <= fromMs || firstMs <= firstAfterMs || firstMs > firstThroughMs) continue;
      out.refolds.push({ series, fromMs: this.#reachBack(series, fromMs), replacePartials: false });
    }
  }

  /**
   * From when on all readings are needed to know the gaps that reach beyond a time. One that begins earlier is silent
   * by what was watched up to then, whatever lies beyond.
   */
  #reachBack(series: number, tsMs: number): number {
    const firstMs = this.firstMs(series);
    let limitMs = 0;
    let stepMs = firstMs;
    for (let step = 0; stepMs <= tsMs; step++) {
      const { band, untilMs } = this.#inForce(series, stepMs);
      const bandMs = step === STEPS_MAX ? SILENCE_NOT_JUDGED - 1 : silenceLimitMs(band);
      if (bandMs !== SILENCE_NOT_JUDGED) limitMs = Math.max(limitMs, bandMs);
      if (step === STEPS_MAX) break;
      stepMs = untilMs;
    }
    return Math.max(firstMs, this.watched.back(tsMs, limitMs));
  }

  /** Opens a silence after the newest reading of a series, as far as the rule has it; false where it doesn't. */
  open(series: number, positionMs: number, out: Emissions): boolean {
    const gap = this.#gap(series, positionMs, Infinity);
    if (this.isOpen(series)) return false;
    this.#settle(series, gap, out);
    if (gap.toldMs === UNTOLD) return false;
    this.#insert(series, gap, out);
    return true;
  }

  /**
   * Says what has become of the gaps that readings and watched time changed. isPast: series to be passed over. touched:
   * is told of each series of which something changed that a checkpoint has to know.
   */
  settle(
    out: Emissions,
    isPast: (series: number) => boolean = () => false,
    touched: (series: number) => void = () => {},
  ): void {
    const { throughMs } = this.watched;
    for (const series of this.#pending) {
      if (isPast(series)) continue;
      const known = this.#get(series);
      if (known) {
        this.#settleSeries(series, known, out);
        touched(series);
      }
      const isWaiting = (gap: Gap): boolean => gap.toldMs === UNTOLD && gap.endMs > throughMs;
      if (!known || !(known.gaps.some(isWaiting) || known.unsureUntilMs > throughMs)) this.#pending.delete(series);
    }
  }

  #settleSeries(series: number, known: SeriesGaps, out: Emissions): void {
    const { throughMs } = this.watched;
    for (const gap of known.gaps) this.#settle(series, gap, out);
    known.gaps = known.gaps.filter(
      ({ startMs, endMs, toldMs }) => toldMs !== UNTOLD || this.canHold(series, startMs, endMs),
    );
    if (known.unsureUntilMs <= throughMs && known.unsureFromMs < Infinity) {
      out.refolds.push({ series, fromMs: known.unsureFromMs, replacePartials: false });
      known.unsureFromMs = Infinity;
      known.unsureUntilMs = -Infinity;
    }
    if (isEmpty(known)) this.#pages[series >>> PAGE_SHIFT]?.delete(series);
  }

  /** Starts of the silences of a series that were told of and begin at or after fromMs, as far as they are kept. */
  toldFrom(series: number, fromMs: number): number[] {
    const gaps = this.#get(series)?.gaps ?? [];
    return gaps.filter((gap) => gap.startMs >= fromMs && gap.toldMs !== UNTOLD).map(({ startMs }) => startMs);
  }

  /**
   * Puts the gaps of a fold over the readings of a series from fromMs on, which has settled them, in the place of those
   * that begin there. firstMs: the first of these readings. areNew: by other thresholds. What fires on goes to `out`.
   */
  replace(
    series: number,
    fold: Silences,
    { fromMs, firstMs, areNew }: { readonly fromMs: number; readonly firstMs: number; readonly areNew: boolean },
    out: Emissions,
  ): void {
    const old = this.#get(series) ?? emptyGaps();
    const fresh = fold.#get(series) ?? emptyGaps();
    const open = old.gaps.find(({ startMs, endMs }) => endMs === Infinity && startMs >= fromMs);
    const next = emptyGaps();
    next.gaps = [...old.gaps.filter(({ startMs }) => startMs < fromMs), ...fresh.gaps];
    // Of the gap that reaches into the stretch folded again nothing is known but what was kept of it.
    const isHazy = old.forgottenMs > firstMs || (areNew && this.canHold(series, fromMs, firstMs));
    next.forgottenMs = Math.max(isHazy ? firstMs : old.forgottenMs, fresh.forgottenMs);
    const isOld = old.unsureFromMs < fromMs;
    next.unsureFromMs = Math.min(fresh.unsureFromMs, isOld ? old.unsureFromMs : Infinity);
    next.unsureUntilMs = Math.max(fresh.unsureUntilMs, isOld ? old.unsureUntilMs : -Infinity);
    this.#bound(series, next, out);
    if (isEmpty(next)) this.#pages[series >>> PAGE_SHIFT]?.delete(series);
    else this.#set(series, next);
    if (open) this.open(series, open.startMs, out);
  }

  /** The gaps of the series of one page, for a checkpoint. */
  *rowsOf(page: number): Generator<SilenceRow> {
    for (const [series, known] of this.#pages[page] ?? []) {
      yield {
        series,
        gaps: known.gaps.map(({ startMs, endMs, limitMs, version, toldMs }) => {
          const gap = [startMs, finite(endMs), limitMs, version] as const;
          return toldMs === UNTOLD ? gap : [...gap, finite(toldMs)];
        }),
        forgottenMs: finite(known.forgottenMs),
        unsure: known.unsureFromMs === Infinity ? null : [known.unsureFromMs, known.unsureUntilMs],
        pending: this.#pending.has(series),
      };
    }
  }

  /** Sets the gaps of a series, from a checkpoint. */
  restore(row: SilenceRow): void {
    const gaps = row.gaps.map(([startMs, endMs, limitMs, version, ...told]) => {
      const toldMs = told.length === 0 ? UNTOLD : (told[0] ?? Infinity);
      return { startMs, endMs: endMs ?? Infinity, limitMs, version, toldMs };
    });
    const [unsureFromMs, unsureUntilMs] = row.unsure ?? [Infinity, -Infinity];
    this.#set(row.series, { gaps, forgottenMs: row.forgottenMs ?? -Infinity, unsureFromMs, unsureUntilMs });
    if (!row.pending) this.#pending.delete(row.series);
  }

  #gap(series: number, startMs: number, endMs: number): Gap {
    const { band, version } = this.#inForce(series, startMs);
    return { startMs, endMs, limitMs: silenceLimitMs(band), version, toldMs: UNTOLD };
  }

  /** Tells of a gap what has changed. What is silent stays so, whatever more is watched. */
  #settle(series: number, gap: Gap, out: Emissions): void {
    const { startMs, endMs, limitMs } = gap;
    if (gap.toldMs === endMs) return;
    const isSilent = limitMs !== SILENCE_NOT_JUDGED && this.watched.between(startMs, endMs) >= limitMs;
    if (!isSilent && gap.toldMs === UNTOLD) return;
    gap.toldMs = isSilent ? endMs : UNTOLD;
    const key = this.#keyOf(series);
    const episode = episodeOf(series, gap, isSilent);
    if (!isSilent) out.alerts.push(withdrawnAlert(key, "silence", startMs));
    else out.alerts.push(alertOf(episode, key, endMs === Infinity ? "firing" : "resolved"));
    if (endMs < Infinity) out.closed.push(episode);
  }

  #insert(series: number, gap: Gap, out: Emissions): void {
    const known = this.#get(series) ?? emptyGaps();
    const index = known.gaps.findIndex(({ startMs }) => startMs > gap.startMs);
    known.gaps.splice(index < 0 ? known.gaps.length : index, 0, gap);
    this.#bound(series, known, out);
    this.#set(series, known);
  }

  #bound(series: number, known: SeriesGaps, out: Emissions): void {
    while (known.gaps.length > GAPS_KEPT_MAX) {
      const gap = known.gaps.shift()!;
      this.#settle(series, gap, out);
      known.forgottenMs = Math.max(known.forgottenMs, gap.endMs);
      if (gap.toldMs !== UNTOLD || gap.endMs <= this.watched.throughMs) continue;
      known.unsureFromMs = Math.min(known.unsureFromMs, gap.startMs);
      known.unsureUntilMs = Math.max(known.unsureUntilMs, gap.endMs);
    }
  }

  #get(series: number): SeriesGaps | undefined {
    return this.#pages[series >>> PAGE_SHIFT]?.get(series);
  }

  #set(series: number, known: SeriesGaps): void {
    const page = series >>> PAGE_SHIFT;
    while (this.#pages.length <= page) this.#pages.push(new Map());
    this.#pages[page]!.set(series, known);
    this.#pending.add(series);
  }
}

function emptyGaps(): SeriesGaps {
  return { gaps: [], forgottenMs: -Infinity, unsureFromMs: Infinity, unsureUntilMs: -Infinity };
}

function isEmpty({ gaps, forgottenMs, unsureFromMs }: SeriesGaps): boolean {
  return gaps.length === 0 && forgottenMs === -Infinity && unsureFromMs === Infinity;
}

function episodeOf(series: number, { startMs, endMs, limitMs, version }: Gap, fired: boolean): Episode {
  const lastTsMs = endMs === Infinity ? startMs : endMs;
  const seconds = (endMs === Infinity ? limitMs : endMs - startMs) / 1000;
  const judged = {
    worstValue: seconds,
    worstTsMs: startMs,
    low: null,
    high: limitMs / 1000,
    thresholdVersion: version,
  };
  const kept = { severity: "warning", forMs: 0, gapMs: 0, gapMaxMs: 0, fired, dirty: false } as const;
  return { series, kind: "silence", startedAtMs: startMs, lastTsMs, breaches: 0, ...judged, ...kept };
}

function finite(ms: number): number | null {
  return Number.isFinite(ms) ? ms : null;
}
