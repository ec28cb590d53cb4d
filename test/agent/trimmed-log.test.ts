import { rmSync } from "node:fs";
import { dirname } from "node:path";
import fc from "fast-check";
import * as assert from "uvu/assert";
import { decodeWindows } from "@weir/shared/wire/partial-codec";
import { suite } from "../support/suite.ts";
import { Line, NOW_MS, version } from "./pipeline-fixture.ts";

const test = suite("trimmed log", { timeoutMs: 60_000 });

/** Everything is cut at once, and hours are merged as soon as they are over. */
const SMALL_CUTS = { cutReadings: 1, cutAfterMs: 0, mergeReadings: 40, settleMs: 0, mergeAgainMs: 0 };

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

const HOUR_MS = 3_600_000;

const trimStep = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("send" as const),
      metric: fc.integer({ min: 0, max: 5 }),
      agoMs: fc.oneof(fc.integer({ min: 0, max: 60_000 }), fc.integer({ min: 0, max: 6 * HOUR_MS })),
      count: fc.integer({ min: 1, max: 12 }),
    }),
  },
  { weight: 2, arbitrary: fc.constant({ kind: "checkpoint" as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: "compact" as const }) },
  { weight: 4, arbitrary: fc.constant({ kind: "turns" as const }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("again" as const), draw: fc.nat() }) },
  { weight: 1, arbitrary: fc.constant({ kind: "restart" as const }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 2 * HOUR_MS }) }),
  },
);

test("whatever is trimmed when: from some time on the log is whole, nothing is in it twice, and the ledger balances", () => {
  line = new Line();
  const bounds = fc.constantFrom({ logAgeMaxMs: 3 * HOUR_MS }, { logAgeMaxMs: 30_000 }, { logBytesMax: 1500 });
  fc.assert(
    fc.property(bounds, fc.array(trimStep, { minLength: 10, maxLength: 60 }), (bound, steps) => {
      const one = new Line({ ...bound, compaction: SMALL_CUTS, backgroundTurnMs: 0 });
      const sent = new Set<string>();
      const messages: Array<readonly [metric: string, tsMs: number, value: number]> = [];
      let received = 0;
      for (const step of steps) {
        if (step.kind === "send" || (step.kind === "again" && messages.length > 0)) {
          const sending: typeof messages = [];
          if (step.kind === "again") sending.push(messages[step.draw % messages.length]!);
          else {
            for (let i = 0; i < step.count; i++) sending.push([`m${step.metric}`, one.nowMs - step.agoMs + i, i % 3]);
            messages.push(...sending);
          }
          for (const [metric, tsMs, value] of sending) one.send(metric, tsMs, value);
          received += sending.length;
          const before = new Set(one.stored().map((reading) => reading.join(" ")));
          one.pipeline.commit();
          for (const name of one.stored().map((reading) => reading.join(" "))) {
            if (before.has(name)) continue;
            assert.not.ok(sent.has(name), `${name} was taken twice`);
            sent.add(name);
          }
        } else if (step.kind === "turns") {
          for (let i = 0; i < 5; i++) {
            one.nowMs += 1001;
            one.pipeline.core.checkpointTurn();
          }
        } else if (step.kind === "wait") one.nowMs += step.ms;
        else if (step.kind === "restart") one.restart();
        else if (step.kind !== "again") one.pipeline[step.kind]();
        const stored = one.stored().map((reading) => reading.join(" "));
        assert.is(new Set(stored).size, stored.length, "nothing is stored twice");
        const { wholeFromMs } = one.store;
        const whole = [...sent].filter((name) => Number(name.split(" ")[1]) >= wholeFromMs);
        const held = new Set(stored);
        for (const name of whole) assert.ok(held.has(name), `${name} is missing, whole from ${wholeFromMs}`);
        const bytes = ["log", "pieces", "chunks"].map(
          (table) => one.store.sql.number(`SELECT sum(length(body)) FROM ${table}`) ?? 0,
        );
        assert.is(one.store.logBytes, bytes[0]! + bytes[1]! + bytes[2]!);
      }
      const { stored, duplicates, rejected } = one.pipeline.core.ledger;
      assert.is(one.pipeline.core.ledger.received, received);
      assert.is(received, stored + duplicates + (rejected["time_before_log"] ?? 0));
      one.close();
      rmSync(dirname(one.path), { recursive: true });
    }),
    { numRuns: Number(process.env["WEIR_PROPERTY_RUNS"] ?? 40) },
  );
});
