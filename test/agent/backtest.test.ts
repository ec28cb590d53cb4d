import { writeFileSync } from "node:fs";
import { join } from "node:path";
import * as assert from "uvu/assert";
import type { Backtest } from "@weir/agent/backtest";
import { compareAlerts, describeBacktest, parseCandidate, readCandidate } from "@weir/agent/backtest";
import type { Alert } from "@weir/shared/model/alert";
import type { Band, ThresholdVersion } from "@weir/shared/model/thresholds";
import type { Plant } from "../support/plant.ts";
import { createPlant } from "../support/plant.ts";
import { suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";
import { agent } from "./import-fixture.ts";
import { version } from "./pipeline-fixture.ts";

const test = suite("backtest", { timeoutMs: 60_000 });

const DAY = "2026-03-14";
const DAY_MS = Date.parse(`${DAY}T00:00:00Z`);
const TOPICS = ["s/hall/pump/temp", "s/hall/pump/flow", "s/yard/fan/temp"];

/** A plant with a day and a half of readings, some of them late, and these versions from the start. */
function plantOf(versions: readonly ThresholdVersion[]): { readonly plant: Plant; readonly folder: string } {
  const folder = tempFolder();
  const plant = createPlant(folder, { nowMs: DAY_MS + 3 * 86_400_000 });
  for (const one of versions) plant.publish(one);
  for (let i = 0; i < 6480; i++) {
    const minute = Math.floor(i / 3);
    // Every seventh comes half a day late.
    const tsMs = DAY_MS + (minute % 7 === 0 ? minute - 720 : minute) * 60_000;
    const value = 12 * Math.sin(minute / 40 + i) + (minute % 97 === 0 ? 20 : 0);
    plant.send(TOPICS[i % 3]!, tsMs, Math.round(value * 100) / 100);
    if (i % 1000 === 0) plant.pipeline.commit();
  }
  plant.pipeline.checkpoint();
  plant.ship();
  return { plant, folder };
}

function band(high: number): Band {
  const limits = { warningLow: -high, warningHigh: high, criticalLow: null, criticalHigh: 2 * high };
  return { ...limits, forMs: 0, gapMs: 120_000, intervalMs: 60_000 };
}

/** As the trainer makes them: bands by series, one of them by the hour of the week, rules for the rest. */
const TRAINED: ThresholdVersion = {
  ...version(7, 0, 11),
  timezone: "Europe/Berlin",
  note: "trained from 14 days",
  series: [
    { site: "hall", device: "pump", metric: "temp", band: band(8), baseline: { p05: -9, p50: 0, p95: 9 } },
    {
      site: "yard",
      device: "fan",
      metric: "temp",
      band: band(8),
      hourOfWeek: Array.from({ length: 168 }, (_, hour) => band(hour % 2 === 0 ? 6 : 15)),
    },
  ],
};

function began(alerts: readonly Alert[]): Alert[] {
  return alerts.filter(({ startedAtMs }) => startedAtMs >= DAY_MS && startedAtMs < DAY_MS + 86_400_000);
}

async function backtest(folder: string, thresholds: string): Promise<Backtest> {
  const end = await agent(folder, "replay", "--day", DAY, "--thresholds", thresholds, "--json");
  assert.is(end.code, 0, end.stderr);
  const { from, to, timezone, versions, ...counts } = JSON.parse(end.stdout) as Backtest & Record<string, unknown>;
  assert.equal([from, to, timezone], [DAY, DAY, "UTC"]);
  assert.equal(versions, [1, 2]);
  return counts;
}

test("counts what fires where the candidate is published from the start, by file or number", async () => {
  const inForce = [version(1, 0, 10), version(2, DAY_MS + 43_200_000, 30)];
  const { plant, folder } = plantOf(inForce);
  const before = began(plant.alerts());
  assert.ok(before.length > 10);
  const file = join(tempFolder(), "version.json");
  writeFileSync(file, JSON.stringify({ ...TRAINED, effectiveFromMs: Date.now() }));
  const rules = join(tempFolder(), "rules.json");
  writeFileSync(
    rules,
    JSON.stringify({ rules: [{ match: { metric: "temp" }, band: { warningHigh: 5, gapMs: 60_000 } }] }),
  );
  for (const [named, candidate] of [
    [file, TRAINED],
    [
      rules,
      parseCandidate(
        JSON.parse('{"rules":[{"match":{"metric":"temp"},"band":{"warningHigh":5,"gapMs":60000}}]}'),
        1,
        "UTC",
      ),
    ],
    ["2", { ...inForce[1]!, version: 1 }],
  ] as const) {
    const alone = plantOf([{ ...candidate, effectiveFromMs: 0 }]);
    const fired = began(alone.plant.alerts());
    alone.plant.close();
    const counts = await backtest(folder, named);
    assert.equal(counts, JSON.parse(JSON.stringify(compareAlerts(before, fired))), named);
    assert.is(counts.inForce, before.length);
    assert.is(counts.candidate, fired.length);
    assert.is.not(counts.candidate, counts.inForce);
  }
  plant.close();
});

test("a table for people: most of the candidate's alerts first, sums and differences", async () => {
  const { plant, folder } = plantOf([version(1, 0, 10)]);
  plant.close();
  const end = await agent(folder, "replay", "--from", DAY, "--to", "2026-03-15", "--thresholds", "1");
  assert.is(end.code, 0, end.stderr);
  assert.match(
    end.stdout,
    /^Alerts from 2026-03-14 to 2026-03-15 \(UTC\), by their start\.\nDEVICE +KIND +SEVERITY +IN FORCE +CANDIDATE +DIFFERENCE\n/,
  );
  const alert = (device: string, kind: string, severity: string): Alert =>
    ({ site: "s", device, kind, severity, state: "resolved" }) as unknown as Alert;
  const withdrawn = { ...alert("b", "high", "warning"), state: "withdrawn" } as Alert;
  const before = [
    alert("a", "high", "warning"),
    alert("a", "high", "warning"),
    alert("b", "low", "critical"),
    withdrawn,
  ];
  const after = [
    alert("b", "low", "critical"),
    alert("b", "high", "warning"),
    alert("c", "high", "critical"),
    withdrawn,
  ];
  assert.is(
    describeBacktest(compareAlerts(before, after)),
    [
      "DEVICE  KIND  SEVERITY  IN FORCE  CANDIDATE  DIFFERENCE",
      "s/b     high  warning          0          1          +1",
      "s/b     low   critical         1          1           0",
      "s/c     high  critical         0          1          +1",
      "s/a     high  warning          2          0          -2",
      "total                          3          3           0",
      "",
    ].join("\n"),
  );
});

test("what is no candidate is refused by name, exit 2", async () => {
  const { plant, folder } = plantOf([version(1, 0, 10), version(3, DAY_MS, 10)]);
  const problemOf = (json: unknown): string => {
    const file = join(tempFolder(), "candidate.json");
    writeFileSync(file, typeof json === "string" ? json : JSON.stringify(json));
    try {
      readCandidate(file, plant.store, "UTC");
    } catch (error) {
      assert.is((error as { code?: string }).code, "BAD_CANDIDATE");
      return (error as Error).message;
    }
    return "none";
  };
  assert.match(problemOf("no JSON"), /--thresholds .*candidate\.json: .*JSON/);
  assert.match(problemOf([1]), /must be an object/);
  assert.match(problemOf({ rules: [{ band: { warningHi: 1 } }] }), /rules\[0\]\.band\.warningHi is not known/);
  assert.match(problemOf({ ...TRAINED, timezone: "Nowhere" }), /Unknown time zone Nowhere/);
  assert.match(problemOf({ ...TRAINED, series: {} }), /series must be a list/);
  assert.match(problemOf({ series: [{ site: "a", device: "b", band: {} }] }), /series\[0\] must name its site, device/);
  const [one] = TRAINED.series;
  assert.match(
    problemOf({ series: [{ ...one, band: { warningHigh: "1" } }] }),
    /series\[0\]\.band\.warningHigh must be a number/,
  );
  assert.match(problemOf({ series: [{ ...one, hourOfWeek: [] }] }), /series\[0\]\.hourOfWeek must have 168 bands/);
  assert.is(problemOf({ series: [one] }), "none");
  plant.close();
  const number = await agent(folder, "replay", "--day", DAY, "--thresholds", "2");
  assert.is(number.code, 2);
  assert.match(number.stderr, /The log has no threshold version 2: it has 1, 3\./);
  const file = await agent(folder, "replay", "--day", DAY, "--thresholds", "/nowhere.json");
  assert.is(file.code, 2);
  assert.match(file.stderr, /--thresholds \/nowhere\.json: ENOENT/);
});
