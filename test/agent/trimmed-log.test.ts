import * as assert from "uvu/assert";
import { decodeWindows } from "@weir/shared/wire/partial-codec";
import { suite } from "../support/suite.ts";
import { Line, NOW_MS, version } from "./pipeline-fixture.ts";

const test = suite("trimmed log");

let line: Line;
test.after.each(() => line.close());

/** An alert an hour ago and one now, and a log that goes back to between the two, in the middle of a window. */
function trimmedLine(): void {
  line = new Line({ logAgeMaxMs: 30_000 });
  line.pipeline.addThresholds(version(1, 0, 10));
  for (const agoMs of [3_600_000, 3_590_000, 3_000_000]) line.send("m", NOW_MS - agoMs, 11);
  line.send("m", NOW_MS + 1000, 1);
  line.pipeline.checkpoint();
  line.nowMs += 31_000;
  for (const ms of [20_000, 21_000]) line.send("m", NOW_MS + ms, 12);
  line.pipeline.checkpoint();
  line.pipeline.checkpoint();
  assert.equal(
    line.stored().map(([, , value]) => value),
    [12, 12],
  );
  line.alerts.length = 0;
}

function replaced(): Array<[startMs: number, count: number]> {
  return line.frames("data").flatMap((frame) => {
    if (frame.kind !== "partials" || !frame.replace) return [];
    return decodeWindows(frame.windows).map(({ windowStartMs, partial }): [number, number] => [
      windowStartMs,
      partial.count,
    ]);
  });
}

test("a version from before the log begins neither withdraws alerts nor replaces windows that it cannot judge whole", () => {
  trimmedLine();
  line.pipeline.addThresholds(version(2, 1, 5));
  line.pipeline.checkpoint();
  assert.equal(
    line.alerts.filter(({ state }) => state === "withdrawn"),
    [],
  );
  // The window of NOW_MS holds a reading that the log no longer has.
  assert.equal(replaced(), []);
});

test("a late breach from before the log begins leaves older alerts alone", () => {
  trimmedLine();
  line.send("m", NOW_MS - 3_300_000, 30);
  line.pipeline.checkpoint();
  assert.equal(
    line.alerts.filter(({ state }) => state === "withdrawn"),
    [],
  );
});

test("what the log holds whole is judged anew", () => {
  trimmedLine();
  line.nowMs += 200_000;
  line.send("m", NOW_MS + 200_000, 7);
  line.pipeline.checkpoint();
  line.pipeline.addThresholds(version(2, 1, 5));
  line.pipeline.checkpoint();
  assert.ok(line.alerts.some(({ value, thresholdVersion }) => value === 7 && thresholdVersion === 2));
  assert.ok(replaced().some(([, count]) => count === 1));
});
