import { setTimeout as delay } from "node:timers/promises";
import type { DeviceClient } from "../support/device-client.ts";
import { eventually } from "../support/eventually.ts";
import type { Random } from "../support/random.ts";
import type { Fleet } from "./fleet.ts";
import type { ProcessPlant } from "./process-plant.ts";

/** A fault, and after how many acknowledgements of all it comes. */
interface Fault {
  readonly afterAcks: number;
  readonly name: string;
  readonly work: () => Promise<void>;
}

/** What has to come before a time-out: all of the fleet's messages acknowledged, ms. */
const PUBLISH_MS = 60_000;
const START_MS = Date.parse("2026-02-03T18:00:00Z");

/**
 * Publishes all of a fleet while faults come, and resolves when every message is acknowledged and every fault is over.
 * done: what was done, for a person.
 */
export async function runFaults(
  random: Random,
  plant: ProcessPlant,
  fleet: Fleet,
  done: string[],
  isQuick: boolean,
): Promise<void> {
  const clients = fleet.devices.map(({ name }) => plant.device(name, random.chance(0.5)));
  const total = fleet.devices.reduce((sum, { messages }) => sum + messages.length, 0);
  const acks = (): number => clients.reduce((sum, { acknowledged }) => sum + acknowledged, 0);
  const lanes = drawLanes(random, plant, clients, total, isQuick);
  try {
    await Promise.all([publishAll(random, clients, fleet), ...lanes.map((faults) => runLane(faults, acks, done))]);
    await eventually(
      () => {
        const pending = clients.reduce((sum, client) => sum + client.pending, 0);
        if (pending > 0) throw new Error(`${pending} of ${total} messages are not acknowledged`);
      },
      { timeoutMs: PUBLISH_MS, intervalMs: 50 },
    );
  } finally {
    for (const client of clients) client.close();
  }
}

/** At such a pace that faults fall into it, and never far ahead of the acknowledgements. */
async function publishAll(random: Random, clients: readonly DeviceClient[], fleet: Fleet): Promise<void> {
  const burst = random.pick([5, 20, 60]);
  const longest = Math.max(...fleet.devices.map(({ messages }) => messages.length));
  for (let from = 0; from < longest; from += burst) {
    fleet.devices.forEach(({ messages }, index) => {
      for (const { topic, payload } of messages.slice(from, from + burst)) clients[index]!.publish(topic, payload);
    });
    await delay(burst * 3);
    const deadlineMs = performance.now() + PUBLISH_MS;
    while (clients.some(({ pending }) => pending > 150) && performance.now() < deadlineMs) await delay(20);
  }
}

/** One fault of a lane after another, each when its time has come. */
async function runLane(faults: readonly Fault[], acks: () => number, done: string[]): Promise<void> {
  for (const { afterAcks, name, work } of faults) {
    await eventually(
      () => {
        if (acks() < afterAcks) throw new Error(`${acks()} of ${afterAcks} acknowledgements have come before: ${name}`);
      },
      { timeoutMs: PUBLISH_MS, intervalMs: 5 },
    );
    done.push(`${name} after ${acks()} acks`);
    await work();
  }
}

/** Faults of the agent, of the uplink and aggregator, and of the broker and devices: lanes that do not wait for each other. */
function drawLanes(
  random: Random,
  plant: ProcessPlant,
  clients: readonly DeviceClient[],
  total: number,
  isQuick: boolean,
): Fault[][] {
  const lane = (count: number, kinds: ReadonlyArray<() => Omit<Fault, "afterAcks">>): Fault[] => {
    const times = Array.from({ length: count }, () => Math.floor((0.05 + random.next() * 0.85) * total));
    return times.toSorted((a, b) => a - b).map((afterAcks) => ({ afterAcks, ...random.pick(kinds)() }));
  };
  const agent = agentFaults(random, plant, clients);
  const uplink = uplinkFaults(random, plant);
  const others = otherFaults(random, plant, clients);
  if (isQuick) return [lane(1, agent.slice(0, 1)), lane(1, uplink.slice(0, 1)), lane(1, others)];
  return [lane(random.between(1, 3), agent), lane(random.between(2, 4), uplink), lane(random.between(1, 3), others)];
}

type FaultKind = () => Omit<Fault, "afterAcks">;

function agentFaults(random: Random, plant: ProcessPlant, clients: readonly DeviceClient[]): FaultKind[] {
  const downMs = (): number => random.between(0, 400);
  return [
    () => {
      const ms = downMs();
      return { name: `kill -9 of the agent right after a PUBACK, ${ms} ms`, work: () => killAtAck(plant, clients, ms) };
    },
    () => {
      const [waitMs, ms] = [random.between(0, 60), downMs()];
      const work = async (): Promise<void> => {
        await delay(waitMs);
        await plant.killAgent(ms);
      };
      return { name: `kill -9 of the agent, ${ms} ms`, work };
    },
    () => {
      const ms = downMs();
      return {
        name: `kill -9 of the agent right after a frame, ${ms} ms`,
        work: () => atFrame(plant, () => plant.killAgent(ms)),
      };
    },
    () => {
      const ms = random.between(50, 800);
      return { name: `SIGSTOP of the agent, ${ms} ms`, work: () => plant.freeze("agent", ms) };
    },
    () => {
      const ms = random.between(100, 1200);
      const isKilled = random.chance(0.5);
      return {
        name: `disk full, ${ms} ms${isKilled ? ", and a kill" : ""}`,
        work: () => fillDisk(plant, ms, isKilled),
      };
    },
  ];
}

/** Between the acknowledgement's bytes and whatever the agent does next. */
async function killAtAck(plant: ProcessPlant, clients: readonly DeviceClient[], downMs: number): Promise<void> {
  await new Promise<void>((resolve) => {
    const fallback = setTimeout(resolve, 1000);
    for (const client of clients) {
      client.onAck = () => {
        clearTimeout(fallback);
        resolve();
      };
    }
  });
  for (const client of clients) client.onAck = () => {};
  await plant.killAgent(downMs);
}

/** Right after something that is more than a ping or a status has gone up: between send and ack. */
async function atFrame(plant: ProcessPlant, work: () => Promise<void>): Promise<void> {
  await new Promise<void>((resolve) => {
    const fallback = setTimeout(resolve, 1000);
    plant.proxy.onForward = (bytes) => {
      if (bytes < 300) return;
      clearTimeout(fallback);
      resolve();
    };
  });
  plant.proxy.onForward = () => {};
  await work();
}

async function fillDisk(plant: ProcessPlant, forMs: number, isKilled: boolean): Promise<void> {
  if (!plant.disk) return;
  plant.disk.fill();
  await delay(forMs);
  if (isKilled) {
    // It may not even start on a full disk.
    const again = plant.killAgent(300);
    await delay(150);
    plant.disk.free();
    await again;
  }
  plant.disk.free();
}

function uplinkFaults(random: Random, plant: ProcessPlant): FaultKind[] {
  const { proxy } = plant;
  return [
    () => {
      const ms = random.between(0, 400);
      const work = (): Promise<void> => atFrame(plant, () => plant.killAggregator(ms));
      return { name: `kill -9 of the aggregator right after a frame, ${ms} ms`, work };
    },
    () => {
      const ms = random.between(0, 400);
      return { name: `kill -9 of the aggregator, ${ms} ms`, work: () => plant.killAggregator(ms) };
    },
    () => {
      const ms = random.between(0, 1500);
      const work = async (): Promise<void> => {
        proxy.mode = "refusing";
        proxy.cut();
        await delay(ms);
        proxy.mode = "open";
      };
      return { name: `uplink cut, ${ms} ms`, work };
    },
    () => ({ name: "uplink cut right after a frame", work: () => atFrame(plant, async () => proxy.cut()) }),
    () => {
      const ms = random.between(100, 1500);
      const work = async (): Promise<void> => {
        proxy.mode = "swallowing";
        await delay(ms);
        proxy.mode = "open";
        // Left alone it would be noticed after 15 s of silence; the network's reset comes sooner.
        proxy.cut();
      };
      return { name: `uplink half-open, ${ms} ms`, work };
    },
    () => {
      const [ms, delayMs] = [random.between(200, 1500), random.between(20, 300)];
      const work = async (): Promise<void> => {
        proxy.delayMs = delayMs;
        await delay(ms);
        proxy.delayMs = 0;
      };
      return { name: `uplink late by ${delayMs} ms, ${ms} ms`, work };
    },
    () => {
      const ms = random.between(50, 800);
      return { name: `SIGSTOP of the aggregator, ${ms} ms`, work: () => plant.freeze("aggregator", ms) };
    },
    () => {
      const effectiveFromMs = START_MS + random.between(-3, 12) * 1_800_000;
      const text = new Date(effectiveFromMs).toISOString();
      return { name: `thresholds from ${text}`, work: () => publishThresholds(plant, effectiveFromMs) };
    },
  ];
}

/** Trains a version from what has come so far and publishes it, mostly for a time that has passed. */
async function publishThresholds(plant: ProcessPlant, effectiveFromMs: number): Promise<void> {
  try {
    const { version } = await plant.aggregator.post<{ version: number }>("/api/thresholds/train", { days: 30 });
    await plant.aggregator.post(`/api/thresholds/${version}/publish`, { effectiveFromMs });
  } catch (error) {
    // 409: there is not enough to train from yet.
    if (!String(error).includes("409")) throw error;
  }
}

function otherFaults(random: Random, plant: ProcessPlant, clients: readonly DeviceClient[]): FaultKind[] {
  const { broker } = plant;
  const kinds: FaultKind[] = [
    () => {
      const client = random.pick(clients);
      return { name: "a device's connection ends", work: async () => client.drop() };
    },
  ];
  // A broker that ends in order keeps what it has acknowledged; killed, it may lose a second of it, which is its own affair.
  if (broker) kinds.push(() => ({ name: "the broker is restarted", work: () => broker.restart() }));
  return kinds;
}
