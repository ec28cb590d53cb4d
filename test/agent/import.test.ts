import { readFileSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { parquetWriteBuffer } from "hyparquet-writer";
import * as assert from "uvu/assert";
import { runImport } from "@weir/agent/import/import-command";
import { LogReplay } from "@weir/agent/replay";
import { agentEnvPrefix, agentSections, agentSettings } from "@weir/agent/settings";
import { loadSettings } from "@weir/shared/config/settings";
import { createCalendar } from "@weir/shared/operators/calendar";
import { eventually } from "../support/eventually.ts";
import { startAgent } from "../support/pipeline-processes.ts";
import { createPlant } from "../support/plant.ts";
import { startProcess } from "../support/processes.ts";
import { suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";
import {
  agent,
  agentArgs,
  DAYS,
  fileOf,
  FIRST_MS,
  importFile,
  judgingFolder,
  longCsv,
  look,
  madeUpRows,
  placeOf,
  reportsOf,
  writeLongParquet,
} from "./import-fixture.ts";
import type { Row } from "./import-fixture.ts";
import { version } from "./pipeline-fixture.ts";

const test = suite("weir-agent import", { timeoutMs: 120_000 });

/** The reports and alerts of the same readings, sent as messages. */
function sentReports(rows: readonly Row[]): { readonly reports: string; readonly alerts: number } {
  const plant = createPlant(tempFolder(), { nowMs: Date.now() });
  plant.publish(version(1, 0, 50));
  rows.forEach(({ tsMs, site, device, metric, value }, i) => {
    plant.send(`s/${site}/${device}/${metric}`, tsMs, value);
    if (i % 5000 === 0) plant.pipeline.commit();
  });
  plant.pipeline.tick();
  const reports = DAYS.map((day) => plant.reports(day).replay).filter((report) => report !== undefined);
  const alerts = plant.replayedAlerts().length;
  plant.close();
  return { reports: reports.map((report) => `${report}\n`).join(""), alerts };
}

test("CSV, packed CSV and Parquet of the same rows give the bytes that messages give, alerts included", async () => {
  const rows = madeUpRows(20_000, 3);
  const sent = sentReports(rows);
  assert.ok(sent.alerts > 10);
  const folder = tempFolder();
  const indexed = join(folder, "indexed.parquet");
  const grouped = join(folder, "grouped.parquet");
  writeLongParquet(indexed, rows, 7000, true);
  writeLongParquet(grouped, rows, 999, false);
  const text = longCsv(rows);
  for (const file of [fileOf(text), fileOf(gzipSync(text), "history.csv.gz"), indexed, grouped]) {
    const data = judgingFolder();
    const summary = await importFile(data, file, "--ingest.batch_readings_max", "4096");
    assert.equal(summary, { ...summary, end: "done", rows: 20_000, stored: 20_000, duplicates: 0, rejected: {} });
    assert.is(reportsOf(data, DAYS), sent.reports, file);
    const alerts = look(data, (store) => [...new LogReplay(store, createCalendar("UTC"), "agent-1").fold().alerts()]);
    assert.is(alerts.length, sent.alerts);
  }
});

test("a column a metric: the readings of a reading a row; an empty field is none", async () => {
  const times = Array.from({ length: 300 }, (_, i) => FIRST_MS + i * 60_000);
  const rows = times.flatMap((tsMs, i) => [
    { tsMs, site: "hall", device: "press", metric: "force", value: i },
    ...(i % 2 === 0 ? [{ tsMs, site: "hall", device: "press", metric: "m per s", value: -i / 4 }] : []),
  ]);
  const wide = times.map((tsMs, i) => `${i};${tsMs / 1000};${i};${i % 2 === 0 ? -i / 4 : ""}`);
  const file = fileOf(`;clock;force;m/s\n${wide.join("\n")}\n`);
  const long = fileOf(longCsv(rows));
  const folders = [tempFolder(), tempFolder()] as const;
  const options = ["--time", "clock", "--site", "hall", "--device", "press", "--columns", "force,m/s=m per s"];
  assert.is((await importFile(folders[0], file, ...options)).stored, 450);
  assert.is((await importFile(folders[1], long)).stored, 450);
  assert.is(reportsOf(folders[0], DAYS), reportsOf(folders[1], DAYS));
});

test("local times and whole numbers of Parquet, without and with a time zone", async () => {
  const file = join(tempFolder(), "local.parquet");
  const schema = [
    { name: "root", num_children: 2 },
    {
      name: "time",
      type: "INT64" as const,
      repetition_type: "REQUIRED" as const,
      logical_type: { type: "TIMESTAMP" as const, isAdjustedToUTC: false, unit: "MICROS" as const },
    },
    { name: "count", type: "INT64" as const, repetition_type: "OPTIONAL" as const },
  ];
  const time = { name: "time", data: [0, 1, 2].map((i) => BigInt(FIRST_MS + i) * 1000n) };
  const columnData = [time, { name: "count", data: [7n, null, 9n] }];
  writeFileSync(file, Buffer.from(parquetWriteBuffer({ columnData, schema })));
  const folder = tempFolder();
  const refused = await agent(folder, "import", file, "--device", "d");
  assert.is(refused.code, 2);
  assert.match(refused.stderr, /column "time" say no offset from UTC.*--timezone/);
  assert.is((await importFile(folder, file, "--device", "d", "--timezone", "Asia/Tokyo")).stored, 2);
  const stored = look(folder, (store) =>
    [...store.entries(0)].flatMap((entry) =>
      entry.kind === "block" ? [...entry.block.tsMs.subarray(0, entry.block.count)] : [],
    ),
  );
  assert.equal(stored, [FIRST_MS - 9 * 3_600_000, FIRST_MS + 2 - 9 * 3_600_000]);
});

test("bad rows are counted by reason and kept, and stop nothing", async () => {
  const lines = [
    "time,device,value",
    "2026-01-05T00:00:00Z,d,1",
    "2026-01-05T00:00:01Z,d,one",
    "2026-01-05T00:00:02Z,d,",
    "2026-01-05T00:00:03Z,d,NaN",
    "2026-01-05T00:00:04Z,a/b,1",
    "05.01.2026,d,1",
    ",d,1",
    "2026-01-05 00:00:06,d,1",
    "1999-01-05T00:00:00Z,d,1",
    "2126-01-05T00:00:00Z,d,1",
    '2026-01-05T00:00:07Z,d,"1',
    "2026-01-05T00:00:08Z,d,2",
    "2026-01-05T00:00:08Z,d,2",
    "2026-01-05T00:00:08Z",
  ];
  const folder = tempFolder();
  const summary = await importFile(folder, fileOf(lines.join("\n"), "bad.csv"));
  assert.equal(summary, {
    ...summary,
    end: "done",
    rows: 14,
    stored: 2,
    duplicates: 1,
    rejected: {
      number_malformed: 1,
      value_missing: 2,
      not_finite: 1,
      name_invalid: 1,
      time_malformed: 1,
      time_missing: 1,
      time_without_zone: 1,
      time_before_floor: 1,
      time_ahead: 1,
      row_malformed: 1,
    },
  });
  look(folder, (store) => {
    const letters = store.deadLetters(100);
    assert.is(letters.length, 11);
    const malformed = letters.find(({ reason }) => reason === "number_malformed")!;
    assert.equal([malformed.source, malformed.topic], ["import", "bad.csv:2"]);
    assert.is(Buffer.from(malformed.head).toString(), "2026-01-05T00:00:01Z,d,one");
    const counts = new Map(store.ledger().map(({ reason, count }) => [reason, count]));
    assert.is(counts.get("received"), 14);
    assert.is(
      [...counts.values()].reduce((sum, count) => sum + count, 0),
      28,
    );
  });
  const useless = await agent(tempFolder(), "import", fileOf("time,device,value\n1,d,1\n2,d,2\n"));
  assert.is(useless.code, 1);
  assert.match(useless.stderr, /No reading of this file could be used/);
});

test("a file imported again changes nothing, whether it is known by its looks or by its readings", async () => {
  const file = fileOf(longCsv(madeUpRows(6000, 3)));
  const folder = judgingFolder();
  await importFile(folder, file);
  const reports = reportsOf(folder, DAYS);
  const again = await importFile(folder, file);
  assert.equal(again, { ...again, end: "done", skipped: 6000, rows: 0, stored: 0, duplicates: 0 });
  // As a copy of it, which has another time of change.
  utimesSync(file, 1, 1);
  const copied = await importFile(folder, file);
  assert.equal(copied, { ...copied, end: "done", skipped: 0, rows: 6000, stored: 0, duplicates: 6000 });
  assert.is(reportsOf(folder, DAYS), reports);
});

test("a signal ends it after a group commit; the same command goes on", async () => {
  const file = fileOf(longCsv(madeUpRows(60_000, 4)));
  const folder = judgingFolder();
  const small = ["--ingest.batch_readings_max", "256"];
  const child = await startProcess(process.execPath, agentArgs(folder, ["import", file, ...small]));
  await eventually(() => assert.ok(placeOf(folder) > 0), { intervalMs: 5, timeoutMs: 30_000 });
  child.signal("SIGINT");
  assert.is((await child.ended).code, 1);
  assert.match(child.stderr(), /was stopped.*goes on from there/);
  const place = placeOf(folder);
  const rest = await importFile(folder, file);
  assert.is(rest.skipped, place);
  assert.is(rest.stored, 60_000 - place);
});

test("beside a running agent it is refused, with what to do, and neither is harmed", async () => {
  const running = await startAgent({});
  const refused = await agent(running.folder, "import", fileOf(longCsv(madeUpRows(10, 1))));
  assert.is(refused.code, 1);
  assert.match(refused.stderr, /An agent, or another import, is running on .*Stop it, import, and start it again/);
  assert.ok(running.process.isRunning());
  assert.is((await running.process.stop()).code, 0);
});

test("stops before the outbox is full, drops nothing of it, and goes on when there is room", async () => {
  // A reading a window: each comes to a partial of its own.
  const rows = madeUpRows(40_000, 1).map((row, i) => ({ ...row, tsMs: FIRST_MS + i * 60_000 }));
  const file = fileOf(longCsv(rows));
  const folder = judgingFolder();
  const full = await agent(folder, "import", file, "--json", "--outbox.bytes_max", "1MiB");
  assert.is(full.code, 1);
  assert.match(full.stderr, /The outbox is full.*no uplink\.url.*raise outbox\.bytes_max, and import again/);
  const withUplink = await agent(
    folder,
    "import",
    file,
    "--outbox.bytes_max",
    "1MiB",
    "--uplink.url",
    "ws://127.0.0.1:9/uplink",
  );
  assert.match(withUplink.stderr, /The outbox is full.*Start the agent, let it send/);
  const { rows: done } = JSON.parse(full.stdout) as { rows: number };
  assert.ok(done > 1000 && done < 40_000, `stopped after ${done} rows`);
  const { bytes, lost } = look(folder, (store) => ({
    bytes: store.outboxBytes,
    lost: store.ledger().filter(({ reason }) => reason.startsWith("lost.")),
  }));
  assert.ok(bytes > 512 * 1024 && bytes <= 1024 * 1024, `${bytes} bytes wait`);
  assert.equal(lost, []);
  const rest = await importFile(folder, file);
  assert.is(rest.stored, 40_000 - done - (JSON.parse(full.stdout) as { skipped: number }).skipped);
});

test("a packed file that breaks off: what could be read of it is in the log", async () => {
  const packed = gzipSync(longCsv(madeUpRows(50_000, 3)));
  const folder = tempFolder();
  const broken = await agent(folder, "import", fileOf(packed.subarray(0, packed.length / 2), "half.csv.gz"));
  assert.is(broken.code, 1);
  assert.match(broken.stderr, /Cannot read on in .*half\.csv\.gz: unexpected end of file/);
  const stored = look(folder, (store) => store.ledger().find(({ reason }) => reason === "stored")?.count ?? 0);
  assert.ok(stored > 10_000 && stored < 50_000, `${stored} stored`);
});

test("what cannot be an import is refused before anything is written, exit 2", async () => {
  const folder = join(tempFolder(), "new");
  const csv = fileOf("timestamp,value\n2014-04-01 00:00:00,20.0\n");
  const device = { device: "d" };
  const cases: ReadonlyArray<
    readonly [{ readonly options?: Record<string, string>; readonly files: string[] }, RegExp]
  > = [
    [{ files: [] }, /import needs one file, 0 were given/],
    [{ files: [csv, csv] }, /import needs one file, 2 were given/],
    [{ files: ["/nowhere.csv"] }, /Cannot read \/nowhere\.csv: ENOENT/],
    [{ files: [tempFolder()] }, /is no regular file/],
    [{ files: [csv] }, /No column device/],
    [{ files: [csv], options: device }, /such as "2014-04-01 00:00:00", say no offset from UTC.*--timezone/],
    [{ files: [csv], options: { ...device, timezone: "Nowhere" } }, /Unknown time zone Nowhere/],
    [
      { files: [csv], options: { ...device, "time-unit": "h" } },
      /--time-unit must be one of auto, s, ms, us, ns, is h/,
    ],
    [{ files: [fileOf("PAR1 and nothing else")] }, /cannot be read as Parquet/],
    [{ files: [fileOf(Buffer.from([1, 0, 2, 0]))] }, /neither CSV in UTF-8.*nor Parquet/],
    [{ files: [fileOf("")] }, /holds no table/],
    [{ files: [fileOf(Buffer.from("time,device,temp \u00b0C\n", "latin1"))] }, /is not UTF-8/],
  ];
  const { values } = loadSettings(agentSettings, agentSections, {
    env: {},
    flags: { "data.dir": folder },
    envPrefix: agentEnvPrefix,
  });
  for (const [{ options = {}, files }, problem] of cases) {
    const error = await runImport(values, options, files).then(
      () => assert.unreachable("imported"),
      (thrown: unknown) => thrown,
    );
    assert.match((error as Error).message, problem);
  }
  const end = await agent(folder, "import", csv);
  assert.is(end.code, 2);
  assert.match(end.stderr, /^weir-agent: .*No column device.*Its columns are "timestamp", "value"\.\n$/);
  assert.throws(() => readFileSync(join(folder, "agent.db")), /ENOENT/);
});

test("says how it goes: what was understood, a line a while, the sum of it", async () => {
  const end = await agent(tempFolder(), "import", fileOf(longCsv(madeUpRows(1000, 2))));
  assert.is(end.code, 0, end.stderr);
  assert.match(end.stdout, /^CSV, a reading a row: time from column "time"/);
  assert.match(
    end.stdout,
    /1,000 rows in [\d.]+ s \([\d,]+ rows\/s\)\.\nReadings: 1,000 stored, 0 known already, 0 refused\.\n$/,
  );
});
