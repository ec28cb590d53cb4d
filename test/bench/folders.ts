import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { onExit } from "../support/on-exit.ts";

/** Root folder of the project, seen from the sources as well as from what they are built to. */
export function projectRoot(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    const file = join(folder, "package.json");
    if (existsSync(file) && "workspaces" in JSON.parse(readFileSync(file, "utf8"))) return folder;
    if (folder === dirname(folder)) throw new Error("The bench is not inside the project");
  }
}

const folders = new Set<string>();

/** A new folder for a run's data, on the disk that WEIR_BENCH_DIR names or the system's for temporary files. */
export function dataFolder(name: string): string {
  if (folders.size === 0) onExit(() => folders.forEach((folder) => removeFolder(folder)));
  const folder = mkdtempSync(join(process.env["WEIR_BENCH_DIR"] ?? tmpdir(), `weir-bench-${name}-`));
  folders.add(folder);
  return folder;
}

/** Removes a folder of dataFolder(), for the next run needs the room. */
export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
}
