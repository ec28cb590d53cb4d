import { PAGE_SHIFT } from "./columns.ts";
import type { Episode } from "./episodes.ts";

/** Open episodes by page and series: at most one a series and kind. */
export class OpenEpisodes {
  /** By page, then by series × 2 + (1 for high). */
  readonly #pages: Array<Map<number, Episode>> = [];

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

  /** The last whole millisecond at which no open episode of the series has ended; Infinity: none is open. */
  quietUntilMs(series: number): number {
    const low = this.get(series, "low");
    const high = this.get(series, "high");
    return Math.min(low ? lastWithin(low) : Infinity, high ? lastWithin(high) : Infinity);
  }
}

/** The last whole millisecond at which a breach would belong to the episode, as far as is known. */
export function lastWithin(episode: Episode): number {
  return episode.lastTsMs + Math.floor(episode.gapMs);
}

function slotOf(series: number, kind: Episode["kind"]): number {
  return series * 2 + (kind === "high" ? 1 : 0);
}
