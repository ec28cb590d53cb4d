import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";
import { runProcesses } from "./run-processes.ts";

const test = suite("faults, in processes", { timeoutMs: 120_000 });

test("a kill -9 of agent and aggregator under a fleet, devices straight to the agent", async () => {
  const { problems, kills } = await runProcesses(1, { broker: false, isQuick: true });
  assert.is(problems.join("\n"), "");
  assert.is(kills, 2);
});
