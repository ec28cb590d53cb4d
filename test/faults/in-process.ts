import { drawPlan } from "./draw-plan.ts";
import { explain } from "./explain.ts";
import { runPlan } from "./run-plan.ts";

/** How long the test makes a failing run shorter, s. */
const SHRINK_SECONDS = 15;

/** Runs seeds one after another; throws at the first that fails, with all that is needed to repeat it. */
export function runSeeds(first: number, count: number): { readonly readings: number; readonly kills: number } {
  const total = { readings: 0, kills: 0 };
  for (let seed = first; seed < first + count; seed++) {
    const { problems, readings, kills } = runPlan(drawPlan(seed));
    if (problems.length > 0) throw new Error(explain(seed, problems, SHRINK_SECONDS));
    total.readings += readings;
    total.kills += kills;
  }
  return total;
}
