// This module must load before uvu does.
import "./uvu-deferred.ts";
import { writeSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { exec, suite as uvuSuite } from "uvu";
import { runAtEnd } from "./at-end.ts";
import { COUNTS_MARK, PROGRESS_FD_VARIABLE } from "./counts.ts";
import type { TestCounts, TestProgress } from "./counts.ts";

/** What a test or a hook is: it fails by throwing or by a rejected promise. */
export type TestBody = () => unknown;

/** What a suite's tests have in common. */
export interface SuiteOptions {
  /** Longest a test may take with its before-hooks, in ms; its after-hooks get the same again. Default 30,000. */
  timeoutMs?: number;
}

/** Registers tests of one suite. The suite runs by itself once the test file has been evaluated. */
export interface Test {
  /** Adds a test; `options.timeoutMs` overrules the suite's. */
  (name: string, body: TestBody, options?: SuiteOptions): void;
  /** Adds a test that does not run, and says why. */
  skip(name: string, reason: string): void;
  /** Adds a test beside which the suite's others are skipped. For a debugging session; the tidy test forbids it. */
  only(name: string, body: TestBody, options?: SuiteOptions): void;
  before: { each(hook: TestBody): void };
  after: { each(hook: TestBody): void };
}

interface RunningTest {
  name: string;
  fail(error: Error): void;
}

interface PlannedTest {
  name: string;
  body: TestBody;
  timeoutMs: number;
}

interface PlannedSuite {
  name: string;
  tests: PlannedTest[];
  only: PlannedTest[];
  beforeEach: TestBody[];
  afterEach: TestBody[];
}

const TIMEOUT_MS_DEFAULT = 30_000;
/** After the last test, the process gets this long to end by itself before the leak is named and it is ended. */
const LINGER_MS_MAX = 5_000;

/** For this process alone: the children of a test may be tests themselves, but have no such file. */
const progressFd = process.env[PROGRESS_FD_VARIABLE];
delete process.env[PROGRESS_FD_VARIABLE];

const counts: TestCounts = { passed: 0, failed: 0, skipped: 0 };
const suites: PlannedSuite[] = [];
const reported = new WeakSet<Error>();
let phase: "collecting" | "running" | "finished" = "collecting";
let running: RunningTest | undefined;
let scheduled = false;

/**
 * Makes a suite. uvu runs it, and this wrapper closes uvu's gaps: the suite always runs, each test has a time-out,
 * a throwing hook or a thrown non-error fails the test, and no tests, an unhandled rejection or handles left open
 * fail the file.
 */
export function suite(name: string, { timeoutMs = TIMEOUT_MS_DEFAULT }: SuiteOptions = {}): Test {
  const planned: PlannedSuite = { name, tests: [], only: [], beforeEach: [], afterEach: [] };
  suites.push(planned);
  scheduleRun();

  const plan =
    (list: PlannedTest[]) =>
    (testName: string, body: TestBody, options: SuiteOptions = {}): void => {
      assertCollecting(testName);
      list.push({ name: testName, body, timeoutMs: options.timeoutMs ?? timeoutMs });
    };
  return Object.assign(plan(planned.tests), {
    only: plan(planned.only),
    skip: (testName: string, reason: string): void => skipWith(`${name}: ${testName}`, reason),
    before: { each: (hook: TestBody): void => void planned.beforeEach.push(hook) },
    after: { each: (hook: TestBody): void => void planned.afterEach.push(hook) },
  });
}

/** Counts one skipped thing and prints it with the reason, so that a skip is never silent. */
export function skipWith(what: string, reason: string): void {
  counts.skipped += 1;
  console.log(`SKIPPED ${what}: ${reason}`);
}

function assertCollecting(testName: string): void {
  if (phase !== "collecting") throw new Error(`Test "${testName}" was added after the tests had begun`);
}

function scheduleRun(): void {
  if (phase !== "collecting") throw new Error("A suite was made after the tests had begun");
  if (scheduled) return;
  scheduled = true;
  process.on("unhandledRejection", (reason) => failOutside("unhandled rejection", asError(reason)));
  process.on("uncaughtException", (error) => failOutside("uncaught exception", asError(error)));
  process.on("exit", reportCounts);
  setImmediate(() => void runWhenLoaded());
}

/** The entry module may await at its top level; importing it again waits until its evaluation is over. */
async function runWhenLoaded(): Promise<void> {
  const entry = process.argv[1];
  try {
    if (entry !== undefined) await import(pathToFileURL(entry).href);
  } catch (error) {
    failOutside("the test file could not be loaded", asError(error));
  }
  phase = "running";
  await runSuites();
  for (const error of await runAtEnd()) failOutside("cleaning up after the tests", error);
  phase = "finished";
  if (counts.passed + counts.failed + counts.skipped === 0) {
    failOutside("no tests", new Error("This file made a suite without a single test"));
  }
  setTimeout(complainAboutLeak, LINGER_MS_MAX).unref();
}

async function runSuites(): Promise<void> {
  const queue: unknown[][] = [];
  (globalThis as { UVU_QUEUE?: unknown[][] }).UVU_QUEUE = queue;
  for (const planned of suites) {
    const chosen = planned.only.length > 0 ? planned.only : planned.tests;
    const unchosen = planned.only.length > 0 ? planned.tests.length : 0;
    if (unchosen > 0) console.log(`ONLY ${planned.only.length} of ${planned.name}: ${unchosen} others are skipped`);
    counts.skipped += unchosen;
    if (chosen.length === 0) continue;
    const uvuTest = uvuSuite(planned.name);
    for (const test of chosen) uvuTest(test.name, () => runTest(planned, test));
    (globalThis as { UVU_INDEX?: number }).UVU_INDEX = queue.push([null]) - 1;
    uvuTest.run();
  }
  if (queue.length > 0) await exec();
}

async function runTest(planned: PlannedSuite, test: PlannedTest): Promise<void> {
  const errors: Error[] = [];
  const fullName = `${planned.name}: ${test.name}`;
  const attempt = async (bodies: TestBody[], part: string): Promise<void> => {
    try {
      await withTimeout(fullName, part, test.timeoutMs, bodies);
    } catch (error) {
      errors.push(asError(error));
    }
  };
  tellProgress({ test: fullName });
  await attempt([...planned.beforeEach, test.body], "test");
  // Each after-hook runs even when the test or an earlier hook failed: what it stops must not leak into the next test.
  for (const hook of planned.afterEach) await attempt([hook], "after-hook");

  if (errors.length === 0) {
    counts.passed += 1;
    return;
  }
  counts.failed += 1;
  tellProgress({ test: fullName, failure: errors.map(({ stack, message }) => stack ?? message).join("\n") });
  for (const more of errors.slice(1)) console.log(`\nAlso failed in "${fullName}": ${more.stack}`);
  throw forUvu(errors[0]!);
}

/** Runs the bodies in order; fails at the time-out, or at an error that no promise of theirs carries. */
async function withTimeout(name: string, part: string, timeoutMs: number, bodies: TestBody[]): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  let over = false;
  const interrupted = new Promise<never>((_, reject) => {
    running = { name, fail: reject };
    timer = setTimeout(() => reject(new Error(`The ${part} was not over after ${timeoutMs} ms`)), timeoutMs);
  });
  const work = async (): Promise<void> => {
    for (const body of bodies) {
      if (over) return;
      await body();
    }
    // Rejections nobody handles are reported a turn later; wait for it, so that the test at fault gets the blame.
    await new Promise((resolve) => setImmediate(resolve));
  };
  try {
    await Promise.race([work(), interrupted]);
  } finally {
    over = true;
    clearTimeout(timer);
    running = undefined;
  }
}

function failOutside(what: string, error: Error): void {
  // An error thrown while the file loads comes twice: as an uncaught exception, and from importing the file.
  if (reported.has(error)) return;
  reported.add(error);
  if (running !== undefined) {
    running.fail(error);
    return;
  }
  counts.failed += 1;
  console.log(`\nFAILED (${what}): ${error.stack ?? error.message}`);
}

function complainAboutLeak(): void {
  const held = process.getActiveResourcesInfo().join(", ");
  const message = `The tests are over, and the process still holds: ${held || "something unnamed"}. Close it in the test.`;
  failOutside("leak", new Error(message));
  process.exit(1);
}

/** Not on stdout, which belongs to uvu and to the tests. */
function tellProgress(progress: TestProgress): void {
  if (progressFd !== undefined) writeSync(Number(progressFd), `${JSON.stringify(progress)}\n`);
}

/** Last words of the process, synchronously, whichever way it ends. */
function reportCounts(): void {
  if (phase !== "finished") {
    counts.failed += 1;
    console.log("\nFAILED: the process ended before its tests were over");
  }
  if (counts.failed > 0) process.exitCode = 1;
  writeSync(1, `\n${COUNTS_MARK}${JSON.stringify(counts)}\n`);
}

/** uvu prints nothing and exits 0 for a thrown value that isn't an Error, so each is made one. */
function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(`Thrown, and not an Error: ${String(thrown)}`);
}

/**
 * uvu's printer breaks, and takes the rest of the suite along, on errors whose `details` or `operator` mean something
 * else than its own assertions do. Others are handed over as plain text, with their causes.
 */
function forUvu(error: Error): Error {
  if (error.name === "Assertion" || error.name.startsWith("AssertionError")) return error;
  const plain = new Error(error.message);
  // uvu takes the first line of the stack for the message, and a message may have more of them.
  const stack = error.stack ?? "";
  const at = stack.indexOf(error.message);
  plain.stack = at < 0 ? `Error\n${stack}` : `Error${stack.slice(at + error.message.length)}`;
  for (let cause = error.cause; cause instanceof Error; cause = cause.cause) {
    plain.stack += `\n  caused by ${cause.stack ?? cause.message}`;
  }
  return plain;
}
