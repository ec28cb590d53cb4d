import { writeFileSync } from "node:fs";
import { join } from "node:path";
import * as assert from "uvu/assert";
import type { Backtest } from "@weir/agent/backtest";
import type { Alert } from "@weir/shared/model/alert";
import type { ThresholdVersion } from "@weir/shared/model/thresholds";
import type { Plant } from "../support/plant.ts";
import { createPlant } from "../support/plant.ts";
import { suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";
import { agent } from "./import-fixture.ts";
import { version } from "./pipeline-fixture.ts";

const test = suite("backtest of silence", { timeoutMs: 60_000 });

const DAY = "2026-03-14";
const DAY_MS = Date.parse(`${DAY}T08:00:00Z`);

/** A device sends for a minute, and then no more; the agent's clock goes on for ten minutes. */
function wentSilent(versions: readonly ThresholdVersion[]): { readonly plant: Plant; readonly folder: string } {
  const folder = tempFolder();
  const plant = createPlant(folder, { nowMs: DAY_MS });
  for (const one of versions) plant.publish(one);
  for (let second = 0; second < 660; second += 1) {
    plant.nowMs = DAY_MS + second * 1000;
    if (second < 60) plant.send("s/hall/pump/temp", plant.nowMs, second);
    if (second % 10 !== 9) continue;
    plant.pipeline.commit();
    plant.pipeline.tick();
  }
  plant.pipeline.checkpoint();
  plant.ship();
  return { plant, folder };
}

function candidate(intervalMs: number): ThresholdVersion {
  const one = version(1, 0, 1e9);
  return { ...one, rules: one.rules.map((rule) => ({ ...rule, band: { ...rule.band, intervalMs } })) };
}

async function counts(folder: string, one: ThresholdVersion): Promise<Backtest> {
  const file = join(tempFolder(), "version.json");
  writeFileSync(file, JSON.stringify(one));
  const end = await agent(folder, "replay", "--day", DAY, "--thresholds", file, "--json");
  assert.is(end.code, 0, end.stderr);
  return JSON.parse(end.stdout) as Backtest;
}

for (const [name, inForce] of [
  ["no thresholds were in force", []],
  ["those in force allow more", [candidate(3_600_000)]],
  ["those in force allow less", [candidate(1_000)]],
] as const) {
  test(`a device that is silent now counts, where ${name}`, async () => {
    const is = wentSilent(inForce);
    const alone = wentSilent([candidate(20_000)]);
    const silences = (alerts: readonly Alert[]): number => alerts.filter(({ kind }) => kind === "silence").length;
    assert.is(silences(alone.plant.alerts()), 1);
    const told = await counts(is.folder, candidate(20_000));
    assert.is(told.inForce, silences(is.plant.alerts()));
    assert.is(told.candidate, 1);
    is.plant.close();
    alone.plant.close();
  });
}

test("a candidate that is about no series of the log is noted", async () => {
  const { plant, folder } = wentSilent([]);
  plant.close();
  const file = join(tempFolder(), "rules.json");
  writeFileSync(file, JSON.stringify({ rules: [{ match: { device: "pmup" }, band: { warningHigh: 1 } }] }));
  const end = await agent(folder, "replay", "--day", DAY, "--thresholds", file, "--json");
  assert.is(end.code, 0);
  assert.match(end.stderr, /no band for any series of the log: check its names/);
});
