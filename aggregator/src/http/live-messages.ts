import type { LiveEvent } from "../queries.ts";

/** The first frame of /live. timeMs: the aggregator's clock; pingIntervalMs: silence longer than twice this is a fault. */
export interface LiveHello {
  readonly type: "hello";
  readonly timeMs: number;
  readonly pingIntervalMs: number;
}

/** What /live sends, one JSON text a frame. */
export type LiveMessage = LiveHello | LiveEvent;
