import { setTimeout as delay } from "node:timers/promises";
import type { LedgerCounts } from "./ledger.ts";
import { accountedFor, checkLedger, countsSince } from "./ledger.ts";
import { cpuSeconds, machineBusySeconds, memoryMib } from "./process-stats.ts";
import type { PublishPlan } from "./publish.ts";
import { startPublisher } from "./publish.ts";
import type { LoadFigures, Measured } from "./result.ts";
import type { RunningTarget } from "./targets.ts";

/** Readings on their way are given up when their count has stood still for this long, unless another time is given. */
const STALL_MS = 10_000;
const POLL_MS = 20;

export interface LoadRules {
  /** See checkLedger(). */
  readonly mayLose: boolean;
  readonly stallMs?: number;
  /** A broker between the publisher and the target: its CPU time is measured as well. */
  readonly brokerPid?: number;
}

/** Publishes by the plan and measures the target until it has accounted for everything. */
export async function measureLoad(
  target: RunningTarget,
  plan: PublishPlan,
  { mayLose, stallMs = STALL_MS, brokerPid }: LoadRules,
): Promise<Measured & { readonly figures: LoadFigures & Record<string, number> }> {
  const publisher = await startPublisher(plan);
  try {
    const before = await target.counts();
    const cpuBefore = cpuSeconds(target.pid);
    const busyBefore = machineBusySeconds();
    const brokerBefore = brokerPid === undefined ? 0 : cpuSeconds(brokerPid);
    const beganMs = performance.now();
    const sent = await publisher.run();
    const { counts, atMs } = await settledCounts(target, before, sent.readings, stallMs);
    const seconds = (atMs - beganMs) / 1000;
    const cpu = cpuSeconds(target.pid) - cpuBefore;
    const brokerCpu = brokerPid === undefined ? 0 : cpuSeconds(brokerPid) - brokerBefore;
    // Until now, which is later than `seconds` where something was waited for in vain.
    const elapsed = (performance.now() - beganMs) / 1000;
    const othersCpu = machineBusySeconds() - busyBefore - cpu - brokerCpu - sent.cpuSeconds;
    const accounted = accountedFor(counts);
    return {
      sent: sent.readings,
      ledger: counts,
      problems: [...checkLedger(sent.readings, counts, { mayLose }), ...checkAcks(plan, sent)],
      figures: {
        messagesPerSecond: accounted / plan.readingsPerMessage / seconds,
        readingsPerSecond: accounted / seconds,
        cpuPercent: (cpu / seconds) * 100,
        readingsPerCpuSecond: accounted / cpu,
        lost: sent.readings - accounted,
        seconds,
        peakMib: memoryMib(target.pid).peak,
        publisherCpuPercent: (sent.cpuSeconds / sent.seconds) * 100,
        othersCpuPercent: (othersCpu / elapsed) * 100,
        ...(brokerPid === undefined ? {} : { brokerCpuPercent: (brokerCpu / seconds) * 100 }),
      },
    };
  } finally {
    await publisher.kill();
  }
}

/** Waits until every reading is accounted for, or the count stands still; atMs is when the last of them was. */
async function settledCounts(
  target: RunningTarget,
  before: LedgerCounts,
  sent: number,
  stallMs: number,
): Promise<{ counts: LedgerCounts; atMs: number }> {
  let counts = countsSince(await target.counts(), before);
  let atMs = performance.now();
  while (accountedFor(counts) < sent && performance.now() - atMs < stallMs) {
    await delay(POLL_MS);
    const now = countsSince(await target.counts(), before);
    if (accountedFor(now) !== accountedFor(counts)) atMs = performance.now();
    counts = now;
  }
  return { counts, atMs };
}

function checkAcks({ qos }: PublishPlan, { messages, acked }: { messages: number; acked: number }): string[] {
  return qos === 1 && acked !== messages ? [`${acked} of ${messages} messages were acknowledged`] : [];
}
