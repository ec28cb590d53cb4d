import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { repositoryRoot } from "../support/repository.ts";

/** One text file of the project. */
export interface ProjectFile {
  /** Relative to the repository's root, with slashes. */
  readonly path: string;
  readonly text: string;
}

/** What is installed, built or measured, and so no part of the project. */
const IGNORED_FOLDERS: ReadonlySet<string> = new Set(["bench-results", ".git", "node_modules", "dist", "weir-data"]);
const BINARY = /\.(?:png|ico|woff2|gz|parquet|db|tsbuildinfo)$/;

/** Every text file of the project, sorted by path. */
export function projectFiles(): ProjectFile[] {
  const files: ProjectFile[] = [];
  const walk = (folder: string): void => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory() && !IGNORED_FOLDERS.has(entry.name)) walk(path);
      if (!entry.isFile() || BINARY.test(entry.name)) continue;
      files.push({ path: relative(repositoryRoot, path), text: readFileSync(path, "utf8") });
    }
  };
  walk(repositoryRoot);
  return files.toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

/** Source with its comments blanked, and its plain strings too unless `strings` is kept; lines keep their numbers. */
export function codeOnly(text: string, { keepStrings = false }: { keepStrings?: boolean } = {}): string {
  return text.replace(/\/\*[^]*?\*\/|\/\/[^\n]*|"(?:\\.|[^"\\\n])*"/g, (found) => {
    if (!found.startsWith('"')) return found.replace(/[^\n]/g, " ");
    return keepStrings ? found : '""';
  });
}
