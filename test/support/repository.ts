import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Root folder of the repository. */
export const repositoryRoot: string = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

/** True where a missing server or data set is an error instead of a skip. */
export function isCi(): boolean {
  return process.env["CI"] === "true";
}
