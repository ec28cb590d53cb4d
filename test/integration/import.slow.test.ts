import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parquetWriteBuffer } from "hyparquet-writer";
import mqtt from "mqtt";
import * as assert from "uvu/assert";
import { importFile, reportsOf } from "../agent/import-fixture.ts";
import { version } from "../agent/pipeline-fixture.ts";
import { dataSetPath, requireDataSets } from "../support/data-sets.ts";
import { startAgent, startAggregator, waitForReadings } from "../support/pipeline-processes.ts";
import { createPlant } from "../support/plant.ts";
import { suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";

const test = suite("import of real files", { timeoutMs: 120_000 });

const FAILURE = "nab/data/realKnownCause/ambient_temperature_system_failure.csv";
const TRAFFIC = "nab/data/realTraffic/speed_7578.csv";
const NAMES = ["--site", "plant", "--device", "machine", "--metric", "temperature", "--timezone", "UTC"];

interface Row {
  readonly tsMs: number;
  readonly value: number;
}

function rowsOf(file: string): Row[] {
  const lines = readFileSync(dataSetPath(file), "utf8").trim().split("\n").slice(1);
  return lines.map((line) => {
    const [time = "", value = ""] = line.split(",");
    return { tsMs: Date.parse(`${time.replace(" ", "T")}Z`), value: Number(value) };
  });
}

function parquetOf(rows: readonly Row[]): string {
  const file = join(tempFolder(), "rows.parquet");
  const columnData = [
    { name: "timestamp", data: rows.map(({ tsMs }) => new Date(tsMs)), type: "TIMESTAMP" as const },
    { name: "value", data: rows.map(({ value }) => value), type: "DOUBLE" as const },
  ];
  writeFileSync(file, Buffer.from(parquetWriteBuffer({ columnData })));
  return file;
}

/** Days that rows lie on. */
function daysOf(rows: readonly Row[]): string[] {
  return [...new Set(rows.map(({ tsMs }) => new Date(tsMs).toISOString().slice(0, 10)))].toSorted();
}

if (requireDataSets(FAILURE, TRAFFIC)) {
  for (const file of [FAILURE, TRAFFIC]) {
    test(`${file}: imported as CSV or Parquet, every day's report is that of the same readings as messages`, async () => {
      const rows = rowsOf(file);
      const median = rows.map(({ value }) => value).toSorted((a, b) => a - b)[Math.floor(rows.length / 2)]!;
      const thresholds = version(1, 0, 1.1 * median);
      const sent = createPlant(tempFolder(), { nowMs: Date.now() });
      sent.publish(thresholds);
      for (const { tsMs, value } of rows) sent.send("s/plant/machine/temperature", tsMs, value);
      sent.pipeline.tick();
      const days = daysOf(rows);
      const expected = days.map((day) => `${sent.reports(day).replay}\n`).join("");
      assert.ok(sent.replayedAlerts().length > 0);
      sent.close();
      for (const path of [dataSetPath(file), parquetOf(rows)]) {
        const folder = tempFolder();
        const plant = createPlant(folder, { nowMs: Date.now() });
        plant.publish(thresholds);
        plant.close();
        const summary = await importFile(folder, path, ...NAMES);
        const distinct = new Set(rows.map(({ tsMs, value }) => `${tsMs} ${value}`)).size;
        assert.equal(summary, {
          ...summary,
          rows: rows.length,
          stored: distinct,
          duplicates: rows.length - distinct,
          rejected: {},
        });
        assert.is(reportsOf(folder, days), expected);
      }
    });
  }

  test("the aggregator's report of imported days is that of the same readings published over MQTT", async () => {
    const rows = rowsOf(FAILURE).slice(0, 1000);
    const file = parquetOf(rows);
    const folder = tempFolder();
    await importFile(folder, file, "--site", "plant", "--device", "machine", "--metric", "temperature");
    const [from = ""] = daysOf(rows);
    const reports: string[] = [];
    for (const isImported of [true, false]) {
      const aggregator = await startAggregator();
      const settings = { "uplink.url": aggregator.uplinkUrl };
      const agent = isImported ? await startAgent(settings, "", folder) : await startAgent(settings);
      if (!isImported) {
        const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${agent.mqttPort}`);
        const payload = JSON.stringify(rows.map(({ tsMs, value }) => ({ ts: tsMs, value })));
        await client.publishAsync("sensors/plant/machine/temperature", payload, { qos: 1 });
        await client.endAsync();
      }
      await waitForReadings(aggregator, rows.length);
      const live = await aggregator.text(`/api/reports/daily/${from}`);
      assert.is(await aggregator.text(`/api/reports/daily/${from}?recompute=1`), live);
      assert.is(await agent.replay(from), live);
      reports.push(live);
      await agent.process.stop();
      await aggregator.process.stop();
    }
    assert.is(reports[0], reports[1]);
  });
}
