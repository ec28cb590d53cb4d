import type { IPoint } from "influx";
import { FieldType, InfluxDB, Raw } from "influx";
import { errorMessage } from "@weir/shared/errors";
import type { Partial } from "@weir/shared/operators/partial";
import { partialMean } from "@weir/shared/operators/partial";
import { SqlCellStore } from "./cells.ts";
import type { SqlDatabase } from "./database.ts";

/** Measurement that window summaries are written to: a point a series and window, at the window's start. */
export const INFLUX_MEASUREMENT = "readings";

/** Points of one write, at most. */
const BATCH_POINTS_MAX = 2000;

/** Wait between looks at the queue, and after a write that failed, ms. */
const IDLE_MS = 500;
const RETRY_MS_MAX = 30_000;

export interface InfluxOptions {
  /** http://HOST:PORT */
  readonly url: string;
  readonly database: string;
  readonly username: string;
  readonly password: string;
}

export interface InfluxWriter {
  /** Cells not yet in InfluxDB. */
  pending(): number;
  /** Points written since the start, and writes that failed. */
  counters(): { readonly points: number; readonly failures: number };
  /** Writes what waits, at most for timeoutMs, then stops. */
  close(timeoutMs: number): Promise<void>;
}

interface QueueRow {
  readonly series: number;
  readonly startMs: number;
  readonly generation: number;
  readonly site: string;
  readonly device: string;
  readonly metric: string;
}

/**
 * Writes window cells to InfluxDB 1.x from a queue in SQLite, which the frames fill in their own transaction.
 *
 * A point is the whole cell at a deterministic time with deterministic tags, so writing it twice overwrites it with
 * itself: with the queue kept until InfluxDB has answered, each cell is there exactly once. A cell that changed while
 * its write was under way has a newer generation and stays queued.
 */
export function createInfluxWriter(db: SqlDatabase, options: InfluxOptions, log: (line: string) => void): InfluxWriter {
  const { hostname, port, protocol } = new URL(options.url);
  const client = new InfluxDB({
    host: hostname,
    port: port === "" ? (protocol === "https:" ? 443 : 80) : Number(port),
    protocol: protocol === "https:" ? "https" : "http",
    database: options.database,
    ...(options.username ? { username: options.username, password: options.password } : {}),
    schema: [
      {
        measurement: INFLUX_MEASUREMENT,
        tags: ["site", "device", "metric"],
        fields: {
          count: FieldType.INTEGER,
          min: FieldType.FLOAT,
          max: FieldType.FLOAT,
          mean: FieldType.FLOAT,
          first: FieldType.FLOAT,
          last: FieldType.FLOAT,
          breaches: FieldType.INTEGER,
        },
      },
    ],
  });
  const cells = new SqlCellStore(db);
  let points = 0;
  let failures = 0;
  let databaseMade = false;
  let stopping = false;
  let complained = false;
  let wakeUp: (() => void) | undefined;

  const pending = (): number => db.get<{ count: number }>("SELECT count(*) AS count FROM influx_queue")?.count ?? 0;

  const write = async (rows: readonly QueueRow[]): Promise<void> => {
    const written = rows.flatMap((row) => pointOf(row, cells.get(row.series, "window", row.startMs)));
    if (written.length > 0) await client.writePoints(written, { precision: "ms" });
  };

  /** A point that InfluxDB will never take, such as one older than it keeps, must not hold up the others. */
  const writeEach = async (rows: readonly QueueRow[]): Promise<void> => {
    let refused = 0;
    let reason = "";
    for (const row of rows) {
      try {
        await write([row]);
      } catch (error) {
        if (!isRefusal(error)) throw error;
        refused++;
        reason = `${row.site}/${row.device}/${row.metric} at ${new Date(row.startMs).toISOString()}: ${errorMessage(error)}`;
      }
    }
    failures += refused;
    points -= refused;
    log(`InfluxDB refused ${refused} of ${rows.length} points, and they are not sent again. The last was ${reason}`);
  };

  const writeSome = async (): Promise<number> => {
    const rows = db.all<QueueRow>(
      `SELECT influx_queue.series, start_ms AS startMs, generation, site, device, metric
       FROM influx_queue JOIN series ON series.id = influx_queue.series LIMIT ?`,
      BATCH_POINTS_MAX,
    );
    if (rows.length === 0) return 0;
    if (!databaseMade) await client.createDatabase(options.database);
    databaseMade = true;
    try {
      await write(rows);
    } catch (error) {
      if (!isRefusal(error)) throw error;
      await writeEach(rows);
    }
    db.transaction(() => {
      const sql = "DELETE FROM influx_queue WHERE series = ? AND start_ms = ? AND generation = ?";
      for (const { series, startMs, generation } of rows) db.run(sql, series, startMs, generation);
    });
    points += rows.length;
    return rows.length;
  };

  const pause = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      wakeUp = () => {
        clearTimeout(timer);
        resolve();
      };
    });

  const run = async (): Promise<void> => {
    let retryMs = IDLE_MS;
    for (;;) {
      try {
        const written = await writeSome();
        if (complained) log("InfluxDB can be written again.");
        complained = false;
        retryMs = IDLE_MS;
        if (written === BATCH_POINTS_MAX) continue;
        if (stopping) return;
        await pause(IDLE_MS);
      } catch (error) {
        failures++;
        // Somebody may have dropped the database.
        databaseMade = false;
        if (!complained)
          log(`Cannot write InfluxDB at ${options.url}: ${errorMessage(error)}. Points wait; trying again.`);
        complained = true;
        if (stopping) return;
        await pause(retryMs);
        retryMs = Math.min(RETRY_MS_MAX, retryMs * 2);
      }
    }
  };
  const running = run();

  return {
    pending,
    counters: () => ({ points, failures }),
    async close(timeoutMs) {
      stopping = true;
      wakeUp?.();
      await Promise.race([running, new Promise((resolve) => setTimeout(resolve, timeoutMs).unref())]);
    },
  };
}

/** True when InfluxDB has understood a write and will not take it, however often it is tried. */
function isRefusal(error: unknown): boolean {
  return (error as { res?: { statusCode?: number } }).res?.statusCode === 400;
}

/**
 * A name as a tag's value, escaped here since the library writes a backslash before an apostrophe twice. InfluxDB cannot
 * tell a backslash at a tag's end from one that escapes what follows: a slash takes its place, which no name holds.
 */
function tagOf(name: string): string {
  const escaped = name.replace(/\\$/, "/").replaceAll(/[,= ]/g, "\\$&");
  return new Raw(escaped) as unknown as string;
}

/** The point of a cell; none where the cell's time in the store is over. */
function pointOf({ startMs, site, device, metric }: QueueRow, cell: Partial | undefined): IPoint[] {
  if (!cell) return [];
  const { count, min, max, firstValue, lastValue, low, high } = cell;
  const fields = { count, min, max, mean: partialMean(cell), first: firstValue, last: lastValue, breaches: low + high };
  const tags = { site: tagOf(site), device: tagOf(device), metric: tagOf(metric) };
  return [{ measurement: INFLUX_MEASUREMENT, tags, fields, timestamp: new Date(startMs) }];
}
