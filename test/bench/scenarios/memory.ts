import { checkLedger } from "../ledger.ts";
import { cpuSeconds, memoryMib } from "../process-stats.ts";
import { startPublisher } from "../publish.ts";
import type { AgentScenario } from "../scenario.ts";
import { startStack } from "../stack.ts";
import { WIDE_SERIES, widePlan } from "./wide.ts";

const SECONDS_MIN = 60;

/** Memory and CPU with many series at the promised rate, without an aggregator. */
export const memoryScenario: AgentScenario = {
  kind: "agent",
  name: "memory",
  about: `${WIDE_SERIES} series on 50 connections at the paced rate for a minute: memory`,
  inQuick: false,
  async run(agent, { rate, seconds, nodeArgs }) {
    const stack = await startStack(agent, { nodeArgs });
    try {
      const publisher = await startPublisher(widePlan(stack.agent.port, rate, Math.max(seconds, SECONDS_MIN)));
      const cpuBefore = cpuSeconds(stack.agent.pid);
      const sent = await publisher.run();
      const cpu = cpuSeconds(stack.agent.pid) - cpuBefore;
      const { rss, peak } = memoryMib(stack.agent.pid);
      const ledger = stack.counts();
      return {
        sent: sent.readings,
        ledger,
        problems: checkLedger(sent.readings, ledger, { mayLose: false }),
        figures: {
          rssMib: rss,
          rssPeakMib: peak,
          agentCpuPercent: (cpu / sent.seconds) * 100,
          ackedPerSecond: sent.acked / sent.seconds,
        },
      };
    } finally {
      await stack.stop();
    }
  },
};
