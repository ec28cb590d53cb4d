import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { dataFolder, removeFolder } from "./folders.ts";
import type { LedgerCounts } from "./ledger.ts";
import { readLedger } from "./ledger.ts";
import type { BuiltProgram, RunningProgram } from "./programs.ts";
import { startBuiltAgent, startBuiltAggregator } from "./programs.ts";

/** An agent, with or without an aggregator behind it, on data folders of their own. */
export interface Stack {
  readonly agent: RunningProgram;
  readonly agentFolder: string;
  /** Present where it was asked for. */
  readonly aggregator: RunningProgram | undefined;
  /** Bytes on the uplink so far. */
  readonly uplink: UplinkBytes;
  counts(): LedgerCounts;
  /** Readings in all the window summaries that the aggregator has. */
  summarised(): Promise<number>;
  /** Ends all and removes their data. */
  stop(): Promise<void>;
}

/** Bytes that passed a proxy between agent and aggregator. */
export interface UplinkBytes {
  up: number;
  down: number;
}

/** What a stack is made of, beside the agent. */
export interface StackPlan {
  /** dist/main.js of an aggregator; absent: none. */
  readonly aggregator?: string;
  readonly aggregatorSettings?: Readonly<Record<string, string>>;
  readonly agentSettings?: Readonly<Record<string, string>>;
  readonly toml?: string;
  readonly nodeArgs?: readonly string[];
}

/** Starts aggregator, proxy and agent. */
export async function startStack(agent: BuiltProgram, plan: StackPlan): Promise<Stack> {
  const agentFolder = dataFolder("agent");
  const aggregatorFolder = plan.aggregator === undefined ? undefined : dataFolder("aggregator");
  const uplink: UplinkBytes = { up: 0, down: 0 };
  const settings: Record<string, string> = { ...plan.agentSettings };
  let aggregator: RunningProgram | undefined;
  let closeProxy = (): void => {};
  if (plan.aggregator !== undefined && aggregatorFolder !== undefined) {
    aggregator = await startBuiltAggregator(plan.aggregator, aggregatorFolder, plan.aggregatorSettings);
    const proxy = await startProxy(aggregator.port, uplink);
    closeProxy = proxy.close;
    settings["uplink.url"] = `ws://127.0.0.1:${proxy.port}/uplink`;
  }
  const { nodeArgs = [], toml } = plan;
  const file = toml === undefined ? {} : { toml };
  const running = await startBuiltAgent(agent, { folder: agentFolder, settings, nodeArgs, ...file });
  return {
    agent: running,
    agentFolder,
    aggregator,
    uplink,
    counts: () => readLedger(agentFolder),
    async summarised() {
      const answer = await fetch(`http://127.0.0.1:${aggregator?.port ?? 0}/metrics`);
      return Number(/^weir_summarised_readings (\d+)$/m.exec(await answer.text())?.[1] ?? 0);
    },
    async stop() {
      await running.process.stop({ graceMs: 60_000 });
      await aggregator?.process.stop({ graceMs: 60_000 });
      closeProxy();
      removeFolder(agentFolder);
      if (aggregatorFolder !== undefined) removeFolder(aggregatorFolder);
    },
  };
}

/** The aggregator is given up when it has taken nothing for this long. */
const STALL_MS = 30_000;

/** How long after the last acknowledgement the aggregator has summaries of every reading: a checkpoint and its way. */
export async function summarisedLag(stack: Stack, readings: number): Promise<{ seconds: number; problems: string[] }> {
  const beganMs = performance.now();
  let newest = await stack.summarised();
  let newestMs = beganMs;
  while (newest !== readings && performance.now() - newestMs < STALL_MS) {
    await delay(100);
    const now = await stack.summarised();
    if (now !== newest) newestMs = performance.now();
    newest = now;
  }
  const problems = newest === readings ? [] : [`The aggregator has summaries of ${newest} of ${readings} readings`];
  return { seconds: (newestMs - beganMs) / 1000, problems };
}

/** A TCP proxy on a free port that counts what passes. */
async function startProxy(target: number, bytes: UplinkBytes): Promise<{ port: number; close: () => void }> {
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (near) => {
    const far = connect({ host: "127.0.0.1", port: target, noDelay: true });
    near.on("data", (piece) => void (bytes.up += piece.length));
    far.on("data", (piece) => void (bytes.down += piece.length));
    near.pipe(far);
    far.pipe(near);
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on("error", () => socket.destroy());
      socket.on("close", () => {
        near.destroy();
        far.destroy();
        sockets.delete(socket);
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
