import * as assert from "uvu/assert";
import { DRAFTS_MAX, ThresholdStore } from "@weir/aggregator/stores/thresholds";
import { trainDraft } from "@weir/aggregator/jobs/train";
import { CodedError } from "@weir/shared/errors";
import { suite } from "../support/suite.ts";
import type { TestReading } from "./stores-fixture.ts";
import { NOBODY, Stores, versionOf } from "./stores-fixture.ts";

const test = suite("thresholds");

const DAY_MS = 86_400_000;
const START_MS = Date.UTC(2026, 2, 10);

let stores: Stores;
let thresholds: ThresholdStore;
test.before.each(() => {
  stores = new Stores();
  thresholds = new ThresholdStore(stores.db);
});
test.after.each(() => stores.close());

function draft(high: number): ReturnType<typeof thresholds.addDraft> {
  const { version: _, ...rest } = versionOf(0, 5, high);
  return thresholds.addDraft(rest);
}

test("numbers drafts on, over a restart as well", () => {
  assert.equal([draft(1).version, draft(2).version], [1, 2]);
  assert.is(new ThresholdStore(stores.db).addDraft(versionOf(0, 0, 3)).version, 3);
  assert.equal(
    thresholds.list().map(({ version, state }) => [version, state]),
    [
      [3, "draft"],
      [2, "draft"],
      [1, "draft"],
    ],
  );
  assert.equal(thresholds.published(), []);
});

test("publishing gives a draft its start and makes it final", () => {
  const { version } = draft(1);
  assert.equal(thresholds.publish(version, 777), { ...versionOf(1, 777, 1) });
  assert.equal(thresholds.publish(version, 888), versionOf(1, 777, 1));
  assert.equal(thresholds.get(version), versionOf(1, 777, 1));
  assert.equal(thresholds.published(), [versionOf(1, 777, 1)]);
  assert.equal(thresholds.list()[0]?.effectiveFromMs, 777);
});

test("knows no other number", () => {
  assert.throws(
    () => thresholds.publish(9, 0),
    (error: unknown) => error instanceof CodedError && error.code === "UNKNOWN_VERSION",
  );
  assert.is(thresholds.get(9), undefined);
});

test("lists who has a version in the log, and the newest of each agent", () => {
  stores.hello("a");
  stores.hello("b");
  draft(1);
  draft(2);
  for (const [agent, version] of [
    ["b", 2],
    ["a", 2],
    ["a", 1],
    ["a", 2],
  ] as const)
    thresholds.acknowledged(agent, version);
  assert.equal(
    thresholds.list().map(({ agents }) => agents),
    [["a", "b"], ["a"]],
  );
  assert.is(stores.agents.view("a", NOBODY)?.thresholdVersion, 2);
});

/** `count` readings of a series around `middle`, half a minute apart: a sawtooth of ±1. */
function sawtooth(series: number, fromMs: number, middle: number, count: number): TestReading[] {
  return Array.from({ length: count }, (_, i) => [series, fromMs + i * 30_000, middle + ((i % 21) - 10) / 10] as const);
}

const OPTIONS = { days: 7, note: "tonight", nowMs: 99, timezone: "Europe/Berlin" };

test("trains nothing from nothing", () => {
  const noHistory = (): void =>
    assert.throws(
      () => trainDraft(stores.db, [], OPTIONS),
      (error: unknown) => error instanceof CodedError && error.code === "NO_HISTORY",
    );
  noHistory();
  const origin = stores.hello("a", ["pump/temp"]);
  stores.readings(origin, sawtooth(0, START_MS, 50, 20));
  noHistory();
});

test("trains bands that hold the ordinary and shut out the strange, and keeps the rules", () => {
  const origin = stores.hello("a", ["pump/temp", "pump/flow", "fan/rpm"]);
  stores.readings(origin, [
    ...sawtooth(0, START_MS, 50, 1000),
    ...sawtooth(1, START_MS, -3000, 1000),
    ...sawtooth(2, START_MS, 0, 9),
  ]);
  const { rules } = versionOf(1, 0, 1);
  const trained = trainDraft(stores.db, rules, OPTIONS);
  assert.equal(
    [trained.note, trained.createdAtMs, trained.timezone, trained.rules],
    ["tonight", 99, "Europe/Berlin", rules],
  );
  assert.equal(
    trained.series.map(({ device, metric }) => `${device}/${metric}`),
    ["pump/flow", "pump/temp"],
  );
  for (const [index, middle] of [
    [0, -3000],
    [1, 50],
  ] as const) {
    const { band, baseline } = trained.series[index]!;
    assert.ok(band.criticalLow! < band.warningLow! && band.warningLow! < middle - 1, JSON.stringify(band));
    assert.ok(band.criticalHigh! > band.warningHigh! && band.warningHigh! > middle + 1, JSON.stringify(band));
    // Sketch buckets are wider far from 0; still, a hundredth of the value away is strange.
    assert.ok(
      band.warningHigh! < middle + 3 + Math.abs(middle) * 0.02 &&
        band.warningLow! > middle - 3 - Math.abs(middle) * 0.02,
    );
    assert.is(band.intervalMs, 30_000);
    assert.ok(Math.abs(baseline!.p50 - middle) <= 0.5 + Math.abs(middle) * 0.01);
  }
});

test("trains from the last days of each series, counted from its own newest reading", () => {
  const origin = stores.hello("a", ["pump/temp", "fan/rpm"]);
  stores.readings(origin, [...sawtooth(0, START_MS, 10, 500), ...sawtooth(0, START_MS + 20 * DAY_MS, 90, 500)]);
  stores.readings(origin, sawtooth(1, START_MS, 10, 500));
  const trained = trainDraft(stores.db, [], OPTIONS).series;
  assert.equal(
    trained.map(({ device, baseline }) => [device, Math.round(baseline!.p50 / 10)]),
    [
      ["fan", 1],
      ["pump", 9],
    ],
  );
});

test("keeps the newest drafts, and every published version", () => {
  const store = new ThresholdStore(stores.db);
  const { version: _, ...plan } = versionOf(1, 0, 1);
  for (let i = 1; i <= DRAFTS_MAX + 5; i++) {
    const { version } = store.addDraft(plan);
    if (i <= 2) store.publish(version, 0);
  }
  const { rules: _rules, series: _series, ...head } = { ...plan, version: store.nextVersion() };
  const body = new TextEncoder().encode(JSON.stringify({ ...plan, version: head.version }));
  assert.ok(store.addDraftBody(head, body));
  assert.is(store.addDraftBody(head, body), false, "that number is taken");
  const numbers = store.list().map(({ version }) => version);
  const drafts = Array.from({ length: DRAFTS_MAX }, (__, i) => head.version - i);
  assert.equal(numbers, [...drafts, 2, 1]);
  assert.equal(store.get(head.version), { ...plan, version: head.version });
  assert.equal([store.listing(head.version)?.rules, store.listing(head.version)?.state], [1, "draft"]);
});
