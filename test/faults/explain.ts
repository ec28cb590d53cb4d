import { drawPlan } from "./draw-plan.ts";
import { runPlan } from "./run-plan.ts";
import { describeSteps, shrinkPlan } from "./shrink.ts";

/** Lines of problems shown. */
const PROBLEMS_SHOWN = 8;

/** What a person needs to look into a run that failed: its problems, how to repeat it, and fewer steps that fail too. */
export function explain(seed: number, problems: readonly string[], shrinkSeconds: number): string {
  const plan = drawPlan(seed);
  const fails = (candidate: typeof plan): boolean => runPlan(candidate).problems.length > 0;
  const shortest = shrinkPlan(plan, fails, performance.now() + shrinkSeconds * 1000);
  const { timezone, windowMs, batchReadingsMax, devices, versions } = shortest;
  return [
    `Seed ${seed} fails; repeat it by: npm run faults -- --seed ${seed} --seeds 1`,
    ...problems.slice(0, PROBLEMS_SHOWN),
    `Of its ${plan.steps.length} steps these ${shortest.steps.length} are enough:`,
    describeSteps(shortest.steps),
    `with ${JSON.stringify({ timezone, windowMs, batchReadingsMax, devices })}`,
    ...versions.map(({ version, effectiveFromMs, rules }) => {
      return `  version ${version} from ${new Date(effectiveFromMs).toISOString()}: ${JSON.stringify(rules)}`;
    }),
    ...runPlan(shortest).problems.slice(0, PROBLEMS_SHOWN),
  ].join("\n");
}
