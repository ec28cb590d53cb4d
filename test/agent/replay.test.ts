import * as assert from "uvu/assert";
import { LogReplay } from "@weir/agent/replay";
import { Store } from "@weir/agent/store/store";
import { canonicalJson } from "@weir/shared/model/canonical-json";
import { createCalendar } from "@weir/shared/operators/calendar";
import { dailyReport } from "@weir/shared/operators/report";
import { suite } from "../support/suite.ts";
import { Line, NOW_MS, version } from "./pipeline-fixture.ts";

const test = suite("replay");

const DAY = "2026-03-14";

let line: Line;
test.before.each(() => (line = new Line()));
test.after.each(() => line.close());

function reportOf(store: Store, windowMs: number, timezone = "UTC"): string | undefined {
  const report = dailyReport(new LogReplay(store, createCalendar(timezone), "a", { windowMs }).fold(), DAY, 1);
  return report && canonicalJson(report);
}

/** A day of readings with breaches, out of order, with a version that came late. */
function fill(): void {
  line.pipeline.addThresholds(version(1, 0, 10));
  for (let i = 0; i < 600; i++) {
    const tsMs = NOW_MS - ((i * 7919) % 600) * 60_000;
    line.send(i % 2 === 0 ? "temp" : "flow", tsMs, (i * 37) % 25);
    if (i % 50 === 0) line.pipeline.commit();
  }
  line.raw("t/s/d/m", "no number");
  line.pipeline.tick();
  line.pipeline.addThresholds(version(2, NOW_MS - 7_200_000, 5));
  line.pipeline.checkpoint();
}

test("any window that divides the hour gives the same report", () => {
  fill();
  const expected = reportOf(line.store, 60_000);
  assert.match(expected!, /"readings":600/);
  assert.match(expected!, /"number_malformed":1/);
  assert.match(expected!, /"thresholdVersions":\[1,2\]/);
  for (const windowMs of [1000, 300_000, 900_000, 3_600_000]) assert.is(reportOf(line.store, windowMs), expected);
});

test("reads beside a running agent, and writes nothing", () => {
  fill();
  const expected = reportOf(line.store, 60_000);
  const { logBytes, lastSeq } = line.store;
  const reader = new Store(line.path, { readonly: true });
  line.send("temp", NOW_MS + 1, 3);
  line.pipeline.commit();
  // One view of the file, however long it reads.
  assert.is(reportOf(reader, 60_000), expected);
  reader.close();
  const later = new Store(line.path, { readonly: true });
  assert.match(reportOf(later, 60_000)!, /"readings":601/);
  later.close();
  assert.is(line.store.lastSeq, lastSeq + 1);
  assert.ok(line.store.logBytes > logBytes);
});

test("an empty log has no report", () => {
  assert.is(reportOf(line.store, 60_000), undefined);
});
