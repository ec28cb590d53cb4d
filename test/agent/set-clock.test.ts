import { createPlant } from "../support/plant.ts";
import type { Plant } from "../support/plant.ts";
import { suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";
import { band, version } from "../shared/thresholds-support.ts";
import * as assert from "uvu/assert";

const test = suite("an agent whose clock is set");

const DAY = "2026-03-14";
const START_MS = Date.parse(`${DAY}T12:00:00Z`);
const DAY_MS = 86_400_000;
const YEAR_MS = 365 * DAY_MS;

let plant: Plant;

test.before.each(() => {
  plant = createPlant(tempFolder(), { nowMs: START_MS, pipeline: { logAgeMaxMs: 35 * DAY_MS } });
  plant.publish(version(1, 0, { rules: [["*", band({ intervalMs: 10_000, silenceIntervals: 6 })]] }));
});
test.after.each(() => plant.close());

/**
 * Goes on from one second of the day to another in steps of 10 s, each with a tick. devices: those that send, and by how
 * much their clocks are off; the gateway's is off by clockMs.
 */
function run(from: number, to: number, devices: Readonly<Record<string, number>>, clockMs = 0): void {
  for (let second = from; second <= to; second += 10) {
    plant.nowMs = START_MS + second * 1000 + clockMs;
    for (const [device, offMs] of Object.entries(devices)) {
      plant.send(`s/hall/${device}/t`, START_MS + second * 1000 + offMs, second);
    }
    plant.pipeline.commit();
    plant.pipeline.tick();
    plant.pipeline.core.checkpointTurn();
  }
}

/** Silences that stand at the aggregator, which a replay finds as well: device, state, from. */
function silences(): string[] {
  plant.ship();
  const alerts = plant.alerts();
  assert.equal(plant.replayedAlerts(), alerts);
  return alerts.map(({ device, state, startedAtMs }) => `${device} ${state} ${(startedAtMs - START_MS) / 1000}`);
}

function readingsOfDay(path: "live" | "replay"): number {
  const report = JSON.parse(plant.reports(DAY)[path]!) as { devices: Array<{ readings: number }> };
  return report.devices.reduce((sum, { readings }) => sum + readings, 0);
}

for (const [what, aheadMs] of [
  ["a year", YEAR_MS],
  ["a day", DAY_MS],
  ["two hours", 7_200_000],
] as const) {
  test(`a gateway that was ${what} ahead for a while finds silences again as soon as it is right`, () => {
    run(0, 100, { a: 0, b: 0 });
    run(110, 300, { a: 0, b: 0 }, aheadMs);
    run(310, 400, { a: 0, b: 0 });
    assert.equal(silences(), []);
    run(410, 500, { b: 0 });
    assert.equal(silences(), ["a firing 400"]);
    plant.restart();
    run(510, 600, { a: 0, b: 0 });
    assert.equal(silences(), ["a resolved 400"]);
  });
}

test("a gateway that was two hours ahead for longer than that finds them again as well", () => {
  for (let second = 0; second <= 9000; second += 50) run(second, second, { a: 0, b: 0 }, 7_200_000);
  run(9010, 9200, { a: 0, b: 0 });
  assert.equal(silences(), []);
  run(9210, 9300, { b: 0 });
  assert.equal(silences(), ["a firing 9200"]);
});

test("a gateway that was ahead, and then starts in the past until the network tells it the time, finds silences", () => {
  run(0, 40, { a: 0, b: 0 }, YEAR_MS);
  plant.sendText("s/hall/a/t", '{"value": 1}');
  run(50, 90, { b: 0 }, YEAR_MS);
  plant.nowMs = START_MS - 3 * YEAR_MS;
  plant.restart();
  plant.pipeline.tick();
  run(100, 300, { b: 0 });
  plant.pipeline.checkpoint();
  // Stamped by a clock that was a year ahead, a reading ends it in a year.
  assert.equal(silences(), ["a resolved 40"]);
});

test("a late reading that makes a series begin earlier hides nothing that is to be judged anew", () => {
  run(0, 20, { b: 0 });
  for (const day of [5, 6]) run(0, 20, { b: 0, a: day * DAY_MS }, day * DAY_MS);
  run(30, 60, { b: 0 });
  plant.send("s/hall/a/t", START_MS + 60_000, 1);
  run(70, 80, { b: 0 });
  plant.pipeline.checkpoint();
  run(100, 200, { b: 5 * DAY_MS }, 5 * DAY_MS);
  plant.pipeline.checkpoint();
  assert.ok(silences().includes(`a resolved ${5 * 86_400 + 20}`));
});

test("after the clock was set back far, summaries go on to the aggregator", () => {
  run(0, 100, { a: 0 }, DAY_MS);
  run(110, 200, { a: 0 });
  plant.ship();
  assert.is(readingsOfDay("live"), 21);
});

test("a clock that is a year ahead makes nothing of the log old", () => {
  run(0, 100, { a: 0 });
  plant.nowMs += YEAR_MS;
  plant.restart();
  run(110, 150, { a: 0 }, YEAR_MS);
  plant.pipeline.checkpoint();
  plant.restart();
  run(160, 200, { a: 0 }, YEAR_MS);
  plant.pipeline.checkpoint();
  plant.restart();
  run(210, 300, { a: 0 });
  plant.pipeline.checkpoint();
  plant.ship();
  assert.equal([readingsOfDay("live"), readingsOfDay("replay")], [31, 31]);
  assert.is(plant.store.wholeFromMs, -Infinity);
});

test("a log that is too old goes when the clock that says so has gone on for a day", () => {
  run(0, 100, { a: 0 });
  for (let hour = 0; hour <= 24; hour++) {
    assert.is(plant.store.wholeFromMs, -Infinity);
    plant.nowMs = START_MS + YEAR_MS + hour * 3_600_000;
    plant.pipeline.checkpoint();
  }
  assert.is(plant.store.wholeFromMs, START_MS + 100_001);
});

for (const [what, hoursOn] of [
  ["during the day", 9],
  ["for an hour a day", 1],
] as const) {
  test(`the log of a gateway that is on only ${what} is trimmed by age, after a long rest as well`, () => {
    run(0, 100, { a: 0 });
    for (let day = 40; day < 44; day++) {
      // A little later each day.
      const startMs = START_MS + day * DAY_MS + day * 300_000;
      plant.nowMs = startMs;
      plant.restart();
      for (; plant.nowMs < startMs + hoursOn * 3_600_000; plant.nowMs += 900_000) plant.pipeline.checkpoint();
      assert.is(plant.store.wholeFromMs, day < 41 ? -Infinity : START_MS + 100_001, `day ${day}`);
    }
  });
}

test("a clock that is ahead at each start, until the network sets it right, makes nothing of the log old", () => {
  run(0, 100, { a: 0 });
  for (let start = 0; start < 26; start++) {
    for (const aheadMs of [YEAR_MS, 0]) {
      for (let minute = 0; minute < 60; minute += 12) {
        plant.nowMs = START_MS + (3 * DAY_MS + (start * 60 + minute) * 60_000) + aheadMs;
        if (minute === 0 && aheadMs > 0) plant.restart();
        plant.pipeline.checkpoint();
      }
    }
  }
  assert.is(plant.store.wholeFromMs, -Infinity);
});

test("a device that sends is not silent while its clock is behind", () => {
  run(0, 100, { a: 0, b: 0 });
  run(110, 400, { a: -3_600_000, b: 0 });
  assert.equal(silences(), []);
  run(410, 500, { b: 0 });
  assert.equal(silences(), ["a firing 100"]);
});

test("a process that stood still calls nobody silent before it has read what came meanwhile", () => {
  run(0, 100, { a: 0 });
  plant.nowMs += 10_000;
  plant.pipeline.tick();
  plant.nowMs += 150_000;
  plant.pipeline.tick();
  assert.equal(silences(), []);
  for (let second = 110; second <= 260; second += 10) plant.send("s/hall/a/t", START_MS + second * 1000, 1);
  plant.pipeline.commit();
  plant.nowMs += 10_000;
  plant.pipeline.tick();
  assert.equal(silences(), []);
});
