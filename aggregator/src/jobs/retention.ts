import type { Calendar } from "@weir/shared/operators/calendar";
import { errorMessage } from "@weir/shared/errors";
import { SqlCellStore } from "../stores/cells.ts";
import type { SqlDatabase } from "../stores/database.ts";

/** How often windows past their age are looked for, ms. */
const INTERVAL_MS = 3_600_000;

/**
 * Deletes windows of each series that are older than ageMaxMs before its newest reading, now and every hour; their
 * hours stay. log: a line for a person.
 */
export function createRetentionJob(
  db: SqlDatabase,
  calendar: Calendar,
  ageMaxMs: number,
  log: (line: string) => void,
): { close(): void } {
  const cells = new SqlCellStore(db);
  const run = (): void => {
    try {
      const rows = db.all<{ id: number; last_ts_ms: number }>(
        "SELECT id, last_ts_ms FROM series WHERE last_ts_ms IS NOT NULL",
      );
      for (const { id, last_ts_ms: newestMs } of rows) cells.deleteWindowsBefore(id, newestMs - ageMaxMs, calendar);
    } catch (error) {
      log(`Cannot delete old windows: ${errorMessage(error)}. Tried again in an hour.`);
    }
  };
  run();
  const timer = setInterval(run, INTERVAL_MS);
  return { close: () => clearInterval(timer) };
}
