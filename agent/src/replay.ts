import type { Block, SeriesKey } from "@weir/shared/model/reading";
import { BlockBatch } from "@weir/shared/operators/block-batch";
import type { Calendar } from "@weir/shared/operators/calendar";
import type { Episode } from "@weir/shared/operators/episodes";
import { MemoryReport } from "@weir/shared/operators/memory-report";
import { createEmissions, SeriesFold } from "@weir/shared/operators/series-fold";
import { ThresholdHistory } from "@weir/shared/operators/thresholds";
import { WINDOW_BYTES_MAX } from "@weir/shared/operators/windows";
import { refold } from "./pipeline/refold.ts";
import type { RefoldSource } from "./pipeline/refold.ts";
import type { EpisodeRow, Store } from "./store/store.ts";

/**
 * Windows of a replay: the longest that lie within one local hour in every time zone, so that few partials are made and
 * merged. Any length that divides an hour gives the same report.
 */
const WINDOW_MS = 900_000;

/**
 * Folds an agent's whole log again, as the live pipeline did, and rolls it up: the batch path.
 *
 * The operators are the live ones. The log is read, nothing is written; the agent may be running. agent: the name that
 * stands in the lineage.
 */
export function replayLog(store: Store, calendar: Calendar, agent: string, windowMs: number = WINDOW_MS): MemoryReport {
  const keys = store.allSeries();
  const keyOf = (series: number): SeriesKey => keys[series]!;
  const thresholds = new ThresholdHistory();
  for (const version of store.thresholdVersions(Number.MAX_SAFE_INTEGER)) thresholds.add(version);
  const fold = new SeriesFold(keyOf, thresholds, { windowMs });
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
  for (const entry of store.entries(0)) {
    // All versions are known from the start, so each reading is judged once, by the one in force at its time.
    if (entry.kind === "block") batch.add(entry.block);
    else if (entry.kind === "tick") report.applyTick(entry.tick);
    if (fold.windowBytes >= WINDOW_BYTES_MAX) settle();
  }
  settle();
  if (out.refolds.length > 0) {
    const source = new ReplayedEpisodes(store, episodes);
    // Of alerts alone: each reading was judged by the version in force at its time, so no partial changes.
    report.applyAlerts(refold(out.refolds, source, fold, thresholds, keyOf, windowMs).alerts);
  }
  return report;
}

/** The log, with the episodes that this replay has closed rather than those of the live path. */
class ReplayedEpisodes implements RefoldSource {
  /** A replay knows nothing but the log: for it the log is whole. */
  readonly wholeFromMs: number = -Infinity;
  readonly #store: Store;
  readonly #bySeries = new Map<number, EpisodeRow[]>();

  constructor(store: Store, episodes: readonly Episode[]) {
    this.#store = store;
    for (const { series, kind, startedAtMs, lastTsMs, gapMs, fired } of episodes) {
      const rows = this.#bySeries.get(series) ?? [];
      rows.push({ kind, startedMs: startedAtMs, lastMs: lastTsMs, gapMs, fired: Number(fired) });
      this.#bySeries.set(series, rows);
    }
  }

  blocks(fromMs: number, toMs: number): Iterable<Block> {
    return this.#store.blocks(fromMs, toMs);
  }

  episodesFrom(series: number, fromMs: number): readonly EpisodeRow[] {
    return (this.#bySeries.get(series) ?? []).filter((episode) => episode.lastMs + episode.gapMs >= fromMs);
  }
}
