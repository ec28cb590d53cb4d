import type { DeviceDetail, DeviceView } from "../queries.ts";
import type { SqlDatabase } from "./database.ts";

interface SeriesRow {
  readonly agent: string;
  readonly site: string;
  readonly device: string;
  readonly metric: string;
  readonly first_ts_ms: number;
  readonly last_ts_ms: number;
  readonly last_value: number;
}

/** Devices that have readings, by site and name. health: of the newest report, by `site/device`. */
export function listDevices(db: SqlDatabase, health: ReadonlyMap<string, number>): DeviceView[] {
  const rows = db.all<SeriesRow>("SELECT * FROM series WHERE last_ts_ms IS NOT NULL ORDER BY site, device, metric");
  const firing = new Map<string, number>();
  const counts = db.all<{ site: string; device: string; count: number }>(
    "SELECT site, device, count(*) AS count FROM alerts WHERE state = 'firing' GROUP BY site, device",
  );
  for (const { site, device, count } of counts) firing.set(`${site}/${device}`, count);
  const byDevice = new Map<string, SeriesRow[]>();
  for (const row of rows) {
    const name = `${row.site}/${row.device}`;
    byDevice.set(name, [...(byDevice.get(name) ?? []), row]);
  }
  return [...byDevice].map(([name, series]) => ({
    site: series[0]!.site,
    device: series[0]!.device,
    agent: series[0]!.agent,
    metrics: series.map(({ metric }) => metric),
    firstTsMs: Math.min(...series.map((row) => row.first_ts_ms)),
    lastTsMs: Math.max(...series.map((row) => row.last_ts_ms)),
    firing: firing.get(name) ?? 0,
    health: health.get(name) ?? null,
  }));
}

/** One device with the newest reading of each metric; undefined when it has none. */
export function deviceDetail(
  db: SqlDatabase,
  health: ReadonlyMap<string, number>,
  site: string,
  device: string,
): DeviceDetail | undefined {
  const view = listDevices(db, health).find((one) => one.site === site && one.device === device);
  if (!view) return undefined;
  const series = db.all<{ metric: string; lastTsMs: number; lastValue: number }>(
    `SELECT metric, last_ts_ms AS lastTsMs, last_value AS lastValue FROM series
     WHERE site = ? AND device = ? AND last_ts_ms IS NOT NULL ORDER BY metric`,
    site,
    device,
  );
  return { ...view, series };
}
