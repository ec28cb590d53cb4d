import type { Alert } from "../model/alert.ts";
import type { SeriesKey } from "../model/reading.ts";
import { PAGE_SHIFT } from "./columns.ts";
import type { Emissions } from "./emissions.ts";
import type { Breach, Episode } from "./episodes.ts";
import { alertOf, extendEpisode, holdsLateBreach, startEpisode } from "./episodes.ts";

/** Open episodes by page and series, at most one a series and kind, and how they go on. */
export class OpenEpisodes {
  readonly #keyOf: (series: number) => SeriesKey;
  /** By page, then by series × 2 + (1 for high). */
  readonly #pages: Array<Map<number, Episode>> = [];

  constructor(keyOf: (series: number) => SeriesKey) {
    this.#keyOf = keyOf;
  }

  get(series: number, kind: Episode["kind"]): Episode | undefined {
    return this.#pages[series >>> PAGE_SHIFT]?.get(slotOf(series, kind));
  }

  /** Puts `episode` in the place of whatever is open for its series and kind. */
  set(episode: Episode): void {
    const page = episode.series >>> PAGE_SHIFT;
    while (this.#pages.length <= page) this.#pages.push(new Map());
    this.#pages[page]!.set(slotOf(episode.series, episode.kind), episode);
  }

  /** False when there was none. */
  delete(series: number, kind: Episode["kind"]): boolean {
    return this.#pages[series >>> PAGE_SHIFT]?.delete(slotOf(series, kind)) ?? false;
  }

  /** Those of the series of one page, in the order in which they began to be open. */
  ofPage(page: number): Iterable<Episode> {
    return this.#pages[page]?.values() ?? [];
  }

  /** All, page by page. */
  *all(): Generator<Episode> {
    for (const page of this.#pages) yield* page.values();
  }

  /**
   * Follows a breach: it begins an episode, or one goes on, or, where it came too late to tell, a re-fold is asked for.
   * inOrder: none later came before. Returns what quietUntilMs, so far as given, is now: that an episode ends later is
   * seen when the time comes, but that it ends sooner must be known at once.
   */
  follow(breach: Breach, inOrder: boolean, quietUntilMs: number, out: Emissions): number {
    const { series, kind, tsMs } = breach;
    const open = this.get(series, kind);
    if (open && (inOrder || holdsLateBreach(open, breach))) {
      if (extendEpisode(open, breach)) this.#emit(open, "firing", out);
      return Math.min(quietUntilMs, lastWithin(open));
    }
    if (!inOrder) {
      out.refolds.push({ series, fromMs: tsMs, replacePartials: false });
      return quietUntilMs;
    }
    const episode = startEpisode(breach);
    this.set(episode);
    if (episode.fired) this.#emit(episode, "firing", out);
    return this.quietUntilMs(series);
  }

  /** Ends the open episodes of a series that a reading at tsMs is too far from to belong to. */
  closeEnded(series: number, tsMs: number, out: Emissions): void {
    for (const kind of ["low", "high"] as const) {
      const episode = this.get(series, kind);
      if (!episode || tsMs - episode.lastTsMs <= episode.gapMs) continue;
      this.delete(series, kind);
      if (episode.fired) this.#emit(episode, "resolved", out);
      out.closed.push(episode);
    }
  }

  /** Emits again what went on since it was last emitted, of the series of one page. */
  emitNews(page: number, out: Emissions): void {
    for (const episode of this.ofPage(page)) if (episode.fired && episode.dirty) this.#emit(episode, "firing", out);
  }

  /** The last whole millisecond at which no open episode of the series has ended; Infinity: none is open. */
  quietUntilMs(series: number): number {
    const low = this.get(series, "low");
    const high = this.get(series, "high");
    return Math.min(low ? lastWithin(low) : Infinity, high ? lastWithin(high) : Infinity);
  }

  #emit(episode: Episode, state: Alert["state"], out: Emissions): void {
    episode.dirty = false;
    out.alerts.push(alertOf(episode, this.#keyOf(episode.series), state));
  }
}

/** The last whole millisecond at which a breach would belong to the episode, as far as is known. */
function lastWithin(episode: Episode): number {
  return episode.lastTsMs + Math.floor(episode.gapMs);
}

function slotOf(series: number, kind: Episode["kind"]): number {
  return series * 2 + (kind === "high" ? 1 : 0);
}
