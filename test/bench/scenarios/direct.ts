import { measureLoad } from "../load.ts";
import { PLAN_DEFAULTS, windowFor } from "../publish.ts";
import type { PublishPlan } from "../publish.ts";
import type { LoadScenario } from "../scenario.ts";
import { aedesPeer } from "../targets.ts";

interface DirectShape {
  readonly connections: number;
  readonly qos: 0 | 1;
  readonly readingsPerMessage: number;
  readonly isPaced?: boolean;
}

const QUICK = new Set(["direct-1conn-qos0-1", "direct-1conn-qos1-1", "direct-1000conn-qos1-paced"]);

/** Devices connected straight to the agent: as fast as it takes them, or a thousand of 100 messages a second. */
export const directScenarios: readonly LoadScenario[] = [
  ...[1, 100, 1000].flatMap((connections) =>
    ([0, 1] as const).flatMap((qos) =>
      [1, 100].map((readingsPerMessage) => ({ connections, qos, readingsPerMessage })),
    ),
  ),
  { connections: 1000, qos: 1 as const, readingsPerMessage: 1, isPaced: true },
].map(direct);

function direct({ connections, qos, readingsPerMessage, isPaced = false }: DirectShape): LoadScenario {
  const name = `direct-${connections}conn-qos${qos}-${isPaced ? "paced" : readingsPerMessage}`;
  return {
    kind: "load",
    name,
    about: `${connections} connections to the agent, QoS ${qos}, ${readingsPerMessage} readings a message`,
    inQuick: QUICK.has(name),
    peer: aedesPeer,
    async run(target, { seconds, rate, publishers }) {
      const running = await target.listen();
      try {
        const plan: PublishPlan = {
          ...PLAN_DEFAULTS,
          port: running.port,
          connections,
          qos,
          readingsPerMessage,
          window: windowFor(connections),
          seconds,
          rate: isPaced ? rate : 0,
          processes: Math.min(publishers, connections),
        };
        // On a connection of its own TCP loses nothing and slows the sender down: every reading must be there.
        return await measureLoad(running, plan, { mayLose: target.kind === "peer" });
      } finally {
        await running.stop();
      }
    },
  };
}
