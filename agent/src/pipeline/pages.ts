import { PAGE_SERIES } from "@weir/shared/operators/columns";
import type { Episode } from "@weir/shared/operators/episodes";
import type { SeriesFold } from "@weir/shared/operators/series-fold";
import type { SilenceRow } from "@weir/shared/operators/silence";

/**
 * The checkpoint, page by page: PAGE_SERIES series at a time are flushed and written, so that no checkpoint holds up
 * the rest for long, and a page in which nothing happened costs nothing.
 *
 * A page's row says up to which log entry it has been folded and its windows sent. Recovery folds the log from the
 * oldest entry that some page still needs, and passes over the readings of pages that are further already.
 */
export interface PageRow {
  readonly page: number;
  /** The newest log entry that the page's state and what it has sent take into account. */
  readonly seq: number;
  /**
   * Float64, little-endian: positions by series index within the page, then the oldest event times in the same way. Older
   * rows end with the positions.
   */
  readonly positions: Uint8Array;
  /** Episodes that were open, and the gaps of series that have some. */
  readonly episodes: ReadonlyArray<Episode | SilenceRow>;
}

/** Of one series, the event time of its newest reading, and of its oldest: -Infinity where that is not known. */
export interface SeriesTimes {
  readonly series: number;
  readonly positionMs: number;
  readonly firstTsMs: number;
}

/** The page of a series. */
export function pageOf(series: number): number {
  return Math.floor(series / PAGE_SERIES);
}

/** Which pages changed since they were last written, and since which log entry. */
export class DirtyPages {
  /** By page: the first log entry that the page's row does not take into account; 0: there is none. */
  #sinceSeq: number[] = [];

  /** Notes that a log entry touches a page. */
  touch(page: number, seq: number): void {
    while (this.#sinceSeq.length <= page) this.#sinceSeq.push(0);
    if (this.#sinceSeq[page] === 0) this.#sinceSeq[page] = seq;
  }

  /** Notes the pages that readings sorted by series belong to. */
  touchAll(series: Uint32Array, count: number, seq: number): void {
    let page = -1;
    for (let i = 0; i < count; i++) {
      const next = pageOf(series[i]!);
      if (next === page) continue;
      page = next;
      this.touch(page, seq);
    }
  }

  isDirty(page: number): boolean {
    return (this.#sinceSeq[page] ?? 0) > 0;
  }

  /** The page's row is being written. */
  clean(page: number): void {
    if (page < this.#sinceSeq.length) this.#sinceSeq[page] = 0;
  }

  /** The entry after which recovery has to begin to fold, where lastSeq is the newest. */
  recoverSeq(lastSeq: number): number {
    let oldest = lastSeq + 1;
    for (const seq of this.#sinceSeq) if (seq > 0 && seq < oldest) oldest = seq;
    return oldest - 1;
  }
}

/** The row of a page as the fold has it now. */
export function pageRow(fold: SeriesFold, page: number, seq: number): PageRow {
  const times = new Float64Array(2 * PAGE_SERIES);
  times.set(fold.pagePositions(page));
  for (let i = 0; i < PAGE_SERIES; i++) times[PAGE_SERIES + i] = fold.silences.firstMs(page * PAGE_SERIES + i);
  const positions = new Uint8Array(times.buffer, times.byteOffset, times.byteLength);
  return { page, seq, positions, episodes: [...fold.openEpisodesOf(page), ...fold.silences.rowsOf(page)] };
}

/** Puts the state of a page into a fold that has none of it yet. */
export function restorePage(fold: SeriesFold, row: PageRow): void {
  for (const { series, positionMs, firstTsMs } of timesOf(row)) {
    fold.restorePosition(series, positionMs);
    fold.silences.begin(series, firstTsMs);
  }
  for (const one of row.episodes) {
    if ("gaps" in one) fold.silences.restore(one);
    else fold.restoreEpisode(one);
  }
}

/** Of the series of a page's row that have readings, their newest event time and their oldest. */
export function* timesOf({ page, positions }: Pick<PageRow, "page" | "positions">): Generator<SeriesTimes> {
  const times = new Float64Array(Uint8Array.from(positions).buffer);
  for (let i = 0; i < PAGE_SERIES; i++) {
    const positionMs = times[i]!;
    // Of an older row's series it is not known when they began: nothing is older.
    const firstTsMs = times[PAGE_SERIES + i] ?? -Infinity;
    if (positionMs > -Infinity) yield { series: page * PAGE_SERIES + i, positionMs, firstTsMs };
  }
}
