import type { Alert } from "../model/alert.ts";
import type { Block, SeriesKey } from "../model/reading.ts";
import type { Band, ThresholdVersion } from "../model/thresholds.ts";
import { grownRows, growFloat64, growInt32 } from "./columns.ts";
import type { Episode } from "./episodes.ts";
import { alertOf, extendEpisode, holdsLateBreach, startEpisode } from "./episodes.ts";
import type { ThresholdHistory } from "./thresholds.ts";
import type { WindowPartial } from "./windows.ts";
import { JUDGED_CRITICAL, JUDGED_HIGH, JUDGED_IN_BAND, JUDGED_LOW, WindowAccumulator } from "./windows.ts";

/**
 * The fold over readings: judges each by the thresholds in force at its event time, keeps episodes, and summarises
 * windows. Live, recovery, replay and re-fold are this code over different stretches of the log.
 *
 * Readings must be distinct (the log holds each once). Windows take them in any order. Episodes follow a series in
 * event-time order; a breach from before its series' position that does not surely fall into the open episode can join
 * or split earlier ones, so it asks for a re-fold, whose result takes the place of those episodes.
 */

/** Ask to fold a series again, from fromMs (event time) on. */
export interface RefoldRequest {
  readonly series: number;
  readonly fromMs: number;
  /** The thresholds changed as well: window partials from fromMs on are to be replaced, not only episodes. */
  readonly replacePartials: boolean;
}

/** What a step of the fold emits. Callers own it and empty it. */
export interface Emissions {
  /** Alerts that began, became critical, ended, or (at a flush) went on. */
  readonly alerts: Alert[];
  /** Episodes that ended, fired or not. */
  readonly closed: Episode[];
  readonly refolds: RefoldRequest[];
}

/** Emissions with nothing in them, for a fold to fill. */
export function createEmissions(): Emissions {
  return { alerts: [], closed: [], refolds: [] };
}

const OPEN_LOW = 1;
const OPEN_HIGH = 2;

export interface SeriesFoldOptions {
  /** Length of a window of event time, ms. */
  readonly windowMs: number;
}

/** The fold of one agent's readings. Series are dense indexes; state grows with the highest. */
export class SeriesFold {
  readonly #keyOf: (series: number) => SeriesKey;
  readonly #thresholds: ThresholdHistory;
  readonly #windows: WindowAccumulator;
  /** Open episodes by series × 2 + (1 for high). */
  readonly #open = new Map<number, Episode>();
  #rows = 0;
  /** The series' position: its newest event time; -Infinity before the first reading. */
  #positionMs = new Float64Array(0);
  #openFlags = new Int32Array(0);
  /** The band in force from #fromMs until #untilMs, unpacked; NaN #fromMs: look it up. */
  #fromMs = new Float64Array(0);
  #untilMs = new Float64Array(0);
  #warningLow = new Float64Array(0);
  #warningHigh = new Float64Array(0);
  #criticalLow = new Float64Array(0);
  #criticalHigh = new Float64Array(0);
  #version = new Int32Array(0);
  readonly #band: Array<Band | undefined> = [];
  #newestMs = -Infinity;

  /** keyOf: names of a series, for bands and ids. thresholds: shared with the caller, who adds versions only here. */
  constructor(keyOf: (series: number) => SeriesKey, thresholds: ThresholdHistory, options: SeriesFoldOptions) {
    this.#keyOf = keyOf;
    this.#thresholds = thresholds;
    this.#windows = new WindowAccumulator(options.windowMs);
  }

  /** Folds a block in. */
  applyBlock(block: Block, out: Emissions): void {
    for (let i = 0; i < block.count; i++) {
      this.#applyReading(block.series[i]!, block.tsMs[i]!, block.value[i]!, block.stamped[i]!, out);
    }
  }

  /**
   * Adds a threshold version. Where readings at or after its start were judged without it, asks for a re-fold of their
   * series from there on.
   */
  applyThresholds(version: ThresholdVersion, out: Emissions): void {
    if (!this.#thresholds.add(version)) return;
    this.#fromMs.fill(NaN);
    if (this.#newestMs < version.effectiveFromMs) return;
    for (let series = 0; series < this.#rows; series++) {
      if (this.#positionMs[series]! >= version.effectiveFromMs) {
        out.refolds.push({ series, fromMs: version.effectiveFromMs, replacePartials: true });
      }
    }
  }

  /** Readings that wait in the window accumulator; flush before WINDOW_READINGS_MAX. */
  get windowReadings(): number {
    return this.#windows.readings;
  }

  /** Window partials since the last flush; alerts that went on since they were last emitted go to `out`. */
  flush(out: Emissions): WindowPartial[] {
    for (const episode of this.#open.values()) {
      if (episode.fired && episode.dirty) this.#emit(episode, "firing", out);
    }
    return this.#windows.drain();
  }

  /** The position of a series: its newest event time, -Infinity before its first reading. */
  positionMs(series: number): number {
    return series < this.#rows ? this.#positionMs[series]! : -Infinity;
  }

  /** Positions by series index, for a checkpoint: a view, valid until the next call. */
  positions(): Float64Array {
    return this.#positionMs.subarray(0, this.#rows);
  }

  /** Open episodes, for a checkpoint and for re-folds. */
  openEpisodes(): Iterable<Episode> {
    return this.#open.values();
  }

  openEpisode(series: number, kind: Episode["kind"]): Episode | undefined {
    return this.#open.get(slotOf(series, kind));
  }

  /** Sets a position, from a checkpoint. */
  restorePosition(series: number, positionMs: number): void {
    if (series >= this.#rows) this.#grow(series);
    this.#positionMs[series] = positionMs;
    if (positionMs > this.#newestMs) this.#newestMs = positionMs;
  }

  /** Puts `episode` in the place of whatever is open for its series and kind, from a checkpoint or a re-fold. */
  restoreEpisode(episode: Episode): void {
    if (episode.series >= this.#rows) this.#grow(episode.series);
    this.#open.set(slotOf(episode.series, episode.kind), episode);
    this.#openFlags[episode.series]! |= episode.kind === "high" ? OPEN_HIGH : OPEN_LOW;
  }

  /** Forgets the open episode of a series and kind without a word: a re-fold is about to replace it. */
  dropEpisode(series: number, kind: Episode["kind"]): void {
    if (!this.#open.delete(slotOf(series, kind))) return;
    this.#openFlags[series]! &= kind === "high" ? ~OPEN_HIGH : ~OPEN_LOW;
  }

  #applyReading(series: number, tsMs: number, value: number, stamped: number, out: Emissions): void {
    if (series >= this.#rows) this.#grow(series);
    if (!(tsMs >= this.#fromMs[series]! && tsMs < this.#untilMs[series]!)) this.#lookUpBand(series, tsMs);

    let judged = JUDGED_IN_BAND;
    if (value > this.#warningHigh[series]! || value > this.#criticalHigh[series]!) {
      judged = value > this.#criticalHigh[series]! ? JUDGED_HIGH | JUDGED_CRITICAL : JUDGED_HIGH;
    } else if (value < this.#warningLow[series]! || value < this.#criticalLow[series]!) {
      judged = value < this.#criticalLow[series]! ? JUDGED_LOW | JUDGED_CRITICAL : JUDGED_LOW;
    }
    this.#windows.add(series, tsMs, value, stamped, judged, this.#version[series]!);

    const position = this.#positionMs[series]!;
    if (tsMs > position) this.#positionMs[series] = tsMs;
    if (tsMs > this.#newestMs) this.#newestMs = tsMs;
    if (judged === JUDGED_IN_BAND && this.#openFlags[series] === 0) return;
    this.#followEpisodes(series, tsMs, value, judged, tsMs >= position, out);
  }

  #followEpisodes(series: number, tsMs: number, value: number, judged: number, inOrder: boolean, out: Emissions): void {
    if (inOrder && this.#openFlags[series] !== 0) this.#closeEnded(series, tsMs, out);
    const band = this.#band[series];
    if (judged === JUDGED_IN_BAND || !band) return;
    const kind = judged & JUDGED_HIGH ? "high" : "low";
    const critical = (judged & JUDGED_CRITICAL) !== 0;
    const breach = { series, kind, tsMs, value, critical, version: this.#version[series]!, band } as const;
    const open = this.#open.get(slotOf(series, kind));
    if (open && (inOrder || holdsLateBreach(open, breach))) {
      if (extendEpisode(open, breach)) this.#emit(open, "firing", out);
    } else if (inOrder) {
      const episode = startEpisode(breach);
      this.restoreEpisode(episode);
      if (episode.fired) this.#emit(episode, "firing", out);
    } else out.refolds.push({ series, fromMs: tsMs, replacePartials: false });
  }

  /** Ends the open episodes of a series that a reading at tsMs is too far from to belong to. */
  #closeEnded(series: number, tsMs: number, out: Emissions): void {
    for (const kind of ["low", "high"] as const) {
      const episode = this.#open.get(slotOf(series, kind));
      if (!episode || tsMs - episode.lastTsMs <= episode.gapMs) continue;
      this.dropEpisode(series, kind);
      if (episode.fired) this.#emit(episode, "resolved", out);
      out.closed.push(episode);
    }
  }

  #emit(episode: Episode, state: Alert["state"], out: Emissions): void {
    episode.dirty = false;
    out.alerts.push(alertOf(episode, this.#keyOf(episode.series), state));
  }

  #lookUpBand(series: number, tsMs: number): void {
    const inForce = this.#thresholds.inForce(this.#keyOf(series), tsMs);
    this.#fromMs[series] = inForce.fromMs;
    this.#untilMs[series] = inForce.untilMs;
    this.#version[series] = inForce.band ? inForce.version : 0;
    this.#warningLow[series] = inForce.band?.warningLow ?? -Infinity;
    this.#warningHigh[series] = inForce.band?.warningHigh ?? Infinity;
    this.#criticalLow[series] = inForce.band?.criticalLow ?? -Infinity;
    this.#criticalHigh[series] = inForce.band?.criticalHigh ?? Infinity;
    this.#band[series] = inForce.band;
  }

  #grow(series: number): void {
    const rows = grownRows(this.#rows, series);
    this.#positionMs = growFloat64(this.#positionMs, rows, -Infinity);
    this.#openFlags = growInt32(this.#openFlags, rows, 0);
    this.#fromMs = growFloat64(this.#fromMs, rows, NaN);
    this.#untilMs = growFloat64(this.#untilMs, rows, 0);
    this.#warningLow = growFloat64(this.#warningLow, rows, 0);
    this.#warningHigh = growFloat64(this.#warningHigh, rows, 0);
    this.#criticalLow = growFloat64(this.#criticalLow, rows, 0);
    this.#criticalHigh = growFloat64(this.#criticalHigh, rows, 0);
    this.#version = growInt32(this.#version, rows, 0);
    while (this.#band.length < rows) this.#band.push(undefined);
    this.#rows = rows;
  }
}

function slotOf(series: number, kind: Episode["kind"]): number {
  return series * 2 + (kind === "high" ? 1 : 0);
}
