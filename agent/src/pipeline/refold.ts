import type { Alert } from "@weir/shared/model/alert";
import type { Block, SeriesKey } from "@weir/shared/model/reading";
import type { Episode } from "@weir/shared/operators/episodes";
import { alertOf } from "@weir/shared/operators/episodes";
import type { RefoldRequest } from "@weir/shared/operators/series-fold";
import { createEmissions, SeriesFold } from "@weir/shared/operators/series-fold";
import type { ThresholdHistory } from "@weir/shared/operators/thresholds";
import type { WindowPartial } from "@weir/shared/operators/windows";
import type { EpisodeRow } from "../store/store.ts";
import type { ReadingRows } from "./refold-rows.ts";
import { readPass } from "./refold-rows.ts";

/** What a re-fold reads: the log, and the episodes that it may have to join, split or take back. */
export interface RefoldSource extends ReadingRows {
  episodesFrom(series: number, fromMs: number): readonly EpisodeRow[];
  /** Event time from which on the log holds every reading: what lies before cannot be judged anew, and stays. */
  readonly wholeFromMs: number;
}

/** What takes the place of the old results of the series folded again. */
export interface RefoldResult {
  /** Partials that hold all of their windows' readings; only of series whose thresholds changed. */
  readonly partials: WindowPartial[];
  /** Alerts as they now are, and withdrawn ones. */
  readonly alerts: Alert[];
  readonly closed: Episode[];
  readonly dropEpisodes: Array<{ readonly series: number; readonly fromMs: number }>;
}

interface Stretch {
  readonly fromMs: number;
  readonly replacePartials: boolean;
  readonly before: readonly EpisodeRow[];
}

/**
 * Folds series again from the log, from the requested times to its head, and puts the open episodes that come out in
 * the place of those in `live`. The caller must have folded and flushed the whole log in `live`, and commits the result
 * before anything else.
 */
export function refold(
  requests: readonly RefoldRequest[],
  source: RefoldSource,
  live: SeriesFold,
  thresholds: ThresholdHistory,
  keyOf: (series: number) => SeriesKey,
  windowMs: number,
): RefoldResult {
  const stretches = new Map<number, Stretch>();
  for (const { series, fromMs, replacePartials } of requests) {
    const known = stretches.get(series);
    const earliest = Math.min(fromMs, known?.fromMs ?? Infinity);
    stretches.set(series, {
      ...wholeEpisodes(series, earliest, source, live, windowMs),
      replacePartials: replacePartials || (known?.replacePartials ?? false),
    });
  }
  const result: RefoldResult = { partials: [], alerts: [], closed: [], dropEpisodes: [] };
  let rest = [...stretches.keys()].toSorted((a, b) => a - b);
  while (rest.length > 0) {
    const pass = readPass(rest, (series) => stretches.get(series)!.fromMs, source);
    foldPass(pass.series, pass.block, stretches, live, thresholds, keyOf, windowMs, result);
    rest = rest.slice(pass.series.length);
  }
  return result;
}

/** Where to begin so that no episode and no window is cut: back from fromMs until none reaches across. */
function wholeEpisodes(
  series: number,
  fromMs: number,
  source: RefoldSource,
  live: SeriesFold,
  windowMs: number,
): Omit<Stretch, "replacePartials"> {
  let startMs = Math.floor(fromMs / windowMs) * windowMs;
  for (;;) {
    const reaching = episodesReaching(series, startMs, source, live);
    const earliest = Math.min(startMs, ...reaching.map((episode) => episode.startedMs));
    const aligned = Math.floor(earliest / windowMs) * windowMs;
    if (aligned < source.wholeFromMs) return afterTrimmed(series, source, live, windowMs);
    if (aligned === startMs) return { fromMs: startMs, before: reaching };
    startMs = aligned;
  }
}

/** Where to begin in a log that was trimmed: at the first window it holds whole that no episode reaches into. */
function afterTrimmed(
  series: number,
  source: RefoldSource,
  live: SeriesFold,
  windowMs: number,
): Omit<Stretch, "replacePartials"> {
  let startMs = Math.ceil(source.wholeFromMs / windowMs) * windowMs;
  for (;;) {
    const reaching = episodesReaching(series, startMs, source, live);
    const cut = reaching.filter((episode) => episode.startedMs < startMs);
    if (cut.length === 0) return { fromMs: startMs, before: reaching };
    const endMs = Math.max(...cut.map((episode) => episode.lastMs + episode.gapMs));
    startMs = Math.floor(endMs / windowMs + 1) * windowMs;
  }
}

/** Stored and open episodes of a series that a breach at or after fromMs could belong to, or that began later. */
function episodesReaching(series: number, fromMs: number, source: RefoldSource, live: SeriesFold): EpisodeRow[] {
  const open = (["low", "high"] as const)
    .map((kind) => live.openEpisode(series, kind))
    .filter((episode) => episode !== undefined)
    .map(rowOf);
  return [...source.episodesFrom(series, fromMs), ...open].filter(
    (episode) => episode.lastMs + episode.gapMs >= fromMs,
  );
}

function rowOf(episode: Episode): EpisodeRow {
  const { kind, startedAtMs, lastTsMs, gapMs, fired } = episode;
  return { kind, startedMs: startedAtMs, lastMs: lastTsMs, gapMs, fired: Number(fired) };
}

function foldPass(
  series: readonly number[],
  block: Block,
  stretches: ReadonlyMap<number, Stretch>,
  live: SeriesFold,
  thresholds: ThresholdHistory,
  keyOf: (series: number) => SeriesKey,
  windowMs: number,
  result: RefoldResult,
): void {
  const fold = new SeriesFold(keyOf, thresholds, { windowMs });
  const out = createEmissions();
  fold.applyBlock(block, out);
  const partials = fold.flush(out);
  result.partials.push(...partials.filter((partial) => stretches.get(partial.series)!.replacePartials));
  result.closed.push(...out.closed);
  const kept = new Set<string>();
  for (const episode of out.closed) {
    if (episode.fired) result.alerts.push(alertOf(episode, keyOf(episode.series), "resolved"));
    if (episode.fired) kept.add(nameOf(episode.series, episode.kind, episode.startedAtMs));
  }
  for (const one of series) {
    for (const kind of ["low", "high"] as const) {
      const open = live.openEpisode(one, kind);
      if (open && open.startedAtMs >= stretches.get(one)!.fromMs) live.dropEpisode(one, kind);
    }
  }
  for (const episode of fold.openEpisodes()) {
    live.restoreEpisode(episode);
    if (!episode.fired) continue;
    result.alerts.push(alertOf(episode, keyOf(episode.series), "firing"));
    kept.add(nameOf(episode.series, episode.kind, episode.startedAtMs));
  }
  for (const one of series) {
    const { fromMs, before } = stretches.get(one)!;
    result.dropEpisodes.push({ series: one, fromMs });
    for (const { kind, startedMs, fired } of before) {
      if (fired && !kept.has(nameOf(one, kind, startedMs))) result.alerts.push(withdrawn(keyOf(one), kind, startedMs));
    }
  }
}

/** What is left to say of an alert that late data took back: which one it was. */
function withdrawn(key: SeriesKey, kind: Alert["kind"], startedAtMs: number): Alert {
  const nothing = { startedAtMs, lastTsMs: startedAtMs, breaches: 0, worstValue: 0, worstTsMs: startedAtMs };
  const judged = { severity: "warning", low: null, high: null, thresholdVersion: 0, forMs: 0, gapMs: 0 } as const;
  return alertOf({ series: 0, kind, ...nothing, ...judged, fired: true, dirty: false }, key, "withdrawn");
}

function nameOf(series: number, kind: string, startedMs: number): string {
  return `${series}:${kind}:${startedMs}`;
}
