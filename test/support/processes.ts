import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { join } from "node:path";
import { atEnd } from "./at-end.ts";
import { onExit } from "./on-exit.ts";
import { repositoryRoot } from "./repository.ts";

/** How a process ended: one of the two is null. */
export interface ProcessEnd {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** A child process of a test. It is killed when the test process exits, however that happens. */
export interface TestProcess {
  readonly pid: number;
  /** Resolves when the process has ended and its output is complete; never rejects. */
  readonly ended: Promise<ProcessEnd>;
  isRunning(): boolean;
  /** Everything printed so far to stdout; the oldest is dropped beyond OUTPUT_CHARS_MAX. */
  stdout(): string;
  /** As stdout(), of stderr. */
  stderr(): string;
  /** Resolves with the first match in stdout or stderr, past or future. Throws after timeoutMs (20,000) or at the end. */
  waitForOutput(pattern: RegExp, options?: { timeoutMs?: number }): Promise<RegExpExecArray>;
  /** Sends a signal; nothing happens when the process has ended. */
  signal(signal: NodeJS.Signals): void;
  /** SIGTERM, and SIGKILL when that takes longer than graceMs (10,000). */
  stop(options?: { graceMs?: number }): Promise<ProcessEnd>;
  /** SIGKILL, as a power cut would be for the process. */
  kill(): Promise<ProcessEnd>;
}

/** Environment, folder and input of a process. */
export interface ProcessOptions {
  /** Added to the environment of the test. */
  env?: Readonly<Record<string, string | undefined>>;
  cwd?: string;
}

/** The programs of this repository by workspace. */
export type WeirProgram = "agent" | "aggregator" | "firmware-sim";

/** Flags of Node that run a program of this repository from its sources. */
export const sourceFlags: readonly string[] = [
  "--import",
  join(repositoryRoot, "test", "support", "source-loader.mjs"),
  "--conditions=source",
];

const OUTPUT_CHARS_MAX = 4 * 1024 * 1024;

const running = new Set<ChildProcess>();
let watchingExit = false;

/** Starts `command` as a child of the test. Throws when there is no such program. */
export async function startProcess(
  command: string,
  args: readonly string[],
  { env = {}, cwd = repositoryRoot }: ProcessOptions = {},
): Promise<TestProcess> {
  watchExit();
  const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (error) => reject(new Error(`Could not start ${command}: ${error.message}`, { cause: error })));
  });
  running.add(child);
  return observe(child, [command, ...args].join(" "));
}

/** Starts a program of this repository: `source` by tsx without a build, `dist` as it is shipped (build it first). */
export function startWeir(
  program: WeirProgram,
  args: readonly string[],
  { from = "source", ...options }: ProcessOptions & { from?: "source" | "dist" } = {},
): Promise<TestProcess> {
  const nodeArgs =
    from === "dist"
      ? [join(repositoryRoot, program, "dist", "main.js")]
      : [...sourceFlags, join(repositoryRoot, program, "src", "main.ts")];
  return startProcess(process.execPath, [...nodeArgs, ...args], options);
}

/** Starts a command, waits for its end, and returns how it ended with its output. Kills it after timeoutMs (60,000). */
export async function runToEnd(
  command: string,
  args: readonly string[],
  { timeoutMs = 60_000, ...options }: ProcessOptions & { timeoutMs?: number } = {},
): Promise<ProcessEnd & { stdout: string; stderr: string }> {
  const child = await startProcess(command, args, options);
  const timer = setTimeout(() => child.signal("SIGKILL"), timeoutMs);
  const end = await child.ended;
  clearTimeout(timer);
  return { ...end, stdout: child.stdout(), stderr: child.stderr() };
}

function observe(child: ChildProcess, commandLine: string): TestProcess {
  const output = { stdout: "", stderr: "" };
  const watchers = new Set<() => void>();
  let end: ProcessEnd | undefined;
  const collect = (name: "stdout" | "stderr"): void => {
    child[name]?.setEncoding("utf8").on("data", (text: string) => {
      output[name] = (output[name] + text).slice(-OUTPUT_CHARS_MAX);
      for (const watcher of watchers) watcher();
    });
  };
  collect("stdout");
  collect("stderr");
  const ended = new Promise<ProcessEnd>((resolve) => {
    // "close" rather than "exit": by then the pipes are drained.
    child.once("close", (code, signal) => {
      running.delete(child);
      end = { code, signal };
      resolve(end);
      for (const watcher of watchers) watcher();
    });
  });
  const signal = (name: NodeJS.Signals): void => void child.kill(name);

  const waitForOutput = (
    pattern: RegExp,
    { timeoutMs = 20_000 }: { timeoutMs?: number } = {},
  ): Promise<RegExpExecArray> => {
    const search = new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, ""));
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void): void => {
        clearTimeout(timer);
        watchers.delete(look);
        settle();
      };
      const fail = (why: string): void => {
        const said = `stdout:\n${output.stdout}\nstderr:\n${output.stderr}`;
        finish(() => reject(new Error(`${commandLine} ${why} without printing ${pattern}\n${said}`)));
      };
      const look = (): void => {
        const match = search.exec(output.stdout) ?? search.exec(output.stderr);
        if (match !== null) finish(() => resolve(match));
        else if (end !== undefined) fail(`ended (code ${end.code}, signal ${end.signal})`);
      };
      const timer = setTimeout(() => fail(`went on for ${timeoutMs} ms`), timeoutMs);
      watchers.add(look);
      look();
    });
  };

  const kill = (): Promise<ProcessEnd> => {
    signal("SIGKILL");
    return ended;
  };
  const stop = async ({ graceMs = 10_000 }: { graceMs?: number } = {}): Promise<ProcessEnd> => {
    signal("SIGTERM");
    const timer = setTimeout(() => signal("SIGKILL"), graceMs);
    const how = await ended;
    clearTimeout(timer);
    return how;
  };
  atEnd(async () => void (await kill()));
  return {
    pid: child.pid!,
    ended,
    isRunning: () => end === undefined,
    stdout: () => output.stdout,
    stderr: () => output.stderr,
    waitForOutput,
    signal,
    stop,
    kill,
  };
}

/** Children don't outlive the test process: not after a failure, an early exit, Ctrl-C or a stop by the runner. */
function watchExit(): void {
  if (watchingExit) return;
  watchingExit = true;
  onExit(() => {
    for (const child of running) child.kill("SIGKILL");
  });
}
