import * as assert from "uvu/assert";
import { createPlant } from "../support/plant.ts";
import { suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";
import { version } from "./pipeline-fixture.ts";

const test = suite("re-folds and the outbox", { timeoutMs: 60_000 });

const DAY = "2026-03-14";
const DAY_MS = Date.parse(`${DAY}T00:00:00Z`);

test("re-folds of a late version wait for room in the outbox rather than push out what was not sent", () => {
  const plant = createPlant(tempFolder(), {
    nowMs: DAY_MS + 2 * 86_400_000,
    pipeline: { outboxBytesMax: 2 ** 18, checkpointIntervalMs: 0 },
  });
  for (let minute = 0; minute < 1440; minute++) {
    for (let device = 0; device < 16; device++)
      plant.send(`s/hall/pump-${device}/temp`, DAY_MS + minute * 60_000, minute % 50);
    if (minute % 100 !== 0) continue;
    plant.pipeline.checkpoint();
    plant.ship();
  }
  plant.pipeline.checkpoint();
  plant.ship();
  // The uplink is down from here on: a start, as of an import, runs what waits.
  plant.publish(version(1, 0, 40));
  plant.pipeline.checkpoint();
  plant.restart();
  plant.pipeline.checkpoint();
  for (let turn = 0; turn < 100; turn++) plant.pipeline.core.checkpointTurn();
  assert.is(plant.pipeline.core.ledger.dropped.outbox_full, undefined);
  assert.ok(plant.store.outboxBytes <= 2 ** 18);
  assert.ok(plant.pipeline.core.gauges.refolds_waiting! > 0);
  // It is back.
  for (let round = 0; round < 8; round++) {
    plant.ship();
    plant.pipeline.checkpoint();
  }
  plant.ship();
  assert.is(plant.pipeline.core.gauges.refolds_waiting, 0);
  const { live, batch, replay } = plant.reports(DAY);
  assert.is(live, batch);
  assert.is(live, replay);
  plant.close();
});
