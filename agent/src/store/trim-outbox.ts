import type { WindowPartial } from "@weir/shared/operators/windows";
import { decodeFrame } from "@weir/shared/wire/messages";
import { decodeWindows } from "@weir/shared/wire/partial-codec";
import type { WaitingRefold } from "./commit-batch.ts";
import type { FrameRow } from "./outbox-rows.ts";
import { wholeFrames } from "./outbox-rows.ts";
import type { Sql } from "./sql.ts";

/** Where the ledger counts readings that are lost to the aggregator because the outbox had no room for their partials. */
export const OUTBOX_LOSS = { source: "uplink", reason: "lost.outbox_full" } as const;

/** What an outbox that is too full gives up. */
export interface OutboxTrim {
  readonly frames: number;
  readonly bytes: number;
  /** As many frames went as may at once, and it is still too full. */
  readonly isMore: boolean;
  /** Readings of windows that the log does not hold whole any more: nobody can make their partials again. */
  readonly lostReadings: number;
  /** Of all others: by series, from when on its partials have to be made again. */
  readonly refolds: readonly WaitingRefold[];
}

/**
 * Deletes the oldest window partials, framesMax frames at most, until the outbox, of `bytes`, holds at most bytesMax; call
 * within a transaction. The log is the truth, and the outbox only what was last made of it: what goes is made again by
 * re-folds, in which everything from some time on takes the place of what the aggregator has. wholeFromMs: from when on
 * the log is whole. Throws CodedError DATA_FILE_DAMAGED for a frame that has changed.
 */
export function trimOutbox(
  sql: Sql,
  bytes: number,
  {
    bytesMax,
    framesMax,
    wholeFromMs,
  }: { readonly bytesMax: number; readonly framesMax: number; readonly wholeFromMs: number },
): OutboxTrim {
  let frames = 0;
  let deleted = 0;
  let lostReadings = 0;
  const refolds = new Map<number, WaitingRefold>();
  let seq = 0;
  let isMore = false;
  const oldest = `SELECT seq, checksum, body FROM outbox
    WHERE lane = 'data' AND seq > ? AND droppable = 1 ORDER BY seq LIMIT 1`;
  while (bytes - deleted > bytesMax) {
    const row = sql.get<FrameRow>(oldest, seq);
    if (!row) break;
    isMore = frames === framesMax;
    if (isMore) break;
    wholeFrames("data", [row]);
    ({ seq } = row);
    sql.run("DELETE FROM outbox WHERE lane = 'data' AND seq = ?", seq);
    frames++;
    deleted += row.body.length;
    for (const { series, windowStartMs, partial } of windowsOf(row.body)) {
      if (windowStartMs < wholeFromMs) {
        lostReadings += partial.count;
        continue;
      }
      const known = refolds.get(series);
      const fromMs = Math.min(known?.fromMs ?? Infinity, windowStartMs);
      refolds.set(series, { series, fromMs, replacePartials: true, owed: (known?.owed ?? 0) + partial.count });
    }
  }
  return { frames, bytes: deleted, isMore, lostReadings, refolds: [...refolds.values()] };
}

function windowsOf(body: Uint8Array): WindowPartial[] {
  const frame = decodeFrame(body);
  return frame.kind === "partials" ? decodeWindows(frame.windows) : [];
}
