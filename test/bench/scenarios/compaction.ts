import { startChild } from "../children.ts";
import type { CompactionSaid } from "../compaction.ts";
import { NO_COUNTS } from "../ledger.ts";
import type { AgentScenario } from "../scenario.ts";
import { WIDE_SERIES } from "./wide.ts";

/** Seconds of the plant's life. */
const SECONDS = 600;
const SECONDS_QUICK = 60;

/** Compaction of the log of a large plant: processor time, and what a reading takes afterwards. */
export const compactionScenario: AgentScenario = {
  kind: "agent",
  name: "compaction",
  about: `${SECONDS} s of ${WIDE_SERIES} series at 1 Hz, compacted: share of a core, bytes of a reading`,
  inQuick: false,
  async run(agent, { quick }) {
    const seconds = quick ? SECONDS_QUICK : SECONDS;
    const child = startChild<CompactionSaid>("compaction", [agent.main, String(WIDE_SERIES), String(seconds)]);
    try {
      const { readings, found, figures } = await child.next("compacted");
      const problems = found === readings ? [] : [`The compacted log holds ${found} of ${readings} readings`];
      return { sent: readings, ledger: { ...NO_COUNTS, stored: found }, problems, figures };
    } finally {
      await child.kill();
    }
  },
};
