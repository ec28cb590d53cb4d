import fc from "fast-check";
import * as assert from "uvu/assert";
import { acknowledgeAlert, alertById, findAlerts } from "@weir/aggregator/stores/alerts";
import { createFrameChanges } from "@weir/aggregator/stores/frames";
import { SqlCellStore } from "@weir/aggregator/stores/cells";
import { seriesColumns } from "@weir/aggregator/stores/series-columns";
import { createCalendar } from "@weir/shared/operators/calendar";
import type { Partial } from "@weir/shared/operators/partial";
import { mergePartials } from "@weir/shared/operators/partial";
import type { Frame } from "@weir/shared/wire/messages";
import { decodeWindows, encodeWindows } from "@weir/shared/wire/partial-codec";
import { suite } from "../support/suite.ts";
import type { TestReading } from "./stores-fixture.ts";
import { ALERT, partialsOf, Stores } from "./stores-fixture.ts";

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

test("an agent with a new data file leaves no names of the old one, which come again if it does", () => {
  const names = (): unknown => stores.db.all("SELECT incarnation, idx FROM agent_series ORDER BY incarnation, idx");
  const origin = stores.hello("a", ["pump/temp"]);
  stores.hello("b", ["fan/rpm"]);
  for (const incarnation of ["a-0", "a-2"]) {
    stores.agents.seen({ agent: "a", incarnation }, "test", 1);
    assert.equal(names(), [{ incarnation: "b-1", idx: 0 }]);
    assert.is(stores.frames.seriesKnown(origin), 0);
    stores.hello("a", ["pump/temp"]);
  }
  stores.readings(origin, [[0, DAY_MS, 1]]);
  assert.is(stores.frames.seriesKnown(origin), 1);
});

test("what a transaction that is taken back said of alerts ahead of their turn is taken back too", () => {
  const origin = stores.hello("a", ["pump/temp"]);
  const frame = (state: "firing" | "resolved"): Frame => ({
    kind: "alerts",
    alerts: [{ ...ALERT, id: "x", startedAtMs: DAY_MS, state }],
  });
  const spoilt = (work: () => void): void =>
    assert.throws(() =>
      stores.db.transaction(() => {
        work();
        throw new Error("spoilt");
      }),
    );
  const state = (): string | undefined => alertById(stores.db, "x")?.state;
  const ahead = (seq: number): void =>
    stores.frames.applyAhead(origin, seq, frame("resolved"), 1, createFrameChanges());
  const apply = (seq: number, alerts: Frame): void =>
    stores.frames.apply(origin, "alerts", seq, alerts, 1, createFrameChanges());
  spoilt(() => ahead(9));
  stores.applyAs(origin, "alerts", 1, frame("firing"));
  assert.is(state(), "firing", "nothing was applied ahead of it");
  stores.db.transaction(() => ahead(9));
  assert.is(state(), "resolved");
  spoilt(() => {
    apply(8, frame("firing"));
    apply(9, frame("resolved"));
  });
  stores.applyAs(origin, "alerts", 8, frame("firing"));
  assert.is(state(), "resolved", "frame 9 is still ahead of its turn");
});

test("alerts applied ahead of their turn are bounded, and make room when it has come", () => {
  const origin = stores.hello("a");
  const frame = (from: number, length: number): Frame => ({
    kind: "alerts",
    alerts: Array.from({ length }, (_, i) => ({ ...ALERT, id: `x${from + i}`, startedAtMs: from + i })),
  });
  const ahead = (seq: number, alerts: Frame): void =>
    stores.db.transaction(() => stores.frames.applyAhead(origin, seq, alerts, 1, createFrameChanges()));
  const isKnown = (number: number): boolean => alertById(stores.db, `x${number}`) !== undefined;
  ahead(5, frame(0, 10_001));
  assert.equal([isKnown(9999), isKnown(10_000)], [true, false]);
  ahead(6, frame(20_000, 1));
  assert.not.ok(isKnown(20_000));
  stores.applyAs(origin, "alerts", 5, frame(0, 10_001));
  ahead(6, frame(20_000, 1));
  assert.equal([isKnown(10_000), isKnown(20_000)], [true, true]);
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

const HOUR_MS = 3_600_000;

function unmergedHours(): Array<{ series: number; startMs: number }> {
  return stores.db.all("SELECT series, start_ms AS startMs FROM hours_unmerged ORDER BY series, start_ms");
}

test("an hour is merged once it is over by the clock of readings or of the agent, and again after late data", () => {
  const origin = stores.hello("a", ["pump/temp", "pump/flow"]);
  const hour = (series: number, number: number): { series: number; startMs: number } => ({
    series,
    startMs: DAY_MS + number * HOUR_MS,
  });
  for (const series of [0, 1]) stores.readings(origin, [[series, DAY_MS + 59 * 60_000, series]]);
  stores.readings(origin, [[0, DAY_MS + HOUR_MS + 1000, 5]]);
  assert.equal(unmergedHours(), [hour(1, 0), hour(1, 1), hour(2, 0)]);
  stores.readings(origin, [
    [0, DAY_MS + HOUR_MS + 240_000, 5],
    [0, DAY_MS + HOUR_MS + 300_001, 5],
  ]);
  assert.equal(unmergedHours(), [hour(1, 1)]);
  stores.readings(origin, [[1, DAY_MS + 60_000, 7]]);
  assert.equal(unmergedHours(), [hour(1, 1), hour(2, 0)]);
  stores.tick(origin, DAY_MS + 3 * HOUR_MS);
  assert.equal(unmergedHours(), []);
  const cells = new SqlCellStore(stores.db).range(2, "hour", 0, 1e15);
  assert.equal(
    cells.map(({ startMs, partial }) => [startMs, partial.count, partial.max]),
    [[DAY_MS, 2, 7]],
  );
});

test("as many windows are merged into hours as come, whatever their number", () => {
  const names = Array.from({ length: 40 }, (_, i) => `d${i}/temp`);
  const origin = stores.hello("a", names);
  const readings = (minute: number): TestReading[] =>
    names.map((_, series) => [series, DAY_MS + minute * 60_000, minute] as const);
  for (let minute = 0; minute < 60; minute += 4) stores.readings(origin, readings(minute));
  assert.is(unmergedHours().length, 40);
  // An hour has 15 windows here.
  for (let minute = 66; minute < 126; minute += 4) stores.readings(origin, readings(minute));
  const hours = new Set(unmergedHours().map(({ startMs }) => startMs));
  assert.equal([...hours], [DAY_MS + HOUR_MS, DAY_MS + 2 * HOUR_MS]);
});

/** What windows and hours hold, by plain merging in memory; replaced windows change their hour by taking it apart. */
class PlainCells {
  readonly #calendar = createCalendar("Asia/Kolkata");
  readonly windows = new Map<string, Partial>();
  /** Of windows that are deleted. */
  readonly #gone = new Map<string, Partial>();
  readonly fromMs = new Map<number, number>();

  apply(series: number, startMs: number, partial: Partial, replace: boolean): void {
    const isKept = startMs >= (this.fromMs.get(series) ?? -Infinity);
    if (!isKept && replace) return;
    const cells = isKept ? this.windows : this.#gone;
    const name = `${series} ${startMs}`;
    const before = cells.get(name);
    cells.set(name, before && !replace ? mergePartials(before, partial) : partial);
  }

  deleteBefore(series: number, beforeMs: number): void {
    const fromMs = this.#calendar.hourStart(beforeMs);
    for (const [name, partial] of this.windows) {
      const [of, startMs] = name.split(" ").map(Number);
      if (of !== series || startMs! >= fromMs) continue;
      this.windows.delete(name);
      this.#gone.set(name, partial);
      this.fromMs.set(series, Math.max(fromMs, this.fromMs.get(series) ?? -Infinity));
    }
  }

  hours(series: number): Array<{ startMs: number; partial: Partial }> {
    const hours = new Map<number, Partial>();
    for (const [name, partial] of [...this.windows, ...this.#gone]) {
      const [of, startMs] = name.split(" ").map(Number);
      if (of !== series) continue;
      const hourMs = this.#calendar.hourStart(startMs!);
      const before = hours.get(hourMs);
      hours.set(hourMs, before ? mergePartials(before, partial) : partial);
    }
    return [...hours].toSorted(([a], [b]) => a - b).map(([startMs, partial]) => ({ startMs, partial }));
  }
}

const cellStepArb = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("readings" as const),
      readings: fc.array(
        fc.record({
          series: fc.nat(1),
          minute: fc.nat(6 * 60),
          second: fc.nat(59),
          value: fc.integer({ min: -9, max: 9 }),
        }),
        { minLength: 1, maxLength: 12 },
      ),
      replace: fc.boolean(),
      isTakenBack: fc.integer({ min: 0, max: 5 }).map((draw) => draw === 0),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("tick" as const), minute: fc.nat(9 * 60) }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("delete" as const), series: fc.nat(1), minute: fc.nat(6 * 60) }),
  },
);

test("windows and hours hold what plain merging gives, merged yet or not, after every step", () => {
  fc.assert(
    fc.property(fc.array(cellStepArb, { minLength: 1, maxLength: 30 }), (steps) => {
      stores.close();
      stores = new Stores({ timezone: "Asia/Kolkata" });
      const origin = stores.hello("a", ["pump/temp", "pump/flow"]);
      const cells = new SqlCellStore(stores.db);
      const plain = new PlainCells();
      for (const step of steps) {
        if (step.kind === "tick") stores.tick(origin, DAY_MS + step.minute * 60_000);
        else if (step.kind === "delete") {
          cells.deleteWindowsBefore(step.series + 1, DAY_MS + step.minute * 60_000, createCalendar("Asia/Kolkata"));
          plain.deleteBefore(step.series + 1, DAY_MS + step.minute * 60_000);
        } else {
          const { replace } = step;
          const frame = partialsOf(
            step.readings.map(({ series, minute, second, value }) => [
              series,
              DAY_MS + minute * 60_000 + second * 1000,
              value,
            ]),
            stores.history,
            replace,
          );
          if (frame.kind !== "partials") throw new Error("no partials");
          if (step.isTakenBack) {
            assert.throws(() =>
              stores.db.transaction(() => {
                stores.applyAs(origin, "data", 1e6, frame);
                throw new Error("taken back");
              }),
            );
            continue;
          }
          stores.apply(origin, frame);
          for (const { series, windowStartMs, partial } of decodeWindows(frame.windows)) {
            plain.apply(series + 1, windowStartMs, partial, replace);
          }
        }
        for (const series of [1, 2]) {
          const hours = plain.hours(series);
          assert.equal(cells.range(series, "hour", -1e15, 1e15), hours);
          for (const { startMs, partial } of hours) assert.equal(cells.get(series, "hour", startMs), partial);
          const windows = cells.range(series, "window", -1e15, 1e15).map(({ startMs, partial }) => [startMs, partial]);
          const expected = [...plain.windows].filter(([name]) => name.startsWith(`${series} `));
          assert.equal(
            windows,
            expected
              .map(([name, partial]) => [Number(name.split(" ")[1]), partial])
              .toSorted(([a], [b]) => Number(a) - Number(b)),
          );
        }
        const total = stores.db.get("SELECT sum(readings) AS total FROM series WHERE id = 1");
        const readings = plain.hours(1).reduce((sum, { partial }) => sum + partial.count, 0);
        assert.equal(total, { total: readings });
      }
    }),
    { numRuns: Number(process.env["WEIR_PROPERTY_RUNS"] ?? 60) },
  );
});

test("a window that cannot be read holds up neither frames nor the merging of other hours", () => {
  const origin = stores.hello("a", ["pump/temp", "pump/flow"]);
  for (const series of [0, 1]) stores.readings(origin, [[series, DAY_MS, 1]]);
  stores.db.run("UPDATE windows SET body = x'ff00' WHERE series = 1");
  for (const minute of [66, 67, 68]) stores.readings(origin, [[0, DAY_MS + minute * 60_000, 2]]);
  const hour = (series: number, number: number): unknown => ({ series, startMs: DAY_MS + number * HOUR_MS });
  assert.equal(unmergedHours(), [hour(1, 0), hour(1, 1)]);
  const cells = new SqlCellStore(stores.db);
  assert.throws(() => cells.range(1, "hour", DAY_MS, DAY_MS + HOUR_MS), /partial/);
  assert.is(cells.get(1, "hour", DAY_MS + HOUR_MS)?.count, 3);
  assert.is(cells.get(2, "hour", DAY_MS)?.count, 1);
});

test("two indexes of one series count as one series", () => {
  const origin = stores.hello("a", ["pump/temp", "pump/temp"]);
  stores.readings(origin, [
    [0, DAY_MS + 60_000, 2],
    [1, DAY_MS, 1],
  ]);
  const sql = "SELECT first_ts_ms - ? AS first, last_ts_ms - ? AS last, last_value AS value, readings FROM series";
  assert.equal(stores.db.all(sql, DAY_MS, DAY_MS), [{ first: 0, last: 60_000, value: 2, readings: 2 }]);
});

test("partials whose times lie outside their window merge all the same", () => {
  const origin = stores.hello("a", ["pump/temp"]);
  for (let i = 0; i < 3; i++) {
    const frame = partialsOf([[0, DAY_MS + i, i]]);
    if (frame.kind !== "partials") throw new Error("no partials");
    const windows = decodeWindows(frame.windows).map((window) => ({ ...window, windowStartMs: DAY_MS + 60_000 }));
    stores.apply(origin, { ...frame, windows: encodeWindows(windows) });
  }
  assert.is(count("pump", "temp"), 3);
});

test("the series' newest value, first time and readings are those of all partials of a frame together", () => {
  const origin = stores.hello("a", ["pump/temp", "pump/flow"]);
  stores.readings(origin, [
    [0, DAY_MS + 120_000, 3],
    [1, DAY_MS, 9],
    [0, DAY_MS, 1],
    [0, DAY_MS + 60_000, 2],
  ]);
  const sql = "SELECT first_ts_ms - ? AS first, last_ts_ms - ? AS last, last_value AS value, readings FROM series";
  assert.equal(stores.db.all(sql, DAY_MS, DAY_MS), [
    { first: 0, last: 120_000, value: 3, readings: 3 },
    { first: 0, last: 0, value: 9, readings: 1 },
  ]);
});
