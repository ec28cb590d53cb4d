import { cpSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import * as assert from "uvu/assert";
import { setAside, setAsideFiles } from "@weir/agent/store/set-aside";
import type { CodedError } from "@weir/shared/errors";
import { smallDisk } from "../support/small-disk.ts";
import { skipWith, suite } from "../support/suite.ts";
import { NOW_MS } from "./pipeline-fixture.ts";
import { copyOfSample, Hosted, run } from "./set-aside-fixture.ts";

const test = suite("a data file that cannot be opened now", { timeoutMs: 60_000 });

test("one that another program has locked is not damaged: it stays where it is", async () => {
  const folder = copyOfSample();
  const path = join(folder, "agent.db");
  const other = new Database(path);
  other.pragma("locking_mode = EXCLUSIVE");
  other.exec("BEGIN EXCLUSIVE");
  try {
    assert.throws(
      () => new Hosted(folder),
      (error: CodedError) => error.code === "NO_DATA_FILE" && /locked.*Another program has it open/.test(error.message),
    );
  } finally {
    other.close();
  }
  assert.equal(setAsideFiles(path), []);
  assert.is(await run(folder), "ran");
});

test("what could be read of a damaged file waits for room on a disk that is full", async () => {
  const disk = smallDisk(4);
  if (!disk) return skipWith("a damaged file on a full disk", "only root may mount a small disk");
  const folder = join(disk.folder, "data");
  cpSync(copyOfSample(), folder, { recursive: true });
  const path = join(folder, "agent.db");
  const db = new Database(path);
  const row = db.prepare("INSERT INTO ledger VALUES (?, 'stored', 1, 0)");
  db.transaction(() => Array.from({ length: 6000 }, (_, i) => row.run(`a source with a long name, ${i}`)))();
  db.close();
  disk.fill();
  truncateSync(join(disk.folder, "ballast"), statSync(join(disk.folder, "ballast")).size - 220_000);
  const options = { nowMs: NOW_MS, aheadMaxMs: 60_000, keptMax: 2 };
  assert.throws(() => setAside(path, "a test says so", options), /cannot be set aside: database or disk is full/);
  assert.equal(setAsideFiles(path), []);
  disk.free();
  assert.match(setAside(path, "a test says so", options).message, /Kept: 2 threshold versions, 12 series/);
  disk.remove();
});
