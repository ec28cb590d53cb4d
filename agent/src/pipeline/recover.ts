import type { Block } from "@weir/shared/model/reading";
import type { RefoldRequest, SeriesFold } from "@weir/shared/operators/series-fold";
import { createEmissions } from "@weir/shared/operators/series-fold";
import type { ThresholdHistory } from "@weir/shared/operators/thresholds";
import type { Store } from "../store/store.ts";
import type { DirtyPages } from "./pages.ts";
import { pageOf, restorePositions } from "./pages.ts";

/**
 * Brings an empty fold to the head of the log: the checkpoint, and what came after it. Each page is folded from its own
 * entry on; what its row takes into account already is passed over. Returns the re-folds that were asked for since then
 * and not run. What else the fold emits was committed with the entries that it came from.
 */
export function recoverFold(
  store: Store,
  fold: SeriesFold,
  thresholds: ThresholdHistory,
  dirty: DirtyPages,
): RefoldRequest[] {
  const { recoverSeq, pages } = store.readCheckpoint();
  for (const version of store.thresholdVersions(recoverSeq)) thresholds.add(version);
  const seqOfPage: number[] = [];
  for (const row of pages) {
    while (seqOfPage.length <= row.page) seqOfPage.push(0);
    seqOfPage[row.page] = row.seq;
    restorePositions(row, (series, positionMs) => fold.restorePosition(series, positionMs));
    for (const episode of row.episodes) fold.restoreEpisode(episode);
  }
  const newestPageSeq = Math.max(0, ...seqOfPage);
  const isPast = (series: number, seq: number): boolean => (seqOfPage[pageOf(series)] ?? 0) >= seq;

  const out = createEmissions();
  const requests: RefoldRequest[] = [];
  for (const entry of store.entries(recoverSeq)) {
    if (entry.kind === "thresholds") fold.applyThresholds(entry.version, out);
    else if (entry.kind === "block") {
      const { seq } = entry;
      const block = seq > newestPageSeq ? entry.block : withoutPast(entry.block, (series) => isPast(series, seq));
      fold.applyBlock(block, out);
      dirty.touchAll(block.series, block.count, seq);
    }
    for (const request of out.refolds) {
      // Run already, before the page was written.
      if (isPast(request.series, entry.seq)) continue;
      requests.push(request);
      dirty.touch(pageOf(request.series), entry.seq);
    }
    out.alerts.length = 0;
    out.closed.length = 0;
    out.refolds.length = 0;
  }
  return requests;
}

function withoutPast(block: Block, isPast: (series: number) => boolean): Block {
  const rows: number[] = [];
  for (let i = 0; i < block.count; i++) if (!isPast(block.series[i]!)) rows.push(i);
  if (rows.length === block.count) return block;
  return {
    count: rows.length,
    series: Uint32Array.from(rows, (row) => block.series[row]!),
    tsMs: Float64Array.from(rows, (row) => block.tsMs[row]!),
    value: Float64Array.from(rows, (row) => block.value[row]!),
    stamped: Uint8Array.from(rows, (row) => block.stamped[row]!),
  };
}
