import { join } from "node:path";
import Database from "better-sqlite3";
import { checkLedger } from "../ledger.ts";
import { startPublisher } from "../publish.ts";
import type { AgentScenario } from "../scenario.ts";
import { startStack } from "../stack.ts";
import { WIDE_SERIES, widePlan } from "./wide.ts";

const SECONDS_QUICK = 2;

/** Bytes of the log's blocks for a reading; every series' values have three random decimals. */
export const logBytesScenarios: readonly AgentScenario[] = [1_000, WIDE_SERIES].map((series) => ({
  kind: "agent" as const,
  name: `log-bytes-${series}`,
  about: `bytes of log for a reading, ${series} series, noisy values with 3 decimals`,
  inQuick: series === WIDE_SERIES,
  async run(agent, { rate, seconds, quick, nodeArgs }) {
    const stack = await startStack(agent, { nodeArgs });
    try {
      const publisher = await startPublisher(widePlan(stack.agent.port, rate, quick ? SECONDS_QUICK : seconds, series));
      const { readings } = await publisher.run();
      const ledger = stack.counts();
      const { bytes, rows } = blocksOf(stack.agentFolder);
      return {
        sent: readings,
        ledger,
        problems: checkLedger(readings, ledger, { mayLose: false }),
        figures: { bytesPerReading: bytes / readings, readingsPerEntry: readings / rows },
      };
    } finally {
      await stack.stop();
    }
  },
}));

function blocksOf(folder: string): { readonly bytes: number; readonly rows: number } {
  const db = new Database(join(folder, "agent.db"), { readonly: true });
  try {
    // Some blocks may have been compacted already.
    const tables = ["log WHERE kind = 1", "pieces", "chunks"];
    const sums = tables.map((table) => {
      const sql = `SELECT coalesce(sum(length(body)), 0) AS bytes, count(*) AS rows FROM ${table}`;
      return db.prepare(sql).get() as { bytes: number; rows: number };
    });
    return { bytes: sums.reduce((sum, { bytes }) => sum + bytes, 0), rows: sums[0]!.rows };
  } finally {
    db.close();
  }
}
