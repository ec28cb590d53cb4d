import type { Alert } from "@weir/shared/model/alert";
import type { WindowPartial } from "@weir/shared/operators/windows";
import type { TickFrame } from "@weir/shared/wire/messages";
import { encodeFrame } from "@weir/shared/wire/messages";
import { encodeWindows } from "@weir/shared/wire/partial-codec";
import type { OutboxRow } from "../store/commit-batch.ts";
import type { NewSeries } from "./batch.ts";

/** Partials, alerts or names in one frame, at most: the aggregator applies a frame in one go, some milliseconds, while alerts wait. */
const FRAME_ITEMS_MAX = 250;

/** Frames that name series, for the data lane: before their first partial. */
export function seriesFrames(series: readonly NewSeries[]): OutboxRow[] {
  return chunks(series).map((chunk) => ({
    lane: "data",
    readings: 0,
    droppable: false,
    body: encodeFrame({
      kind: "series",
      series: chunk.map(({ index, site, device, metric }) => [index, site, device, metric] as const),
    }),
  }));
}

/** Frames of alerts, for the lane that goes first. */
export function alertFrames(alerts: readonly Alert[]): OutboxRow[] {
  return chunks(alerts).map((chunk) => ({
    lane: "alerts",
    readings: 0,
    droppable: false,
    body: encodeFrame({ kind: "alerts", alerts: chunk }),
  }));
}

/** Frames of window partials as the live fold makes them, for the data lane. */
export function partialFrames(partials: readonly WindowPartial[]): OutboxRow[] {
  return framesOf(partials, { replace: false, droppable: true });
}

/**
 * Frames of what a re-fold has made: partials that hold all readings of their windows, and more of some that were too long.
 * They stay in the outbox: what went for want of room is made again once, and a re-fold begins only when there is room.
 */
export function refoldedFrames(partials: readonly WindowPartial[], more: readonly WindowPartial[]): OutboxRow[] {
  return [
    ...framesOf(partials, { replace: true, droppable: false }),
    ...framesOf(more, { replace: false, droppable: false }),
  ];
}

function framesOf(
  partials: readonly WindowPartial[],
  { replace, droppable }: { readonly replace: boolean; readonly droppable: boolean },
): OutboxRow[] {
  return chunks(partials).map((chunk) => ({
    lane: "data",
    readings: chunk.reduce((sum, { partial }) => sum + partial.count, 0),
    droppable,
    body: encodeFrame({ kind: "partials", replace, windows: encodeWindows(chunk) }),
  }));
}

/** The frame of a clock tick, in its place among the partials. */
export function tickFrame(tick: Omit<TickFrame, "kind">): OutboxRow {
  return { lane: "data", readings: 0, droppable: false, body: encodeFrame({ kind: "tick", ...tick }) };
}

function chunks<T>(items: readonly T[]): T[][] {
  const parts: T[][] = [];
  for (let i = 0; i < items.length; i += FRAME_ITEMS_MAX) parts.push(items.slice(i, i + FRAME_ITEMS_MAX));
  return parts;
}
