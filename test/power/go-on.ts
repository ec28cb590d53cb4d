import type { ThresholdVersion } from "@weir/shared/model/thresholds";
import type { AgentMessage } from "@weir/shared/wire/messages";
import * as assert from "uvu/assert";
import { memoryFolder } from "../support/memory-folder.ts";
import type { Plant } from "../support/plant.ts";
import { createPlant } from "../support/plant.ts";
import type { RecordedRun } from "./recorded-run.ts";
import { readingOf, WINDOW_MS } from "./recorded-run.ts";
import { readingsOf } from "./stored-readings.ts";
import { messagesOfAggregator } from "./traffic.ts";

/** Readings that devices send again: the first of them were acknowledged. */
const REDELIVERED = 50;

/**
 * After a power cut the agent starts on its files, devices send again what they must and what is there already, what waits
 * is folded again, the log is compacted, and an aggregator that has kept what left the agent gets the rest: every reading
 * is there once, and its report, the one by `?recompute=1`, the replay's, and that of the plain batch are one. stored: which
 * readings the files hold. messages: those that had left the agent.
 */
export function goOn(folder: string, stored: Uint8Array, run: RecordedRun, messages: readonly AgentMessage[]): void {
  const versions = versionsOf(run);
  const options = { nowMs: run.fromMs + 2 * 3_600_000, pipeline: { windowMs: WINDOW_MS } };
  const plant = createPlant(folder, options);
  const beside = memoryFolder();
  const plain = createPlant(beside.path, options);
  try {
    plant.take(messages.filter((message) => message.type === "frame"));
    for (const version of versions) plant.publish(version);
    sendAgain(plant, stored, run);
    plant.pipeline.commit();
    plant.pipeline.compact();
    assert.ok(Buffer.compare(readingsOf(plant.store, run), stored) === 0, "each is there once, compacted or not");
    plant.ship();
    for (const version of versions) plain.publish(version);
    sendInOrder(plain, stored, run.fromMs);
    for (const { nowMs, watching } of plant.ticks()) plain.tick(nowMs, watching === true);
    plain.pipeline.checkpoint();
    compare(plant, plain, run);
  } finally {
    plant.close();
    plain.close();
    beside.remove();
  }
}

/** All versions that the aggregator broadcast in the run. */
function versionsOf({ aggregator, httpPort }: RecordedRun): ThresholdVersion[] {
  const versions = new Map<number, ThresholdVersion>();
  for (const { message } of messagesOfAggregator(aggregator.events, httpPort)) {
    if (message.type === "thresholds") versions.set(message.version.version, message.version);
  }
  return [...versions.values()];
}

function sendAgain(plant: Plant, stored: Uint8Array, { readings, fromMs }: RecordedRun): void {
  const first = stored.indexOf(0, 1);
  const numbers = Array.from({ length: REDELIVERED }, (_, i) => Math.max(1, first - REDELIVERED / 2) + i);
  for (const number of numbers) {
    if (number > readings) continue;
    const { topic, tsMs, value } = readingOf(number, fromMs);
    plant.send(topic, tsMs, value);
    stored[number] = 1;
  }
}

function sendInOrder(plain: Plant, stored: Uint8Array, fromMs: number): void {
  const readings = Array.from(stored.keys())
    .filter((number) => stored[number] === 1)
    .map((number) => readingOf(number, fromMs))
    .toSorted((a, b) => a.tsMs - b.tsMs);
  for (const [i, { topic, tsMs, value }] of readings.entries()) {
    plain.send(topic, tsMs, value);
    if (i % 5000 === 4999) plain.pipeline.commit();
  }
  plain.pipeline.commit();
}

/** Of the live readings, which are all still in the log; days on which there are some, and not the imported ones. */
function compare(plant: Plant, plain: Plant, { fromMs, readings }: RecordedRun): void {
  const isLive = ({ device }: { readonly device: string }): boolean => device.startsWith("dev-");
  const days = new Set(
    [1, readings].map((number) => new Date(readingOf(number, fromMs).tsMs).toISOString().slice(0, 10)),
  );
  for (const day of days) {
    const { live, batch, replay } = plant.reports(day);
    assert.is(live, batch);
    const devices = [live, replay, plain.reports(day).replay].map((report) => {
      if (report === undefined) return [];
      return (JSON.parse(report) as { devices: Array<{ device: string }> }).devices.filter(isLive);
    });
    assert.equal(devices[0], devices[1], "live and replay");
    assert.equal(devices[1], devices[2], "replay and the plain batch");
  }
  const alerts = [plant.alerts(), plant.replayedAlerts(), plain.replayedAlerts()].map((all) => all.filter(isLive));
  assert.equal(alerts[0], alerts[1], "alerts, live and replayed");
  assert.equal(alerts[1], alerts[2], "alerts, replayed and of the plain batch");
}
