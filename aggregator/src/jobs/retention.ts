import type { Calendar } from "@weir/shared/operators/calendar";
import { errorMessage } from "@weir/shared/errors";
import { SqlCellStore } from "../stores/cells.ts";
import type { SqlDatabase } from "../stores/database.ts";

/** How often windows past their age are looked for, ms. */
const INTERVAL_MS = 3_600_000;

/** Series of one transaction: some milliseconds, between which alerts and requests have their turn. */
const SERIES_PER_TURN = 32;

/** Deletes old windows at times; see createRetentionJob. */
export interface RetentionJob {
  /** Resolves when no round is under way. */
  readonly settled: Promise<void>;
  close(): void;
}

/**
 * Deletes windows of each series that are older than ageMaxMs before its newest reading, now and every hour; their
 * hours stay. A reading that is ahead of the clock makes nothing old. now: the clock; log: a line for a person.
 */
export function createRetentionJob(
  db: SqlDatabase,
  calendar: Calendar,
  ageMaxMs: number,
  now: () => number,
  log: (line: string) => void,
): RetentionJob {
  const cells = new SqlCellStore(db);
  let closed = false;
  let settled = Promise.resolve();

  const trim = (afterId: number): number | undefined => {
    type Row = { id: number; newestMs: number };
    const sql =
      "SELECT id, last_ts_ms AS newestMs FROM series WHERE id > ? AND last_ts_ms IS NOT NULL ORDER BY id LIMIT ?";
    const rows = db.all<Row>(sql, afterId, SERIES_PER_TURN);
    db.transaction(() => {
      const nowMs = now();
      for (const { id, newestMs } of rows) {
        cells.deleteWindowsBefore(id, Math.min(newestMs, nowMs) - ageMaxMs, calendar);
      }
    });
    return rows.at(-1)?.id;
  };
  const run = async (): Promise<void> => {
    try {
      for (let id = trim(0); id !== undefined; id = closed ? undefined : trim(id)) {
        await new Promise((resolve) => setImmediate(resolve));
      }
    } catch (error) {
      if (!closed) log(`Cannot delete old windows: ${errorMessage(error)}. Tried again in an hour.`);
    }
  };
  const begin = (): void => {
    // One round at a time, however long it takes.
    settled = settled.then(run);
  };
  begin();
  const timer = setInterval(begin, INTERVAL_MS);
  return {
    get settled() {
      return settled;
    },
    close() {
      closed = true;
      clearInterval(timer);
    },
  };
}
