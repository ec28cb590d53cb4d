import { join } from "node:path";
import * as assert from "uvu/assert";
import { eventually } from "../support/eventually.ts";
import { startProcess } from "../support/processes.ts";
import { suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";
import {
  agentArgs,
  DAYS,
  fileOf,
  importFile,
  judgingFolder,
  longCsv,
  look,
  madeUpRows,
  placeOf,
  reportsOf,
  writeLongParquet,
} from "./import-fixture.ts";

const test = suite("weir-agent import, killed", { timeoutMs: 120_000 });

test("killed in the middle and begun again: the report of an import that was not", async () => {
  const rows = madeUpRows(20_000, 4);
  const file = fileOf(longCsv(rows));
  const parquet = join(tempFolder(), "history.parquet");
  writeLongParquet(parquet, rows, 3000, true);
  const whole = judgingFolder();
  await importFile(whole, file);
  const expected = reportsOf(whole, DAYS);
  for (const one of [file, parquet]) {
    const folder = judgingFolder();
    const small = ["--ingest.batch_readings_max", "256"];
    let place = 0;
    for (let kill = 0; kill < 2; kill++) {
      const child = await startProcess(process.execPath, agentArgs(folder, ["import", one, ...small]));
      const before = place;
      await eventually(() => assert.ok((place = placeOf(folder)) > before), { intervalMs: 5, timeoutMs: 30_000 });
      await child.kill();
      place = placeOf(folder);
    }
    assert.ok(place > 0 && place < 20_000, `killed at row ${place}`);
    const rest = await importFile(folder, one);
    assert.is(rest.end, "done");
    assert.is(rest.skipped, place);
    assert.is(rest.rows, 20_000 - place);
    assert.is(reportsOf(folder, DAYS), expected);
    const stored = look(folder, (store) => store.ledger().find(({ reason }) => reason === "stored")?.count);
    assert.is(stored, 20_000);
  }
});
