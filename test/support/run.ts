import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { COUNTS_MARK, PROGRESS_FD_VARIABLE } from "./counts.ts";
import type { TestCounts, TestProgress } from "./counts.ts";

/**
 * The test runner: `node --import tsx --conditions=source test/support/run.ts [--slow] [TEXT...]`.
 *
 * Each *.test.ts is a process of its own, two at a time; *.slow.test.ts run only with --slow, one at a time and last.
 * --root FOLDER and --file-timeout SECONDS are for the runner's own tests.
 * TEXT: only files whose path holds one of these. The last line tells the true counts; exit 1 on any failure, and when
 * nothing was found.
 */

interface FileResult extends TestCounts {
  path: string;
  durationMs: number;
  output: string;
}

/** One more than the cores of a small machine: many files wait for timers and processes more than they compute. */
const FILES_AT_ONCE = 3;
const FILE_TIMEOUT_MS = 150_000;
const SLOW_FILE_TIMEOUT_MS = 30 * 60_000;
const OUTPUT_CHARS_MAX = 1024 * 1024;
const SLOWEST_SHOWN = 10;
/** What `npm test` may take; beyond it a heavy test must become a slow one. */
const BUDGET_MS = 180_000;

const testFolder = join(dirname(fileURLToPath(import.meta.url)), "..");
const groups = new Set<number>();

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      slow: { type: "boolean", default: false },
      root: { type: "string", default: testFolder },
      "file-timeout": { type: "string" },
    },
  });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, stopEverything);

  const startMs = performance.now();
  const files = findTests(values.root).filter(
    (path) => positionals.length === 0 || positionals.some((text) => path.includes(text)),
  );
  const quick = files.filter((path) => !isSlow(path));
  const slow = values.slow ? files.filter(isSlow) : [];
  const timeoutMs = (standardMs: number): number => Number(values["file-timeout"] ?? standardMs / 1000) * 1000;
  const results = [
    ...(await runAll(values.root, quick, { atOnce: FILES_AT_ONCE, timeoutMs: timeoutMs(FILE_TIMEOUT_MS) })),
    ...(await runAll(values.root, slow, { atOnce: 1, timeoutMs: timeoutMs(SLOW_FILE_TIMEOUT_MS) })),
  ];
  printSummary(results, performance.now() - startMs, slow.length > 0);

  const total = sum(results);
  if (results.length === 0) console.log(`No test file matches ${positionals.join(" ") || "at all"}.`);
  const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : "";
  console.log(`${total.passed} passed, ${total.failed} failed${skipped}`);
  process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;
}

function findTests(root: string): string[] {
  return readdirSync(root, { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".test.ts") && !/(^|\/)(node_modules|dist)\//.test(path))
    .toSorted();
}

function isSlow(path: string): boolean {
  return path.endsWith(".slow.test.ts");
}

async function runAll(
  root: string,
  paths: readonly string[],
  { atOnce, timeoutMs }: { atOnce: number; timeoutMs: number },
): Promise<FileResult[]> {
  const results: FileResult[] = [];
  const queue = [...paths];
  const worker = async (): Promise<void> => {
    for (let path = queue.shift(); path !== undefined; path = queue.shift()) {
      const result = await runFile(root, path, timeoutMs);
      printResult(result);
      results.push(result);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return results;
}

function runFile(root: string, path: string, timeoutMs: number): Promise<FileResult> {
  const startMs = performance.now();
  // A process group of its own, so that whatever the file started can be ended with it.
  const child = spawn(process.execPath, ["--import", "tsx", "--conditions=source", join(root, path)], {
    cwd: join(testFolder, ".."),
    detached: true,
    env: { ...process.env, [PROGRESS_FD_VARIABLE]: "3" },
    stdio: ["ignore", "pipe", "pipe", "pipe"],
  });
  const group = child.pid ?? 0;
  groups.add(group);
  let output = "";
  const collect = (text: string): void => {
    output = (output + text).slice(-OUTPUT_CHARS_MAX);
  };
  let progress = "";
  const [, stdout, stderr, progressPipe] = child.stdio as unknown as [null, Readable, Readable, Readable];
  stdout.setEncoding("utf8").on("data", collect);
  stderr.setEncoding("utf8").on("data", collect);
  progressPipe.setEncoding("utf8").on("data", (text: string) => {
    progress = (progress + text).slice(-OUTPUT_CHARS_MAX);
  });
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    killGroup(group);
  }, timeoutMs);

  return new Promise((resolve) => {
    // A grandchild that keeps our pipes open must not keep us waiting for "close".
    child.once("exit", () => killGroup(group));
    child.once("error", (error) => collect(`\nCould not start: ${error.message}\n`));
    child.once("close", (code, signal) => {
      clearTimeout(timer);
      groups.delete(group);
      const counts = readCounts(output) ?? { passed: 0, failed: 0, skipped: 0 };
      const complete = readCounts(output) !== undefined;
      if (timedOut) {
        output += `\nThe file was not over after ${timeoutMs / 1000} s and was killed.\n${describeProgress(progress)}`;
      }
      if (!timedOut && !complete) output += `\nThe file ended without its counts (code ${code}, signal ${signal}).\n`;
      // Anything but a clean end is a failure, even if every test passed.
      if ((timedOut || !complete || code !== 0) && counts.failed === 0) counts.failed = 1;
      resolve({ ...counts, path, output, durationMs: performance.now() - startMs });
    });
  });
}

/** The counts in the last line that carries the mark; undefined where the file never got to print it. */
function readCounts(output: string): TestCounts | undefined {
  const at = output.lastIndexOf(`\n${COUNTS_MARK}`);
  if (at < 0) return undefined;
  const line = output.slice(at + 1 + COUNTS_MARK.length).split("\n", 1)[0] ?? "";
  return JSON.parse(line) as TestCounts;
}

/** What a killed file was at, and what had failed before: uvu tells failures only at the end. */
function describeProgress(lines: string): string {
  const steps = lines
    .split("\n")
    // The first line may have lost its beginning to the bound.
    .filter((line) => line.startsWith("{") && line.endsWith("}"))
    .map((line) => JSON.parse(line) as TestProgress);
  const failures = steps.filter(({ failure }) => failure !== undefined);
  const last = steps.findLast(({ failure }) => failure === undefined);
  return [
    `It was at: ${last?.test ?? "no test yet"}`,
    ...failures.map(({ test, failure }) => `Failed before: ${test}\n${failure}`),
    "",
  ].join("\n");
}

function killGroup(group: number): void {
  try {
    if (group > 0) process.kill(-group, "SIGKILL");
  } catch {
    // Nobody is left in the group, which is as it should be.
  }
}

function stopEverything(): void {
  for (const group of groups) killGroup(group);
  process.exit(1);
}

function printResult({ path, passed, failed, skipped, durationMs, output }: FileResult): void {
  const word = failed > 0 ? "FAILED" : "ok    ";
  const skips = skipped > 0 ? `, ${skipped} skipped` : "";
  console.log(`${word} ${path}  ${passed} passed, ${failed} failed${skips}, ${seconds(durationMs)}`);
  const lines = output.split("\n").filter((line) => !line.startsWith(COUNTS_MARK));
  const shown = failed > 0 ? lines : lines.filter((line) => line.startsWith("SKIPPED ") || line.startsWith("ONLY "));
  for (const line of shown) console.log(`    ${line}`);
}

function printSummary(results: readonly FileResult[], durationMs: number, withSlow: boolean): void {
  const slowest = results.toSorted((a, b) => b.durationMs - a.durationMs).slice(0, SLOWEST_SHOWN);
  console.log("\nSlowest files:");
  for (const { path, durationMs: fileMs } of slowest) console.log(`  ${seconds(fileMs).padStart(8)}  ${path}`);
  const budget = withSlow ? "" : ` of the ${seconds(BUDGET_MS)} npm test may take`;
  console.log(`All files: ${seconds(durationMs)}${budget}${!withSlow && durationMs > BUDGET_MS ? ": TOO LONG" : ""}`);
  const failed = results.filter((result) => result.failed > 0);
  if (failed.length > 0)
    console.log(`\nFailed: ${failed.map(({ path }) => relative(".", join("test", path))).join(", ")}`);
  console.log("");
}

function seconds(durationMs: number): string {
  return `${(durationMs / 1000).toFixed(1)} s`;
}

function sum(results: readonly TestCounts[]): TestCounts {
  const total: TestCounts = { passed: 0, failed: 0, skipped: 0 };
  for (const { passed, failed, skipped } of results) {
    total.passed += passed;
    total.failed += failed;
    total.skipped += skipped;
  }
  return total;
}

await main();
