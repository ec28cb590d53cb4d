import { closeSync, fsyncSync, mkdirSync, openSync } from "node:fs";
import { dirname, resolve } from "node:path";

/**
 * Makes a folder and those above it that are missing, durably: SQLite syncs the folder that its files are in, but not
 * the folder's own name. Throws what mkdir throws.
 */
export function makeFolder(folder: string): void {
  const made = mkdirSync(folder, { recursive: true });
  if (made === undefined) return;
  const highest = resolve(made);
  for (let one = resolve(folder); one.length >= highest.length; one = dirname(one)) {
    const parent = openSync(dirname(one), "r");
    fsyncSync(parent);
    closeSync(parent);
  }
}
