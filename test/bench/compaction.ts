import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import type * as BatchModule from "@weir/agent/pipeline/batch";
import type * as CompactorModule from "@weir/agent/pipeline/compactor";
import type * as CoreModule from "@weir/agent/pipeline/core";
import type { CompactorOptions } from "@weir/agent/pipeline/compactor";
import type * as StoreModule from "@weir/agent/store/store";
import { dataFolder, removeFolder } from "./folders.ts";

/**
 * A process that writes the log of a large plant through an agent's core, compacts it, and tells what that cost. Its
 * arguments are the agent's dist/main.js, how many series there are, and how many seconds of their lives.
 */

/** What the process says at its end. */
export interface CompactionSaid {
  readonly type: "compacted";
  readonly figures: Readonly<Record<string, number>>;
  readonly readings: number;
  /** Readings found in the log afterwards. */
  readonly found: number;
}

/** The group commits that 100,000 readings a second come to. */
const BATCHES_A_SECOND = 25;
const TURN_MS = 4;
/** Turns in which no job ends, as many as the longest job may take and more. */
const IDLE_TURNS_MAX = 200;
const NEVER = 1e15;
const NO_COMPACTION: CompactorOptions = {
  cutReadings: NEVER,
  cutAfterMs: NEVER,
  mergeReadings: NEVER,
  settleMs: NEVER,
  mergeAgainMs: NEVER,
};

const [, , main = "", seriesText, secondsText] = process.argv;
const series = Number(seriesText);
const seconds = Number(secondsText);
const load = async <Module>(path: string): Promise<Module> =>
  (await import(pathToFileURL(join(dirname(main), path)).href)) as Module;
const { createColumns } = await load<typeof BatchModule>("pipeline/batch.js");
const { Compactor } = await load<typeof CompactorModule>("pipeline/compactor.js");
const { Core } = await load<typeof CoreModule>("pipeline/core.js");
const { Store } = await load<typeof StoreModule>("store/store.js");

const folder = dataFolder("compaction");
const store = new Store(join(folder, "agent.db"), { readonly: false });
// What is measured is processor time; the disk is not to be waited for.
store.sql.run("PRAGMA synchronous = OFF");
let nowMs = Date.UTC(2026, 2, 14, 11);
const bounds = { deadLetterCountMax: 10, outboxBytesMax: 2 ** 40, logBytesMax: 2 ** 40, logAgeMaxMs: NEVER };
const core = new Core(
  store,
  { windowMs: 60_000, checkpointIntervalMs: 10_000, compaction: NO_COMPACTION, ...bounds },
  { now: () => nowMs, committed() {}, emitted() {}, alerts() {}, warn: (line) => console.error(line) },
);
const compactor = new Compactor(store.compacted);
const cost = { ms: 0, turnMs: 0 };

/** Compacts until nothing is due, turn by turn; returns what it cost, ms of processor time. */
function measured(): number {
  const costBefore = cost.ms;
  let idleTurns = 0;
  while (idleTurns <= IDLE_TURNS_MAX) {
    const jobs = compactor.gauges["compaction_jobs_total"]!;
    const readings = compactor.gauges["compaction_piece_readings"];
    nowMs += 1001;
    const before = process.cpuUsage();
    const beganMs = performance.now();
    compactor.turn(store.recoverSeq, nowMs, TURN_MS);
    cost.turnMs = Math.max(cost.turnMs, performance.now() - beganMs);
    const { user, system } = process.cpuUsage(before);
    cost.ms += (user + system) / 1000;
    const { compaction_jobs_total: after, compaction_piece_readings: left } = compactor.gauges;
    idleTurns = after === jobs && left === readings ? idleTurns + 1 : 0;
  }
  return cost.ms - costBefore;
}

const levels = Float64Array.from({ length: series }, () => Math.random() * 100);
const per = series / BATCHES_A_SECOND;
const names = Array.from({ length: series }, (_, index) => ({ index, site: "hall", device: `d${index}`, metric: "m" }));
let readings = 0;
const startMs = nowMs;
for (let second = 0; second < seconds; second++) {
  for (let part = 0; part < BATCHES_A_SECOND; part++) {
    nowMs = startMs + second * 1000 + part * 40;
    const columns = createColumns(per);
    for (let i = 0; i < per; i++) {
      const one = part * per + i;
      columns.series[i] = one;
      columns.tsMs[i] = nowMs - (one % 37);
      columns.value[i] = Math.round((levels[one]! + Math.random() + Math.random() - 1) * 1000) / 1000;
    }
    columns.count = per;
    readings += per;
    core.commit({
      readings: columns,
      sources: ["bench"],
      series: second === 0 && part === 0 ? names : [],
      deadLetters: [],
      ledger: [],
    });
    core.checkpointTurn();
  }
}
core.checkpoint();
const logBytes = store.logBytes;
const cutMs = measured();
nowMs = startMs + 2 * 3_600_000;
const mergeMs = measured();
let found = 0;
for (const block of store.readings.all()) found += block.count;
const said: CompactionSaid = {
  type: "compacted",
  readings,
  found,
  figures: {
    cutNsPerReading: (cutMs * 1e6) / readings,
    mergeNsPerReading: (mergeMs * 1e6) / readings,
    percentOfCoreAt100kPerSecond: ((cutMs + mergeMs) / 1000 / (readings / 100_000)) * 100,
    longestTurnMs: cost.turnMs,
    blockBytesPerReading: logBytes / readings,
    chunkBytesPerReading: store.logBytes / readings,
  },
};
store.close();
removeFolder(folder);
process.send?.(said);
