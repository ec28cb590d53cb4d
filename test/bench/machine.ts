import { execFileSync } from "node:child_process";
import { cpus, release, totalmem } from "node:os";
import { dirname } from "node:path";

/** Where and on what a result was measured. */
export interface MachineFacts {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGib: number;
  readonly kernel: string;
  readonly node: string;
}

/** Facts of this machine. */
export function machineFacts(): MachineFacts {
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    memoryGib: Math.round((totalmem() / 2 ** 30) * 10) / 10,
    kernel: release(),
    node: process.version,
  };
}

/** The commit that a file lies in, with `+` where tracked files differ from it; "unknown" outside of git. */
export function commitOf(file: string): string {
  try {
    const git = (...args: string[]): string =>
      execFileSync("git", args, { cwd: dirname(file), encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
    const isDirty = git("status", "--porcelain", "--untracked-files=no") !== "";
    return git("rev-parse", "--short=7", "HEAD") + (isDirty ? "+" : "");
  } catch {
    return "unknown";
  }
}
