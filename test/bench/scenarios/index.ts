import type { Scenario } from "../scenario.ts";
import { compactionScenario } from "./compaction.ts";
import { directScenarios } from "./direct.ts";
import { latencyScenario } from "./latency.ts";
import { logBytesScenarios } from "./log-bytes.ts";
import { memoryScenario } from "./memory.ts";
import { mosquittoScenarios } from "./mosquitto.ts";
import { recoveryScenario } from "./recovery.ts";
import { replayScenario } from "./replay.ts";
import { uplinkScenario } from "./uplink.ts";

/** All scenarios in the order in which they run. */
export const scenarios: readonly Scenario[] = [
  ...mosquittoScenarios,
  ...directScenarios,
  replayScenario,
  recoveryScenario,
  memoryScenario,
  ...logBytesScenarios,
  compactionScenario,
  uplinkScenario,
  latencyScenario,
];
