import { setTimeout as delay } from "node:timers/promises";
import type { ChildFailure } from "../children.ts";
import { PublishConnection } from "./connection.ts";
import type { Allowance } from "./connection.ts";
import type { PublisherCommand, PublisherMessage, PublishJob } from "./job.ts";
import { pace } from "./pace.ts";

/**
 * The publisher's process. Its one argument is a PublishJob in JSON; it says "ready" when it is connected, begins at
 * "go", and says "done" when everything has been sent and, at QoS 1, acknowledged.
 */

/** Connections being made at one time, at most: fewer than a server's queue of unaccepted ones. */
const CONNECTING_MAX = 100;
const PROGRESS_MS = 250;

const job = JSON.parse(process.argv[2] ?? "") as PublishJob;
/** Resolves when the message is on its way. */
const say = (message: PublisherMessage | ChildFailure): Promise<void> =>
  new Promise((resolve) => process.send?.(message, () => resolve()));
const allowance: Allowance = { messagesLeft: job.messages || Infinity, isOver: false, failure: undefined };
let onSettled = (): void => {};

let connections: PublishConnection[] = [];
const going = new Promise<void>((resolve) => {
  process.on("message", (command: PublisherCommand) => {
    if (command.type === "go") resolve();
    else allowance.isOver = true;
  });
});
// Nobody is left to publish for.
process.on("disconnect", () => process.exit(1));
try {
  connections = await connectAll();
  await say({ type: "ready" });
  await going;
  await publish();
} catch (error) {
  await say({ type: "failed", reason: error instanceof Error ? error.message : String(error) });
  process.exit(1);
}
process.exit(0);

async function connectAll(): Promise<PublishConnection[]> {
  const all: PublishConnection[] = [];
  for (let from = job.connectionsFrom; from < job.connectionsTo; from += CONNECTING_MAX) {
    const to = Math.min(from + CONNECTING_MAX, job.connectionsTo);
    const some = Array.from(
      { length: to - from },
      (_, i) => new PublishConnection(job, from + i, allowance, () => onSettled()),
    );
    await Promise.all(some.map((connection) => connection.ready()));
    all.push(...some);
  }
  return all;
}

async function publish(): Promise<void> {
  const cpuBefore = process.cpuUsage();
  const beganMs = performance.now();
  const progress = setInterval(() => void say({ type: "progress", ...totals() }), PROGRESS_MS);
  let behindMax = 0;
  if (job.rate > 0) behindMax = await pace(job, connections, allowance);
  else {
    for (const connection of connections) connection.pump();
    if (job.seconds > 0) await untilOver(job.seconds * 1000);
  }
  await settled();
  const seconds = (performance.now() - beganMs) / 1000;
  const cpu = process.cpuUsage(cpuBefore);
  clearInterval(progress);
  await Promise.all(connections.map((connection) => connection.end()));
  const { messages, acked } = totals();
  const readings = messages * job.readingsPerMessage;
  const bytes = messages * (connections[0]?.frameBytes ?? 0);
  const cpuSeconds = (cpu.user + cpu.system) / 1e6;
  await say({ type: "done", messages, readings, acked, bytes, seconds, cpuSeconds, behindMax });
}

async function untilOver(durationMs: number): Promise<void> {
  const endMs = performance.now() + durationMs;
  while (!allowance.isOver && performance.now() < endMs && allowance.messagesLeft > 0) await delay(10);
  allowance.isOver = true;
}

/** Resolves when all that was sent has been taken and acknowledged; throws when a connection has failed. */
async function settled(): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const look = (): void => {
      if (allowance.failure) reject(allowance.failure);
      else if ((allowance.isOver || allowance.messagesLeft <= 0) && connections.every((each) => each.isSettled))
        resolve();
    };
    onSettled = look;
    look();
  });
}

function totals(): { messages: number; acked: number } {
  let messages = 0;
  let acked = 0;
  for (const connection of connections) {
    messages += connection.sent;
    acked += connection.acked;
  }
  return { messages, acked };
}
