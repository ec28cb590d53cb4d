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

interface DeviceRow {
  readonly site: string;
  readonly device: string;
  readonly agent: string;
  /** JSON, by name. */
  readonly metrics: string;
  readonly firstTsMs: number;
  readonly lastTsMs: number;
}

/** Devices read at once: some milliseconds, between which alerts and requests have their turn. */
const DEVICES_PER_TURN = 500;

/** Of its agents, a device shows that of the first metric by name. */
const DEVICE_COLUMNS = `site, device, json_group_array(agent ORDER BY metric) ->> '$[0]' AS agent,
  json_group_array(metric ORDER BY metric) AS metrics, min(first_ts_ms) AS firstTsMs, max(last_ts_ms) AS lastTsMs`;

const DEVICES_AFTER = `SELECT ${DEVICE_COLUMNS} FROM series
  WHERE last_ts_ms IS NOT NULL AND (site, device) > (?, ?) GROUP BY site, device ORDER BY site, device LIMIT ?`;

const DEVICE = `SELECT ${DEVICE_COLUMNS} FROM series
  WHERE last_ts_ms IS NOT NULL AND site = ? AND device = ? GROUP BY site, device`;

/** Devices that have readings, by site and name. */
export async function listDevices(db: SqlDatabase, states: DeviceStates): Promise<DeviceView[]> {
  const views: DeviceView[] = [];
  for (;;) {
    const { site, device } = views.at(-1) ?? { site: "", device: "" };
    const rows = db.all<DeviceRow>(DEVICES_AFTER, site, device, DEVICES_PER_TURN);
    for (const row of rows) views.push(viewOf(row, states));
    if (rows.length < DEVICES_PER_TURN) return views;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function viewOf(row: DeviceRow, { health, firing, quarantines }: DeviceStates): DeviceView {
  const { site, device, agent, firstTsMs, lastTsMs } = row;
  const name = `${site}/${device}`;
  return {
    site,
    device,
    agent,
    metrics: JSON.parse(row.metrics) as string[],
    firstTsMs,
    lastTsMs,
    watermarkMs: lastTsMs,
    firing: firing.get(name) ?? 0,
    health: health.get(name) ?? null,
    quarantine: quarantines.get(name) ?? null,
  };
}

/** One device with the newest reading of each metric; undefined when it has none. */
export function deviceDetail(
  db: SqlDatabase,
  states: DeviceStates,
  site: string,
  device: string,
): DeviceDetail | undefined {
  const row = db.get<DeviceRow>(DEVICE, site, device);
  if (!row) return undefined;
  const series = db.all<{ metric: string; lastTsMs: number; lastValue: number }>(
    `SELECT metric, last_ts_ms AS lastTsMs, last_value AS lastValue FROM series
     WHERE site = ? AND device = ? AND last_ts_ms IS NOT NULL ORDER BY metric`,
    site,
    device,
  );
  return { ...viewOf(row, states), series };
}
