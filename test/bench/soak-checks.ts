import type { LedgerCounts } from "./ledger.ts";
import { median, quantile } from "./result.ts";

/** What a soak sees every few seconds. */
export interface SoakSample {
  /** Since the first message. */
  readonly seconds: number;
  readonly rssMib: number;
  readonly aggregatorRssMib: number;
  readonly cpuPercent: number;
  /** From a probe's write to its PUBACK, in the time since the sample before. */
  readonly ackP50Ms: number;
  readonly ackP99Ms: number;
  readonly stored: number;
  readonly counts: LedgerCounts;
}

/** Of a soak, what comes before counts as warming up: pools fill, code is compiled, names are learned. */
const WARM_UP_SHARE = 0.2;
/** Memory may be this much higher in the second half than in the first. */
const MEMORY_RATIO_MAX = 1.15;
/** The same of latency, for which a busy machine is allowed more, and this on top, ms. */
const LATENCY_RATIO_MAX = 1.5;
const LATENCY_SLACK_MS = 10;

/**
 * What is not flat, one line each. After the warm-up the halves are compared: of memory the ninth decile, near the top of
 * the saw-tooth that a collector makes, but not its one highest tooth; of latency the median of the intervals' p99, since
 * single stalls of a shared machine come in either half.
 */
export function checkFlat(samples: readonly SoakSample[]): string[] {
  const steady = samples.slice(Math.ceil(samples.length * WARM_UP_SHARE));
  const middle = steady.length >> 1;
  const halves = [steady.slice(0, middle), steady.slice(middle)] as const;
  if (middle < 2) return [`${samples.length} samples are too few to tell; let it run longer`];
  const problems: string[] = [];
  const compare = (
    what: string,
    of: (half: readonly SoakSample[]) => number,
    most: (first: number) => number,
  ): void => {
    const [first, second] = halves.map(of) as [number, number];
    if (second > most(first)) problems.push(`${what} went from ${first.toFixed(1)} to ${second.toFixed(1)}`);
  };
  const high = (values: readonly number[]): number => quantile(values, 0.9);
  const memory = (first: number): number => first * MEMORY_RATIO_MAX;
  compare("The agent's memory (ninth decile of a half, MiB)", (half) => high(half.map(({ rssMib }) => rssMib)), memory);
  compare(
    "The aggregator's memory (ninth decile of a half, MiB)",
    (half) => high(half.map(({ aggregatorRssMib }) => aggregatorRssMib)),
    memory,
  );
  compare(
    "The latency of acknowledgements (median p99 of a half, ms)",
    (half) => median(half.map(({ ackP99Ms }) => ackP99Ms)),
    (first) => first * LATENCY_RATIO_MAX + LATENCY_SLACK_MS,
  );
  return problems;
}
