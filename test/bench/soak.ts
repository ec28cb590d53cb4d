import { resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { TestServer } from "../support/servers.ts";
import { startMosquitto } from "../support/servers.ts";
import { projectRoot } from "./folders.ts";
import { checkLedger } from "./ledger.ts";
import { positive } from "./options.ts";
import type { Probe } from "./probe.ts";
import { startProbe } from "./probe.ts";
import { cpuSeconds, memoryMib } from "./process-stats.ts";
import { startPublisher } from "./publish.ts";
import type { PublishResult } from "./publisher/job.ts";
import { quantile } from "./result.ts";
import { writeResults } from "./results-file.ts";
import { MOSQUITTO_LINES, throughBroker } from "./scenarios/mosquitto.ts";
import { widePlan } from "./scenarios/wide.ts";
import type { SoakSample } from "./soak-checks.ts";
import { checkFlat } from "./soak-checks.ts";
import type { Stack } from "./stack.ts";
import { startStack, summarisedLag } from "./stack.ts";

/** `npm run soak`: see HELP. Exits 1 when memory or latency grow, or the ledger does not balance. */
const HELP = `npm run soak -- [options]

  --minutes N          how long (default 10)
  --rate N             readings a second, one a message (default 100000)
  --series N           (default 100000)
  --through mosquitto  publish to a Mosquitto that the agent subscribes to
  --qos 0|1            of publisher and subscription (default 1; through Mosquitto 0)
  --agent PATH, --aggregator PATH    their dist/main.js (default: this repository's)`;

const SAMPLE_MS = 5_000;
const PROBE_EVERY_MS = 50;
/** The publisher must have been able to send this share of the rate. */
const RATE_SHARE_MIN = 0.99;

interface SoakOptions {
  readonly minutes: number;
  readonly rate: number;
  readonly series: number;
  readonly isThroughMosquitto: boolean;
  readonly qos: 0 | 1;
  readonly agent: string;
  readonly aggregator: string;
}

const root = projectRoot();
process.exitCode = await main();

async function main(): Promise<number> {
  if (process.argv.includes("--help")) {
    console.log(HELP);
    return 0;
  }
  let options: SoakOptions;
  try {
    options = parseOptions(process.argv.slice(2));
  } catch (error) {
    console.error(`soak: ${error instanceof Error ? error.message : String(error)}\n\n${HELP}`);
    return 2;
  }
  const mosquitto = options.isThroughMosquitto ? await startMosquitto({ configLines: MOSQUITTO_LINES }) : undefined;
  const toml = mosquitto && `[[broker]]\nurl = "${mosquitto.url}"\nqos = ${options.qos}\n`;
  const { aggregator } = options;
  const stack = await startStack({ name: "agent", main: options.agent }, { aggregator, ...(toml ? { toml } : {}) });
  try {
    return await soak(stack, mosquitto, options);
  } finally {
    await stack.stop();
    await mosquitto?.stop();
  }
}

function parseOptions(args: string[]): SoakOptions {
  const { values } = parseArgs({
    args,
    strict: true,
    options: {
      minutes: { type: "string", default: "10" },
      rate: { type: "string", default: "100000" },
      series: { type: "string", default: "100000" },
      through: { type: "string", default: "" },
      qos: { type: "string" },
      agent: { type: "string", default: resolve(root, "agent/dist/main.js") },
      aggregator: { type: "string", default: resolve(root, "aggregator/dist/main.js") },
    },
  });
  if (!["", "mosquitto"].includes(values.through))
    throw new Error(`--through ${values.through}: mosquitto, or nothing`);
  const isThroughMosquitto = values.through === "mosquitto";
  const qos = values.qos ?? (isThroughMosquitto ? "0" : "1");
  if (qos !== "0" && qos !== "1") throw new Error(`--qos ${qos}: 0 or 1`);
  return {
    minutes: positive("minutes", values.minutes),
    rate: positive("rate", values.rate),
    series: positive("series", values.series),
    isThroughMosquitto,
    qos: qos === "0" ? 0 : 1,
    agent: resolve(values.agent),
    aggregator: resolve(values.aggregator),
  };
}

async function soak(stack: Stack, mosquitto: TestServer | undefined, options: SoakOptions): Promise<number> {
  const { minutes, rate, series, qos } = options;
  let others = mosquitto ? await throughBroker(mosquitto.url, () => Promise.resolve(stack.counts())) : 0;
  const probe = await startProbe(stack.agent.port);
  const plan = { ...widePlan(mosquitto?.port ?? stack.agent.port, rate, minutes * 60, series), qos };
  const publisher = await startPublisher(plan);
  const samples: SoakSample[] = [];
  const probing = { acks: [] as number[], isOver: false, count: 0 };
  const publishing = publisher.run();
  const probed = keepProbing(probe, probing);
  const sampled = keepSampling(stack, probing, samples);
  let sent: PublishResult;
  try {
    sent = await publishing;
  } finally {
    probing.isOver = true;
  }
  await Promise.all([probed, sampled]);
  probe.close();
  await delay(1000);
  others += probing.count;
  const counts = stack.counts();
  const total = sent.readings + others;
  const lag = await summarisedLag(stack, total);
  const problems = [...checkLedger(total, counts, { mayLose: false }), ...lag.problems, ...checkFlat(samples)];
  const achieved = sent.messages / sent.seconds;
  if (achieved < rate * RATE_SHARE_MIN) problems.push(`${achieved.toFixed(0)} of ${rate} messages a second were taken`);
  console.log(`${total} readings sent, ${counts.stored} stored, ${achieved.toFixed(0)} messages/s`);
  for (const problem of problems) console.log(`FAIL ${problem}`);
  if (problems.length === 0) console.log("Memory and latency are flat, and the ledger balances.");
  const file = writeResults(root, "soak", { options, sent: total, counts, problems, samples });
  console.log(`Written to ${file}`);
  return problems.length > 0 ? 1 : 0;
}

interface Probing {
  acks: number[];
  isOver: boolean;
  count: number;
}

async function keepProbing(probe: Probe, probing: Probing): Promise<void> {
  while (!probing.isOver) {
    probing.acks.push(await probe.publish("sensors/plant/soak-probe/m0", JSON.stringify({ ts: Date.now(), value: 1 })));
    probing.count++;
    await delay(PROBE_EVERY_MS);
  }
}

async function keepSampling(stack: Stack, probing: Probing, samples: SoakSample[]): Promise<void> {
  const beganMs = performance.now();
  let cpuBefore = cpuSeconds(stack.agent.pid);
  let atMs = beganMs;
  console.log("     s  agent MiB  aggregator MiB  CPU %  ack p50 ms  ack p99 ms      stored");
  for (;;) {
    await delay(SAMPLE_MS);
    if (probing.isOver) return;
    const acks = probing.acks.splice(0);
    const cpu = cpuSeconds(stack.agent.pid);
    const nowMs = performance.now();
    const counts = stack.counts();
    const sample = {
      seconds: (nowMs - beganMs) / 1000,
      rssMib: memoryMib(stack.agent.pid).rss,
      aggregatorRssMib: memoryMib(stack.aggregator!.pid).rss,
      cpuPercent: ((cpu - cpuBefore) / (nowMs - atMs)) * 100_000,
      ackP50Ms: acks.length > 0 ? quantile(acks, 0.5) : SAMPLE_MS,
      ackP99Ms: acks.length > 0 ? quantile(acks, 0.99) : SAMPLE_MS,
      stored: counts.stored,
      counts,
    };
    cpuBefore = cpu;
    atMs = nowMs;
    samples.push(sample);
    const cells = [
      sample.seconds.toFixed(0).padStart(6),
      sample.rssMib.toFixed(0).padStart(9),
      sample.aggregatorRssMib.toFixed(0).padStart(14),
      sample.cpuPercent.toFixed(0).padStart(5),
      sample.ackP50Ms.toFixed(1).padStart(10),
      sample.ackP99Ms.toFixed(1).padStart(10),
      String(sample.stored).padStart(10),
    ];
    console.log(cells.join("  "));
  }
}
