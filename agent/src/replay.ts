import type { Alert } from "@weir/shared/model/alert";
import type { SeriesKey } from "@weir/shared/model/reading";
import type { ThresholdVersion } from "@weir/shared/model/thresholds";
import { BlockBatch } from "@weir/shared/operators/block-batch";
import type { Calendar } from "@weir/shared/operators/calendar";
import type { Episode } from "@weir/shared/operators/episodes";
import { MemoryReport, sumLosses, tellsOfLoss } from "@weir/shared/operators/memory-report";
import type { LossTick } from "@weir/shared/operators/memory-report";
import type { RefoldRequest } from "@weir/shared/operators/series-fold";
import { createEmissions, SeriesFold } from "@weir/shared/operators/series-fold";
import { ThresholdHistory } from "@weir/shared/operators/thresholds";
import { WatchedTime } from "@weir/shared/operators/watched";
import { WINDOW_BYTES_MAX } from "@weir/shared/operators/windows";
import { timesOf } from "./pipeline/pages.ts";
import { clockTicks } from "./pipeline/recover.ts";
import { RefoldJob } from "./pipeline/refold.ts";
import type { PastEpisode, RefoldContext, RefoldSource } from "./pipeline/refold.ts";
import { widest } from "./pipeline/refolder.ts";
import type { Store } from "./store/store.ts";
import { inTimeOrder } from "./store/time-order.ts";

/**
 * Windows of a replay: the longest that lie within one local hour in every time zone, so that few partials are made and
 * merged. Any length that divides an hour gives the same report.
 */
const WINDOW_MS = 900_000;

/** Hours of series that a replay keeps in memory at once, about: some hundred bytes each. */
const CELLS_MAX: number = 2 ** 17;

/** What a replay takes other than by default. */
export interface ReplayOptions {
  /** Length of a window, ms, which divides an hour. */
  readonly windowMs?: number;
  /** The thresholds to judge by, for a backtest; those of the log by default. */
  readonly candidate?: ThresholdVersion;
  /**
   * Only readings from this event time on are asked for, ms: older ones may be passed over. Hours that begin there or later
   * come out as of the whole log, and so do alerts that begin more than longestGapMs of the thresholds later.
   */
  readonly fromMs?: number;
}

/**
 * Folds an agent's log again, as the live pipeline did, and rolls it up: the batch path.
 *
 * The operators are the live ones. The log is read, nothing is written; the agent may be running. A replay may be made of
 * some devices after others, so that memory holds the hours of some alone.
 */
export class LogReplay {
  readonly thresholds: ThresholdHistory = new ThresholdHistory();
  readonly calendar: Calendar;
  readonly #store: Store;
  readonly #agent: string;
  readonly #windowMs: number;
  readonly #fromMs: number;
  readonly #keys: readonly SeriesKey[];
  readonly #firsts: ReadonlyMap<number, number> | undefined;
  readonly #watched = new WatchedTime();
  readonly #losses: LossTick[] = [];
  #clockMs = -Infinity;
  /** At which position each series went silent for the last time, by the versions in force; undefined: by others. */
  readonly #silent: Map<number, number> | undefined;

  /** agent: the name that stands in the lineage. */
  constructor(store: Store, calendar: Calendar, agent: string, options: ReplayOptions = {}) {
    const { windowMs = WINDOW_MS, candidate } = options;
    const versions = candidate ? [candidate] : store.thresholdVersions(Number.MAX_SAFE_INTEGER);
    this.calendar = calendar;
    this.#store = store;
    this.#agent = agent;
    this.#windowMs = windowMs;
    this.#keys = store.allSeries();
    // All versions and ticks are known from the start, so each reading is judged once.
    for (const version of versions) this.thresholds.add(version);
    this.#silent = candidate ? undefined : new Map();
    for (const tick of clockTicks(store, Number.MAX_SAFE_INTEGER)) {
      this.#watched.add(tick);
      for (const [series, positionMs] of tick.silent ?? []) this.#silent?.set(series, positionMs);
      if (tellsOfLoss(tick)) this.#losses.push(tick);
      this.#clockMs = Math.max(this.#clockMs, tick.nowMs);
    }
    this.#firsts = firstTimes(store);
    // Where it is not known since when series have had readings, the whole log has to tell.
    this.#fromMs = this.#firsts ? (options.fromMs ?? -Infinity) : -Infinity;
  }

  /** What was refused and lost in receive time [fromMs, toMs), by reason. */
  losses(fromMs: number, toMs: number): ReturnType<typeof sumLosses> {
    return sumLosses(this.#losses, fromMs, toMs);
  }

  /**
   * Devices to be folded one group after another, by their series, so that memory holds no more than `cellsMax` hours of
   * series at once, about; one group where all fit.
   */
  groups(cellsMax: number = CELLS_MAX): Array<readonly number[]> {
    const seriesMax = Math.max(1, Math.floor(cellsMax / Math.max(1, this.#store.readings.hoursFrom(this.#fromMs))));
    const devices = new Map<string, number[]>();
    for (const [series, { site, device }] of this.#keys.entries()) {
      const name = `${site}/${device}`;
      const known = devices.get(name);
      if (known) known.push(series);
      else devices.set(name, [series]);
    }
    const groups: number[][] = [];
    for (const ofDevice of devices.values()) {
      const last = groups.at(-1);
      if (last && last.length + ofDevice.length <= seriesMax) last.push(...ofDevice);
      else groups.push([...ofDevice]);
    }
    return groups.map((group) => group.toSorted((a, b) => a - b));
  }

  /** Folds the readings of some series, ascending, or of all. A device is to be folded whole. */
  fold(only?: readonly number[]): MemoryReport {
    const keyOf = (series: number): SeriesKey => this.#keys[series]!;
    const { thresholds } = this;
    const windowMs = this.#windowMs;
    const fold = new SeriesFold(keyOf, thresholds, { windowMs, watched: this.#watched });
    const report = new MemoryReport(this.#agent, keyOf, thresholds, this.calendar);
    const episodes: Episode[] = [];
    const out = createEmissions();
    const batch = new BlockBatch(fold, out);

    const settle = (): void => {
      batch.drain();
      for (let page = 0; page < fold.pages; page++) {
        fold.flushPageTo(page, out, (partial) => report.applyWindow(partial));
      }
      report.applyAlerts(out.alerts);
      for (const episode of out.closed) episodes.push(episode);
      out.alerts.length = 0;
      out.closed.length = 0;
    };
    for (const tick of this.#losses) report.applyTick(tick);
    report.applyTick({ nowMs: this.#clockMs, rejected: {}, dropped: {} });
    const some = only && only.length < this.#keys.length ? only : undefined;
    for (const block of this.#store.readings.all(this.#fromMs, some)) {
      batch.add(block);
      if (fold.windowBytes >= WINDOW_BYTES_MAX) settle();
    }
    batch.drain();
    fold.silences.settle(out);
    for (let series = 0; series < this.#keys.length; series++) {
      const positionMs = fold.positionMs(series);
      if (positionMs === -Infinity) continue;
      const firstTsMs = this.#firsts?.get(series);
      if (firstTsMs !== undefined) report.applyFirst(series, firstTsMs);
      // When a silence begins to be one a tick says; by other thresholds than those of that time, watched time does.
      if (!this.#silent || this.#silent.get(series) === positionMs) fold.silences.open(series, positionMs, out);
    }
    settle();
    if (out.refolds.length > 0) {
      const context = { source: new ReplayedEpisodes(episodes), live: fold, thresholds, keyOf, windowMs };
      report.applyAlerts(refoldAll(out.refolds, context, this.#store));
    }
    return report;
  }
}

/**
 * The event time of the first reading of each series, also where the log was trimmed or is not read from its beginning: as
 * the checkpoint has it, and what came after. undefined: it has it not of every series, as before this was kept.
 */
function firstTimes(store: Store): Map<number, number> | undefined {
  const firsts = new Map<number, number>();
  const { pages, recoverSeq } = store.readCheckpoint();
  for (const page of pages) {
    for (const { series, firstTsMs } of timesOf(page)) {
      if (firstTsMs === -Infinity) return undefined;
      firsts.set(series, firstTsMs);
    }
  }
  for (const { count, series, tsMs } of store.readings.logBlocksFrom(-Infinity, recoverSeq, Infinity)) {
    for (let i = 0; i < count; i++) {
      if (!(firsts.get(series[i]!)! <= tsMs[i]!)) firsts.set(series[i]!, tsMs[i]!);
    }
  }
  return firsts;
}

/** Series of one re-fold, at most: of some hundreds, an hour fits into memory. */
const REFOLD_SERIES_MAX = 256;

/**
 * The alerts of re-folds. Of alerts alone there is anything to say: each reading was judged by the version in force at its
 * time, so no partial changes.
 */
function refoldAll(requests: readonly RefoldRequest[], context: RefoldContext, store: Store): Alert[] {
  const bySeries = new Map<number, RefoldRequest>();
  for (const request of requests) {
    const known = bySeries.get(request.series);
    bySeries.set(request.series, known ? widest(known, request) : request);
  }
  const rest = [...bySeries.values()].toSorted((a, b) => a.series - b.series);
  const alerts: Alert[] = [];
  while (rest.length > 0) {
    const job = new RefoldJob(rest.splice(0, REFOLD_SERIES_MAX), context);
    for (const block of inTimeOrder(store.readings, job.wanted, Infinity)) if (block) job.apply(block);
    alerts.push(...job.finish().alerts);
  }
  return alerts;
}

/** The episodes that this replay has closed rather than those of the live path. */
class ReplayedEpisodes implements RefoldSource {
  /** A replay knows nothing but the log: for it the log is whole. */
  readonly wholeFromMs: number = -Infinity;
  readonly #bySeries = new Map<number, PastEpisode[]>();

  constructor(episodes: readonly Episode[]) {
    for (const { series, kind, startedAtMs, lastTsMs, gapMs, fired } of episodes) {
      const rows = this.#bySeries.get(series) ?? [];
      rows.push({ kind, startedMs: startedAtMs, lastMs: lastTsMs, gapMs, fired: Number(fired) });
      this.#bySeries.set(series, rows);
    }
  }

  episodesFrom(series: number, fromMs: number): readonly PastEpisode[] {
    return (this.#bySeries.get(series) ?? []).filter((episode) => episode.lastMs + episode.gapMs >= fromMs);
  }
}
