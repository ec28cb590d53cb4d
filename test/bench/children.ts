import { fork } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { onExit } from "../support/on-exit.ts";

/** A process of the bench that talks in messages; it is killed when the bench exits. */
export interface BenchChild<Said extends { readonly type: string }, Told> {
  readonly pid: number;
  /** Resolves with the next message of a type, or one that has come already. Throws when the process ends before. */
  next<Type extends Said["type"]>(type: Type): Promise<Extract<Said, { type: Type }>>;
  /** Calls back for every message. */
  onMessage(listener: (message: Said) => void): void;
  tell(message: Told): void;
  /** Kills it and waits for its end. */
  kill(): Promise<void>;
}

/** What a child may say before it ends by itself in failure. */
export interface ChildFailure {
  readonly type: "failed";
  readonly reason: string;
}

const folder = dirname(fileURLToPath(import.meta.url));
/** This file's own ending: the bench runs built, and its tests from the sources. */
const ending = import.meta.url.endsWith(".ts") ? ".ts" : ".js";

const running = new Set<ChildProcess>();
let watchingExit = false;

/** Starts a module of this folder, named without its ending, as a process. */
export function startChild<Said extends { readonly type: string }, Told = never>(
  module: string,
  args: readonly string[] = [],
): BenchChild<Said, Told> {
  if (!watchingExit) {
    watchingExit = true;
    onExit(() => {
      for (const child of running) child.kill("SIGKILL");
    });
  }
  const child = fork(join(folder, `${module}${ending}`), args, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  running.add(child);
  const kept: Said[] = [];
  const listeners = new Set<() => void>();
  let ended: string | undefined;
  const notify = (): void => {
    for (const listener of listeners) listener();
  };
  let reason = "";
  child.on("message", (message: Said | ChildFailure) => {
    if (message.type === "failed") reason = `: ${(message as ChildFailure).reason}`;
    else kept.push(message as Said);
    notify();
  });
  const gone = new Promise<void>((resolve) => {
    child.once("close", (code, signal) => {
      running.delete(child);
      ended = `${module} ended with ${signal ?? code}${reason}`;
      notify();
      resolve();
    });
  });
  return {
    pid: child.pid!,
    onMessage: (listener) => void child.on("message", (message) => listener(message as Said)),
    tell: (message) => void child.send(message as object),
    next(type) {
      return new Promise((resolve, reject) => {
        const look = (): void => {
          const index = kept.findIndex((message) => message.type === type);
          if (index < 0 && ended === undefined) return;
          listeners.delete(look);
          if (index < 0) reject(new Error(`${ended} before it said "${type}"`));
          else resolve(kept.splice(index, 1)[0] as never);
        };
        listeners.add(look);
        look();
      });
    },
    async kill() {
      child.kill("SIGKILL");
      await gone;
    },
  };
}
