import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onExit } from "./on-exit.ts";

const folders: string[] = [];

/** Makes a new, empty folder of this test process and returns its path; it is removed when the process exits. */
export function tempFolder(prefix: string = "weir-test-"): string {
  if (folders.length === 0) onExit(removeFolders);
  const folder = mkdtempSync(join(tmpdir(), prefix));
  folders.push(folder);
  return folder;
}

function removeFolders(): void {
  // A child that is just being killed may still write: try again for a while rather than leave files behind.
  for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
}
