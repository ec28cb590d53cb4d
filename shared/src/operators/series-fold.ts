import type { Block, SeriesKey } from "../model/reading.ts";
import type { Band, ThresholdVersion } from "../model/thresholds.ts";
import { silenceLimitMs } from "../model/thresholds.ts";
import { alignedRows, grownRows, PAGE_SERIES } from "./columns.ts";
import type { Emissions } from "./emissions.ts";
import type { Episode } from "./episodes.ts";
import { OpenEpisodes } from "./open-episodes.ts";
import { AHEAD_READINGS, readAhead, reachesFar } from "./read-ahead.ts";
import { QuietSeries } from "./quiet-series.ts";
import { Silences } from "./silence.ts";
import type { ThresholdHistory } from "./thresholds.ts";
import type { ClockTick } from "./watched.ts";
import { WatchedTime } from "./watched.ts";
import type { WindowPartial } from "./windows.ts";
import { JUDGED_CRITICAL, JUDGED_HIGH, JUDGED_IN_BAND, JUDGED_LOW, WindowAccumulator } from "./windows.ts";

export type { Emissions, RefoldRequest } from "./emissions.ts";
export { createEmissions } from "./emissions.ts";

/**
 * The fold over readings: judges each by the thresholds in force at its event time, keeps episodes and silences, and
 * summarises windows. Live, recovery, replay and re-fold are this code over different stretches of the log.
 *
 * Readings must be distinct (the log holds each once). Windows take them in any order. Episodes follow a series in
 * event-time order; a breach from before its series' position that does not surely fall into the open episode can join
 * or split earlier ones, so it asks for a re-fold, whose result takes the place of those episodes.
 */

export interface SeriesFoldOptions {
  /** Length of a window of event time, ms. */
  readonly windowMs: number;
  /** Watched time, where it is shared with another fold; by default the fold's own, which its ticks fill. */
  readonly watched?: WatchedTime;
}

/**
 * The state of a series: a row of 8 doubles, the last two of which are four integers; one line of the cache. The places
 * are constants of this file because those of another would be loaded each time.
 */
const ROW_SHIFT = 3;
const ROW_BYTES = 64;
/** The stretch of event time in which the row's band is in force: from FROM to before UNTIL. */
const FROM = 0;
const UNTIL = 1;
/** Below or above these a reading is a breach. */
const LOW = 2;
const HIGH = 3;
/** Up to this time a reading in its band ends no open episode; Infinity: none is open. */
const QUIET_UNTIL = 4;
/** The series' position: its newest event time; -Infinity before the first reading. */
const POSITION = 5;
/** Of the row's integers: the version of the band, 0 where there is none. */
const VERSION = 12;
/** Shorter gaps than this are no silence; in no band SILENCE_NOT_JUDGED, and OPEN while a silence fires. */
const SILENCE = 13;
const OPEN = -1;

/** The fold of one agent's readings. Series are dense indexes; state grows with the highest. */
export class SeriesFold {
  readonly #keyOf: (series: number) => SeriesKey;
  readonly #thresholds: ThresholdHistory;
  readonly #windows: WindowAccumulator;
  readonly #open: OpenEpisodes;
  /** Gaps and silences: for checkpoints and re-folds. */
  readonly silences: Silences;
  readonly #quiet = new QuietSeries();
  /** The highest series so far, plus 1. */
  #seriesEnd = 0;
  #rows = 0;
  #state = new Float64Array(0);
  #stateIntegers = new Int32Array(0);
  readonly #band: Array<Band | undefined> = [];
  /** The values of the last block, and their words. */
  #values: Float64Array = new Float64Array(0);
  #words: Int32Array = new Int32Array(0);

  /** keyOf: names of a series, for bands and ids. thresholds: shared with the caller, who adds versions only here. */
  constructor(keyOf: (series: number) => SeriesKey, thresholds: ThresholdHistory, options: SeriesFoldOptions) {
    this.#keyOf = keyOf;
    this.#thresholds = thresholds;
    this.#open = new OpenEpisodes(keyOf);
    this.#windows = new WindowAccumulator(options.windowMs);
    const watched = options.watched ?? new WatchedTime();
    this.silences = new Silences(watched, keyOf, (series, tsMs) => thresholds.inForce(keyOf(series), tsMs));
  }

  /**
   * Folds a block in. The order of its rows is free, but for episodes that of time within each series is the cheap one,
   * and readings of a series are cheapest next to each other: its state is then looked up once for all of them.
   */
  applyBlock(block: Block, out: Emissions): void {
    this.applyRows(block, 0, block.count, out);
  }

  /** As applyBlock, of rows [from, to) alone. */
  applyRows(block: Block, from: number, to: number, out: Emissions): void {
    const { series: seriesOf, value } = block;
    const words = this.#wordsOf(value);
    let end = from;
    let ahead = from;
    for (let start = from; start < to; start = end) {
      const series = seriesOf[start]!;
      if (start >= ahead) {
        ahead = Math.min(to, start + AHEAD_READINGS);
        if (reachesFar(seriesOf, start, ahead)) {
          const read = this.#windows.readAhead(seriesOf, start, ahead);
          readAhead(this.#state, this.#rows, ROW_SHIFT, seriesOf, start, ahead, read);
        }
      }
      end = start + 1;
      while (end < to && seriesOf[end] === series) end++;
      if (series >= this.#seriesEnd) this.#reach(series);
      this.#applyRun(block, words, series, start, end, out);
    }
  }

  /**
   * Adds a threshold version. Where readings at or after its start were judged without it, asks for a re-fold of their
   * series from there on.
   */
  applyThresholds(version: ThresholdVersion, out: Emissions): void {
    if (!this.#thresholds.add(version)) return;
    this.forgetBands();
    const fromMs = version.effectiveFromMs;
    for (let series = 0; series < this.#seriesEnd; series++) {
      if (this.positionMs(series) >= fromMs) out.refolds.push({ series, fromMs, replacePartials: true });
    }
  }

  /** Looks all bands up anew: a version came that another fold was told of. */
  forgetBands(): void {
    for (let series = 0; series < this.#seriesEnd; series++) this.#state[(series << ROW_SHIFT) + UNTIL] = -Infinity;
  }

  /**
   * Applies a clock tick: judges gaps as far as they were watched, and returns which series have been quiet for as long
   * as their band allows, for the tick's entry in the log; one of the log says so itself. isPast: series whose state
   * takes the tick into account already. touched: is told of series of which something changed.
   */
  applyTick(
    tick: ClockTick,
    out: Emissions,
    touched: (series: number) => void = () => {},
    isPast: (series: number) => boolean = () => false,
  ): ReadonlyArray<readonly [series: number, startedAtMs: number]> {
    const positionOf = (series: number): number => (isPast(series) ? -Infinity : this.positionMs(series));
    this.silences.watch(tick, this.#seriesEnd, positionOf, out);
    this.silences.settle(out, isPast, touched);
    const silent = tick.silent?.filter(([series]) => !isPast(series)) ?? this.#quiet.find(this.#seriesEnd, this);
    for (const [series, positionMs] of silent) {
      if (this.positionMs(series) !== positionMs || !this.silences.open(series, positionMs, out)) continue;
      this.#stateIntegers[(series << (ROW_SHIFT + 1)) + SILENCE] = OPEN;
      touched(series);
    }
    return silent;
  }

  /** Pages of PAGE_SERIES series, up to the last that has one. */
  get pages(): number {
    return Math.ceil(this.#seriesEnd / PAGE_SERIES);
  }

  /** Readings that wait in the window accumulator; flush before WINDOW_READINGS_MAX. */
  get windowReadings(): number {
    return this.#windows.readings;
  }

  /** Bytes that they take; flush before WINDOW_BYTES_MAX. */
  get windowBytes(): number {
    return this.#windows.bytes;
  }

  /** Of windowReadings, those of a page. */
  pageWindowReadings(page: number): number {
    return this.#windows.pageReadings(page);
  }

  /**
   * Window partials since the last flush, by series and window; alerts that went on since they were last emitted go to
   * `out`.
   */
  flush(out: Emissions): WindowPartial[] {
    for (let page = 0; page < this.pages; page++) this.#open.emitNews(page, out);
    return this.#windows.drain();
  }

  /** As flush(), of the series of one page: of PAGE_SERIES series from page × PAGE_SERIES on. */
  flushPage(page: number, out: Emissions): WindowPartial[] {
    const partials: WindowPartial[] = [];
    this.flushPageTo(page, out, (partial) => partials.push(partial));
    return partials;
  }

  /** As flushPage(), one partial after another: for those who do not keep them. sink must not call this fold. */
  flushPageTo(page: number, out: Emissions, sink: (partial: WindowPartial) => void): void {
    this.#open.emitNews(page, out);
    this.#windows.drainPage(page, sink);
  }

  /** The position of a series: its newest event time, -Infinity before its first reading. */
  positionMs(series: number): number {
    return series < this.#rows ? this.#state[(series << ROW_SHIFT) + POSITION]! : -Infinity;
  }

  /** Positions by series index, whole pages: a copy. */
  positions(): Float64Array {
    return Float64Array.from({ length: this.pages * PAGE_SERIES }, (_, series) => this.positionMs(series));
  }

  /** Positions of the series of one page, for a checkpoint: a copy. */
  pagePositions(page: number): Float64Array {
    return Float64Array.from({ length: PAGE_SERIES }, (_, i) => this.positionMs(page * PAGE_SERIES + i));
  }

  /** Open episodes, for a checkpoint and for re-folds. */
  openEpisodes(): Iterable<Episode> {
    return this.#open.all();
  }

  /** Open episodes of the series of one page. */
  openEpisodesOf(page: number): Iterable<Episode> {
    return this.#open.ofPage(page);
  }

  openEpisode(series: number, kind: Episode["kind"]): Episode | undefined {
    return this.#open.get(series, kind);
  }

  /** Sets a position, from a checkpoint. */
  restorePosition(series: number, positionMs: number): void {
    if (series >= this.#seriesEnd) this.#reach(series);
    this.#state[(series << ROW_SHIFT) + POSITION] = positionMs;
  }

  /** Puts `episode` in the place of whatever is open for its series and kind, from a checkpoint or a re-fold. */
  restoreEpisode(episode: Episode): void {
    if (episode.series >= this.#seriesEnd) this.#reach(episode.series);
    this.#open.set(episode);
    this.#setQuiet(episode.series);
  }

  /** Forgets the open episode of a series and kind without a word: a re-fold is about to replace it. */
  dropEpisode(series: number, kind: Episode["kind"]): void {
    if (this.#open.delete(series, kind)) this.#setQuiet(series);
  }

  /** As Silences.replace: puts what a fold over the readings of a series from a time on has found in the place of it. */
  replaceSilences(series: number, fold: SeriesFold, stretch: Parameters<Silences["replace"]>[2], out: Emissions): void {
    this.silences.replace(series, fold.silences, stretch, out);
    this.#state[(series << ROW_SHIFT) + UNTIL] = -Infinity;
  }

  /** The values' words. */
  #wordsOf(value: Float64Array): Int32Array {
    if (value !== this.#values) {
      this.#values = value;
      this.#words = new Int32Array(value.buffer, value.byteOffset, 2 * value.length);
    }
    return this.#words;
  }

  /** Folds readings [start, end) of a block in, all of one series: in one go as many as nothing happens at. */
  #applyRun(block: Block, words: Int32Array, series: number, start: number, end: number, out: Emissions): void {
    const { tsMs: times, value: values } = block;
    const at = series << ROW_SHIFT;
    let from = start;
    while (from < end) {
      const state = this.#state;
      const fromMs = state[at + FROM]!;
      const untilMs = state[at + UNTIL]!;
      const low = state[at + LOW]!;
      const high = state[at + HIGH]!;
      const quietUntilMs = state[at + QUIET_UNTIL]!;
      const silenceMs = this.#stateIntegers[(at << 1) + SILENCE]!;
      let position = state[at + POSITION]!;
      let to = from;
      while (to < end) {
        const tsMs = times[to]!;
        const value = values[to]!;
        if (!(tsMs > position && tsMs >= fromMs && tsMs < untilMs && tsMs <= quietUntilMs)) break;
        if (!(tsMs - position < silenceMs)) break;
        if (!(value >= low && value <= high)) break;
        position = tsMs;
        to++;
      }
      if (to > from) {
        state[at + POSITION] = position;
        const version = this.#stateIntegers[(at << 1) + VERSION]!;
        this.#windows.addRun(series, block, words, from, to, version);
      }
      if (to < end) {
        this.#applyReading(series, times[to]!, values[to]!, block.stamped[to]!, out);
        to++;
      }
      from = to;
    }
  }

  /** Folds one reading in at which something may happen: a late one, a breach, one that ends an episode. */
  #applyReading(series: number, tsMs: number, value: number, stamped: number, out: Emissions): void {
    const state = this.#state;
    const at = series << ROW_SHIFT;
    this.#followGap(series, tsMs, out);
    if (!(tsMs >= state[at + FROM]! && tsMs < state[at + UNTIL]!)) this.#lookUpBand(series, tsMs);

    let judged = JUDGED_IN_BAND;
    if (value > state[at + HIGH]!) {
      const limit = this.#band[series]?.criticalHigh ?? Infinity;
      judged = value > limit ? JUDGED_HIGH | JUDGED_CRITICAL : JUDGED_HIGH;
    } else if (value < state[at + LOW]!) {
      const limit = this.#band[series]?.criticalLow ?? -Infinity;
      judged = value < limit ? JUDGED_LOW | JUDGED_CRITICAL : JUDGED_LOW;
    }
    this.#windows.add(series, tsMs, value, stamped, judged, this.#stateIntegers[(at << 1) + VERSION]!);

    const position = state[at + POSITION]!;
    if (tsMs > position) state[at + POSITION] = tsMs;
    const inOrder = tsMs >= position;
    if (inOrder && tsMs > state[at + QUIET_UNTIL]!) {
      this.#open.closeEnded(series, tsMs, out);
      this.#setQuiet(series);
    }
    if (judged !== JUDGED_IN_BAND) this.#followBreach(series, tsMs, value, judged, inOrder, out);
  }

  /** What the gap before a reading is to silence; the row's band is still that of the reading before. */
  #followGap(series: number, tsMs: number, out: Emissions): void {
    const state = this.#state;
    const at = series << ROW_SHIFT;
    const position = state[at + POSITION]!;
    if (tsMs <= position) this.#quiet.heard(series);
    if (tsMs < position) this.silences.divide(series, tsMs, out);
    else if (position === -Infinity) this.silences.begin(series, tsMs);
    else if (tsMs > position) {
      const silenceMs = this.#stateIntegers[(at << 1) + SILENCE]!;
      if (tsMs - position < silenceMs && position < state[at + UNTIL]! && tsMs < state[at + UNTIL]!) return;
      this.silences.pass(series, position, tsMs, out);
      // The silence that the row tells of is over.
      if (silenceMs === OPEN) state[at + UNTIL] = -Infinity;
    }
  }

  /** The silence allowed after the newest reading of a series, ms; below 0 where one fires. */
  silenceMs(series: number): number {
    const at = series << ROW_SHIFT;
    const position = this.#state[at + POSITION]!;
    if (!(position < this.#state[at + UNTIL]!)) this.#lookUpBand(series, position);
    return this.#stateIntegers[(at << 1) + SILENCE]!;
  }

  #followBreach(series: number, tsMs: number, value: number, judged: number, inOrder: boolean, out: Emissions): void {
    const band = this.#band[series];
    if (!band) return;
    const kind = judged & JUDGED_HIGH ? "high" : "low";
    const critical = (judged & JUDGED_CRITICAL) !== 0;
    const version = this.#stateIntegers[(series << (ROW_SHIFT + 1)) + VERSION]!;
    const breach = { series, kind, tsMs, value, critical, version, band } as const;
    const at = (series << ROW_SHIFT) + QUIET_UNTIL;
    this.#state[at] = this.#open.follow(breach, inOrder, this.#state[at]!, out);
  }

  #setQuiet(series: number): void {
    this.#state[(series << ROW_SHIFT) + QUIET_UNTIL] = this.#open.quietUntilMs(series);
  }

  #lookUpBand(series: number, tsMs: number): void {
    const { fromMs, untilMs, version, band } = this.#thresholds.inForce(this.#keyOf(series), tsMs);
    const state = this.#state;
    const at = series << ROW_SHIFT;
    state[at + FROM] = fromMs;
    state[at + UNTIL] = untilMs;
    state[at + LOW] = Math.max(band?.warningLow ?? -Infinity, band?.criticalLow ?? -Infinity);
    state[at + HIGH] = Math.min(band?.warningHigh ?? Infinity, band?.criticalHigh ?? Infinity);
    this.#stateIntegers[(at << 1) + VERSION] = band ? version : 0;
    // Only one silence of a series is open, and that after its newest reading.
    const isOpen = this.silences.isOpen(series);
    this.#stateIntegers[(at << 1) + SILENCE] = isOpen ? OPEN : silenceLimitMs(band);
    this.#band[series] = band;
  }

  #reach(series: number): void {
    this.#seriesEnd = series + 1;
    if (series >= this.#rows) this.#grow(series);
  }

  #grow(series: number): void {
    const rows = grownRows(this.#rows, series);
    const { doubles: state, integers } = alignedRows(rows * ROW_BYTES);
    state.set(this.#state);
    for (let row = this.#rows; row < rows; row++) {
      state[(row << ROW_SHIFT) + UNTIL] = -Infinity;
      state[(row << ROW_SHIFT) + QUIET_UNTIL] = Infinity;
      state[(row << ROW_SHIFT) + POSITION] = -Infinity;
    }
    this.#state = state;
    this.#stateIntegers = integers;
    while (this.#band.length < rows) this.#band.push(undefined);
    this.#rows = rows;
  }
}
