import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { LogReplay } from "@weir/agent/replay";
import { canonicalJson } from "@weir/shared/model/canonical-json";
import { dailyReport } from "@weir/shared/operators/report";
import { createCalendar } from "@weir/shared/operators/calendar";
import type { Calendar } from "@weir/shared/operators/calendar";
import { memoryFolder } from "../support/memory-folder.ts";
import { AgentSide } from "./agent-side.ts";
import { AGENT, AggregatorSide, byId, WHOLE, withoutView } from "./aggregator-side.ts";
import type { Outcome } from "./check-run.ts";
import { checkLedger, checkOutcome, described, ticksOf } from "./check-run.ts";
import type { Plan, Step } from "./plan.ts";

/** What a run came to. problems: empty where everything is as it has to be. */
export interface RunResult {
  readonly problems: readonly string[];
  readonly readings: number;
  readonly kills: number;
}

/** Both sides of a plant under a plan. */
interface Sides {
  readonly agent: AgentSide;
  readonly aggregator: AggregatorSide;
  readonly calendar: Calendar;
}

/** Windows of the replay; any length that divides an hour gives the same report. */
const REPLAY_WINDOW_MS = 300_000;

/** When the clock ticks at the end, s: in steps that count as watched, for longer than any silence that is drawn. */
const LAST_TICKS = [0, 170, 510, 1190, 2390, 3590, 4790];

/** Connections at the end, at most, until everything has been sent and told. */
const LAST_ROUNDS = 10;

/**
 * Runs a plan to its end, lets everything that waits come through, and compares with the plain batch. Meanwhile the
 * process's stop-watch is the plan's: what is done by turns of some ms is otherwise cut elsewhere by each machine.
 */
export function runPlan(plan: Plan): RunResult {
  let nowMs = 0;
  Object.defineProperty(performance, "now", { configurable: true, value: () => (nowMs += plan.stopwatchMs) });
  try {
    return runByItsStopwatch(plan);
  } finally {
    Reflect.deleteProperty(performance, "now");
  }
}

function runByItsStopwatch(plan: Plan): RunResult {
  const folder = memoryFolder();
  const live = join(folder.path, "live");
  mkdirSync(live);
  const calendar = createCalendar(plan.timezone);
  const sides = { agent: new AgentSide(live, plan), aggregator: new AggregatorSide(live, calendar), calendar };
  const problems: string[] = [];
  try {
    for (const step of plan.steps) take(plan, sides, step);
    settle(plan, sides);
    problems.push(...checkModel(sides), ...checkOutcome(outcomeOf(plan, sides), join(folder.path, "batch")));
  } catch (error) {
    problems.push(`Thrown: ${error instanceof Error ? error.stack : String(error)}`);
  }
  const { agent, aggregator } = sides;
  agent.close();
  aggregator.close();
  folder.remove();
  return { problems, readings: agent.kept.size, kills: agent.kills + aggregator.kills };
}

function take(plan: Plan, { agent, aggregator }: Sides, step: Step): void {
  agent.nowMs = step.nowMs;
  switch (step.kind) {
    case "send":
      agent.send(step.device, step.form, step.readings);
      break;
    case "resend":
      agent.resend(step.device, step.shuffle);
      break;
    case "commit":
      agent.attempt(() => agent.pipeline.commit());
      break;
    case "tick":
      agent.attempt(() => agent.tick(step.nowMs, step.watching));
      break;
    case "turn":
      agent.attempt(() => agent.pipeline.core.checkpointTurn());
      break;
    case "checkpoint":
      agent.attempt(() => agent.pipeline.checkpoint());
      break;
    case "compact":
      agent.attempt(() => agent.compact());
      break;
    case "kill":
      agent.restart();
      if (step.resend) agent.resendAll();
      break;
    case "killIn":
      agent.store.fate.arm(step.transactions, step.at);
      break;
    case "disk":
      if (step.state === "free") agent.store.unbound();
      else if (step.state === "refuses") agent.store.fate.refuses = true;
      else agent.store.boundPages(step.state);
      break;
    case "ship":
      aggregator.connect(agent, step.nowMs, step);
      break;
    case "killAggregator":
      aggregator.restart();
      break;
    case "killAggregatorIn":
      aggregator.db.fate.arm(step.transactions, step.at);
      break;
    case "publish":
      aggregator.publish(plan.versions[step.version]!);
      break;
    case "deliver":
      aggregator.publish(plan.versions[step.version]!);
      agent.deliver(plan.versions[step.version]!);
      break;
    case "issue":
      aggregator.issue(step.day, agent, step.nowMs);
      break;
  }
}

/** The faults end; whatever waits comes through. */
function settle(plan: Plan, { agent, aggregator }: Sides): void {
  agent.nowMs = plan.endMs;
  agent.store.unbound();
  agent.store.fate.disarm();
  aggregator.db.fate.disarm();
  for (const version of plan.versions) {
    aggregator.publish(version);
    agent.pipeline.commit();
    agent.deliver(version);
  }
  for (let round = 0; agent.unacknowledged > 0; round++) {
    if (round === LAST_ROUNDS) {
      throw new Error(`${agent.unacknowledged} messages are never acknowledged; the agent said: ${agent.lastWarning}`);
    }
    agent.resendAll();
    agent.pipeline.commit();
  }
  // What waits to be folded again comes before the last word on what is silent.
  foldAndSend(plan, agent, aggregator);
  for (const second of LAST_TICKS) agent.tick(plan.endMs + second * 1000, true);
  foldAndSend(plan, agent, aggregator);
  // Asked for, an issued report is issued again where it has changed.
  for (const { day } of aggregator.reports.issuedRevisions()) aggregator.issue(day, agent, plan.endMs);
  if (agent.store.outboxBytes !== 0) throw new Error(`${agent.store.outboxBytes} bytes stay in the outbox`);
}

/** Until no re-fold waits and all is sent. A small outbox lets few series at a time be folded again, but always some. */
function foldAndSend(plan: Plan, agent: AgentSide, aggregator: AggregatorSide): void {
  let fewest = Infinity;
  for (let round = 0; round < LAST_ROUNDS; round++) {
    agent.pipeline.checkpoint();
    aggregator.connect(agent, plan.endMs, WHOLE);
    const waiting = agent.pipeline.core.gauges.refolds_waiting!;
    if (waiting === 0 && agent.store.outboxBytes === 0) return;
    if (waiting < fewest) round = 0;
    fewest = Math.min(fewest, waiting);
  }
  throw new Error(`${fewest} re-folds wait, with ${agent.store.outboxBytes} bytes to send`);
}

function outcomeOf(plan: Plan, { agent, aggregator, calendar }: Sides): Outcome {
  const replayed = new LogReplay(agent.store, calendar, AGENT, { windowMs: REPLAY_WINDOW_MS }).fold();
  const { versions, windowMs } = plan;
  return {
    given: { calendar, windowMs, versions, readings: [...agent.kept.values()], ticks: ticksOf(agent.store) },
    report(day) {
      const replay = dailyReport(replayed, day, Number(agent.store.meta(`report ${day}`) ?? 1));
      return {
        live: aggregator.reports.make(day, { batch: false })?.bytes,
        recomputed: aggregator.reports.make(day, { batch: true })?.bytes,
        replay: replay && canonicalJson(replay),
      };
    },
    alerts: aggregator.alerts(),
    replayedAlerts: [...replayed.alerts()]
      .filter(({ state }) => state !== "withdrawn")
      .map(withoutView)
      .toSorted(byId),
  };
}

/** The ledger balances, and says what the model has counted. */
function checkModel({ agent }: Sides): string[] {
  const { bySource, problems } = checkLedger(agent.store);
  let stored = 0;
  for (const [source, counts] of bySource) {
    stored += counts.get("stored") ?? 0;
    const expected = agent.counts.get(source) ?? { received: 0, rejected: 0, dropped: 0 };
    for (const group of ["received", "rejected", "dropped"] as const) {
      const count = counts.get(group) ?? 0;
      if (count === expected[group]) continue;
      const all = described(counts);
      problems.push(`ledger of ${source}: ${group} is ${count} where ${expected[group]} is expected (${all})`);
    }
  }
  if (stored !== agent.kept.size) problems.push(`ledger: ${stored} stored where ${agent.kept.size} are expected`);
  return problems;
}
