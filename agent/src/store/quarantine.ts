import type { QuarantinedDevice } from "@weir/shared/wire/messages";
import type { Sql } from "./sql.ts";

/** Rows kept of devices that have been released, at most: the newest. */
export const RELEASED_KEPT_MAX = 1_000;

/** A row of the table: releasedMs null while the device is in quarantine. */
export interface QuarantineRow extends QuarantinedDevice {
  readonly releasedMs: number | null;
}

const COLUMNS =
  "site, device, since_ms AS sinceMs, last_ms AS lastMs, ahead_ms AS aheadMs, readings, released_ms AS releasedMs";

/** Devices in quarantine, those with the newest readings first; at most `limit`. */
export function readQuarantined(sql: Sql, limit: number): QuarantinedDevice[] {
  const query = `SELECT ${COLUMNS} FROM quarantine WHERE released_ms IS NULL ORDER BY last_ms DESC LIMIT ?`;
  return sql.all<QuarantineRow>(query, limit).map(({ releasedMs: _, ...device }) => device);
}

/** How many devices are in quarantine. */
export function countQuarantined(sql: Sql): number {
  return sql.number("SELECT count(*) FROM quarantine WHERE released_ms IS NULL") ?? 0;
}

/** Writes devices as they now are, in one transaction, and forgets the released ones of long ago. */
export function writeQuarantine(sql: Sql, rows: readonly QuarantineRow[]): void {
  sql.transaction(() => {
    for (const { site, device, sinceMs, lastMs, aheadMs, readings, releasedMs } of rows) {
      const write = "REPLACE INTO quarantine VALUES (?, ?, ?, ?, ?, ?, ?)";
      sql.run(write, site, device, sinceMs, lastMs, aheadMs, readings, releasedMs);
    }
    sql.run(
      `DELETE FROM quarantine WHERE released_ms <
         (SELECT released_ms FROM quarantine WHERE released_ms IS NOT NULL ORDER BY released_ms DESC LIMIT 1 OFFSET ?)`,
      RELEASED_KEPT_MAX - 1,
    );
  });
}
