import { runToEnd } from "../../support/processes.ts";
import { dataFolder, removeFolder } from "../folders.ts";
import { checkLedger, readLedger } from "../ledger.ts";
import { endedChildrenCpuSeconds } from "../process-stats.ts";
import { agentArgs, startBuiltAgent } from "../programs.ts";
import type { BuiltProgram } from "../programs.ts";
import { PLAN_DEFAULTS, startPublisher } from "../publish.ts";
import type { AgentScenario, BenchContext } from "../scenario.ts";

const SERIES = 10_000;
const READINGS = 5_000_000;
const READINGS_QUICK = 1_000_000;
const DAY_MS = 86_400_000;

/** Folds a log again: 10,000 series of a reading a second. */
export const replayScenario: AgentScenario = {
  kind: "agent",
  name: "replay",
  about: `weir-agent replay --day over a log of ${READINGS / 1e6} million readings, ${SERIES} series at 1 Hz`,
  inQuick: true,
  async run(agent, context) {
    const folder = dataFolder("replay");
    try {
      // Yesterday from six o'clock on: one day, whenever this runs.
      const midnightMs = Math.floor(Date.now() / DAY_MS - 1) * DAY_MS;
      const day = new Date(midnightMs).toISOString().slice(0, 10);
      const sent = await writeLog(agent, folder, midnightMs + DAY_MS / 4, context);
      const counts = readLedger(folder);
      const cpuBefore = endedChildrenCpuSeconds();
      const beganMs = performance.now();
      const args = [...agentArgs(agent, "replay", { folder, nodeArgs: context.nodeArgs }), "--day", day];
      const end = await runToEnd(process.execPath, args, { timeoutMs: 600_000 });
      const seconds = (performance.now() - beganMs) / 1000;
      const cpu = endedChildrenCpuSeconds() - cpuBefore;
      const problems = checkLedger(sent, counts, { mayLose: false });
      if (end.code !== 0) problems.push(`The replay ended with ${end.signal ?? end.code}: ${end.stderr.slice(0, 300)}`);
      else problems.push(...checkReport(end.stdout, sent));
      const figures = { replayedPerSecond: sent / seconds, replayedPerCpuSecond: sent / cpu, wallSeconds: seconds };
      return { sent, ledger: counts, problems, figures };
    } finally {
      removeFolder(folder);
    }
  },
};

async function writeLog(
  agent: BuiltProgram,
  folder: string,
  startMs: number,
  { quick }: BenchContext,
): Promise<number> {
  const running = await startBuiltAgent(agent, { folder });
  const plan = { ...PLAN_DEFAULTS, series: SERIES, qos: 1 as const, window: 65_535, startMs, stepMs: 1000 };
  const publisher = await startPublisher({ ...plan, port: running.port, messages: quick ? READINGS_QUICK : READINGS });
  const { readings } = await publisher.run();
  await running.process.stop({ graceMs: 60_000 });
  await publisher.kill();
  return readings;
}

/** The report must speak of every reading. */
function checkReport(text: string, sent: number): string[] {
  const report = JSON.parse(text) as { devices: Array<{ readings: number }> };
  const readings = report.devices.reduce((sum, device) => sum + device.readings, 0);
  return readings === sent ? [] : [`The replayed report counts ${readings} of ${sent} readings`];
}
