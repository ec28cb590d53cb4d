import { join } from "node:path";
import Database from "better-sqlite3";
import { dataFolder, removeFolder } from "../folders.ts";
import { checkLedger, readLedger } from "../ledger.ts";
import { startProbe } from "../probe.ts";
import { cpuSeconds, memoryMib } from "../process-stats.ts";
import { startBuiltAgent } from "../programs.ts";
import { startPublisher } from "../publish.ts";
import type { AgentScenario } from "../scenario.ts";
import { WIDE_SERIES, widePlan } from "./wide.ts";

const SECONDS = 55;
const SECONDS_QUICK = 5;

/** From kill -9 to taking readings again, with nearly a minute of them since the checkpoint. */
export const recoveryScenario: AgentScenario = {
  kind: "agent",
  name: "recovery",
  about: `${WIDE_SERIES} series, checkpoint.interval 60 s, ${SECONDS} s of readings, kill -9; until the first PUBACK`,
  inQuick: true,
  async run(agent, { rate, quick, nodeArgs }) {
    const folder = dataFolder("recovery");
    const settings = { "checkpoint.interval": "60s" };
    try {
      const killed = await startBuiltAgent(agent, { folder, settings });
      const publisher = await startPublisher(widePlan(killed.port, rate, quick ? SECONDS_QUICK : SECONDS));
      const { readings } = await publisher.run();
      const unfolded = readingsSinceCheckpoint(folder);
      await killed.process.kill();
      await publisher.kill();

      const beganMs = performance.now();
      const running = await startBuiltAgent(agent, { folder, settings, nodeArgs });
      const probe = await startProbe(running.port);
      await probe.publish("sensors/plant/probe/m0", JSON.stringify({ ts: Date.now(), value: 1 }));
      const seconds = (performance.now() - beganMs) / 1000;
      const cpu = cpuSeconds(running.pid);
      const { peak } = memoryMib(running.pid);
      probe.close();
      await running.process.stop({ graceMs: 60_000 });
      const ledger = readLedger(folder);
      const sent = readings + 1;
      return {
        sent,
        ledger,
        problems: checkLedger(sent, ledger, { mayLose: false }),
        figures: {
          recoverySeconds: seconds,
          recoveryCpuSeconds: cpu,
          recoveryPeakMib: peak,
          readingsSinceCheckpoint: unfolded,
        },
      };
    } finally {
      removeFolder(folder);
    }
  },
};

/** Readings that a recovery has to fold again; an early checkpoint may have been made where there were too many. */
function readingsSinceCheckpoint(folder: string): number {
  const db = new Database(join(folder, "agent.db"), { readonly: true });
  try {
    const since = "SELECT coalesce(max(value), 0) FROM meta WHERE key = 'checkpoint_seq'";
    const sql = `SELECT coalesce(sum(readings), 0) AS readings FROM log WHERE seq > (${since})`;
    return (db.prepare(sql).get() as { readings: number }).readings;
  } finally {
    db.close();
  }
}
