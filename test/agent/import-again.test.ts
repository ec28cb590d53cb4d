import { appendFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parquetWriteBuffer } from "hyparquet-writer";
import * as assert from "uvu/assert";
import { openCsv } from "@weir/agent/import/csv-table";
import { findLayout } from "@weir/agent/import/layout";
import { openTable } from "@weir/agent/import/open-table";
import { suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";
import { fileOf, importFile } from "./import-fixture.ts";

const test = suite("what an import takes when it is begun again, or not at all", { timeoutMs: 60_000 });

test("what a bound refused is taken once the bound is another", async () => {
  const rows = Array.from({ length: 50 }, (_, i) => `2026-01-05T00:00:00Z,d${i},${i}`);
  const file = fileOf(`time,device,value\n1999-01-01T00:00:00Z,d0,7\n${rows.join("\n")}\n`);
  const folder = tempFolder();
  const few = await importFile(folder, file, "--ingest.series_max", "10");
  assert.equal([few.stored, few.rejected], [10, { series_limit: 40, time_before_floor: 1 }]);
  const more = await importFile(folder, file);
  assert.equal([more.stored, more.duplicates, more.rejected], [40, 10, { time_before_floor: 1 }]);
  const all = await importFile(folder, file, "--time.floor", "1990-01-01T00:00:00Z");
  assert.equal([all.stored, all.duplicates, all.rejected], [1, 50, {}]);
  assert.equal((await importFile(folder, file, "--time.floor", "1990-01-01T00:00:00Z")).skipped, 51);
});

test("what was ahead of the clock is taken once it is not", async () => {
  const [past, ahead] = [-86_400_000, 64_000].map((ms) => new Date(Date.now() + ms).toISOString());
  const file = fileOf(`time,device,value\n${past},d,1\n${ahead},d,2\n`);
  const folder = tempFolder();
  assert.equal((await importFile(folder, file)).rejected, { time_ahead: 1 });
  await new Promise((resolve) => setTimeout(resolve, 4500));
  const later = await importFile(folder, file);
  assert.equal([later.stored, later.duplicates, later.rejected], [1, 1, {}]);
  assert.is((await importFile(folder, file)).skipped, 2);
});

test("half a row of a file that is being written is not taken", async () => {
  const file = fileOf("time,device,value\n2026-01-05T00:00:00Z,d,1\n2026-01-05T00:00:01Z,d,1");
  const table = await openCsv(file, false);
  const rows: unknown[] = [];
  let problem = "";
  try {
    for await (const chunk of table.chunks(0, [])) {
      for (let i = 0; i < chunk.count; i++) rows.push(chunk.row(i));
      if (rows.length === 1) appendFileSync(file, "2.5\n");
    }
  } catch (error) {
    problem = (error as Error).message;
  }
  assert.match(problem, /it is being written; import it again/);
  assert.is(rows.filter((row) => String(row) === "2026-01-05T00:00:01Z,d,1").length, 0);
});

test("times of day without a date, as Parquet has them, are no times", async () => {
  const file = join(tempFolder(), "clock.parquet");
  const columnData = [
    { name: "time", data: [36_000_000, 36_001_000], type: "INT32" as const },
    { name: "device", data: ["d", "d"], type: "STRING" as const },
    { name: "value", data: [1, 2], type: "DOUBLE" as const },
  ];
  const schema = [
    { name: "root", num_children: 3 },
    {
      name: "time",
      type: "INT32" as const,
      repetition_type: "REQUIRED" as const,
      converted_type: "TIME_MILLIS" as const,
    },
    {
      name: "device",
      type: "BYTE_ARRAY" as const,
      repetition_type: "REQUIRED" as const,
      converted_type: "UTF8" as const,
    },
    { name: "value", type: "DOUBLE" as const, repetition_type: "REQUIRED" as const },
  ];
  const data = columnData.map(({ name, data: fields }) => ({ name, data: fields }));
  writeFileSync(file, Buffer.from(parquetWriteBuffer({ columnData: data, schema })));
  const table = await openTable(file);
  assert.throws(() => findLayout(file, table, {}), /Column "time" holds times of day without a date/);
});

test("what is no regular file, such as a pipe, is refused", async () => {
  try {
    await openTable("/dev/null");
    assert.unreachable();
  } catch (error) {
    assert.match((error as Error).message, /no regular file; write what is to be imported to one first/);
  }
});

test("empty lines before the header do not hide its delimiter", async () => {
  for (const before of ["\r\n", "\n\n", "\ufeff\r\n \r\n"]) {
    const table = await openCsv(fileOf(`${before}time;device;value\r\n2026-01-05T00:00:00Z;d;1\r\n`), false);
    assert.equal(table.columns, [{ name: "time" }, { name: "device" }, { name: "value" }]);
  }
});
