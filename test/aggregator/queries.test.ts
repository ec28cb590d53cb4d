import * as assert from "uvu/assert";
import type { BatchQueue } from "@weir/aggregator/batch/queue";
import type { ReportJobs } from "@weir/aggregator/jobs/reports";
import { createReportJobs } from "@weir/aggregator/jobs/reports";
import { createRetentionJob } from "@weir/aggregator/jobs/retention";
import { createLiveEvents } from "@weir/aggregator/live-events";
import { renderMetrics } from "@weir/aggregator/metrics";
import type { LiveEvent, Queries } from "@weir/aggregator/queries";
import { createSqlQueries } from "@weir/aggregator/queries-sqlite";
import { countFiring } from "@weir/aggregator/stores/alerts";
import { SqlDatabase } from "@weir/aggregator/stores/database";
import { ThresholdStore } from "@weir/aggregator/stores/thresholds";
import { createCalendar } from "@weir/shared/operators/calendar";
import type { CodedError } from "@weir/shared/errors";
import type { ThresholdVersion } from "@weir/shared/model/thresholds";
import Database from "better-sqlite3";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";
import type { TestReading } from "./stores-fixture.ts";
import { Stores, versionOf } from "./stores-fixture.ts";

const test = suite("queries");

const DAY_MS = Date.UTC(2026, 2, 14);
const HOUR_MS = 3_600_000;

const COUNTERS = {
  frames: 5,
  frameFailures: 0,
  alertsFiring: 1,
  alertsInhibited: 2,
  series: 2,
  summarisedReadings: 9,
  lateReplacements: 6,
  influxPending: 3,
  influxPoints: 4,
  influxFailures: 0,
  revisionsDropped: 8,
  batch: { waiting: 1, done: 2, failed: 3, refused: 4, ended: 5 },
};
const LEDGER = { stored: 0, duplicates: 0, rejected: {}, dropped: {} };

let stores: Stores;
let queries: Queries;
let broadcast: ThresholdVersion[];
let queue: BatchQueue;
let jobs: ReportJobs;
let issued: string[];
let caughtUp: Set<string>;

test.before.each(() => {
  stores = new Stores();
  broadcast = [];
  issued = [];
  caughtUp = new Set(["a"]);
  const thresholds = new ThresholdStore(stores.db);
  queue = stores.queue();
  jobs = createReportJobs(stores.reports, queue, stores.calendar, {
    at: "00:15",
    reviseIntervalMs: 3_600_000,
    now: () => DAY_MS,
    log: () => {},
    issued: (day, revision) => issued.push(`${day} ${revision}`),
  });
  const { db, agents, reports, history } = stores;
  queries = createSqlQueries(db, agents, reports, queue, thresholds, history, createLiveEvents(), {
    thresholdLeadMs: 5000,
    now: () => DAY_MS,
    presence: { isConnected: (agent) => agent === "a", caughtUp: () => caughtUp },
    broadcast: (version) => broadcast.push(version),
    metrics: () => "",
    answerReport: (...asking) => jobs.answer(...asking),
  });
});
test.after.each(async () => {
  await jobs.close();
  await queue.close();
  stores.close();
});

test("lists devices with their metrics, times, firing alerts and newest health", async () => {
  const origin = stores.hello("a", ["pump/temp", "pump/flow", "fan/rpm", "silent/temp"]);
  stores.readings(origin, [
    [0, DAY_MS, 1],
    [1, DAY_MS + 5000, 2],
    [2, DAY_MS + 9000, 3],
  ]);
  stores.alert(origin, { id: "x", startedAtMs: DAY_MS });
  stores.alert(origin, { id: "y", startedAtMs: DAY_MS, state: "resolved" });
  const shared = { site: "s", agent: "a", firstTsMs: DAY_MS, health: null, quarantine: null };
  assert.equal(await queries.devices(), [
    {
      ...shared,
      device: "fan",
      metrics: ["rpm"],
      firstTsMs: DAY_MS + 9000,
      lastTsMs: DAY_MS + 9000,
      watermarkMs: DAY_MS + 9000,
      firing: 0,
    },
    {
      ...shared,
      device: "pump",
      metrics: ["flow", "temp"],
      lastTsMs: DAY_MS + 5000,
      watermarkMs: DAY_MS + 5000,
      firing: 1,
    },
  ]);
  stores.reports.issue("2026-03-14", 1);
  assert.ok((await queries.devices()).every(({ health }) => health !== null && health > 0));
  assert.equal(queries.device("s", "pump")?.series, [
    { metric: "flow", lastTsMs: DAY_MS + 5000, lastValue: 2 },
    { metric: "temp", lastTsMs: DAY_MS, lastValue: 1 },
  ]);
  assert.is(queries.device("s", "silent"), undefined);
  assert.is(queries.device("other", "pump"), undefined);
});

test("gives a series in steps, with the limits in force at each", () => {
  stores.history.add(versionOf(1, 0, 10));
  stores.history.add(versionOf(2, DAY_MS + HOUR_MS, 2));
  const origin = stores.hello("a", ["pump/temp"]);
  stores.readings(origin, [
    [0, DAY_MS, 1],
    [0, DAY_MS + 60_000, 4],
    [0, DAY_MS + HOUR_MS, 3],
    [0, DAY_MS + 10 * HOUR_MS, 5],
  ]);
  const range = { fromMs: DAY_MS, toMs: DAY_MS + 9 * HOUR_MS, stepMs: 600_000 };
  assert.equal(queries.series("s", "pump", "temp", range), {
    site: "s",
    device: "pump",
    metric: "temp",
    stepMs: 6e5,
    tsMs: [DAY_MS, DAY_MS + HOUR_MS],
    count: [2, 1],
    min: [1, 3],
    max: [4, 3],
    mean: [2.5, 3],
    breaches: [0, 1],
    low: [-10, -2],
    high: [10, 2],
  });
  const wide = queries.series("s", "pump", "temp", {
    fromMs: DAY_MS,
    toMs: DAY_MS + 24 * HOUR_MS,
    stepMs: 12 * HOUR_MS,
  });
  assert.equal([wide?.count, wide?.mean], [[4], [3.25]]);
  assert.is(queries.series("s", "pump", "none", range), undefined);
});

test("an acknowledgement is published to watchers", () => {
  const events: LiveEvent[] = [];
  const stop = queries.subscribe((event) => events.push(event));
  stores.alert(stores.hello("a"), { id: "x", startedAtMs: DAY_MS });
  queries.acknowledge("x", "ann");
  queries.acknowledge("none", "ann");
  assert.equal(
    events.map((event) => event.type === "alert" && event.alert.ackedBy),
    ["ann"],
  );
  stop();
  queries.acknowledge("x", "bob");
  assert.is(events.length, 1);
});

test("publishes a version a little ahead of now, broadcasts it once and judges by it", () => {
  const { version: _, ...draft } = versionOf(1, 0, 10);
  new ThresholdStore(stores.db).addDraft(draft);
  assert.is(queries.publish(1, { effectiveFromMs: null }).effectiveFromMs, DAY_MS + 5000);
  queries.publish(1, { effectiveFromMs: 3 });
  assert.equal(broadcast, [versionOf(1, DAY_MS + 5000, 10)]);
  assert.equal(stores.history.versions(), broadcast);
  assert.throws(
    () => queries.publish(2, { effectiveFromMs: 0 }),
    (error: CodedError) => error.code === "UNKNOWN_VERSION",
  );
});

test("trains a draft on the rules of the newest version", async () => {
  const origin = stores.hello("a", ["pump/temp"]);
  stores.readings(
    origin,
    Array.from({ length: 500 }, (_, i) => [0, DAY_MS + i * 1000, i % 10] as const),
  );
  const thresholds = new ThresholdStore(stores.db);
  for (const high of [10, 20]) thresholds.publish(thresholds.addDraft(versionOf(0, 0, high)).version, 0);
  const listing = await queries.train({ days: 7, note: "tonight" });
  assert.equal(
    [listing.version, listing.state, listing.note, listing.rules, listing.series],
    [3, "draft", "tonight", 1, 1],
  );
  assert.equal(queries.threshold(3)?.rules, versionOf(2, 0, 20).rules);
  assert.equal(broadcast, []);
});

async function asked(day: string, recompute: boolean): Promise<string | undefined> {
  const body = await queries.report(day, { recompute, format: "json" });
  return body && Buffer.from(body).toString();
}

test("issues a revision of a report that is asked for only where one was issued", async () => {
  const day = "2026-03-14";
  const origin = stores.hello("a", ["pump/temp"]);
  assert.is(await asked(day, false), undefined);
  stores.readings(origin, [[0, DAY_MS, 1]]);
  assert.is(await asked(day, false), stores.live(day));
  assert.is(await asked(day, true), stores.batch(day));
  assert.is(stores.reports.isIssued(day), false);
  stores.reports.issue(day, 1);
  assert.is(await asked(day, false), stores.live(day));
  assert.equal(issued, []);
  stores.readings(origin, [[0, DAY_MS + 5000, 2]]);
  assert.is(await asked(day, true), stores.live(day));
  assert.equal(issued, ["2026-03-14 2"]);
  stores.readings(origin, [[0, DAY_MS + 9000, 2]]);
  assert.is(await asked(day, false), stores.batch(day));
  assert.equal(issued, ["2026-03-14 2", "2026-03-14 3"]);
  assert.is(stores.reports.isDue(day), false);
  assert.equal(
    queries.reportDays().map(({ day: listed, revision }) => [listed, revision]),
    [[day, 3]],
  );
  assert.ok(queries.ready());
});

test("a page that is asked for lists the revision that asking for it has issued", async () => {
  const day = "2026-03-14";
  const origin = stores.hello("a", ["pump/temp"]);
  stores.readings(origin, [[0, DAY_MS, 1]]);
  stores.reports.issue(day, 1);
  stores.readings(origin, [[0, DAY_MS + 5000, 2]]);
  const page = async (): Promise<string> =>
    Buffer.from((await queries.report(day, { recompute: false, format: "html" }))!).toString();
  const first = await page();
  assert.match(first, /Revision 2/);
  assert.is(await page(), first);
  const csv = Buffer.from((await queries.report(day, { recompute: true, format: "csv" }))!).toString();
  assert.match(csv, /2026-03-14,UTC,2,s,pump,temp,2,/);
});

test("lists agents with whether they are connected", () => {
  stores.hello("b");
  stores.hello("a");
  assert.equal(
    queries.agents().map(({ agent, connected }) => [agent, connected]),
    [
      ["a", true],
      ["b", false],
    ],
  );
});

test("metrics escape what agents may hold, and say each family once", () => {
  const ledger = { stored: 7, duplicates: 1, rejected: { json_shape: 2 }, dropped: { outbox_full: 3 } };
  const about = { lastSeenMs: 0, version: "", thresholdVersion: null, series: 0, readings: 0, inhibitedAlerts: 0 };
  const view = { ...about, caughtUp: false, ledger, gauges: {}, quarantined: [] };
  const text = renderMetrics(COUNTERS, [
    { agent: 'a"b\\c\nd', connected: true, ...view },
    { agent: "e", connected: false, ...view },
  ]);
  const lines = text.split("\n");
  assert.ok(lines.includes("weir_frames_total 5"));
  assert.ok(lines.includes("weir_alerts_firing 1"));
  assert.ok(lines.includes("weir_alerts_inhibited 2"));
  assert.ok(lines.includes('weir_agent_connected{agent="a\\"b\\\\c\\nd"} 1'), text);
  assert.ok(lines.includes('weir_agent_readings_total{agent="e",outcome="dropped",reason="outbox_full"} 3'));
  const types = lines.filter((line) => line.startsWith("# TYPE"));
  assert.is(new Set(types).size, types.length);
  assert.ok(
    lines.every((line) => line === "" || line.startsWith("# ") || /^[a-z_]+(\{.*\})? -?\d+$/.test(line)),
    text,
  );
});

test("metrics hold every gauge of an agent that is named as metrics are, counters by their ending, at most 64", () => {
  const origin = stores.hello("a");
  stores.hello("b");
  const many = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`g${String(i).padStart(3, "0")}`, i]));
  const odd = {
    "Bad-name": 1,
    _x: 1,
    ok_total: 7,
    connected: 5,
    depth: 1.5,
    text: "x",
    none: Number.NaN,
    'a"} 1\n': 2,
  };
  const status = { series: 1, readings: 1, ledger: LEDGER, quarantined: [] };
  stores.agents.status(origin, { ...status, gauges: odd as unknown as Record<string, number> }, 1);
  const lines = renderMetrics(COUNTERS, queries.agents()).split("\n");
  assert.ok(lines.includes("# TYPE weir_agent_ok_total counter"));
  assert.ok(lines.includes('weir_agent_ok_total{agent="a"} 7'));
  assert.ok(lines.includes("# TYPE weir_agent_depth gauge"));
  assert.ok(lines.includes('weir_agent_depth{agent="a"} 1.5'));
  assert.equal(
    lines.filter((line) => line.startsWith("weir_agent_connected")),
    ['weir_agent_connected{agent="a"} 1', 'weir_agent_connected{agent="b"} 0'],
  );
  assert.equal(
    lines.filter((line) => /^weir_agent_(bad|_x|text|none|a")/i.test(line)),
    [],
  );
  assert.ok(lines.includes('weir_agent_quarantined_devices{agent="a"} 0'));
  stores.agents.status(origin, { ...status, gauges: many }, 1);
  const kept = renderMetrics(COUNTERS, queries.agents()).match(/^weir_agent_g\d+\{/gm);
  assert.equal([kept?.length, kept?.at(-1)], [64, "weir_agent_g063{"]);
  assert.equal(Object.keys(queries.agents()[0]!.gauges).length, 64);
});

test("shows devices in quarantine at their agent and at the device, also those that never had a reading taken", async () => {
  const origin = stores.hello("a", ["pump/temp", "fan/rpm"]);
  stores.readings(origin, [
    [0, DAY_MS, 1],
    [1, DAY_MS, 1],
  ]);
  const state = { sinceMs: 1, lastMs: 5, aheadMs: 50_000, readings: 12 };
  const quarantined = ["pump", "never"].map((device) => ({ site: "s", device, ...state }));
  const more = Array.from({ length: 200 }, (_, i) => ({ site: "s", device: `x${i}`, ...state }));
  const broken = [{ site: "s" }, null, "x"] as unknown as typeof more;
  const status = { series: 1, readings: 1, ledger: LEDGER, gauges: {} };
  stores.agents.status(origin, { ...status, quarantined: [...quarantined, ...broken, ...more] }, 1);
  assert.equal(queries.agents()[0]?.quarantined.slice(0, 2), quarantined);
  assert.is(queries.agents()[0]?.quarantined.length, 97, "a hundred were read, three of them broken");
  assert.equal(
    (await queries.devices()).map(({ device, quarantine }) => [device, quarantine]),
    [
      ["fan", null],
      ["pump", { agent: "a", ...state }],
    ],
  );
  assert.equal(queries.device("s", "pump")?.quarantine, { agent: "a", ...state });
  assert.match(renderMetrics(COUNTERS, queries.agents()), /^weir_agent_quarantined_devices\{agent="a"\} 97$/m);
  // Another agent heard of it later.
  const later = { ...state, lastMs: 6 };
  stores.agents.status(stores.hello("b"), { ...status, quarantined: [{ site: "s", device: "pump", ...later }] }, 1);
  assert.equal(queries.device("s", "pump")?.quarantine, { agent: "b", ...later });
  stores.agents.status(stores.hello("b"), { ...status, quarantined: [] }, 1);
  stores.agents.status(origin, { ...status, quarantined: [] }, 1);
  assert.is(queries.device("s", "pump")?.quarantine, null);
});

test("silence is held back while its agent is away: neither counted as firing nor hidden", async () => {
  const [a, b] = [stores.hello("a", ["pump/temp"]), stores.hello("b", ["fan/rpm"])];
  stores.readings(a, [[0, DAY_MS, 1]]);
  stores.readings(b, [[0, DAY_MS, 1]]);
  stores.alert(a, { id: "a-silent", startedAtMs: 5, kind: "silence" });
  stores.alert(b, { id: "b-silent", startedAtMs: 4, kind: "silence", device: "fan" });
  stores.alert(b, { id: "b-over", startedAtMs: 3, kind: "silence", device: "fan", state: "resolved" });
  stores.alert(b, { id: "b-high", startedAtMs: 2, device: "fan" });
  const held = (): string[] => queries.alerts({ limit: 9, inhibited: true }).map(({ id }) => id);
  const flags = (): unknown => queries.alerts({ limit: 9 }).map(({ inhibited }) => inhibited);
  const firing = async (): Promise<unknown> =>
    (await queries.devices()).map((device) => [device.device, device.firing]);
  const heldAt = (): unknown => queries.agents().map(({ inhibitedAlerts }) => inhibitedAlerts);
  assert.equal([held(), flags()], [["b-silent"], [false, true, false, false]]);
  assert.equal(
    queries.alerts({ limit: 9, inhibited: false }).map(({ id }) => id),
    ["a-silent", "b-over", "b-high"],
  );
  assert.equal(queries.alerts({ limit: 1, inhibited: false, state: "firing", site: "s", device: "fan" }).length, 1);
  assert.equal(countFiring(stores.db, caughtUp), { firing: 2, inhibited: 1 });
  assert.equal(
    [await firing(), heldAt()],
    [
      [
        ["fan", 1],
        ["pump", 1],
      ],
      [0, 1],
    ],
  );
  // As after a start of the aggregator: nobody has come yet.
  caughtUp = new Set();
  assert.equal(
    [held(), flags()],
    [
      ["a-silent", "b-silent"],
      [true, true, false, false],
    ],
  );
  assert.equal(countFiring(stores.db, caughtUp), { firing: 1, inhibited: 2 });
  assert.is(queries.acknowledge("a-silent", "ann")?.inhibited, true);
  caughtUp = new Set(["a", "b", 'odd"name']);
  assert.equal(
    [held(), await firing(), heldAt()],
    [
      [],
      [
        ["fan", 2],
        ["pump", 1],
      ],
      [0, 0],
    ],
  );
});

async function runRetention(nowMs = Infinity): Promise<void> {
  const job = createRetentionJob(stores.db, createCalendar("UTC"), 24 * HOUR_MS, () => nowMs, assert.unreachable);
  await job.settled;
  job.close();
}

test("retention counts from each series' newest reading and leaves the hours", async () => {
  const origin = stores.hello("a", ["pump/temp", "fan/rpm"]);
  stores.readings(origin, [
    [0, DAY_MS, 1],
    [0, DAY_MS + 50 * HOUR_MS, 2],
    [1, DAY_MS, 3],
  ]);
  await runRetention();
  const cells = stores.db.all("SELECT series, level, start_ms AS startMs FROM cells ORDER BY series, level, start_ms");
  const at = (series: number, level: number, startMs: number): unknown => ({ series, level, startMs });
  const [hour0, later] = [DAY_MS, DAY_MS + 50 * HOUR_MS];
  assert.equal(cells, [at(1, 0, later), at(1, 1, hour0), at(1, 1, later), at(2, 0, hour0), at(2, 1, hour0)]);
});

test("a reading from a clock that was a year ahead makes no window old", async () => {
  const origin = stores.hello("a", ["pump/temp"]);
  const aheadMs = DAY_MS + 365 * 24 * HOUR_MS;
  stores.readings(origin, [
    [0, DAY_MS, 1],
    [0, aheadMs, 2],
  ]);
  const windows = (): unknown[] => stores.db.all("SELECT start_ms FROM cells WHERE level = 0");
  await runRetention(DAY_MS + HOUR_MS);
  assert.is(windows().length, 2);
  await runRetention(DAY_MS + 26 * HOUR_MS);
  assert.is(windows().length, 1);
});

test("no more points wait for InfluxDB than there are windows", async () => {
  stores.close();
  stores = new Stores({ queueForInflux: true });
  const origin = stores.hello("a", ["pump/temp"]);
  const [oldMs, newMs] = [DAY_MS, DAY_MS + 50 * HOUR_MS];
  stores.readings(origin, [
    [0, oldMs, 1],
    [0, newMs, 2],
  ]);
  const waiting = (): number[] =>
    stores.db.all<{ startMs: number }>("SELECT start_ms AS startMs FROM influx_queue").map(({ startMs }) => startMs);
  assert.equal(waiting(), [oldMs, newMs]);
  await runRetention();
  assert.equal(waiting(), [newMs]);
});

test("late data and re-folds of hours whose windows are gone: counted once, live as batch", async () => {
  const origin = stores.hello("a", ["pump/temp"]);
  const late: TestReading = [0, DAY_MS + 60_000, 2];
  const old: TestReading = [0, DAY_MS, 1];
  stores.readings(origin, [old, [0, DAY_MS + 50 * HOUR_MS, 5]]);
  await runRetention();
  stores.readings(origin, [old], true);
  stores.readings(origin, [late]);
  const day = "2026-03-14";
  const report = stores.reports.make(day, { batch: false })!;
  assert.is(report.report.completeness.readings, 2);
  assert.is(report.report.devices[0]!.metrics[0]!.mean, 1.5);
  assert.is(stores.reports.make(day, { batch: true })!.bytes, report.bytes);
});

test("refuses a file of another version, and one that is no database", () => {
  const folder = tempFolder();
  const fails = (name: string, code: string): void =>
    assert.throws(
      () => new SqlDatabase(join(folder, name), { readonly: false }),
      (error: CodedError) => error.code === code,
    );
  const other = new Database(join(folder, "other.db"));
  other.pragma("user_version = 99");
  other.close();
  fails("other.db", "DATA_FILE_VERSION");
  writeFileSync(join(folder, "text.db"), "no database ".repeat(100));
  fails("text.db", "BAD_DATA_FILE");
  assert.throws(
    () => new SqlDatabase(join(folder, "none.db"), { readonly: true }),
    (error: CodedError) => error.code === "BAD_DATA_FILE",
  );
});
