import type { BenchChild } from "./children.ts";
import { startChild } from "./children.ts";
import type { PublisherCommand, PublisherMessage, PublishJob, PublishResult } from "./publisher/job.ts";

/** What to publish; see PublishJob. Rate and messages are of all processes together. */
export type PublishPlan = Omit<PublishJob, "connectionsFrom" | "connectionsTo" | "clientPrefix" | "host"> & {
  readonly processes: number;
};

/** What is the same in most plans. */
export const PLAN_DEFAULTS = {
  connections: 1,
  qos: 0,
  readingsPerMessage: 1,
  series: 10_000,
  seriesFrom: 0,
  rate: 0,
  seconds: 0,
  messages: 0,
  processes: 1,
  startMs: 0,
  stepMs: 0,
} as const;

/** Publisher processes that are connected and wait. */
export interface Publisher {
  /** Starts them and resolves, when all is sent and acknowledged, with what they did together. */
  run(): Promise<PublishResult>;
  /** Messages acknowledged so far, a fraction of a second old. */
  acked(): number;
  /** Sends nothing new any more. */
  stop(): void;
  kill(): Promise<void>;
}

/** Unacknowledged messages of one connection: all that packet ids allow for one, 200,000 for all of many. */
export function windowFor(connections: number): number {
  return Math.min(65_535, Math.max(16, Math.floor(200_000 / connections)));
}

/** Starts the processes and connects them. */
export async function startPublisher(plan: PublishPlan): Promise<Publisher> {
  const { processes } = plan;
  const cut = (all: number, index: number): number => Math.floor((all * index) / processes);
  const children = Array.from({ length: processes }, (_, index) => {
    const job: PublishJob = {
      ...plan,
      host: "127.0.0.1",
      connectionsFrom: cut(plan.connections, index),
      connectionsTo: cut(plan.connections, index + 1),
      rate: plan.rate / processes,
      messages: cut(plan.messages, index + 1) - cut(plan.messages, index),
      clientPrefix: `bench-${plan.seriesFrom}`,
    };
    return startChild<PublisherMessage, PublisherCommand>("publisher/main", [JSON.stringify(job)]);
  });
  const acked = children.map(() => 0);
  children.forEach((child, index) => {
    child.onMessage((message) => {
      if (message.type === "progress") acked[index] = message.acked;
    });
  });
  await Promise.all(children.map((child) => child.next("ready")));
  return {
    async run() {
      for (const child of children) child.tell({ type: "go" });
      return together(await Promise.all(children.map((child) => child.next("done"))));
    },
    acked: () => acked.reduce((sum, count) => sum + count, 0),
    stop: () => tellAll(children, { type: "stop" }),
    kill: async () => void (await Promise.all(children.map((child) => child.kill()))),
  };
}

function tellAll(
  children: ReadonlyArray<BenchChild<PublisherMessage, PublisherCommand>>,
  told: PublisherCommand,
): void {
  for (const child of children) child.tell(told);
}

function together(results: readonly PublishResult[]): PublishResult {
  const sum = (name: keyof PublishResult): number => results.reduce((total, result) => total + result[name], 0);
  return {
    messages: sum("messages"),
    readings: sum("readings"),
    acked: sum("acked"),
    bytes: sum("bytes"),
    seconds: Math.max(...results.map(({ seconds }) => seconds)),
    cpuSeconds: sum("cpuSeconds"),
    behindMax: Math.max(...results.map(({ behindMax }) => behindMax)),
  };
}
