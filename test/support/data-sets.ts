import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { isCi, repositoryRoot } from "./repository.ts";
import { skipWith } from "./suite.ts";

/** Folder of the public data sets: WEIR_DATA_SETS, else beside the repository. They are no part of it. */
export const dataSetsFolder: string = resolve(repositoryRoot, process.env["WEIR_DATA_SETS"] ?? "../shared/data");

/** Path of a file or folder in the data sets, such as "nab/labels/combined_windows.json". */
export function dataSetPath(path: string): string {
  return join(dataSetsFolder, path);
}

/**
 * Whether all these files or folders of the data sets are there. Where one isn't, the skip is printed and counted
 * once; with CI=true that is an error instead.
 */
export function requireDataSets(...paths: string[]): boolean {
  const missing = paths.filter((path) => !existsSync(dataSetPath(path)));
  if (missing.length === 0) return true;
  const remedy = `${missing.join(", ")} not found in ${dataSetsFolder}; set WEIR_DATA_SETS to their folder`;
  if (isCi()) throw new Error(`Tests with data sets must run where CI=true, but ${remedy}`);
  skipWith("tests with data sets", remedy);
  return false;
}
