import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onExit } from "./on-exit.ts";

const SHARED_MEMORY = "/dev/shm";
const folders = new Set<string>();

/**
 * A new, empty folder in memory where the system has one, else on disk: for many short runs whose data nobody needs after
 * a power cut. Returns its path and how to remove it; it goes with the process at the latest.
 */
export function memoryFolder(): { readonly path: string; remove(): void } {
  if (folders.size === 0) onExit(() => folders.forEach(removeFolder));
  const path = mkdtempSync(join(existsSync(SHARED_MEMORY) ? SHARED_MEMORY : tmpdir(), "weir-faults-"));
  folders.add(path);
  return {
    path,
    remove: () => {
      folders.delete(path);
      removeFolder(path);
    },
  };
}

function removeFolder(path: string): void {
  rmSync(path, { recursive: true, force: true });
}
