import { cpSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { LogReplay } from "@weir/agent/replay";
import { Store } from "@weir/agent/store/store";
import { canonicalJson } from "@weir/shared/model/canonical-json";
import type { ThresholdVersion } from "@weir/shared/model/thresholds";
import { createCalendar } from "@weir/shared/operators/calendar";
import type { MemoryReport } from "@weir/shared/operators/memory-report";
import { dailyReport } from "@weir/shared/operators/report";
import { eventually } from "../support/eventually.ts";
import { memoryFolder } from "../support/memory-folder.ts";
import { Random } from "../support/random.ts";
import type { ReportPaths } from "./check-run.ts";
import { checkLedger, checkOutcome, described, ticksOf } from "./check-run.ts";
import { AGENT, byId, withoutView } from "./aggregator-side.ts";
import { drawFleet } from "./fleet.ts";
import type { Fleet } from "./fleet.ts";
import { ProcessPlant } from "./process-plant.ts";
import { runFaults } from "./process-faults.ts";
import type { RunResult } from "./run-plan.ts";

const REPLAY_WINDOW_MS = 300_000;
const WINDOW_MS = 60_000;

/** Problems shown of one run. */
const PROBLEMS_SHOWN = 8;

/** Waits for what is under way to come through, at most, ms. */
const SETTLE_MS = 40_000;

/** How one run of processes is to be. */
export interface ProcessRunOptions {
  /** Devices connect to a Mosquitto, which is restarted, instead of to the agent. Default: every other seed. */
  readonly broker?: boolean;
  /** Fewer messages and faults. */
  readonly isQuick?: boolean;
  /** Where the data files of a run that fails are copied to, by seed: it may not fail again. */
  readonly keepIn?: string;
}

/**
 * A fleet, an agent and an aggregator in processes of their own over real sockets, with faults from a seed; then the same
 * comparisons as within one process. The seed says what is sent and which faults come when in the order of
 * acknowledgements; what the processes are doing at that moment is theirs.
 */
export async function runProcesses(seed: number, options: ProcessRunOptions = {}): Promise<RunResult> {
  const random = new Random(seed);
  const fleet = drawFleet(random, options.isQuick === true);
  const plant = await ProcessPlant.start(random, options.broker ?? seed % 2 === 0);
  const done: string[] = [];
  const again = `Seed ${seed} fails; repeat its faults by: npm run faults -- --processes --seed ${seed} --seeds 1`;
  try {
    await runFaults(random, plant, fleet, done, options.isQuick === true);
    const found = await settleAndCheck(plant, fleet);
    if (found.length > 0) keepData(plant, seed, options.keepIn);
    const context = [again, ...found.slice(0, PROBLEMS_SHOWN), `What was done: ${done.join("; ")}`];
    return { problems: found.length > 0 ? context : [], readings: fleet.readings.length, kills: plant.kills };
  } catch (error) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    keepData(plant, seed, options.keepIn);
    const output = `The agent said last: ${plant.agentOutput().slice(-2000)}`;
    const problems = [again, text, `What was done: ${done.join("; ")}`, output];
    return { problems, readings: fleet.readings.length, kills: plant.kills };
  } finally {
    await plant.close();
  }
}

function keepData(plant: ProcessPlant, seed: number, folder: string | undefined): void {
  if (folder === undefined) return;
  cpSync(plant.agentFolder, join(folder, `seed-${seed}`, "agent"), { recursive: true });
  cpSync(plant.aggregator.folder, join(folder, `seed-${seed}`, "aggregator"), { recursive: true });
}

/** Waits until everything is told and sent, stops the agent, and compares. */
async function settleAndCheck(plant: ProcessPlant, fleet: Fleet): Promise<string[]> {
  const calendar = createCalendar("UTC");
  const days = [...new Set(fleet.readings.map(({ tsMs }) => calendar.dayOf(tsMs)))].toSorted();
  await eventually(
    async () => {
      const ledger = (await plant.aggregator.agents())[0]?.ledger;
      if (ledger?.stored !== fleet.readings.length)
        throw new Error(`${ledger?.stored} of ${fleet.readings.length} distinct readings are stored`);
    },
    { timeoutMs: SETTLE_MS, intervalMs: 100 },
  );
  await drainAgent(plant);
  // Asked for, an issued report is issued again where it has changed; the agent hears of it when it connects.
  for (const day of days) await plant.aggregator.text(`/api/reports/daily/${day}`);
  if ((await plant.aggregator.reportDays()).some(({ revision }) => revision > 0)) {
    await plant.startAgent();
    await eventually(() => plant.assertConnected(), { timeoutMs: SETTLE_MS });
    await drainAgent(plant);
  }

  const store = new Store(join(plant.agentFolder, "agent.db"), { readonly: true });
  const replayed = new LogReplay(store, calendar, AGENT, { windowMs: REPLAY_WINDOW_MS }).fold();
  const paths = new Map<string, ReportPaths>();
  for (const day of days) {
    const live = await plant.aggregator.text(`/api/reports/daily/${day}`);
    const recomputed = await plant.aggregator.text(`/api/reports/daily/${day}?recompute=1`);
    paths.set(day, { live, recomputed, replay: reportOf(replayed, store, day) });
  }
  // One day by the program itself; it takes a second to start.
  const byProgram = { ...paths.get(days[0]!)!, replay: await plant.replay(days[0]!) };
  paths.set(days[0]!, byProgram);
  const alerts = (await plant.aggregator.alerts())
    .filter(({ state }) => state !== "withdrawn")
    .map(withoutView)
    .toSorted(byId);
  const versions = await publishedVersions(plant);
  const folder = memoryFolder();
  const problems = [
    ...checkCounts(store, fleet),
    ...checkOutcome(
      {
        given: { calendar, windowMs: WINDOW_MS, versions, readings: fleet.readings, ticks: ticksOf(store) },
        report: (day) => paths.get(day)!,
        alerts,
        replayedAlerts: [...replayed.alerts()]
          .filter(({ state }) => state !== "withdrawn")
          .map(withoutView)
          .toSorted(byId),
      },
      join(folder.path, "batch"),
    ),
  ];
  folder.remove();
  store.close();
  return problems;
}

function reportOf(replayed: MemoryReport, store: Store, day: string): string | undefined {
  const report = dailyReport(replayed, day, Number(store.meta(`report ${day}`) ?? 1));
  return report && canonicalJson(report);
}

/** Ends the agent, which sends what it can; again, where the uplink was away just then. */
async function drainAgent(plant: ProcessPlant): Promise<void> {
  for (let round = 0; ; round++) {
    await plant.stopAgent();
    const store = new Store(join(plant.agentFolder, "agent.db"), { readonly: true });
    const bytes = store.outboxBytes;
    store.close();
    if (bytes === 0) return;
    if (round === 3) throw new Error(`${bytes} bytes stay in the outbox`);
    await plant.startAgent();
    await delay(500);
  }
}

async function publishedVersions({ aggregator }: ProcessPlant): Promise<ThresholdVersion[]> {
  const versions: ThresholdVersion[] = [];
  for (const { version, state } of await aggregator.thresholds()) {
    if (state === "published") versions.push(await aggregator.json<ThresholdVersion>(`/api/thresholds/${version}`));
  }
  return versions.toReversed();
}

/** The ledger balances, and holds at least what was acknowledged: a message may have been received more than once. */
function checkCounts(store: Store, fleet: Fleet): string[] {
  const { bySource, problems } = checkLedger(store);
  const total = { stored: 0, rejected: 0 };
  for (const counts of bySource.values()) {
    total.stored += counts.get("stored") ?? 0;
    total.rejected += counts.get("rejected") ?? 0;
  }
  const all = [...bySource].map(([source, counts]) => `${source} ${described(counts)}`).join(", ");
  if (total.stored !== fleet.readings.length)
    problems.push(`${fleet.readings.length} acknowledged, in the ledger: ${all}`);
  if (total.rejected < fleet.refusals)
    problems.push(`${fleet.refusals} refused and acknowledged, in the ledger: ${all}`);
  return problems;
}
