import type { Alert } from "@weir/shared/model/alert";
import type { SeriesKey } from "@weir/shared/model/reading";
import type { ThresholdVersion } from "@weir/shared/model/thresholds";
import { BlockBatch } from "@weir/shared/operators/block-batch";
import type { Calendar } from "@weir/shared/operators/calendar";
import type { Episode } from "@weir/shared/operators/episodes";
import { MemoryReport } from "@weir/shared/operators/memory-report";
import type { RefoldRequest } from "@weir/shared/operators/series-fold";
import { createEmissions, SeriesFold } from "@weir/shared/operators/series-fold";
import { ThresholdHistory } from "@weir/shared/operators/thresholds";
import { WatchedTime } from "@weir/shared/operators/watched";
import { WINDOW_BYTES_MAX } from "@weir/shared/operators/windows";
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

/**
 * Folds an agent's whole log again, as the live pipeline did, and rolls it up: the batch path.
 *
 * The operators are the live ones. The log is read, nothing is written; the agent may be running. agent: the name that
 * stands in the lineage. versions: the thresholds to judge by, for a backtest; those of the log otherwise.
 */
export function replayLog(
  store: Store,
  calendar: Calendar,
  agent: string,
  windowMs: number = WINDOW_MS,
  versions: readonly ThresholdVersion[] = store.thresholdVersions(Number.MAX_SAFE_INTEGER),
): MemoryReport {
  const keys = store.allSeries();
  const keyOf = (series: number): SeriesKey => keys[series]!;
  const thresholds = new ThresholdHistory();
  for (const version of versions) thresholds.add(version);
  // All ticks are known from the start as well; and at which position each series went silent for the last time.
  const watched = new WatchedTime();
  const silent = new Map<number, number>();
  for (const tick of clockTicks(store, Number.MAX_SAFE_INTEGER)) {
    watched.add(tick);
    for (const [series, positionMs] of tick.silent ?? []) silent.set(series, positionMs);
  }
  const fold = new SeriesFold(keyOf, thresholds, { windowMs, watched });
  const report = new MemoryReport(agent, keyOf, thresholds, calendar);
  const episodes: Episode[] = [];
  const out = createEmissions();
  const batch = new BlockBatch(fold, out);

  const settle = (): void => {
    batch.drain();
    for (let page = 0; page < fold.pages; page++) fold.flushPageTo(page, out, (partial) => report.applyWindow(partial));
    report.applyAlerts(out.alerts);
    for (const episode of out.closed) episodes.push(episode);
    out.alerts.length = 0;
    out.closed.length = 0;
  };
  for (const entry of store.history()) {
    // All versions are known from the start, so each reading is judged once, by the one in force at its time.
    if (entry.kind === "block") batch.add(entry.block);
    else if (entry.kind === "tick") report.applyTick(entry.tick);
    if (fold.windowBytes >= WINDOW_BYTES_MAX) settle();
  }
  batch.drain();
  fold.silences.settle(out);
  for (const [series, positionMs] of silent) {
    if (fold.positionMs(series) === positionMs) fold.silences.open(series, positionMs, out);
  }
  settle();
  if (out.refolds.length > 0) {
    const source = new ReplayedEpisodes(episodes);
    report.applyAlerts(refoldAll(out.refolds, { source, live: fold, thresholds, keyOf, windowMs }, store));
  }
  return report;
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
