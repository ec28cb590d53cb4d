import type { Schedule } from "./schedule.ts";

/** What came of offering one message: it was taken, there is no room now (offer it again), or the run is over. */
export type SendOutcome = "sent" | "full" | "over";

/** What a tick found: nothing more is due, more is due now, the other side is behind, or the run is over. */
export type TickOutcome = "idle" | "more" | "full" | "over";

export interface PacerOptions {
  /** Messages due at or after this time are not sent. */
  readonly endMs: number;
  /** Messages of one tick, at most: the event loop must get to its sockets in between. */
  readonly messagesPerTickMax: number;
  /** What is overdue by more than this is skipped and counted, never queued. */
  readonly behindMsMax: number;
}

export interface Pacer {
  /** Offers what is due at nowMs, in order. */
  tick(nowMs: number): TickOutcome;
  /** Ticks that ended because the other side was behind. */
  readonly slowdowns: number;
  /** Messages given up because they were overdue by more than behindMsMax. */
  readonly skipped: number;
  /** How long the oldest message not yet sent was overdue at the last tick, in milliseconds; 0: none was. */
  readonly behindMs: number;
}

/**
 * Sends the messages of a schedule from startMs on when they are due. Time is the argument of tick; nothing is queued:
 * a message that finds no room is offered again by the next tick, and all after it wait.
 */
export function createPacer(
  schedule: Schedule,
  startMs: number,
  send: (n: number, nowMs: number) => SendOutcome,
  options: PacerOptions,
): Pacer {
  let next = schedule.firstAt(startMs);
  let slowdowns = 0;
  let skipped = 0;
  let behindMs = 0;

  const tick = (nowMs: number): TickOutcome => {
    const oldest = schedule.firstAt(nowMs - options.behindMsMax);
    if (next < oldest) {
      skipped += oldest - next;
      next = oldest;
    }
    let outcome: TickOutcome = "idle";
    for (let sent = 0; schedule.dueMs(next) <= nowMs && schedule.dueMs(next) < options.endMs; sent++) {
      if (sent >= options.messagesPerTickMax) {
        outcome = "more";
        break;
      }
      const result = send(next, nowMs);
      if (result !== "sent") {
        outcome = result;
        break;
      }
      next++;
    }
    if (outcome === "full") slowdowns++;
    behindMs = Math.max(0, nowMs - schedule.dueMs(next));
    return outcome;
  };

  return {
    tick,
    get slowdowns() {
      return slowdowns;
    },
    get skipped() {
      return skipped;
    },
    get behindMs() {
      return behindMs;
    },
  };
}
