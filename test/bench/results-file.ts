import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { commitOf, machineFacts } from "./machine.ts";

/** Where results are kept, in the project's root; not in git. */
const FOLDER = "bench-results";

/** Writes results with machine, Node version, commit and date to a new file of `kind`, and returns its path. */
export function writeResults(root: string, kind: string, results: Readonly<Record<string, unknown>>): string {
  const date = new Date().toISOString();
  const commit = commitOf(join(root, "package.json"));
  mkdirSync(join(root, FOLDER), { recursive: true });
  const name = `${date.slice(0, 19).replaceAll(":", "-")}-${commit.replace("+", "-changed")}-${kind}.json`;
  const path = join(root, FOLDER, name);
  writeFileSync(path, `${JSON.stringify({ kind, date, commit, machine: machineFacts(), ...results }, null, 2)}\n`);
  return path;
}
