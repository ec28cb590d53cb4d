import { existsSync } from "node:fs";
import { loadavg } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { publisherCeiling } from "./ceiling.ts";
import { projectRoot } from "./folders.ts";
import { NO_COUNTS } from "./ledger.ts";
import { commitOf, machineFacts } from "./machine.ts";
import type { BenchOptions } from "./options.ts";
import { BENCH_HELP, parseBenchOptions } from "./options.ts";
import { machineBusySeconds } from "./process-stats.ts";
import type { RunResult } from "./result.ts";
import { medianOf } from "./result.ts";
import { writeResults } from "./results-file.ts";
import type { BenchContext, Scenario } from "./scenario.ts";
import { scenarios } from "./scenarios/index.ts";
import { renderResults } from "./table.ts";
import { agentTarget } from "./targets.ts";

/** `npm run bench`: see BENCH_HELP. Exits 1 when a ledger does not balance or a run fails, 2 on a bad command line. */
const root = projectRoot();
process.exitCode = await main();

async function main(): Promise<number> {
  let options: BenchOptions;
  try {
    if (process.argv.includes("--help")) {
      console.log(BENCH_HELP);
      return 0;
    }
    options = parseBenchOptions(process.argv.slice(2), root);
    for (const { main: path } of options.agents)
      if (!existsSync(path)) throw new Error(`${path} is not there: build it`);
  } catch (error) {
    console.error(`bench: ${error instanceof Error ? error.message : String(error)}\n\n${BENCH_HELP}`);
    return 2;
  }
  const chosen = scenarios.filter(({ name, inQuick }) =>
    options.only.length > 0 ? options.only.some((wanted) => isMeant(name, wanted)) : inQuick || !options.quick,
  );
  if (chosen.length === 0) {
    console.error(`bench: no scenario is called ${options.only.join(" or ")}; --list prints them`);
    return 2;
  }
  if (options.list) {
    for (const { name, about } of chosen) console.log(`${name.padEnd(28)} ${about}`);
    return 0;
  }
  return runAll(chosen, options);
}

/** A scenario's whole name means that one alone, a beginning all that begin so. */
function isMeant(name: string, wanted: string): boolean {
  return scenarios.some((scenario) => scenario.name === wanted) ? name === wanted : name.startsWith(wanted);
}

async function runAll(chosen: readonly Scenario[], options: BenchOptions): Promise<number> {
  const context: BenchContext = {
    ...options,
    nodeArgs: options.profile === "" ? [] : ["--cpu-prof", `--cpu-prof-dir=${options.profile}`],
    log: (line) => console.log(line),
  };
  const machine = machineFacts();
  const commits = options.agents.map(({ name, main: path }) => `${name} ${commitOf(path)}`).join(", ");
  console.log(`${machine.cpu}, ${machine.cores} cores, ${machine.memoryGib} GiB, Node ${machine.node}; ${commits}`);
  if (loadavg()[0]! > 0.5) console.log(`The machine is busy (load ${loadavg()[0]!.toFixed(1)}): look at "others %".`);
  const ceiling = await publisherCeiling({ seconds: 1 });
  const perSecond = Math.round(ceiling.messages / ceiling.seconds);
  console.log(`The publisher alone, to a server that decodes nothing: ${perSecond} messages/s`);
  const results: RunResult[] = [];
  for (const scenario of chosen) results.push(...(await runScenario(scenario, options, context)));
  console.log(`\n${renderResults(results)}\n\n${Math.round(performance.now() / 1000)} s in all`);
  const problems = results.flatMap(({ scenario, target, problems: list }) =>
    list.map((problem) => `FAIL ${scenario}, ${target}: ${problem}`),
  );
  for (const problem of problems) console.log(problem);
  const agents = options.agents.map((agent) => ({ ...agent, commit: commitOf(agent.main) }));
  const file = writeResults(root, options.quick ? "quick" : "bench", { options, agents, ceiling, results });
  console.log(`Written to ${file}`);
  return problems.length > 0 ? 1 : 0;
}

/** All rounds of all targets, in turn, so that what the machine does meanwhile hits each alike. */
async function runScenario(scenario: Scenario, options: BenchOptions, context: BenchContext): Promise<RunResult[]> {
  const { name } = scenario;
  const runs = options.agents.map((agent) => ({
    target: agent.name,
    kind: "agent" as "agent" | "peer",
    run: () =>
      scenario.kind === "load"
        ? scenario.run(agentTarget(agent, context.nodeArgs), context)
        : scenario.run(agent, context),
  }));
  if (scenario.kind === "load" && options.peers) {
    const { peer } = scenario;
    runs.push({ target: peer.name, kind: "peer", run: () => scenario.run(peer, context) });
  }
  const results = runs.map((): RunResult[] => []);
  for (let round = 0; round < options.rounds; round++) {
    for (const [index, { target, kind, run }] of runs.entries()) {
      await calm(options.calm);
      context.log(`${name}, ${target}, round ${round + 1} of ${options.rounds} …`);
      let result: RunResult;
      try {
        result = { scenario: name, target, kind, ...(await run()) };
      } catch (error) {
        const problem = error instanceof Error ? error.message : String(error);
        result = { scenario: name, target, kind, figures: {}, sent: 0, ledger: NO_COUNTS, problems: [problem] };
      }
      results[index]!.push(result);
    }
  }
  return results.map(medianOf);
}

/** Waits until the machine has been idle for half a second, or the time is over, s. */
async function calm(secondsMax: number): Promise<void> {
  const endMs = performance.now() + secondsMax * 1000;
  while (performance.now() < endMs) {
    const before = machineBusySeconds();
    await delay(500);
    if (machineBusySeconds() - before < 0.1) return;
  }
}
