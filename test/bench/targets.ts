import { startChild } from "./children.ts";
import { dataFolder, removeFolder } from "./folders.ts";
import type { LedgerCounts } from "./ledger.ts";
import { NO_COUNTS, readLedger } from "./ledger.ts";
import type { BuiltProgram } from "./programs.ts";
import { startBuiltAgent } from "./programs.ts";

/** Something that takes readings: an agent, or what a user could pick in its place. */
export interface Target {
  readonly name: string;
  readonly kind: "agent" | "peer";
  /** Starts it listening for devices. */
  listen(): Promise<RunningTarget>;
  /** Starts it subscribed to sensors/# at a broker; resolves when it has been started, not yet subscribed. */
  subscribe(brokerUrl: string, qos: 0 | 1): Promise<RunningTarget>;
}

/** A target that runs. */
export interface RunningTarget {
  readonly pid: number;
  /** Where devices connect; 0 for a subscriber. */
  readonly port: number;
  /** What has become of the readings so far: of an agent, what is durable. */
  counts(): Promise<LedgerCounts>;
  /** Ends it and removes its data. */
  stop(): Promise<void>;
}

/** An agent as a target. */
export function agentTarget(agent: BuiltProgram, nodeArgs: readonly string[]): Target {
  const start = async (settings: Record<string, string>, toml?: string): Promise<RunningTarget> => {
    const folder = dataFolder("agent");
    const file = toml === undefined ? {} : { toml };
    const running = await startBuiltAgent(agent, { folder, settings, nodeArgs, ...file });
    return {
      pid: running.pid,
      port: running.port,
      counts: async () => readLedger(folder),
      async stop() {
        const end = await running.process.stop({ graceMs: 60_000 });
        removeFolder(folder);
        if (end.code !== 0)
          throw new Error(`The agent ended with ${end.signal ?? end.code}: ${errorIn(running.process.stderr())}`);
      },
    };
  };
  return {
    name: agent.name,
    kind: "agent",
    listen: () => start({}),
    subscribe: (url, qos) => start({ "listen.enabled": "false" }, `[[broker]]\nurl = "${url}"\nqos = ${qos}\n`),
  };
}

/** aedes with a publish hook, and a bare mqtt client: each parses JSON and counts readings, and stores nothing. */
export const aedesPeer: Target = peer("aedes", "peers/aedes");
export const mqttPeer: Target = peer("mqtt", "peers/mqtt");

type PeerSaid =
  | { readonly type: "started"; readonly port: number }
  | { readonly type: "count"; readonly readings: number };

function peer(name: string, module: string): Target {
  const start = async (args: readonly string[]): Promise<RunningTarget> => {
    const child = startChild<PeerSaid, { readonly type: "count" }>(module, args);
    const { port } = await child.next("started");
    return {
      pid: child.pid,
      port,
      async counts() {
        child.tell({ type: "count" });
        return { ...NO_COUNTS, stored: (await child.next("count")).readings };
      },
      stop: () => child.kill(),
    };
  };
  return { name, kind: "peer", listen: () => start([]), subscribe: (url, qos) => start([url, String(qos)]) };
}

/** The line that names the error, of what a program left behind. */
function errorIn(stderr: string): string {
  return /^.*Error.*$/m.exec(stderr)?.[0] ?? stderr.slice(-300);
}
