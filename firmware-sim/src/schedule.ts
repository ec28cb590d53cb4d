/**
 * When the fleet sends what, as arithmetic: message n (counted from 1970) goes to channel n mod channels and is due at
 * n times the mean distance between messages. No queue, no state: a fleet that falls behind remembers one number.
 */

/** A channel is a topic: one metric of one device, or one whole device where the topic has no metric. */
export interface ScheduleShape {
  readonly channels: number;
  /** How often each series reports, in milliseconds. */
  readonly intervalMs: number;
  /** Rows of one message: instants of its channel, `intervalMs` apart. */
  readonly rowsPerMessage: number;
}

export interface Schedule extends ScheduleShape {
  /** The number of the first message due at or after nowMs. */
  firstAt(nowMs: number): number;
  /** When message n is due (not rounded): the time of its last row. */
  dueMs(n: number): number;
  channelOf(n: number): number;
  /** The time of a row of message n, row 0 the oldest, not rounded. */
  rowMs(n: number, row: number): number;
}

/** The schedule of a shape; all of its numbers ≥ 1. */
export function createSchedule(shape: ScheduleShape): Schedule {
  const { channels, intervalMs, rowsPerMessage } = shape;
  const distanceMs = (intervalMs * rowsPerMessage) / channels;
  const dueMs = (n: number): number => n * distanceMs;
  return {
    ...shape,
    firstAt: (nowMs) => Math.ceil(nowMs / distanceMs),
    dueMs,
    channelOf: (n) => n % channels,
    rowMs: (n, row) => dueMs(n) - (rowsPerMessage - 1 - row) * intervalMs,
  };
}
