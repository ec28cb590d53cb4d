import { parseArgs } from "node:util";
import { drawPlan } from "./draw-plan.ts";
import { runPlan } from "./run-plan.ts";
import { runProcesses } from "./run-processes.ts";

import { explain } from "./explain.ts";

const HELP = `npm run faults -- [options]

  --seeds N      runs, each of the seed after (default 300, of processes 6)
  --seed S       the first seed (default 1); a run that failed is repeated by --seed S --seeds 1
  --processes    real programs and sockets instead of both sides in this process
  --keep FOLDER  where data files of processes go whose run failed
  --keep-going   all the runs, whatever fails`;

/** How long a failing run is made shorter, s. */
const SHRINK_SECONDS = 60;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seeds: { type: "string" },
      seed: { type: "string", default: "1" },
      processes: { type: "boolean", default: false },
      keep: { type: "string" },
      "keep-going": { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const first = Number(values.seed);
  const count = Number(values.seeds ?? (values.processes ? 6 : 300));
  if (values.help || !Number.isSafeInteger(first) || !Number.isSafeInteger(count) || count < 1) {
    console.log(HELP);
    process.exitCode = values.help ? 0 : 2;
    return;
  }
  const startMs = performance.now();
  const failed: number[] = [];
  const total = { readings: 0, kills: 0 };
  for (let seed = first; seed < first + count; seed++) {
    const { problems, readings, kills } = values.processes
      ? await runProcesses(seed, values.keep === undefined ? {} : { keepIn: values.keep })
      : runPlan(drawPlan(seed));
    total.readings += readings;
    total.kills += kills;
    if (values.processes)
      console.log(`Seed ${seed}: ${readings} readings, ${kills} kills, ${problems.length} problems.`);
    if (problems.length === 0) continue;
    failed.push(seed);
    console.log(values.processes ? problems.join("\n") : explain(seed, problems, SHRINK_SECONDS));
    if (!values["keep-going"]) break;
  }
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  const verdict = failed.length === 0 ? "all as the plain batch" : `FAILED: seeds ${failed.join(", ")}`;
  console.log(
    `${count} seeds from ${first} in ${seconds} s: ${total.readings} readings, ${total.kills} kills; ${verdict}`,
  );
  process.exitCode = failed.length === 0 ? 0 : 1;
}

await main();
