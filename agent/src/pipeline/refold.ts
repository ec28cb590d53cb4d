import type { Alert, AlertKind } from "@weir/shared/model/alert";
import type { Block, SeriesKey } from "@weir/shared/model/reading";
import type { Emissions } from "@weir/shared/operators/emissions";
import type { Episode } from "@weir/shared/operators/episodes";
import { alertOf, withdrawnAlert } from "@weir/shared/operators/episodes";
import type { RefoldRequest } from "@weir/shared/operators/series-fold";
import { createEmissions, SeriesFold } from "@weir/shared/operators/series-fold";
import type { ThresholdHistory } from "@weir/shared/operators/thresholds";
import type { WindowPartial } from "@weir/shared/operators/windows";
import { WINDOW_BYTES_MAX, WINDOW_READINGS_MAX } from "@weir/shared/operators/windows";
import { Rows } from "../store/rows.ts";
import type { Stretches } from "../store/rows.ts";

/** An episode or silence that ended, as much of it as a re-fold needs. */
export interface PastEpisode {
  readonly kind: AlertKind;
  readonly startedMs: number;
  readonly lastMs: number;
  readonly gapMs: number;
  readonly fired: number;
}

/** What was said before, which a re-fold may have to join, split or take back. */
export interface RefoldSource {
  episodesFrom(series: number, fromMs: number): readonly PastEpisode[];
  /** Event time from which on the log holds every reading: what lies before cannot be judged anew, and stays. */
  readonly wholeFromMs: number;
}

/** What re-folds work with. live: the fold whose results they replace. */
export interface RefoldContext {
  readonly source: RefoldSource;
  readonly live: SeriesFold;
  readonly thresholds: ThresholdHistory;
  readonly keyOf: (series: number) => SeriesKey;
  readonly windowMs: number;
}

/** What takes the place of the old results of the series folded again. */
export interface RefoldResult {
  /** Partials of windows from their beginning on; only of series whose thresholds changed. */
  readonly partials: readonly WindowPartial[];
  /** Partials that go on where one of `partials` ends: to be merged into it. */
  readonly more: readonly WindowPartial[];
  /** Alerts as they now are, and withdrawn ones. */
  readonly alerts: Alert[];
  readonly closed: Episode[];
  readonly dropEpisodes: Array<{ readonly series: number; readonly fromMs: number }>;
  /** What came too late for this re-fold while it ran, and has to be folded again. */
  readonly refolds: readonly RefoldRequest[];
}

interface Stretch {
  /** From when on episodes and silences are found anew; Infinity: they stay. */
  readonly fromMs: number;
  /** From when on there are partials; before fromMs where an episode that began before the log reaches across. */
  readonly partialsFromMs: number;
  readonly replacePartials: boolean;
}

/**
 * Folds series again, from the requested times to the head of the log, and puts the open episodes that come out in the
 * place of those in the live fold.
 *
 * First apply() takes all readings from `wanted` on in the order of time, then applyWanted() what has come since, and
 * finish() replaces. At that moment the live fold must have been flushed, and the caller commits the result before
 * anything else.
 */
export class RefoldJob {
  readonly requests: readonly RefoldRequest[];
  /** Ascending. */
  readonly series: readonly number[];
  /** From when on each is folded again: back from the requested time until no episode and no window is cut. */
  readonly wanted: Stretches;
  readonly #context: RefoldContext;
  readonly #stretches = new Map<number, Stretch>();
  readonly #fold: SeriesFold;
  readonly #out: Emissions = createEmissions();
  /** Of readings from before their series' episodes are found anew: for their windows; undefined: there are none. */
  readonly #early: SeriesFold | undefined;
  readonly #earlyRows = new Rows();
  readonly #laterRows = new Rows();
  readonly #partials: WindowPartial[] = [];
  readonly #more: WindowPartial[] = [];
  /** By series, starts of windows of which there is a partial already. */
  readonly #begun = new Map<number, Set<number>>();
  readonly #rows = new Rows();
  #versions = 0;

  /** requests: one a series. */
  constructor(requests: readonly RefoldRequest[], context: RefoldContext) {
    const { live, keyOf, thresholds, windowMs } = context;
    const options = { windowMs, watched: live.silences.watched };
    this.#context = context;
    this.requests = requests;
    this.series = requests.map(({ series }) => series).toSorted((a, b) => a - b);
    for (const request of requests) this.#stretches.set(request.series, stretchOf(request, context));
    this.wanted = new Map(this.series.map((series) => [series, this.#stretches.get(series)!.partialsFromMs]));
    this.#fold = new SeriesFold(keyOf, thresholds, options);
    const hasEarly = [...this.#stretches.values()].some(({ fromMs, partialsFromMs }) => partialsFromMs < fromMs);
    if (hasEarly) this.#early = new SeriesFold(keyOf, thresholds, options);
  }

  /** Folds readings in: all of them wanted. */
  apply(block: Block): void {
    const versions = this.#context.thresholds.versions().length;
    // A version that came meanwhile asks for no re-fold of a series that had not reached it; this fold has to know it.
    const folds = this.#early ? [this.#fold, this.#early] : [this.#fold];
    if (versions !== this.#versions) for (const fold of folds) fold.forgetBands();
    this.#versions = versions;
    const readings = folds.reduce((sum, { windowReadings }) => sum + windowReadings, 0);
    const bytes = folds.reduce((sum, { windowBytes }) => sum + windowBytes, 0);
    if (readings > WINDOW_READINGS_MAX / 4 || bytes > WINDOW_BYTES_MAX / 2) this.#flush();
    this.#fold.applyBlock(this.#early ? this.#withoutEarly(block, this.#early) : block, this.#out);
  }

  /** The rest of a block, of which the early readings are folded. Episodes and silences of these stay as they are. */
  #withoutEarly(block: Block, early: SeriesFold): Block {
    this.#earlyRows.clear();
    this.#laterRows.clear();
    for (let i = 0; i < block.count; i++) {
      const isEarly = block.tsMs[i]! < this.#stretches.get(block.series[i]!)!.fromMs;
      (isEarly ? this.#earlyRows : this.#laterRows).append(block, i, i + 1);
    }
    early.applyBlock(this.#earlyRows, createEmissions());
    return this.#laterRows;
  }

  /** Folds those in that are wanted. */
  applyWanted(block: Block): void {
    const rows = this.#rows.only(block, this.wanted);
    if (rows.count > 0) this.apply(rows);
  }

  /** Puts what came out in the place of what the live fold has. Once. */
  finish(): RefoldResult {
    const { live, keyOf, source } = this.#context;
    const out = this.#out;
    this.#fold.silences.settle(out);
    this.#flush();
    const result: RefoldResult = {
      partials: this.#partials,
      more: this.#more,
      alerts: [],
      closed: [...out.closed],
      dropEpisodes: [],
      refolds: out.refolds,
    };
    const before = new Map<number, readonly PastEpisode[]>();
    for (const [series, { fromMs }] of this.#stretches) before.set(series, pastFrom(series, fromMs, source, live));
    const kept = new Set<string>();
    for (const episode of out.closed) {
      if (!episode.fired) continue;
      result.alerts.push(alertOf(episode, keyOf(episode.series), "resolved"));
      kept.add(nameOf(episode.series, episode.kind, episode.startedAtMs));
    }
    this.#replaceOpen(kept, result);
    this.#replaceSilences(kept, result);
    for (const [series, { fromMs }] of this.#stretches) {
      result.dropEpisodes.push({ series, fromMs });
      for (const { kind, startedMs, fired } of before.get(series)!) {
        if (fired === 0 || kept.has(nameOf(series, kind, startedMs))) continue;
        result.alerts.push(withdrawnAlert(keyOf(series), kind, startedMs));
      }
    }
    return result;
  }

  #flush(): void {
    const partials = [...(this.#early?.flush(createEmissions()) ?? []), ...this.#fold.flush(this.#out)];
    for (const partial of partials) {
      if (!this.#stretches.get(partial.series)!.replacePartials) continue;
      const isMore = this.#begun.get(partial.series)?.has(partial.windowStartMs) === true;
      (isMore ? this.#more : this.#partials).push(partial);
    }
    for (const { series, windowStartMs } of partials) {
      let begun = this.#begun.get(series);
      if (!begun) this.#begun.set(series, (begun = new Set()));
      begun.add(windowStartMs);
    }
  }

  #replaceOpen(kept: Set<string>, result: RefoldResult): void {
    const { live, keyOf } = this.#context;
    for (const [series, { fromMs }] of this.#stretches) {
      for (const kind of ["low", "high"] as const) {
        const open = live.openEpisode(series, kind);
        if (open && open.startedAtMs >= fromMs) live.dropEpisode(series, kind);
      }
    }
    for (const episode of this.#fold.openEpisodes()) {
      live.restoreEpisode(episode);
      if (!episode.fired) continue;
      result.alerts.push(alertOf(episode, keyOf(episode.series), "firing"));
      kept.add(nameOf(episode.series, episode.kind, episode.startedAtMs));
    }
  }

  /** Puts what was found of silences in the place of what the live fold has, and says which fire on. */
  #replaceSilences(kept: Set<string>, result: RefoldResult): void {
    const { live } = this.#context;
    const out = createEmissions();
    for (const [series, { fromMs, replacePartials }] of this.#stretches) {
      const firstMs = this.#fold.silences.firstMs(series);
      if (firstMs < Infinity) {
        live.replaceSilences(series, this.#fold, { fromMs, firstMs, areNew: replacePartials }, out);
      }
      for (const startedMs of live.silences.toldFrom(series, fromMs)) kept.add(nameOf(series, "silence", startedMs));
    }
    result.alerts.push(...out.alerts);
    result.closed.push(...out.closed);
  }
}

function stretchOf({ series, fromMs, replacePartials }: RefoldRequest, context: RefoldContext): Stretch {
  const { source, live, windowMs } = context;
  const startMs = startOf(series, fromMs, context);
  // Beyond its newest reading only an open episode that began before the log can have pushed it: that goes on by itself.
  const episodesFromMs = startMs > live.positionMs(series) ? Infinity : startMs;
  const wholeMs = Math.max(Math.floor(fromMs / windowMs), Math.ceil(source.wholeFromMs / windowMs)) * windowMs;
  const partialsFromMs = replacePartials ? Math.min(episodesFromMs, wholeMs) : episodesFromMs;
  return { fromMs: episodesFromMs, partialsFromMs, replacePartials };
}

/** Where to begin so that no episode and no window is cut: back from fromMs until none reaches across. */
function startOf(series: number, fromMs: number, { source, live, windowMs }: RefoldContext): number {
  // A silence that fromMs falls into may begin elsewhere now. One that only a window's start falls into stays as it is.
  const silences = source.episodesFrom(series, fromMs).filter(({ kind, fired }) => kind === "silence" && fired === 1);
  const cut = silences.filter(({ startedMs, lastMs }) => startedMs < fromMs && fromMs < lastMs);
  const firstMs = Math.min(fromMs, ...cut.map(({ startedMs }) => startedMs));
  let startMs = Math.floor(firstMs / windowMs) * windowMs;
  for (;;) {
    const reaching = episodesReaching(series, startMs, source, live);
    const earliest = Math.min(startMs, ...reaching.map((episode) => episode.startedMs));
    const aligned = Math.floor(earliest / windowMs) * windowMs;
    if (aligned < source.wholeFromMs) return afterTrimmed(series, source, live, windowMs);
    if (aligned === startMs) return startMs;
    startMs = aligned;
  }
}

/** Where to begin in a log that was trimmed: at the first window it holds whole that no episode reaches into. */
function afterTrimmed(series: number, source: RefoldSource, live: SeriesFold, windowMs: number): number {
  let startMs = Math.ceil(source.wholeFromMs / windowMs) * windowMs;
  for (;;) {
    const reaching = episodesReaching(series, startMs, source, live);
    const cut = reaching.filter((episode) => episode.startedMs < startMs);
    if (cut.length === 0) return startMs;
    const endMs = Math.max(...cut.map((episode) => episode.lastMs + episode.gapMs));
    startMs = Math.floor(endMs / windowMs + 1) * windowMs;
  }
}

/** What was said of a series from a time on: episodes that reach there, and silences that begin there. */
function pastFrom(series: number, fromMs: number, source: RefoldSource, live: SeriesFold): PastEpisode[] {
  return [...episodesReaching(series, fromMs, source, live), ...silencesFrom(series, fromMs, source, live)];
}

/** Stored and open episodes of a series that a breach at or after fromMs could belong to, or that began later. */
function episodesReaching(series: number, fromMs: number, source: RefoldSource, live: SeriesFold): PastEpisode[] {
  const open = (["low", "high"] as const)
    .map((kind) => live.openEpisode(series, kind))
    .filter((episode) => episode !== undefined)
    .map(rowOf);
  return [...source.episodesFrom(series, fromMs), ...open].filter(
    (episode) => episode.kind !== "silence" && episode.lastMs + episode.gapMs >= fromMs,
  );
}

/** Silences of a series that began at or after fromMs. */
function silencesFrom(series: number, fromMs: number, source: RefoldSource, live: SeriesFold): PastEpisode[] {
  const stored = source.episodesFrom(series, fromMs).filter(({ kind }) => kind === "silence");
  const told = live.silences
    .toldFrom(series, fromMs)
    .map((startedMs) => ({ kind: "silence", startedMs, lastMs: startedMs, gapMs: 0, fired: 1 }) as const);
  return [...stored, ...told].filter(({ startedMs }) => startedMs >= fromMs);
}

function rowOf(episode: Episode): PastEpisode {
  const { kind, startedAtMs, lastTsMs, gapMs, fired } = episode;
  return { kind, startedMs: startedAtMs, lastMs: lastTsMs, gapMs, fired: Number(fired) };
}

function nameOf(series: number, kind: string, startedMs: number): string {
  return `${series}:${kind}:${startedMs}`;
}
