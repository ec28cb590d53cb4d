import * as assert from "uvu/assert";
import { Gather, rouse } from "@weir/agent/sources/gather";
import { suite } from "../support/suite.ts";

const test = suite("gather");

const SLEEP_MS = 8;

/** One round of many small reads; returns how long the thread was away after it, ms. */
async function round(gather: Gather): Promise<number> {
  for (let i = 0; i < 200; i++) gather.note(40);
  const beganMs = performance.now();
  await new Promise((resolve) => setImmediate(resolve));
  return performance.now() - beganMs;
}

test("a commit on another thread ends the sleep, and no sleep begins until it has been seen to", async () => {
  const gather = new Gather(SLEEP_MS);
  const beganMs = performance.now();
  while (gather.sleeps === 0 && performance.now() - beganMs < 5000) await round(gather);
  assert.ok((await round(gather)) >= SLEEP_MS / 2, "it sleeps under load");
  rouse(gather.pillow);
  // The best of some: the machine may have other things to do.
  let shortestMs = Infinity;
  for (let i = 0; i < 5; i++) shortestMs = Math.min(shortestMs, await round(gather));
  assert.ok(shortestMs < SLEEP_MS / 2, `${shortestMs} ms`);
  gather.awake();
  assert.ok((await round(gather)) >= SLEEP_MS / 2, "it sleeps again");
});
