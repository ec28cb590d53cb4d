import { CodedError } from "@weir/shared/errors";
import type { Block } from "@weir/shared/model/reading";
import type { SeriesFold } from "@weir/shared/operators/series-fold";
import { createEmissions } from "@weir/shared/operators/series-fold";
import type { ThresholdHistory } from "@weir/shared/operators/thresholds";
import { ENTRY_TICK } from "../store/schema.ts";
import type { LogTick, Store } from "../store/store.ts";
import type { DirtyPages } from "./pages.ts";
import { pageOf, restorePage } from "./pages.ts";

/** The clock ticks of the log up to a sequence, in its order. Nothing may be written before the last of them. */
export function* clockTicks(store: Store, throughSeq: number): Generator<LogTick> {
  // As text, a body comes without a buffer of its own: some hundred thousand take half the time.
  const sql = `SELECT CAST(body AS TEXT) AS body FROM log WHERE kind = ${ENTRY_TICK} AND seq <= ? ORDER BY seq`;
  for (const { body } of store.sql.each<{ body: string }>(sql, throughSeq)) yield JSON.parse(body) as LogTick;
}

/**
 * Brings an empty fold to the head of the log: the checkpoint, and what came after it. Each page is folded from its own
 * entry on; what its row takes into account already is passed over. What the fold emits was committed with the entries
 * that it came from, and re-folds that it asked for and that were not run wait in the file. Throws CodedError BAD_BLOCK for
 * a block with readings of a series that has no name.
 */
export function recoverFold(store: Store, fold: SeriesFold, thresholds: ThresholdHistory, dirty: DirtyPages): void {
  const { recoverSeq, pages } = store.readCheckpoint();
  for (const version of store.thresholdVersions(recoverSeq)) thresholds.add(version);
  for (const tick of clockTicks(store, recoverSeq)) fold.silences.watched.add(tick);
  const seriesEnd = (store.sql.number("SELECT max(idx) FROM series") ?? -1) + 1;
  const seqOfPage: number[] = [];
  for (const row of pages) {
    while (seqOfPage.length <= row.page) seqOfPage.push(0);
    seqOfPage[row.page] = row.seq;
    restorePage(fold, row);
  }
  const last = fold.positions().findLastIndex((positionMs) => positionMs > -Infinity);
  if (last >= seriesEnd) throw nameless(last);
  const newestPageSeq = Math.max(0, ...seqOfPage);
  const isPast = (series: number, seq: number): boolean => (seqOfPage[pageOf(series)] ?? 0) >= seq;

  const out = createEmissions();
  for (const entry of store.entries(recoverSeq)) {
    const { seq } = entry;
    if (entry.kind === "thresholds") fold.applyThresholds(entry.version, out);
    else if (entry.kind === "tick") {
      // What was silent, the process of that time has seen; a tick of an older version saw nothing.
      const tick = { silent: [], ...entry.tick };
      const touch = (series: number): void => dirty.touch(pageOf(series), seq);
      fold.applyTick(tick, out, touch, (series) => isPast(series, seq));
    } else {
      checkNames(entry.block, seriesEnd);
      const block = seq > newestPageSeq ? entry.block : withoutPast(entry.block, (series) => isPast(series, seq));
      fold.applyBlock(block, out);
      dirty.touchAll(block.series, block.count, seq);
    }
    out.alerts.length = 0;
    out.closed.length = 0;
    out.refolds.length = 0;
  }
}

/** Before any memory is set aside for it. */
function checkNames({ count, series }: Block, seriesEnd: number): void {
  for (let i = 0; i < count; i++) {
    if (series[i]! >= seriesEnd) throw nameless(series[i]!);
  }
}

/** What came in under an index has been named before it: the file has lost a name, or has numbers that nobody wrote. */
function nameless(series: number): CodedError {
  return new CodedError("BAD_BLOCK", `The log holds readings of series ${series}, which has no name.`);
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
