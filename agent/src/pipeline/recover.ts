import type { Block } from "@weir/shared/model/reading";
import type { RefoldRequest, SeriesFold } from "@weir/shared/operators/series-fold";
import { createEmissions } from "@weir/shared/operators/series-fold";
import type { ThresholdHistory } from "@weir/shared/operators/thresholds";
import type { ClockTick } from "@weir/shared/operators/watched";
import { ENTRY_TICK } from "../store/schema.ts";
import type { Store } from "../store/store.ts";
import type { DirtyPages } from "./pages.ts";
import { pageOf, restorePage } from "./pages.ts";

/** The clock ticks of the log up to a sequence, in its order. Nothing may be written before the last of them. */
export function* clockTicks(store: Store, throughSeq: number): Generator<ClockTick> {
  // As text, a body comes without a buffer of its own: some hundred thousand take half the time.
  const sql = `SELECT CAST(body AS TEXT) AS body FROM log WHERE kind = ${ENTRY_TICK} AND seq <= ? ORDER BY seq`;
  for (const { body } of store.sql.each<{ body: string }>(sql, throughSeq)) yield JSON.parse(body) as ClockTick;
}

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
  for (const tick of clockTicks(store, recoverSeq)) fold.silences.watched.add(tick);
  const seqOfPage: number[] = [];
  for (const row of pages) {
    while (seqOfPage.length <= row.page) seqOfPage.push(0);
    seqOfPage[row.page] = row.seq;
    restorePage(fold, row);
  }
  const newestPageSeq = Math.max(0, ...seqOfPage);
  const isPast = (series: number, seq: number): boolean => (seqOfPage[pageOf(series)] ?? 0) >= seq;

  const out = createEmissions();
  const requests: RefoldRequest[] = [];
  for (const entry of store.entries(recoverSeq)) {
    const { seq } = entry;
    if (entry.kind === "thresholds") fold.applyThresholds(entry.version, out);
    else if (entry.kind === "tick") {
      // What was silent, the process of that time has seen; a tick of an older version saw nothing.
      const tick = { silent: [], ...entry.tick };
      const touch = (series: number): void => dirty.touch(pageOf(series), seq);
      fold.applyTick(tick, out, touch, (series) => isPast(series, seq));
    } else {
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
