import { setTimeout as delay } from "node:timers/promises";
import { connectAsync } from "mqtt";
import { startMosquitto } from "../../support/servers.ts";
import type { LedgerCounts } from "../ledger.ts";
import { accountedFor } from "../ledger.ts";
import { measureLoad } from "../load.ts";
import { PLAN_DEFAULTS, windowFor } from "../publish.ts";
import type { PublishPlan } from "../publish.ts";
import type { Measured } from "../result.ts";
import type { BenchContext, LoadScenario } from "../scenario.ts";
import { mqttPeer } from "../targets.ts";

interface MosquittoShape {
  readonly qos: 0 | 1;
  readonly readingsPerMessage: number;
  readonly connections: number;
}

/**
 * What a plant's broker needs for bursts at this rate; by default Mosquitto drops what goes beyond 1,000 messages for a
 * subscriber, and lets 20 of QoS 1 be unacknowledged.
 */
export const MOSQUITTO_LINES = [
  "max_queued_messages 1000000",
  "max_inflight_messages 65535",
  "set_tcp_nodelay true",
  "log_type error",
] as const;

const QUICK = new Set(["mosquitto-qos0-1x50", "mosquitto-qos0-100x1"]);

/** Through a real Mosquitto: publishers → broker → subscriber. */
export const mosquittoScenarios: readonly LoadScenario[] = [
  { qos: 0 as const, readingsPerMessage: 1, connections: 1 },
  { qos: 0 as const, readingsPerMessage: 1, connections: 50 },
  { qos: 1 as const, readingsPerMessage: 1, connections: 50 },
  { qos: 0 as const, readingsPerMessage: 100, connections: 1 },
  { qos: 0 as const, readingsPerMessage: 100, connections: 50 },
].map(throughMosquitto);

function throughMosquitto(shape: MosquittoShape): LoadScenario {
  const { qos, readingsPerMessage, connections } = shape;
  const name = `mosquitto-qos${qos}-${readingsPerMessage}x${connections}`;
  const many = readingsPerMessage > 1;
  return {
    kind: "load",
    name,
    about: `${readingsPerMessage} readings a message, ${connections} publishing connections, QoS ${qos}, ${
      many ? "highest rate without loss" : "paced"
    }`,
    inQuick: QUICK.has(name),
    peer: mqttPeer,
    async run(target, context) {
      const mosquitto = await startMosquitto({ configLines: MOSQUITTO_LINES });
      const running = await target.subscribe(mosquitto.url, qos);
      try {
        await throughBroker(mosquitto.url, () => running.counts());
        const plan = {
          ...PLAN_DEFAULTS,
          port: mosquitto.port,
          connections,
          qos,
          readingsPerMessage,
          window: windowFor(connections),
        };
        const measure = (rate: number, seconds: number, stallMs: number): ReturnType<typeof measureLoad> =>
          measureLoad(running, paced(plan, rate, seconds, context), {
            mayLose: target.kind === "peer",
            stallMs,
            brokerPid: mosquitto.pid,
          });
        if (!many) return await measure(context.rate, context.seconds, 10_000);
        return await fastest((rate, seconds) => measure(rate, seconds, 1_000), context);
      } finally {
        await running.stop();
        await mosquitto.stop();
      }
    },
  };
}

/** rate: readings a second. */
function paced(
  plan: Omit<PublishPlan, "rate" | "seconds">,
  rate: number,
  seconds: number,
  { publishers }: BenchContext,
): PublishPlan {
  const processes = Math.min(publishers, plan.connections);
  return { ...plan, rate: rate / plan.readingsPerMessage, seconds, processes };
}

type Trial = (rate: number, seconds: number) => Promise<Measured>;

/** The search doubles the rate until it is too high, and then halves the difference. */
const RATE_FIRST = 500_000;
const RATE_MAX = 16_000_000;
const TRIALS = { bisections: 3, trialSeconds: 1.5 };
const TRIALS_QUICK = { bisections: 1, trialSeconds: 0.7 };

/** Searches for the highest rate that loses nothing and keeps up, and measures there; a little below where that fails. */
async function fastest(trial: Trial, { seconds, quick, log }: BenchContext): Promise<Measured> {
  const { bisections, trialSeconds } = quick ? TRIALS_QUICK : TRIALS;
  let low = RATE_FIRST / 2;
  let high = Infinity;
  const attempt = async (rate: number): Promise<void> => {
    const isGood = keptUp(await trial(rate, trialSeconds), rate);
    log(`  ${Math.round(rate)} readings/s: ${isGood ? "kept up" : "did not keep up"}`);
    if (isGood) low = rate;
    else high = rate;
  };
  while (high === Infinity && low < RATE_MAX) await attempt(low * 2);
  for (let i = 0; i < bisections && high < Infinity; i++) await attempt((low + high) / 2);
  for (let rate = low; ; rate *= 0.9) {
    const measured = await trial(rate, seconds);
    if (keptUp(measured, rate) || rate < low * 0.6) return measured;
    log(`  ${Math.round(rate)} readings/s: did not keep up for ${seconds} s`);
  }
}

function keptUp({ figures, problems }: Measured, rate: number): boolean {
  return problems.length === 0 && figures["lost"] === 0 && figures["readingsPerSecond"]! > rate * 0.93;
}

/** Publishes probes until one has arrived, which `counts` tells, and resolves with how many that do have. */
export async function throughBroker(url: string, counts: () => Promise<LedgerCounts>): Promise<number> {
  const client = await connectAsync(url, { clientId: "weir-bench-probe" });
  const deadlineMs = performance.now() + 30_000;
  while (accountedFor(await counts()) === 0) {
    if (performance.now() > deadlineMs) throw new Error("No message came through the broker within 30 s");
    await client.publishAsync("sensors/plant/probe/m0", JSON.stringify({ ts: Date.now(), value: 1 }));
    await delay(100);
  }
  await client.endAsync();
  await delay(500);
  return accountedFor(await counts());
}
