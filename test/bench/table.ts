import type { RunResult } from "./result.ts";

/** One table of the throughput scenarios, one of all other figures; of each, ratios to the scenario's first target. */
export function renderResults(results: readonly RunResult[]): string {
  const loads = results.filter(({ figures }) => "readingsPerSecond" in figures);
  const others = results.filter(({ figures }) => !("readingsPerSecond" in figures));
  const parts: string[] = [];
  if (loads.length > 0) parts.push(renderLoads(loads));
  if (others.length > 0) parts.push(renderFigures(others));
  return parts.join("\n\n");
}

function renderLoads(results: readonly RunResult[]): string {
  const head = [
    "scenario",
    "target",
    "messages/s",
    "readings/s",
    "CPU %",
    "readings/CPU-s",
    "× rate",
    "× per CPU-s",
    "MiB",
    "others %",
    "lost",
    "ledger",
  ];
  const rows = inScenarios(results, (result, first) => {
    const { figures } = result;
    return [
      figures["messagesPerSecond"]!.toFixed(0),
      figures["readingsPerSecond"]!.toFixed(0),
      figures["cpuPercent"]!.toFixed(0),
      figures["readingsPerCpuSecond"]!.toFixed(0),
      ratio(result, first, "readingsPerSecond"),
      ratio(result, first, "readingsPerCpuSecond"),
      figures["peakMib"]!.toFixed(0),
      figures["othersCpuPercent"]!.toFixed(0),
      String(figures["lost"]!),
      verdict(result),
    ];
  });
  return table(head, rows, 2);
}

function renderFigures(results: readonly RunResult[]): string {
  const rows: string[][] = [];
  for (const [scenario, group] of byScenario(results)) {
    for (const name of Object.keys(group[0]!.figures)) {
      group.forEach((result, index) => {
        const value = result.figures[name] ?? NaN;
        rows.push([
          scenario,
          name,
          result.target,
          rounded(value),
          index === 0 ? "" : ratio(result, group[0]!, name),
          verdict(result),
        ]);
      });
    }
  }
  return table(["scenario", "figure", "target", "value", "×", "ledger"], rows, 3);
}

function inScenarios(
  results: readonly RunResult[],
  cells: (result: RunResult, first: RunResult) => string[],
): string[][] {
  return [...byScenario(results)].flatMap(([scenario, group]) =>
    group.map((result, index) => [index === 0 ? scenario : "", targetOf(result), ...cells(result, group[0]!)]),
  );
}

function byScenario(results: readonly RunResult[]): Map<string, RunResult[]> {
  const groups = new Map<string, RunResult[]>();
  for (const result of results) {
    const group = groups.get(result.scenario);
    if (group) group.push(result);
    else groups.set(result.scenario, [result]);
  }
  return groups;
}

function targetOf({ target, kind }: RunResult): string {
  return kind === "peer" ? `${target} (stores nothing)` : target;
}

function verdict({ kind, problems }: RunResult): string {
  if (problems.length > 0) return "FAIL";
  return kind === "peer" ? "–" : "ok";
}

function ratio(result: RunResult, first: RunResult, name: string): string {
  const value = result.figures[name]! / first.figures[name]!;
  return Number.isFinite(value) ? value.toFixed(2) : "–";
}

/** Three significant digits below a thousand, whole numbers above. */
function rounded(value: number): string {
  if (!Number.isFinite(value)) return "–";
  return Math.abs(value) >= 1000 || Number.isInteger(value) ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

/** Columns padded to their widest cell; those from index `numbersFrom` on are set to the right. */
export function table(head: readonly string[], rows: ReadonlyArray<readonly string[]>, numbersFrom: number): string {
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => row[column]!.length)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => (column < numbersFrom ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join("  ")
      .trimEnd();
  return [line(head), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)].join("\n");
}
