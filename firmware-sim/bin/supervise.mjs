// Runs programs side by side under one terminal: named log lines, and an orderly stop in reverse order of their start.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

const STOP_GRACE_MS = 10_000;
/** npm hands Ctrl-C on to us although the terminal has sent it already: signals this close together are one. */
const SAME_SIGNAL_MS = 1_000;
const COLOURS = [36, 33, 35, 32];

/**
 * Makes a supervisor.
 *
 * nameWidth: length of the longest name, for aligned log lines; colour: whether to colour the names.
 * The supervisor ends this process: with 0 after a signal, with 1 after fail() or the death of a child.
 */
export function createSupervisor({ nameWidth, colour }) {
  const children = [];
  let stopping = false;
  let stopAskedAtMs = 0;

  const say = (line) => console.log(line);

  /**
   * Starts `node ARGS` with these variables added to the environment. mayEnd: an end with exit code 0 is no failure.
   */
  const start = (name, args, env, { mayEnd = false } = {}) => {
    // A session of its own: Ctrl-C in the terminal reaches only us, and we stop the children in order.
    const child = spawn(process.execPath, args, {
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    const label = name.padEnd(nameWidth);
    const shown = colour ? `\u001b[${COLOURS[children.length % COLOURS.length]}m${label}\u001b[0m` : label;
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream, crlfDelay: Infinity }).on("line", (line) => say(`${shown} | ${line}`));
    }
    const entry = { name, child, ended: undefined };
    entry.ended = new Promise((resolve) => {
      child.once("error", (error) => resolve(`could not be started: ${error.message}`));
      child.once("close", (code, signal) => resolve(code === null ? `was killed by ${signal}` : `exit code ${code}`));
    });
    children.push(entry);
    void entry.ended.then((how) => {
      if (stopping) return undefined;
      if (mayEnd && child.exitCode === 0) return say(`${name} has ended; the rest goes on.`);
      return fail(`${name} ended unexpectedly (${how}); its last lines are above.`);
    });
  };

  /** Newest first, each drained before the next is asked: nobody loses the one it sends to. */
  const stopAll = async () => {
    for (const { name, child, ended } of children.toReversed()) {
      if (hasEnded(child)) continue;
      say(`Stopping ${name}…`);
      child.kill("SIGTERM");
      const timer = setTimeout(() => {
        say(`${name} has not stopped within ${STOP_GRACE_MS / 1000} s: killing it.`);
        child.kill("SIGKILL");
      }, STOP_GRACE_MS);
      await ended;
      clearTimeout(timer);
    }
  };

  const fail = async (message) => {
    if (stopping) return;
    stopping = true;
    console.error(message);
    await stopAll();
    process.exit(1);
  };

  const onSignal = async (signal) => {
    const nowMs = performance.now();
    if (stopping) {
      if (nowMs - stopAskedAtMs < SAME_SIGNAL_MS) return;
      console.error(`${signal} again: killing what still runs.`);
      process.exit(1);
    }
    stopping = true;
    stopAskedAtMs = nowMs;
    await stopAll();
    say("Stopped.");
    process.exit(0);
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => void onSignal(signal));
  process.on("exit", () => {
    for (const { child } of children) if (!hasEnded(child)) child.kill("SIGKILL");
  });

  return { start, fail, say, isStopping: () => stopping };
}

function hasEnded(child) {
  return child.exitCode !== null || child.signalCode !== null;
}
