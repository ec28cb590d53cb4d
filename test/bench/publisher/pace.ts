import { setTimeout as delay } from "node:timers/promises";
import type { Allowance, PublishConnection } from "./connection.ts";
import type { PublishJob } from "./job.ts";

/** Between two looks at the clock, ms. */
const STEP_MS = 1;

/**
 * Sends job.rate messages a second, each connection in turn, until the time or the messages are over. A connection that
 * cannot take its message, because its window or its socket is full, owes it. Returns how many messages it was behind
 * at most, and leaves with the allowance over and everything due handed to the connections.
 */
export async function pace(
  job: PublishJob,
  connections: readonly PublishConnection[],
  allowance: Allowance,
): Promise<number> {
  const total = Math.min(job.messages || Infinity, job.seconds > 0 ? Math.round(job.rate * job.seconds) : Infinity);
  const beganMs = performance.now();
  let scheduled = 0;
  let next = 0;
  let behindMax = 0;
  const touched = new Set<PublishConnection>();
  while (scheduled < total && !allowance.isOver && !allowance.failure) {
    await delay(STEP_MS);
    const due = Math.min(total, Math.floor(((performance.now() - beganMs) / 1000) * job.rate));
    behindMax = Math.max(behindMax, due - scheduled);
    touched.clear();
    for (; scheduled < due; scheduled++) {
      const connection = connections[next]!;
      next = next + 1 === connections.length ? 0 : next + 1;
      connection.owe();
      touched.add(connection);
    }
    for (const connection of touched) connection.pump();
  }
  allowance.isOver = true;
  allowance.messagesLeft = 0;
  return behindMax;
}
