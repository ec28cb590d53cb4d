import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { WebSocket } from "ws";
import { dataFolder, removeFolder } from "../folders.ts";
import { checkLedger } from "../ledger.ts";
import type { Probe } from "../probe.ts";
import { startProbe } from "../probe.ts";
import { cpuSeconds } from "../process-stats.ts";
import { startPublisher } from "../publish.ts";
import { quantile } from "../result.ts";
import type { AgentScenario } from "../scenario.ts";
import { startStack } from "../stack.ts";
import { WIDE_SERIES, widePlan } from "./wide.ts";

const SECONDS_MIN = 60;
const SECONDS_QUICK = 5;
/** Before the first breach that counts: names are being learned, and code is being compiled. */
const WARM_UP_MS = 4_000;
/** Between two breaches, ms; each is of another probe, and its next one comes long after the rule's gap. */
const EVERY_MS = 40;
const PROBES = 100;
/** Until the series' names are at the aggregator and the first checkpoint is over. */
const SETTLE_MS = 2_000;
/** For the last alerts to arrive. */
const ARRIVE_MS = 5_000;

const RULES = { rules: [{ match: { metric: "alarm" }, band: { warningHigh: 90, gapMs: 100 } }] };

/** From the write on a device's socket to the alert on a dashboard's. */
export const latencyScenario: AgentScenario = {
  kind: "agent",
  name: "latency",
  about: `a breach now and then among ${WIDE_SERIES} series at the paced rate, until its alert is on a /live socket`,
  inQuick: true,
  async run(agent, { rate, seconds, quick, aggregator, nodeArgs }) {
    const rulesFolder = dataFolder("rules");
    const file = join(rulesFolder, "rules.json");
    writeFileSync(file, JSON.stringify(RULES));
    const aggregatorSettings = { "thresholds.initial_file": file };
    const stack = await startStack(agent, { aggregator, aggregatorSettings, nodeArgs });
    try {
      const probe = await startProbe(stack.agent.port);
      for (let i = 0; i < PROBES; i++) await probe.publish(topicOf(i), JSON.stringify({ ts: Date.now(), value: 50 }));
      await delay(SETTLE_MS);
      const dashboard = await watch(stack.aggregator!.port);
      const length = quick ? SECONDS_QUICK : Math.max(seconds, SECONDS_MIN);
      const publisher = await startPublisher(widePlan(stack.agent.port, rate, length + WARM_UP_MS / 1000));
      const cpuBefore = cpuSeconds(stack.agent.pid);
      const publishing = publisher.run();
      await Promise.race([delay(WARM_UP_MS), publishing]);
      const breaches = await sendBreaches(probe, publishing);
      const { readings, seconds: took } = await publishing;
      const cpu = cpuSeconds(stack.agent.pid) - cpuBefore;
      await arrived(dashboard.alerts, breaches.size);
      dashboard.close();
      probe.close();
      const latencies = [...breaches].flatMap(([key, sentMs]) => {
        const atMs = dashboard.alerts.get(key);
        return atMs === undefined ? [] : [atMs - sentMs];
      });
      const sent = readings + PROBES + breaches.size;
      const ledger = stack.counts();
      const problems = [...checkLedger(sent, ledger, { mayLose: false }), ...dashboard.problems];
      const missing = breaches.size - latencies.length;
      if (missing > 0) problems.push(`${missing} of ${breaches.size} alerts did not arrive`);
      return { sent, ledger, problems, figures: { ...spread(latencies), agentCpuPercent: (cpu / took) * 100 } };
    } finally {
      await stack.stop();
      removeFolder(rulesFolder);
    }
  },
};

function topicOf(probe: number): string {
  return `sensors/plant/probe-${probe}/alarm`;
}

/** Sends breaches until the publishing is over. Returns when each was written, by device and event time. */
async function sendBreaches(probe: Probe, publishing: Promise<unknown>): Promise<Map<string, number>> {
  const sent = new Map<string, number>();
  let isOver = false;
  void publishing.finally(() => (isOver = true)).catch(() => {});
  for (let i = 0; !isOver; i++) {
    const tsMs = Date.now();
    const payload = JSON.stringify({ ts: tsMs, value: 95 });
    sent.set(`probe-${i % PROBES}:${tsMs}`, performance.now());
    probe.send(topicOf(i % PROBES), payload);
    // Not in step with the commits.
    await delay(EVERY_MS * (0.5 + ((i * 0.618) % 1)));
  }
  return sent;
}

interface Dashboard {
  /** When the first news of an alert came, by device and start. */
  readonly alerts: ReadonlyMap<string, number>;
  readonly problems: readonly string[];
  close(): void;
}

async function watch(port: number): Promise<Dashboard> {
  const alerts = new Map<string, number>();
  const problems: string[] = [];
  const socket = new WebSocket(`ws://127.0.0.1:${port}/live`);
  let isClosing = false;
  socket.on("message", (data: Buffer) => {
    const atMs = performance.now();
    const event = JSON.parse(data.toString()) as { type: string; alert?: { device: string; startedAtMs: number } };
    if (event.type !== "alert" || !event.alert) return;
    const key = `${event.alert.device}:${event.alert.startedAtMs}`;
    if (!alerts.has(key)) alerts.set(key, atMs);
  });
  socket.on("close", (code) => {
    if (!isClosing) problems.push(`The dashboard's socket was closed by the aggregator with ${code}`);
  });
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  return {
    alerts,
    problems,
    close() {
      isClosing = true;
      socket.close();
    },
  };
}

async function arrived(alerts: ReadonlyMap<string, number>, count: number): Promise<void> {
  const deadlineMs = performance.now() + ARRIVE_MS;
  while (alerts.size < count && performance.now() < deadlineMs) await delay(20);
}

function spread(latencies: readonly number[]): Record<string, number> {
  if (latencies.length === 0) return { alerts: 0 };
  return {
    alerts: latencies.length,
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
    p999Ms: quantile(latencies, 0.999),
    maxMs: Math.max(...latencies),
  };
}
