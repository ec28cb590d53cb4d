import { createPlant } from "../support/plant.ts";
import type { Plant } from "../support/plant.ts";
import { suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";
import { band, version } from "../shared/thresholds-support.ts";
import * as assert from "uvu/assert";

const test = suite("silence, recovery");

const DAY = "2026-03-14";
const START_MS = Date.parse(`${DAY}T12:00:00Z`);

let plant: Plant;

test.before.each(() => {
  plant = createPlant(tempFolder(), { nowMs: START_MS, pipeline: { seriesMax: 3000 } });
  plant.publish(version(1, 0, { rules: [["*", band({ intervalMs: 10_000, silenceIntervals: 6 })]] }));
});
test.after.each(() => plant.close());

/** Sends readings at these seconds, of the series of that number. */
function read(series: number, ...seconds: readonly number[]): void {
  for (const second of seconds) plant.send(`s/hall/pump/m${series}`, START_MS + second * 1000, 1);
  plant.pipeline.commit();
}

function ticks(...seconds: readonly number[]): void {
  for (const second of seconds) {
    plant.nowMs = START_MS + second * 1000;
    plant.pipeline.tick();
  }
}

/** Silences that stand at the aggregator, which a replay finds as well: state, from, to. */
function silences(): string[] {
  plant.ship();
  const alerts = plant.alerts();
  assert.equal(plant.replayedAlerts(), alerts);
  const second = (ms: number | null): number | string => (ms === null ? "" : (ms - START_MS) / 1000);
  return alerts.map(({ metric, state, startedAtMs, endedAtMs }) =>
    `${metric} ${state} ${second(startedAtMs)} ${second(endedAtMs)}`.trim(),
  );
}

for (const how of ["restart", "checkpoint and restart", "restart twice"] as const) {
  const restart = (): void => {
    if (how.startsWith("checkpoint")) plant.pipeline.checkpoint();
    plant.restart();
    if (how.endsWith("twice")) plant.restart();
  };

  test(`a silence that fires is taken back by a backlog, or ended, after a ${how}`, () => {
    read(0, 0);
    read(1, 0);
    // Of what a tick changes the next checkpoint has to know, even where no reading came.
    if (how.startsWith("checkpoint")) plant.pipeline.checkpoint();
    ticks(0, 30, 60, 90);
    assert.equal(silences(), ["m0 firing 0", "m1 firing 0"]);
    restart();
    read(0, 1);
    read(1, 95);
    ticks(100);
    assert.equal(silences(), ["m1 resolved 0 95"]);
    plant.pipeline.checkpoint();
    plant.ship();
    const { live, replay } = plant.reports(DAY);
    assert.is(live, replay);
    assert.match(live ?? "", '"alerts":1,');
  });

  test(`a gap that ended ahead of the clock is judged after a ${how}`, () => {
    read(0, 0);
    ticks(0, 50);
    read(0, 100);
    restart();
    ticks(60, 75, 110);
    assert.equal(silences(), ["m0 resolved 0 100"]);
  });

  test(`a late reading divides a silence from before a ${how}`, () => {
    ticks(0, 100, 200, 300);
    read(0, 0, 300);
    ticks(310);
    assert.equal(silences(), ["m0 resolved 0 300"]);
    restart();
    read(0, 50);
    restart();
    ticks(311, 312);
    assert.equal(silences(), ["m0 resolved 50 300"]);
  });
}

test("nobody is silent for the time in which the agent was down, or its sources were not connected", () => {
  read(0, 0);
  ticks(0, 30);
  plant.restart();
  ticks(120, 140);
  plant.pipeline.core.watching(false);
  ticks(200);
  plant.pipeline.core.watching(true);
  ticks(205);
  assert.equal(silences(), []);
  ticks(214);
  assert.equal(silences(), [], "59 seconds were watched");
  ticks(230, 245, 265);
  assert.equal(silences(), ["m0 firing 0"]);
});

test("a page that was written alone goes on from its own row, the other one from the log", () => {
  for (let series = 0; series < 1025; series++) plant.send(`s/hall/pump/m${series}`, START_MS, 1);
  plant.pipeline.commit();
  ticks(0, 30, 60, 90);
  plant.nowMs += 60_000;
  plant.pipeline.core.checkpointTurn();
  read(0, 91);
  read(1024, 91);
  plant.restart();
  for (let series = 1; series < 1024; series++) plant.send(`s/hall/pump/m${series}`, START_MS + 1000, 1);
  plant.pipeline.commit();
  ticks(92, 93);
  assert.equal(silences(), ["m0 resolved 0 91", "m1024 resolved 0 91"]);
});

test("a replay of a compacted log finds the same silences", () => {
  ticks(0, 100, 200, 300);
  read(0, 0, 10, 100, 180, 290);
  read(1, 20, 200, 120, 240);
  ticks(400);
  plant.pipeline.compact();
  assert.equal(silences(), [
    "m0 resolved 10 100",
    "m0 resolved 100 180",
    "m0 resolved 180 290",
    "m1 resolved 20 120",
    "m1 resolved 120 200",
  ]);
});
