import type { DeviceDetail, DeviceView, Quarantine } from "../queries.ts";
import type { SqlDatabase } from "./database.ts";

/** What is known of devices beside their readings, by `site/device`. */
export interface DeviceStates {
  /** Of the newest report. */
  readonly health: ReadonlyMap<string, number>;
  /** Alerts that are firing and not held back. */
  readonly firing: ReadonlyMap<string, number>;
  readonly quarantines: ReadonlyMap<string, Quarantine>;
}

interface SeriesRow {
  readonly agent: string;
  readonly site: string;
  readonly device: string;
  readonly metric: string;
  readonly first_ts_ms: number;
  readonly last_ts_ms: number;
  readonly last_value: number;
}

/** Devices that have readings, by site and name. */
export function listDevices(db: SqlDatabase, { health, firing, quarantines }: DeviceStates): DeviceView[] {
  const rows = db.all<SeriesRow>("SELECT * FROM series WHERE last_ts_ms IS NOT NULL ORDER BY site, device, metric");
  const byDevice = new Map<string, SeriesRow[]>();
  for (const row of rows) {
    const name = `${row.site}/${row.device}`;
    const known = byDevice.get(name);
    if (known) known.push(row);
    else byDevice.set(name, [row]);
  }
  return [...byDevice].map(([name, series]) => {
    const lastTsMs = Math.max(...series.map((row) => row.last_ts_ms));
    return {
      site: series[0]!.site,
      device: series[0]!.device,
      agent: series[0]!.agent,
      metrics: series.map(({ metric }) => metric),
      firstTsMs: Math.min(...series.map((row) => row.first_ts_ms)),
      lastTsMs,
      watermarkMs: lastTsMs,
      firing: firing.get(name) ?? 0,
      health: health.get(name) ?? null,
      quarantine: quarantines.get(name) ?? null,
    };
  });
}

/** One device with the newest reading of each metric; undefined when it has none. */
export function deviceDetail(
  db: SqlDatabase,
  states: DeviceStates,
  site: string,
  device: string,
): DeviceDetail | undefined {
  const view = listDevices(db, states).find((one) => one.site === site && one.device === device);
  if (!view) return undefined;
  const series = db.all<{ metric: string; lastTsMs: number; lastValue: number }>(
    `SELECT metric, last_ts_ms AS lastTsMs, last_value AS lastValue FROM series
     WHERE site = ? AND device = ? AND last_ts_ms IS NOT NULL ORDER BY metric`,
    site,
    device,
  );
  return { ...view, series };
}
