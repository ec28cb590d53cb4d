import type { Plan, Step } from "./plan.ts";

/**
 * A plan of fewer steps that still fails: leaves out stretches of steps, half of them at first, as long as that goes on
 * failing (Zeller and Hildebrandt 2002, without the complements). deadlineMs: on the clock of performance.now.
 */
export function shrinkPlan(plan: Plan, fails: (plan: Plan) => boolean, deadlineMs: number): Plan {
  let steps = plan.steps;
  for (let length = Math.ceil(steps.length / 2); length >= 1; length = length === 1 ? 0 : Math.ceil(length / 2)) {
    for (let at = 0; at < steps.length;) {
      if (performance.now() > deadlineMs) return { ...plan, steps };
      const fewer = [...steps.slice(0, at), ...steps.slice(at + length)];
      if (fewer.length < steps.length && fails({ ...plan, steps: fewer })) steps = fewer;
      else at += length;
    }
  }
  return { ...plan, steps };
}

/** Steps as lines for a person, with the clock. */
export function describeSteps(steps: readonly Step[]): string {
  return steps
    .map(({ nowMs, kind, ...rest }) => {
      const details = Object.keys(rest).length > 0 ? ` ${JSON.stringify(rest)}` : "";
      return `  ${new Date(nowMs).toISOString()} ${kind}${details}`;
    })
    .join("\n");
}
