import { readFileSync } from "node:fs";
import * as assert from "uvu/assert";
import { canonicalJson } from "@weir/shared/model/canonical-json";
import type { ThresholdListing } from "@weir/aggregator/queries";
import { dataSetPath, requireDataSets } from "../support/data-sets.ts";
import { eventually } from "../support/eventually.ts";
import { exactMean } from "../support/exact-mean.ts";
import { runSim, startAgent, startAggregator, waitForReadings } from "../support/pipeline-processes.ts";
import { requireServer, startInfluxd, startMosquitto } from "../support/servers.ts";
import { suite } from "../support/suite.ts";

const test = suite("real input through real servers", { timeoutMs: 150_000 });

const FILE = "nab/data/realKnownCause/ambient_temperature_system_failure.csv";
const LABELS = "nab/labels/combined_windows.json";
/** Trained on what was before, judged from here on. */
const CUT = "2013-12-01 00:00:00";

interface Row {
  readonly tsMs: number;
  readonly value: number;
}

function readRows(): Row[] {
  const lines = readFileSync(dataSetPath(FILE), "utf8").trim().split("\n").slice(1);
  return lines.map((line) => {
    const [time = "", value = ""] = line.split(",");
    return { tsMs: Date.parse(`${time.replace(" ", "T")}Z`), value: Number(value) };
  });
}

function byDay(rows: readonly Row[]): Map<string, number[]> {
  const days = new Map<string, number[]>();
  for (const { tsMs, value } of rows) {
    const day = new Date(tsMs).toISOString().slice(0, 10);
    days.set(day, [...(days.get(day) ?? []), value]);
  }
  return days;
}

if (requireDataSets(FILE, LABELS) && requireServer("mosquitto") && requireServer("influxd")) {
  test("a year of a failing machine: reports equal the file, points are in InfluxDB, the failure is an alert", async () => {
    const rows = readRows();
    const mosquitto = await startMosquitto();
    const influxd = await startInfluxd();
    const aggregator = await startAggregator({ "influx.url": influxd.url, "influx.database": "plant" });
    const agent = await startAgent(
      { "listen.enabled": "false", "uplink.url": aggregator.uplinkUrl },
      `[[broker]]\nurl = "${mosquitto.url}"\n`,
    );
    await eventually(() => assert.match(mosquitto.log(), /Received SUBSCRIBE|weir-gateway-1/));
    const replay = ["replay", dataSetPath(FILE), "--speed", "max", "--keep-time", "--mqtt.url", mosquitto.url];
    const names = ["--site", "plant", "--device", "machine", "--metric", "temperature"];
    const before = rows.filter(({ tsMs }) => tsMs < Date.parse(`${CUT.replace(" ", "T")}Z`)).length;
    await eventually(async () => assert.is((await aggregator.agents())[0]?.connected, true));
    await runSim([...replay, ...names, "--to", CUT]);
    await waitForReadings(aggregator, before);

    const draft = await aggregator.post<ThresholdListing>("/api/thresholds/train", {
      days: 150,
      note: "before the failure",
    });
    const effectiveFromMs = Date.parse(`${CUT.replace(" ", "T")}Z`);
    await aggregator.post(`/api/thresholds/${draft.version}/publish`, { effectiveFromMs });
    await eventually(async () => assert.equal((await aggregator.thresholds())[0]?.agents, ["gateway-1"]));
    await runSim([...replay, ...names, "--from", CUT]);
    await waitForReadings(aggregator, rows.length);

    const days = byDay(rows);
    const listed = await aggregator.reportDays();
    assert.equal(listed.map(({ day }) => day).toSorted(), [...days.keys()].toSorted());
    for (const [day, values] of days) {
      const report = await aggregator.report(day);
      assert.is(report.devices.length, 1);
      const [metric] = report.devices[0]!.metrics;
      assert.equal(
        { count: metric!.count, min: metric!.min, max: metric!.max, mean: metric!.mean },
        { count: values.length, min: Math.min(...values), max: Math.max(...values), mean: exactMean(values) },
        day,
      );
    }
    const replayed = await agent.replay("2013-12-22");
    assert.is(replayed, await aggregator.text("/api/reports/daily/2013-12-22"));
    assert.is(replayed, await aggregator.text("/api/reports/daily/2013-12-22?recompute=1"));
    assert.is(replayed, canonicalJson(JSON.parse(replayed)));

    await eventually(
      async () => {
        const answer = await influxd.query(
          "SELECT mean, count FROM readings WHERE site = 'plant' AND device = 'machine' AND metric = 'temperature'",
          "plant",
        );
        const points = answer.results[0]?.series?.[0]?.values ?? [];
        assert.equal(
          points,
          rows.map(({ tsMs, value }) => [tsMs, value, 1]),
        );
      },
      { timeoutMs: 30_000, intervalMs: 250 },
    );

    const windows = (JSON.parse(readFileSync(dataSetPath(LABELS), "utf8")) as Record<string, [string, string][]>)[
      "realKnownCause/ambient_temperature_system_failure.csv"
    ]!.map(([from, to]) => [Date.parse(`${from.replace(" ", "T")}Z`), Date.parse(`${to.replace(" ", "T")}Z`)] as const);
    const alerts = await aggregator.alerts();
    for (const [fromMs, toMs] of windows) {
      const within = alerts.filter(({ startedAtMs }) => startedAtMs >= fromMs && startedAtMs <= toMs);
      assert.ok(
        within.length > 0,
        `no alert between ${new Date(fromMs).toISOString()} and ${new Date(toMs).toISOString()}`,
      );
      assert.ok(within.every(({ thresholdVersion }) => thresholdVersion === draft.version));
    }
    await agent.process.stop();
    await aggregator.process.stop();
    await mosquitto.stop();
    await influxd.stop();
  });
}
