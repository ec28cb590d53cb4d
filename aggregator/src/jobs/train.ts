import { CodedError } from "@weir/shared/errors";
import type { BandRule, SeriesBand, ThresholdVersion } from "@weir/shared/model/thresholds";
import { DAY_MS } from "@weir/shared/operators/calendar";
import { trainSeries } from "@weir/shared/rules/train";
import { SqlCellStore } from "../stores/cells.ts";
import type { SqlDatabase } from "../stores/database.ts";

interface TrainedSeries {
  readonly id: number;
  readonly site: string;
  readonly device: string;
  readonly metric: string;
  readonly last_ts_ms: number;
}

/**
 * A draft trained from the hour cells of the last `days` days of each series, counted from its newest reading. Rules
 * of the version before stay for the series that have too little history.
 *
 * Throws CodedError NO_HISTORY when no series has enough.
 */
export function trainDraft(
  db: SqlDatabase,
  rules: readonly BandRule[],
  options: { readonly days: number; readonly note: string; readonly nowMs: number; readonly timezone: string },
): Omit<ThresholdVersion, "version"> {
  const cells = new SqlCellStore(db);
  const series: SeriesBand[] = [];
  const sql =
    "SELECT id, site, device, metric, last_ts_ms FROM series WHERE last_ts_ms IS NOT NULL ORDER BY site, device, metric";
  for (const row of db.all<TrainedSeries>(sql)) {
    const toMs = row.last_ts_ms + 1;
    const band = trainSeries(row, cells.range(row.id, "hour", toMs - options.days * DAY_MS, toMs));
    if (band) series.push(band);
  }
  if (series.length === 0) {
    throw new CodedError("NO_HISTORY", `No series has enough readings in its last ${options.days} days to train from.`);
  }
  return {
    effectiveFromMs: options.nowMs,
    createdAtMs: options.nowMs,
    timezone: options.timezone,
    note: options.note,
    rules,
    series,
  };
}
