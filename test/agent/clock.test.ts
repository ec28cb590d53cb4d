import fc from "fast-check";
import * as assert from "uvu/assert";
import type { Clock, ClockStep } from "@weir/agent/clock";
import { createClock, describeStep, LARGE_STEP_HELD_MS, LARGE_STEP_MS } from "@weir/agent/clock";
import { suite } from "../support/suite.ts";

const test = suite("the agent's clock");

const START_MS = Date.UTC(2026, 2, 14, 12);

let wallMs: number;
let monotonicMs: number;
let steps: ClockStep[];
let clock: Clock;

function makeClock(): Clock {
  return createClock({ wall: () => wallMs, monotonic: () => monotonicMs }, (one) => steps.push(one));
}

test.before.each(() => {
  wallMs = START_MS;
  monotonicMs = 5_000;
  steps = [];
  clock = makeClock();
});

/** Time goes by, and both clocks with it. */
function pass(ms: number): void {
  wallMs += ms;
  monotonicMs += ms;
}

function step(ms: number): void {
  wallMs += ms;
}

test("is the wall clock while that is right, and follows a step forward at once", () => {
  assert.is(clock.now(), START_MS);
  pass(1500.7);
  assert.is(clock.now(), START_MS + 1500, "whole ms");
  step(86_400_000);
  assert.is(clock.now(), START_MS + 1500 + 86_400_000);
  assert.is(clock.steps, 1);
  assert.equal(steps.map(describeStep), [undefined]);
});

test("goes on after a step back, a tenth slower, until the wall clock has caught up", () => {
  clock.now();
  step(-60_000);
  assert.is(clock.now(), START_MS);
  pass(100_000);
  assert.is(clock.now(), START_MS + 90_000);
  pass(500_000);
  assert.is(clock.now(), START_MS + 540_000, "60 s take 600 s");
  pass(100_000);
  assert.is(clock.now(), wallMs);
  assert.is(clock.steps, 1);
  assert.match(describeStep(steps[0]!)!, /stepped back by 60\.0 s/);
});

test("never goes back, whatever steps of up to an hour the wall clock makes", () => {
  const moves = fc.array(
    fc.record({ passMs: fc.nat({ max: 100_000 }), stepMs: fc.integer({ min: -60_000, max: 60_000 }) }),
    {
      maxLength: 50,
    },
  );
  fc.assert(
    fc.property(moves, (all) => {
      wallMs = START_MS;
      const tested = makeClock();
      let last = tested.now();
      for (const { passMs, stepMs } of all) {
        pass(passMs);
        step(stepMs);
        const now = tested.now();
        assert.ok(now >= last + Math.floor(passMs * 0.9) - 1, "it stands still never");
        assert.ok(now >= Math.floor(wallMs));
        last = now;
      }
    }),
  );
});

test("holds a step back by more than an hour for a while, then follows it, and says so", () => {
  clock.now();
  step(-2 * LARGE_STEP_MS);
  assert.is(clock.now(), START_MS);
  pass(LARGE_STEP_HELD_MS - 1000);
  assert.is(clock.now(), START_MS + LARGE_STEP_HELD_MS - 1000, "at its own speed");
  pass(1000);
  assert.is(clock.now(), wallMs);
  pass(5000);
  assert.is(clock.now(), wallMs);
  assert.is(clock.steps, 1);
  assert.equal(
    steps.map(({ isFollowed }) => isFollowed),
    [false, true],
  );
  assert.match(describeStep(steps[1]!)!, /still 7200\.0 s back; the agent's follows/);
});

test("a large step back that is mended in time leaves no trace", () => {
  clock.now();
  step(-2 * LARGE_STEP_MS);
  clock.now();
  pass(LARGE_STEP_HELD_MS / 2);
  step(2 * LARGE_STEP_MS);
  assert.is(clock.now(), wallMs);
  pass(LARGE_STEP_HELD_MS);
  assert.is(clock.now(), wallMs);
  assert.is(clock.steps, 2);
});

test("two clocks of a process agree within a tenth of what lies between their questions", () => {
  const other = makeClock();
  pass(1000);
  clock.now();
  other.now();
  pass(300);
  clock.now();
  step(-30_000);
  pass(600);
  clock.now();
  pass(100);
  assert.ok(Math.abs(clock.now() - other.now()) <= 100);
});
