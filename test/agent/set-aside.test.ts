import { existsSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import * as assert from "uvu/assert";
import { salvage } from "@weir/agent/store/salvage";
import { finishSetAside, setAside, setAsideFiles } from "@weir/agent/store/set-aside";
import type { CodedError } from "@weir/shared/errors";
import { decodeFrame } from "@weir/shared/wire/messages";
import { suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";
import { Line, NOW_MS, version } from "./pipeline-fixture.ts";
import { copyOfSample, Hosted, overwrite, PARTS, reading, run, SAMPLE, survives } from "./set-aside-fixture.ts";

const test = suite("a damaged data file", { timeoutMs: 60_000 });

const OPTIONS = { nowMs: NOW_MS, aheadMaxMs: 60_000, keptMax: 2 };

test("is run on or set aside, and never stops two starts", async () => {
  const seen = await survives(1, 40);
  assert.ok(seen["set aside"] > 10 && seen.ran > 5, JSON.stringify(seen));
});

test("what can be read goes into the new file, and what may be lost is counted", async () => {
  const folder = copyOfSample();
  const path = join(folder, "agent.db");
  const before = reading(folder, (store) => ({ series: store.allSeries(), incarnation: store.incarnation }));
  const { movedTo, message } = setAside(path, "a test says so", OPTIONS);
  assert.equal(
    PARTS.map((part) => existsSync(movedTo + part.slice("agent.db".length))),
    [true, true],
  );
  reading(folder, (store) => {
    assert.is.not(store.incarnation, before.incarnation);
    assert.equal(store.allSeries(), before.series);
    assert.equal(
      store.thresholdVersions(1e9).map((one) => one.version),
      SAMPLE.versions,
    );
    // Every block after the checkpoint has not been summarised, every partial before it not been acknowledged.
    const rows = store.ledger();
    assert.equal(
      rows.filter(({ reason }) => ["received", "stored", "lost.data_file"].includes(reason)),
      [
        { source: "data_file", reason: "lost.data_file", count: SAMPLE.readings, ticked: 0 },
        { source: "mqtt", reason: "received", count: SAMPLE.readings, ticked: 0 },
        { source: "mqtt", reason: "stored", count: SAMPLE.readings, ticked: 0 },
      ],
    );
    assert.is(store.wholeFromMs, NOW_MS - 600_000 + 99_000 + 1);
    const alerts = store.frames("alerts", 0, 1000).map(({ body }) => decodeFrame(body));
    const told = alerts.flatMap((frame) => (frame.kind === "alerts" ? frame.alerts : []));
    assert.equal(told.map(({ state }) => state).filter((state) => state === "resolved").length, SAMPLE.series);
  });
  assert.match(message, /a test says so/);
  assert.match(message, /Kept: 2 threshold versions, 12 series/);
  assert.match(message, /as lost\.data_file: 1200 readings/);
  assert.is(await run(folder), "ran");
});

test("the loss is told with the next tick, and an alert of before does not fire for ever", async () => {
  const folder = copyOfSample();
  rmSync(join(folder, "agent.db-wal"));
  overwrite(join(folder, "agent.db"), 4096, new Uint8Array(4096).fill(7));
  const hosted = new Hosted(folder, { "data.on_corrupt": "fresh" });
  assert.is(hosted.lines.length, 1);
  assert.match(hosted.lines[0]!, /is damaged.*goes on with the new file/);
  await hosted.host.close();
  const frames = reading(folder, (store) => store.frames("data", 0, 1000).map(({ body }) => decodeFrame(body)));
  const lost = frames.flatMap((frame) => (frame.kind === "tick" ? [frame.dropped["data_file"] ?? 0] : []));
  assert.ok(lost[0]! >= 1, JSON.stringify(lost));
  assert.ok(
    lost.slice(1).every((count) => count === 0),
    "once",
  );
});

test("of a file of which nothing can be read, one reading is counted, so that no report is called complete", () => {
  const folder = copyOfSample();
  const path = join(folder, "agent.db");
  for (const part of PARTS) writeFileSync(join(folder, part), new Uint8Array(100_000));
  const { message } = setAside(path, "zeros", OPTIONS);
  assert.match(message, /at least 1 readings/);
  const lost = reading(folder, (store) => store.ledger());
  assert.equal(lost, [{ source: "data_file", reason: "lost.data_file", count: 1, ticked: 0 }]);
});

test("damage that is met while the agent runs ends it, sets the file aside, and the next start goes on", async () => {
  const folder = copyOfSample();
  const hosted = new Hosted(folder);
  hosted.send("t/s/d/metric-0", { ts: NOW_MS, value: 1 });
  hosted.commit();
  assert.is(hosted.committed, 1);
  // The name is taken, and the agent does not know: what it has in memory is no longer what the file holds.
  const other = new Database(join(folder, "agent.db"));
  other.exec("INSERT INTO series SELECT max(idx) + 1, 'x', 'x', 'x', 0 FROM series");
  other.close();
  hosted.send("t/new/press/a", { ts: NOW_MS, value: 2 });
  hosted.commit();
  assert.is(hosted.committed, 1, "nothing is acknowledged");
  assert.equal(
    hosted.failures.map((error) => (error as CodedError).code),
    ["DATA_FILE_DAMAGED"],
  );
  hosted.send("t/new/press/a", { ts: NOW_MS, value: 3 });
  await hosted.host.abandon();
  await hosted.host.close();
  assert.is(hosted.failures.length, 1, "said once");
  assert.is(setAsideFiles(join(folder, "agent.db")).length, 1);
  assert.is(await run(folder), "ran");
});

test("a file of another version, and a crash while a file is set aside, harm nothing", async () => {
  const folder = copyOfSample();
  const path = join(folder, "agent.db");
  const bytes = readFileSync(path);
  // A crash before the first rename: the damaged file is still there, and is found again.
  writeFileSync(`${path}.next`, "half of it");
  finishSetAside(path);
  assert.ok(bytes.equals(readFileSync(path)));
  assert.not(existsSync(`${path}.next`));
  // A crash between the renames: the write-ahead log of the old file must not be taken for the new one's.
  const wal = readFileSync(`${path}-wal`);
  const { movedTo } = setAside(path, "a test says so", OPTIONS);
  writeFileSync(`${path}.next`, readFileSync(path));
  rmSync(path);
  writeFileSync(`${path}-wal`, wal);
  finishSetAside(path);
  assert.ok(existsSync(`${movedTo}-wal`) && !existsSync(`${path}-wal`));
  assert.is(await run(folder), "ran");
  const other = new Database(path);
  other.pragma("user_version = 99");
  other.close();
  assert.is(await run(folder), "another version");
  assert.is(setAsideFiles(path).length, 1);
});

test("a file of which next to nothing is left is not taken for a new one", async () => {
  for (const bytes of [0, 1, 2, 99]) {
    const folder = copyOfSample();
    rmSync(join(folder, "agent.db-wal"));
    truncateSync(join(folder, "agent.db"), bytes);
    assert.is(await run(folder), "set aside", `${bytes} bytes`);
    assert.is(await run(folder), "ran", `${bytes} bytes`);
  }
});

test("the newest damaged files are kept, under names of their own", () => {
  const folder = tempFolder();
  const path = join(folder, "agent.db");
  const moved: string[] = [];
  for (let i = 0; i < 4; i++) {
    writeFileSync(path, `damaged ${i}`);
    moved.push(setAside(path, "text", { ...OPTIONS, nowMs: NOW_MS + (i < 3 ? 0 : 5000) }).movedTo);
  }
  assert.is(new Set(moved).size, 4);
  assert.equal(setAsideFiles(path), moved.slice(2));
  assert.is(readFileSync(moved[3]!, "utf8"), "damaged 3");
});

test("alerts of a damaged file that could not be upgraded any more are kept", () => {
  const line = new Line();
  line.pipeline.addThresholds(version(1, 0, 10));
  for (let i = 0; i < 20; i++) line.send(`m${i}`, NOW_MS + i, 11);
  line.pipeline.checkpoint();
  line.close();
  const read = (): ReturnType<typeof salvage> => salvage(line.path, NOW_MS, 60_000, () => 0);
  const now = read();
  assert.ok(now.alertFrames.length > 0 && now.lostReadings === 20);
  const db = new Database(line.path);
  db.exec("ALTER TABLE refolds DROP COLUMN owed; ALTER TABLE outbox DROP COLUMN checksum; PRAGMA user_version = 3");
  db.close();
  assert.equal(read(), now);
});
