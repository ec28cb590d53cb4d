import * as assert from "uvu/assert";
import { setTimeout as delay } from "node:timers/promises";
import type { InfluxWriter } from "@weir/aggregator/stores/influx";
import { createInfluxWriter } from "@weir/aggregator/stores/influx";
import type { FrameOrigin } from "@weir/aggregator/stores/frames";
import { eventually } from "../support/eventually.ts";
import type { TestInfluxd } from "../support/servers.ts";
import { requireServer, startInfluxd } from "../support/servers.ts";
import { suite } from "../support/suite.ts";
import { Stores } from "./stores-fixture.ts";

const DAY_MS = Date.UTC(2026, 2, 14);

let influxd: TestInfluxd;
let stores: Stores;
let origin: FrameOrigin;
let writer: InfluxWriter;
let log: string[];
let database = "";
let databases = 0;

function open(): void {
  const options = { url: influxd.url, database, username: "", password: "" };
  writer = createInfluxWriter(stores.db, options, (line) => log.push(line));
}

/** Rows of all points by time; columns as named. */
async function points(columns: string): Promise<unknown[][]> {
  const answer = await influxd.query(`SELECT ${columns} FROM readings`, database);
  return answer.results[0]?.series?.[0]?.values ?? [];
}

function drained(): Promise<void> {
  return eventually(() => assert.is(writer.pending(), 0));
}

if (requireServer("influxd")) {
  const test = suite("influx", { timeoutMs: 30_000 });

  test.before.each(async () => {
    influxd ??= await startInfluxd();
    database = `weir${++databases}`;
    stores = new Stores({ queueForInflux: true });
    log = [];
    origin = stores.hello("a", ["pump/temp", "fan/rpm"]);
    open();
  });
  test.after.each(async () => {
    await writer.close(1000);
    stores.close();
  });

  test("a point is the whole cell of its window", async () => {
    stores.readings(origin, [
      [0, DAY_MS, 1.5],
      [0, DAY_MS + 30_000, -4],
      [0, DAY_MS + 60_000, 7],
      [1, DAY_MS, 1e200],
    ]);
    await drained();
    assert.equal(
      await points(`"device", "metric", "site", "count", "min", "max", "mean", "first", "last", "breaches"`),
      [
        [DAY_MS, "fan", "rpm", "s", 1, 1e200, 1e200, 1e200, 1e200, 1e200, 0],
        [DAY_MS, "pump", "temp", "s", 2, -4, 1.5, -1.25, 1.5, -4, 0],
        [DAY_MS + 60_000, "pump", "temp", "s", 1, 7, 7, 7, 7, 7, 0],
      ],
    );
    assert.is(writer.counters().points, 3);
  });

  test("writing a cell again overwrites its point", async () => {
    for (let i = 0; i < 3; i++) {
      stores.readings(origin, [[0, DAY_MS + i, i]]);
      await drained();
    }
    stores.db.run("INSERT INTO influx_queue SELECT series, start_ms, 1 FROM cells WHERE level = 0");
    await drained();
    assert.equal(await points(`"count", "max"`), [[DAY_MS, 3, 2]]);
  });

  test("writes more cells than fit in one write", async () => {
    stores.readings(
      origin,
      Array.from({ length: 4500 }, (_, i) => [i % 2, DAY_MS + i * 60_000, i] as const),
    );
    await drained();
    assert.equal((await points(`count("max")`))[0]?.[1], 4500);
  });

  test("loses nothing while InfluxDB is away, says so once, and goes on by itself", async () => {
    stores.readings(origin, [[0, DAY_MS, 1]]);
    await drained();
    await influxd.stop();
    stores.readings(origin, [
      [0, DAY_MS + 1, 2],
      [0, DAY_MS + 60_000, 3],
    ]);
    await eventually(() => assert.ok(writer.counters().failures >= 2));
    assert.is(writer.pending(), 2);
    stores.readings(origin, [[0, DAY_MS + 120_000, 4]]);
    await influxd.restart();
    await drained();
    assert.equal(await points(`"count", "last"`), [
      [DAY_MS, 2, 2],
      [DAY_MS + 60_000, 1, 3],
      [DAY_MS + 120_000, 1, 4],
    ]);
    assert.is(log.length, 2, log.join("\n"));
    assert.match(log[0]!, /Cannot write InfluxDB/);
    assert.match(log[1]!, /can be written again/);
  });

  test("a queue outlives the program", async () => {
    await writer.close(1000);
    stores.readings(origin, [[0, DAY_MS, 5]]);
    assert.is(writer.pending(), 1);
    open();
    await drained();
    assert.equal(await points(`"last"`), [[DAY_MS, 5]]);
  });

  test("a cell that changes while it is written is written again", async () => {
    stores.readings(origin, [[0, DAY_MS, 1]]);
    const all = stores.db.all.bind(stores.db);
    let changed = false;
    stores.db.all = <T>(sql: string, ...values: unknown[]): T[] => {
      const rows = all<T>(sql, ...values);
      if (sql.includes("influx_queue") && rows.length > 0 && !changed) {
        changed = true;
        // After the queue was read and the point was made, before InfluxDB has answered.
        setImmediate(() => void stores.readings(origin, [[0, DAY_MS + 1, 2]]));
      }
      return rows;
    };
    await eventually(async () => assert.equal(await points(`"count"`), [[DAY_MS, 2]]));
    await drained();
    assert.ok(changed);
    assert.is(writer.counters().points, 2);
  });

  const NAMES = [
    "a b",
    "a,b",
    "a=b",
    'a"b',
    "a'b",
    "ä€😀",
    "a\\b",
    "a\\",
    "a\\\\",
    "\\,",
    "a\\'b\\'c",
    "a\\ b",
    "=",
    "a\\=b",
    "%d{}",
    "null",
  ];

  test("takes any name that a series can have", async () => {
    const series = NAMES.map((name, index) => [index, name, name, name] as const);
    stores.apply(origin, { kind: "series", series });
    stores.readings(
      origin,
      NAMES.map((_, i) => [i, DAY_MS, i] as const),
    );
    await drained();
    const found = new Map(
      (await points(`"last", "site", "device", "metric"`)).map(([, last, ...names]) => [last, names]),
    );
    assert.is(found.size, NAMES.length);
    for (const [i, name] of NAMES.entries()) {
      const [site, device, metric] = (found.get(i) ?? []) as string[];
      // InfluxDB has no way to write a backslash at the end of a tag.
      const shown = name.replace(/\\$/, "/");
      assert.equal([site, device, metric], [shown, shown, shown]);
    }
  });

  test("a point that InfluxDB will never take does not hold up the others", async () => {
    stores.readings(origin, [[0, DAY_MS, 1]]);
    await drained();
    await influxd.query(`CREATE RETENTION POLICY short ON ${database} DURATION 1h REPLICATION 1 DEFAULT`);
    const nowMs = Math.floor(Date.now() / 60_000) * 60_000;
    stores.readings(origin, [
      [0, nowMs, 2],
      [0, DAY_MS - 3 * 86_400_000 * 365, 3],
      [1, nowMs, 4],
    ]);
    await drained();
    assert.equal((await points(`"last"`)).map(([, last]) => String(last)).toSorted(), ["2", "4"]);
    assert.is(writer.counters().failures, 1);
    assert.match(log.at(-1)!, /refused 1 of 3 points/);
  });

  test("makes its database again when somebody has dropped it", async () => {
    stores.readings(origin, [[0, DAY_MS, 1]]);
    await drained();
    await influxd.query(`DROP DATABASE ${database}`);
    stores.readings(origin, [[0, DAY_MS, 2]]);
    await drained();
    assert.equal(await points(`"count"`), [[DAY_MS, 2]]);
  });

  test("close writes what waits, and gives up in time where nobody answers", async () => {
    await delay(50);
    stores.readings(origin, [[0, DAY_MS, 5]]);
    await writer.close(5000);
    assert.is(writer.pending(), 0);
    await influxd.stop();
    open();
    stores.readings(origin, [[0, DAY_MS, 6]]);
    const startMs = performance.now();
    await writer.close(500);
    assert.ok(performance.now() - startMs < 1500);
    assert.is(writer.pending(), 1);
    await influxd.restart();
  });
}
