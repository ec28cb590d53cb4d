import { setTimeout as delay } from "node:timers/promises";
import { checkLedger } from "../ledger.ts";
import { cpuSeconds, memoryMib } from "../process-stats.ts";
import { startPublisher } from "../publish.ts";
import type { AgentScenario } from "../scenario.ts";
import type { Stack } from "../stack.ts";
import { startStack, summarisedLag } from "../stack.ts";
import { WIDE_SERIES, widePlan } from "./wide.ts";

/** Names of all series go up at first; then whole minutes are measured, for a window is one. */
const WARM_UP_SECONDS = 20;
const SECONDS = 60;
/** One checkpoint of the usual ten seconds lies in this. */
const QUICK = { warmUpSeconds: 5, seconds: 10 };

/** What a large plant costs on the way to the aggregator, and there. */
export const uplinkScenario: AgentScenario = {
  kind: "agent",
  name: "uplink",
  about: `${WIDE_SERIES} series at the paced rate: bytes between agent and aggregator, CPU of both`,
  inQuick: true,
  async run(agent, { rate, quick, aggregator, nodeArgs }) {
    const { warmUpSeconds, seconds } = quick ? QUICK : { warmUpSeconds: WARM_UP_SECONDS, seconds: SECONDS };
    const stack = await startStack(agent, { aggregator, nodeArgs });
    try {
      const publisher = await startPublisher(widePlan(stack.agent.port, rate, warmUpSeconds + seconds));
      const publishing = publisher.run();
      await Promise.race([delay(warmUpSeconds * 1000), publishing]);
      const before = snapshot(stack);
      await Promise.race([delay(seconds * 1000), publishing]);
      const after = snapshot(stack);
      const { readings } = await publishing;
      const memory = memoryMib(stack.agent.pid);
      const ledger = stack.counts();
      const lag = await summarisedLag(stack, readings);
      const measured = (after.atMs - before.atMs) / 1000;
      return {
        sent: readings,
        ledger,
        problems: [...checkLedger(readings, ledger, { mayLose: false }), ...lag.problems],
        figures: {
          upMbitPerSecond: ((after.up - before.up) * 8) / 1e6 / measured,
          downMbitPerSecond: ((after.down - before.down) * 8) / 1e6 / measured,
          warmUpMbytes: before.up / 1e6,
          agentCpuPercent: ((after.agentCpu - before.agentCpu) / measured) * 100,
          aggregatorCpuPercent: ((after.aggregatorCpu - before.aggregatorCpu) / measured) * 100,
          agentRssMib: memory.rss,
          agentPeakMib: memory.peak,
          aggregatorPeakMib: memoryMib(stack.aggregator!.pid).peak,
          aggregatorLagSeconds: lag.seconds,
        },
      };
    } finally {
      await stack.stop();
    }
  },
};

interface Snapshot {
  readonly atMs: number;
  readonly up: number;
  readonly down: number;
  readonly agentCpu: number;
  readonly aggregatorCpu: number;
}

function snapshot({ uplink, agent, aggregator }: Stack): Snapshot {
  const cpu = { agentCpu: cpuSeconds(agent.pid), aggregatorCpu: cpuSeconds(aggregator!.pid) };
  return { atMs: performance.now(), ...uplink, ...cpu };
}
