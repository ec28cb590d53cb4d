import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";
import { drawPlan } from "./draw-plan.ts";
import { runSeeds } from "./in-process.ts";
import { runPlan } from "./run-plan.ts";
import { shrinkPlan } from "./shrink.ts";

const test = suite("faults, in one process", { timeoutMs: 120_000 });

const SEEDS = 30;

test("reports and alerts are those of the plain batch, the ledger balances, and nothing acknowledged is lost", () => {
  const { readings, kills } = runSeeds(1, SEEDS);
  assert.ok(readings > SEEDS * 50, `${readings} readings`);
  assert.ok(kills > SEEDS * 3, `${kills} kills`);
});

test("a seed gives the same run each time, and another seed another", () => {
  assert.equal(drawPlan(7), drawPlan(7));
  assert.not.equal(drawPlan(7).steps, drawPlan(8).steps);
  assert.equal(runPlan(drawPlan(7)), runPlan(drawPlan(7)));
});

test("every kind of fault is drawn", () => {
  const kinds = new Set<string>();
  for (let seed = 1; seed <= SEEDS; seed++) for (const { kind } of drawPlan(seed).steps) kinds.add(kind);
  const all =
    "checkpoint,commit,compact,deliver,disk,issue,kill,killAggregator,killAggregatorIn,killIn,publish,resend,send,ship,tick,turn";
  assert.is([...kinds].toSorted().join(","), all);
});

test("a failing run is made shorter by leaving out what it does not need", () => {
  const plan = drawPlan(3);
  const needed = plan.steps.filter(({ kind }) => kind === "tick" || kind === "kill").slice(0, 2);
  const fails = ({ steps }: { readonly steps: readonly unknown[] }): boolean =>
    needed.every((one) => steps.includes(one));
  assert.is(needed.length, 2);
  assert.equal(shrinkPlan(plan, fails, Infinity).steps, needed);
});
