import * as assert from "uvu/assert";
import { acknowledgeAlert, alertById, findAlerts } from "@weir/aggregator/stores/alerts";
import { seriesColumns } from "@weir/aggregator/stores/series-columns";
import { suite } from "../support/suite.ts";
import { partialsOf, Stores } from "./stores-fixture.ts";

const test = suite("frames");

const DAY_MS = Date.UTC(2026, 2, 14);
const DAY = "2026-03-14";

let stores: Stores;
test.before.each(() => (stores = new Stores()));
test.after.each(() => stores.close());

function count(device: string, metric: string): number {
  const range = { fromMs: 0, toMs: 1e15, stepMs: 86_400_000 };
  const columns = seriesColumns(stores.db, stores.history, { site: "s", device, metric }, range);
  return (columns?.count ?? []).reduce((sum, one) => sum + one, 0);
}

test("syncs every commit through the write-ahead log", () => {
  assert.equal(stores.db.get("PRAGMA journal_mode"), { journal_mode: "wal" });
  assert.equal(stores.db.get("PRAGMA synchronous"), { synchronous: 2 });
});

test("applies a frame once, however often it comes", () => {
  const origin = stores.hello("a", ["pump/temp"]);
  const frame = partialsOf([
    [0, DAY_MS, 1],
    [0, DAY_MS + 1000, 2],
  ]);
  stores.applyAs(origin, "data", 2, frame);
  stores.applyAs(origin, "data", 2, frame);
  stores.applyAs(origin, "data", 1, frame);
  assert.is(count("pump", "temp"), 2);
  assert.is(stores.frames.appliedSeq(origin, "data"), 2);
  assert.is(stores.frames.appliedSeq(origin, "alerts"), 0);
});

test("a new data file of an agent counts from 1 again", () => {
  const first = stores.hello("a", ["pump/temp"]);
  stores.readings(first, [[0, DAY_MS, 1]]);
  const second = { agent: "a", incarnation: "a-2" };
  stores.apply(second, {
    kind: "series",
    series: [
      [0, "s", "fan", "rpm"],
      [1, "s", "pump", "temp"],
    ],
  });
  stores.readings(second, [
    [1, DAY_MS + 1000, 2],
    [0, DAY_MS, 9],
  ]);
  assert.is(count("pump", "temp"), 2);
  assert.is(count("fan", "rpm"), 1);
});

test("a transaction taken back leaves no memory of what series had which index", () => {
  const first = stores.hello("a");
  const second = stores.hello("b");
  assert.throws(() =>
    stores.db.transaction(() => {
      stores.apply(first, { kind: "series", series: [[0, "s", "pump", "temp"]] });
      stores.readings(first, [[0, DAY_MS, 1]]);
      throw new Error("the disk is full");
    }),
  );
  stores.apply(second, { kind: "series", series: [[0, "s", "fan", "rpm"]] });
  stores.apply(first, { kind: "series", series: [[0, "s", "pump", "temp"]] });
  stores.readings(first, [[0, DAY_MS, 1]]);
  assert.is(count("pump", "temp"), 1);
  assert.is(count("fan", "rpm"), 0);
});

test("refuses a partial of a series without a name, and keeps nothing of its frame", () => {
  const origin = stores.hello("a", ["pump/temp"]);
  assert.throws(
    () =>
      stores.readings(origin, [
        [0, DAY_MS, 1],
        [7, DAY_MS, 1],
      ]),
    /series 7, which it has not named/,
  );
  assert.is(count("pump", "temp"), 0);
  assert.is(stores.frames.appliedSeq(origin, "data"), 1);
});

test("replacing partials take the place of their windows alone", () => {
  const origin = stores.hello("a", ["pump/temp"]);
  stores.readings(origin, [
    [0, DAY_MS, 1],
    [0, DAY_MS + 60_000, 5],
    [0, DAY_MS + 61_000, 6],
  ]);
  stores.readings(
    origin,
    [
      [0, DAY_MS + 60_000, 5],
      [0, DAY_MS + 61_000, 6],
    ],
    true,
  );
  stores.readings(origin, [[0, DAY_MS + 120_000, 7]], true);
  assert.is(count("pump", "temp"), 4);
});

test("tells watchers what changed: devices with their newest time, alerts as they are", () => {
  const origin = stores.hello("a", ["pump/temp", "pump/flow"]);
  const { devices } = stores.readings(origin, [
    [0, DAY_MS, 1],
    [1, DAY_MS + 70_000, 1],
  ]);
  assert.equal(
    [...devices.values()],
    [{ site: "s", device: "pump", metrics: new Set(["temp", "flow"]), lastTsMs: DAY_MS + 70_000 }],
  );
  const { alerts } = stores.alert(origin, { id: "x", startedAtMs: DAY_MS });
  assert.equal(
    alerts.map(({ id, agent, state }) => [id, agent, state]),
    [["x", "a", "firing"]],
  );
});

test("an acknowledgement outlives what becomes of its alert", () => {
  const origin = stores.hello("a");
  stores.alert(origin, { id: "x", startedAtMs: DAY_MS });
  assert.is(acknowledgeAlert(stores.db, "x", "ann", 5)?.ackedBy, "ann");
  assert.is(acknowledgeAlert(stores.db, "x", "bob", 6)?.ackedBy, "ann");
  stores.alert(origin, { id: "x", startedAtMs: DAY_MS, severity: "critical", breaches: 4, value: 30 });
  stores.alert(origin, { id: "x", startedAtMs: DAY_MS, state: "resolved", endedAtMs: DAY_MS + 5 });
  const alert = alertById(stores.db, "x")!;
  assert.equal([alert.state, alert.endedAtMs, alert.ackedBy, alert.ackedAtMs], ["resolved", DAY_MS + 5, "ann", 5]);
  assert.is(acknowledgeAlert(stores.db, "none", "ann", 5), undefined);
});

test("a withdrawn alert is neither listed nor counted, and can come back", () => {
  const origin = stores.hello("a", ["pump/temp"]);
  stores.readings(origin, [[0, DAY_MS, 11]]);
  const alerts = (): number | undefined => stores.reports.make(DAY, { batch: false })?.report.devices[0]?.alerts;
  stores.alert(origin, { id: "x", startedAtMs: DAY_MS });
  assert.is(alerts(), 1);
  stores.alert(origin, { id: "x", startedAtMs: DAY_MS, state: "withdrawn", value: 0, breaches: 0 });
  assert.is(alerts(), 0);
  assert.equal(findAlerts(stores.db, { limit: 10 }), []);
  assert.equal(
    findAlerts(stores.db, { limit: 10, state: "withdrawn" }).map(({ value }) => value),
    [11],
  );
  stores.alert(origin, { id: "x", startedAtMs: DAY_MS });
  assert.is(alerts(), 1);
});

test("finds alerts by state, device and when they began or changed", () => {
  const origin = stores.hello("a");
  stores.alert(origin, { id: "x", startedAtMs: 5000, device: "fan" });
  stores.nowMs = 90_000;
  stores.alert(origin, { id: "y", startedAtMs: 7000, state: "resolved" });
  const ids = (filter: object): string[] => findAlerts(stores.db, { limit: 10, ...filter }).map(({ id }) => id);
  assert.equal(ids({}), ["y", "x"]);
  assert.equal(ids({ limit: 1 }), ["y"]);
  assert.equal(ids({ state: "firing" }), ["x"]);
  assert.equal(ids({ device: "fan" }), ["x"]);
  assert.equal(ids({ site: "other" }), []);
  assert.equal(ids({ sinceMs: 50_000 }), ["y"]);
  assert.equal(ids({ sinceMs: 5000 }), ["y", "x"]);
});

test("losses are in the report of the day they were told on, by reason, once", () => {
  const a = stores.hello("a", ["pump/temp"]);
  const b = stores.hello("b", ["fan/rpm"]);
  stores.readings(a, [
    [0, DAY_MS, 1],
    [0, DAY_MS + 86_400_000, 1],
  ]);
  stores.tick(a, DAY_MS + 1000, { json_shape: 2 });
  stores.tick(b, DAY_MS + 2000, { json_shape: 1, time_ahead: 4 });
  stores.tick(a, DAY_MS + 86_400_000, { json_shape: 7 });
  const rejected = (day: string): unknown => stores.reports.make(day, { batch: true })?.report.completeness.rejected;
  assert.equal(rejected(DAY), { json_shape: 3, time_ahead: 4 });
  assert.equal(rejected("2026-03-15"), { json_shape: 7 });
  assert.is(stores.live(DAY), stores.batch(DAY));
});

test("holds the newest value of a series, whatever order readings come in", () => {
  const origin = stores.hello("a", ["pump/temp"]);
  stores.readings(origin, [[0, DAY_MS + 60_000, 2]]);
  stores.readings(origin, [[0, DAY_MS, 1]]);
  assert.equal(stores.db.get("SELECT first_ts_ms, last_ts_ms, last_value FROM series"), {
    first_ts_ms: DAY_MS,
    last_ts_ms: DAY_MS + 60_000,
    last_value: 2,
  });
});
