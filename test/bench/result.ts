import type { LedgerCounts } from "./ledger.ts";

/** What one run of one scenario measured on one target. */
export interface RunResult {
  readonly scenario: string;
  readonly target: string;
  readonly kind: "agent" | "peer";
  /** Figures by name; a name ends in its unit. Throughput runs have those of LoadFigures. */
  readonly figures: Readonly<Record<string, number>>;
  /** Readings sent, and what became of them. */
  readonly sent: number;
  readonly ledger: LedgerCounts;
  /** What is wrong; the bench fails when there is anything. */
  readonly problems: readonly string[];
}

/** Figures of a run that measures throughput. Times run from the first message until the last reading is accounted for. */
export interface LoadFigures {
  readonly messagesPerSecond: number;
  readonly readingsPerSecond: number;
  /** Of one core, all threads of the target. */
  readonly cpuPercent: number;
  readonly readingsPerCpuSecond: number;
  readonly lost: number;
  readonly seconds: number;
  readonly peakMib: number;
  readonly publisherCpuPercent: number;
  /** Of all else on the machine: where it is high, the run was disturbed. */
  readonly othersCpuPercent: number;
  readonly brokerCpuPercent?: number;
}

/** A run's result before it is known as what. */
export type Measured = Omit<RunResult, "scenario" | "target" | "kind">;

/** One result of several rounds: the median of each figure, the problems of all. */
export function medianOf(results: readonly RunResult[]): RunResult {
  // A run that broke off has no figures, and its problem is told.
  const whole = results.filter(({ figures }) => Object.keys(figures).length > 0);
  const first = whole[0] ?? results[0];
  if (!first) throw new Error("No results");
  const names = Object.keys(first.figures);
  const figures = Object.fromEntries(names.map((name) => [name, median(whole.map(({ figures: of }) => of[name]!))]));
  return { ...first, figures, problems: results.flatMap(({ problems }) => problems) };
}

/** The middle value, or the mean of the two in the middle; values: at least one. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The value below which a share of the values lies (nearest rank). values: at least one. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)]!;
}
