import * as assert from "uvu/assert";
import { CodedError } from "@weir/shared/errors";
import { eventually } from "../support/eventually.ts";
import { suite } from "../support/suite.ts";
import { Line, NOW_MS, version } from "./pipeline-fixture.ts";

const test = suite("pipeline on a full disk");

let line: Line;
test.after.each(() => line.close());

/** A line with one reading stored and a disk that has become full since. */
function fullLine(): Line {
  line = new Line();
  line.send("m", NOW_MS - 10, 0);
  line.pipeline.commit();
  line.events.length = 0;
  line.store.full = true;
  return line;
}

test("holds sources back, loses nothing, and goes on by itself", async () => {
  fullLine();
  line.automatic = true;
  assert.ok(line.send("m", NOW_MS, 1));
  await eventually(() => assert.is(line.warnings.length, 1));
  assert.match(line.warnings[0]!, /disk is full/);
  assert.ok(line.send("m", NOW_MS + 1, 2), "there is room for one batch more");
  for (let i = 0; i < 5; i++) {
    line.pipeline.commit();
    line.pipeline.tick();
    line.pipeline.checkpoint();
  }
  assert.equal(line.events, ["seal"]);
  assert.is(line.warnings.length, 1, "said once");
  line.store.full = false;
  await eventually(() => assert.equal(line.events, ["seal", "committed", "seal", "committed"]));
  assert.equal(
    line.stored().map(([, , value]) => value),
    [0, 1, 2],
  );
  assert.is(line.warnings.length, 2);
  assert.match(line.warnings[1]!, /again/);
  assert.ok(line.send("m", NOW_MS + 2, 3), "read on");
  const { received, stored } = line.pipeline.core.ledger;
  line.pipeline.commit();
  assert.equal([received, stored], [3, 3]);
});

test("says committed only when what was accepted while the disk was full is in the file as well", () => {
  fullLine();
  const missing: number[] = [];
  let accepted = 1;
  let sealed = 1;
  line.onSealed = () => (sealed = accepted);
  line.onCommitted = () => missing.push(sealed - line.stored().length);
  for (const wake of [() => line.pipeline.commit(), () => line.pipeline.tick(), () => line.pipeline.checkpoint()]) {
    line.store.full = true;
    line.send("m", NOW_MS + accepted++, 1);
    line.pipeline.commit();
    line.send("m", NOW_MS + accepted++, 1);
    line.store.full = false;
    wake();
  }
  assert.ok(missing.length >= 3);
  assert.equal(
    missing,
    missing.map(() => 0),
  );
});

test("announces an alert of the refused batch once it is durable, and once", () => {
  fullLine();
  line.store.full = false;
  line.pipeline.addThresholds(version(1, 0, 10));
  line.store.full = true;
  line.send("m", NOW_MS, 11);
  line.pipeline.commit();
  assert.equal(line.alerts, []);
  line.store.full = false;
  line.pipeline.commit();
  line.pipeline.commit();
  assert.is(line.alerts.length, 1);
  assert.is(line.frames("alerts").length, 1);
});

test("does not claim a threshold version that could not be written", () => {
  fullLine();
  assert.throws(
    () => line.pipeline.addThresholds(version(1, 0, 10)),
    (error: unknown) => error instanceof CodedError && error.code === "DATA_FILE_STUCK",
  );
  // Sent again before the disk has room, and after.
  assert.throws(() => line.pipeline.addThresholds(version(1, 0, 10)));
  line.store.full = false;
  line.pipeline.addThresholds(version(1, 0, 10));
  assert.equal(
    line.store.thresholdVersions(1e9).map((one) => one.version),
    [1],
  );
});

test("does not claim a threshold version when the disk fills while it is written", () => {
  line = new Line();
  const commit = line.store.commit.bind(line.store);
  line.store.commit = (batch) => {
    line.store.full = batch.entries.length > 0;
    commit(batch);
  };
  assert.throws(() => line.pipeline.addThresholds(version(1, 0, 10)));
  assert.equal(line.store.thresholdVersions(1e9), []);
  line.store.commit = commit;
  line.store.full = false;
  line.pipeline.addThresholds(version(1, 0, 10));
  assert.equal(
    line.store.thresholdVersions(1e9).map((one) => one.version),
    [1],
  );
});

test("a disk that fills between the checkpoint and the trimming of old rows ends nothing", () => {
  line = new Line();
  line.send("m", NOW_MS, 1);
  line.onCommitted = () => (line.store.full = true);
  line.pipeline.checkpoint();
  line.onCommitted = () => {};
  line.store.full = false;
  line.send("m", NOW_MS + 1, 1);
  line.pipeline.commit();
  assert.is(line.stored().length, 2);
});

test("a file that is damaged is told at once, not tried again for ever as a full disk is", () => {
  line = new Line();
  const commit = line.store.commit.bind(line.store);
  const fail = (code: string): void => {
    line.store.commit = () => {
      throw Object.assign(new Error("database disk image is malformed"), { code });
    };
  };
  fail("SQLITE_CORRUPT");
  line.send("m", NOW_MS, 1);
  assert.throws(() => line.pipeline.commit(), /malformed/);
  assert.equal(line.warnings, []);
  line.close();
  line = new Line();
  // Found damaged only while it is tried again.
  fail("SQLITE_IOERR_WRITE");
  line.send("m", NOW_MS, 1);
  line.pipeline.commit();
  assert.is(line.warnings.length, 1);
  fail("SQLITE_CORRUPT_VTAB");
  assert.throws(() => line.pipeline.commit(), /malformed/);
  line.store.commit = commit;
});
