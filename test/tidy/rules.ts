import { posix } from "node:path";
import { codeOnly } from "./files.ts";
import type { ProjectFile } from "./files.ts";

/** A house rule: what is wrong with a file, one line a finding; nothing where the file obeys or is no business of it. */
export type Rule = (file: ProjectFile) => string[];

const LINES_MAX = 400;
/** Tests are lists of cases, read one at a time. */
const TEST_LINES_MAX = 800;
const FUNCTION_LINES_MAX = 70;

const isSource = (path: string): boolean => /\.m?ts$/.test(path) && !path.endsWith(".d.ts");
const isTest = (path: string): boolean => path.endsWith(".test.ts");

/** Tests use the suite wrapper; uvu's own suite, which lets failures slip, is for the wrapper alone. */
export const testsUseTheWrapper: Rule = ({ path, text }) => {
  if (!path.startsWith("test/") || !isSource(path)) return [];
  const imports = importsOf(text);
  const findings: string[] = [];
  if (path !== "test/support/suite.ts" && imports.some(({ name }) => name === "uvu" || name === "uvu/run")) {
    findings.push("imports uvu itself; use test/support/suite.ts");
  }
  const wrapper = (name: string): boolean => posix.join(posix.dirname(path), name) === "test/support/suite.ts";
  if (isTest(path) && !imports.some(({ name }) => wrapper(name))) findings.push("does not use test/support/suite.ts");
  if (isTest(path) && codeOnly(text).includes(".only(")) findings.push("runs only one of its tests");
  return findings;
};

/** Packages a workspace may import beside its own files; `node:` stands for everything of Node. */
const MAY_IMPORT: Readonly<Record<string, RegExp>> = {
  "shared/src": /^(?:cborg|smol-toml)(?:\/|$)/,
  "agent/src": /^(?!@weir\/|uvu)|^@weir\/shared\//,
  "aggregator/src": /^(?!@weir\/|uvu)|^@weir\/shared\//,
  "aggregator/web": /^(?:uplot(?:\/|$)|@weir\/shared\/)/,
  "firmware-sim/src": /^(?!@weir\/|uvu)|^@weir\/shared\//,
  test: /^/,
};

/** Imports go only shared ← agent | aggregator | firmware-sim ← test, and across packages never by a relative path. */
export const importsGoOneWay: Rule = ({ path, text }) => {
  const area = Object.keys(MAY_IMPORT).find((folder) => path.startsWith(`${folder}/`));
  if (area === undefined || !isSource(path)) return [];
  const workspace = area.split("/")[0]!;
  return importsOf(text).flatMap(({ name, typeOnly, line }) => {
    // The dashboard runs in the browser: it knows the shapes of what its server sends, and none of its code.
    if (area === "aggregator/web" && typeOnly && name.startsWith("@weir/aggregator/")) return [];
    if (!name.startsWith(".")) return MAY_IMPORT[area]!.test(name) ? [] : [`${line}: ${area} must not import ${name}`];
    const target = posix.join(posix.dirname(path), name);
    return target.startsWith(`${workspace}/`) ? [] : [`${line}: imports ${name}, a file of another package`];
  });
};

const IMPURE =
  /\b(?:Date\.now|Math\.random|new Date\(\s*\)|performance|process|setTimeout|setInterval|setImmediate|queueMicrotask|crypto|globalThis|console|fetch)\b|\bnew Date\(\s*\)|(?<!new )\bDate\(\s*\)/;

/** shared has no clock, no randomness and no I/O; the compiler sees most of it, but not Date and Math. */
export const sharedIsPure: Rule = ({ path, text }) => {
  if (!path.startsWith("shared/src/")) return [];
  return linesMatching(codeOnly(text), IMPURE).map(({ line, found }) => `${line}: uses ${found}; make it an argument`);
};

const EXPORTED = /^export (?:declare )?(?:abstract )?(?:async )?(function\*?|class|interface|type|const|enum) (\w+)/;

/**
 * Every exported declaration has a docstring right above it. An interface or type may have them at its members instead,
 * and declarations written as one block without a blank line share that of the first. Of the tests, this is asked of
 * what all of them share.
 */
export const exportsAreDocumented: Rule = ({ path, text }) => {
  if (!isSource(path) || isTest(path) || /^test\/(?!support\/)/.test(path)) return [];
  const lines = text.split("\n");
  let blockIsDocumented = false;
  return lines.flatMap((line, index) => {
    const above = lines[index - 1]?.trim() ?? "";
    if (above === "") blockIsDocumented = false;
    if (above.endsWith("*/") && line !== "") blockIsDocumented = true;
    const [, kind, name] = EXPORTED.exec(line) ?? [];
    if (name === undefined || blockIsDocumented) return [];
    if ((kind === "interface" || kind === "type") && membersAreDocumented(lines, index)) return [];
    return [`${index + 1}: ${name} has no docstring`];
  });
};

function membersAreDocumented(lines: readonly string[], start: number): boolean {
  const length = lines.slice(start + 1).findIndex((line) => /^\S/.test(line));
  return lines.slice(start + 1, start + 1 + length).some((line) => line.trimStart().startsWith("/**"));
}

/** Source files stay short. */
export const filesAreShort: Rule = ({ path, text }) => {
  if (!isSource(path)) return [];
  const count = text.split("\n").length - 1;
  const most = path.startsWith("test/") ? TEST_LINES_MAX : LINES_MAX;
  return count > most ? [`has ${count} lines; the most is ${most}`] : [];
};

/**
 * Functions fit a screen: their own lines, without those of functions inside. Relies on the formatter: a body opens at
 * the end of a line and closes on the next line that begins with } at the same depth.
 */
export const functionsFitAScreen: Rule = ({ path, text }) => {
  if (!isSource(path)) return [];
  const open: Array<{ line: number; indent: number; nested: number }> = [];
  const findings: string[] = [];
  codeOnly(text)
    .split("\n")
    .forEach((line, index) => {
      const indent = line.search(/\S/);
      const last = open.at(-1);
      if (last !== undefined && indent === last.indent && line[indent] === "}") {
        open.pop();
        const lines = index - last.line + 1;
        const outer = open.at(-1);
        if (outer !== undefined) outer.nested += lines;
        const own = lines - last.nested;
        if (own > FUNCTION_LINES_MAX) findings.push(`${last.line + 1}: a function of ${own} lines`);
      }
      if (opensFunction(line)) open.push({ line: index, indent, nested: 0 });
    });
  return findings;
};

function opensFunction(line: string): boolean {
  if (!line.endsWith("{") || /^\s*(?:\} )?(?:if|else|for|while|switch|catch|do|try)\b/.test(line)) return false;
  return (
    line.endsWith("=> {") ||
    /\bfunction\b/.test(line) ||
    /^\s*[\w#* ]*(?:<.*>)?\(.*\)[^=]*\{$/.test(line) ||
    /^\s*\)[^=]*\{$/.test(line)
  );
}

const UNFINISHED = new RegExp(`\\b(?:${["TO", "FIX"].map((a, i) => a + ["DO", "ME"][i]).join("|")})\\b`);

/** Nothing unfinished is left lying about in the text. */
export const nothingIsUnfinished: Rule = ({ path, text }) => {
  if (path === "package-lock.json") return [];
  return linesMatching(text, UNFINISHED).map(({ line, found }) => `${line}: ${found}`);
};

const MACHINE_PATH = /(?<![\w.:}*-])\/(?:work|root|tmp|Users|home\/\w+)\//;
const REGISTRY_HOST = /\b(?:registry\.[a-z]|(?:files\.)?pythonhosted\.org|proxy\.golang)/;

/** No file knows the machine it was written on, or where packages are fetched from. */
export const noMachineIsNamed: Rule = ({ path, text }) => {
  const where = path.startsWith("test/") ? [] : linesMatching(text, MACHINE_PATH);
  const hosts = linesMatching(text, REGISTRY_HOST);
  return [...where, ...hosts].map(({ line, found }) => `${line}: names ${found}`);
};

/** Relative links in Markdown lead to files. exists: takes a path relative to the repository's root. */
export function linksLeadSomewhere(exists: (path: string) => boolean): Rule {
  return ({ path, text }) => {
    if (!path.endsWith(".md")) return [];
    return [...text.matchAll(/\]\(<?([^)#\s>]+)[^)]*\)/g)].flatMap(([, target]) => {
      if (target === undefined || /^[a-z]+:/.test(target)) return [];
      const wanted = posix.join(posix.dirname(path), target);
      return exists(wanted) ? [] : [`links to ${target}, which does not exist`];
    });
  };
}

interface Import {
  name: string;
  typeOnly: boolean;
  line: number;
}

function importsOf(text: string): Import[] {
  const code = codeOnly(text, { keepStrings: true });
  const found = code.matchAll(
    /(?:^|\n)\s*(?:import|export)\b([^;"]*?)\bfrom\s*"([^"\n]+)"|(?:^|\n)\s*import\s*"([^"\n]+)"|\bimport\(\s*"([^"\n]+)"/g,
  );
  return [...found].map((match) => {
    const end = match.index + match[0].length;
    const name = match[2] ?? match[3] ?? match[4] ?? "";
    return { name, typeOnly: /^\s+type\b/.test(match[1] ?? ""), line: code.slice(0, end).split("\n").length };
  });
}

function linesMatching(text: string, pattern: RegExp): Array<{ line: number; found: string }> {
  return text.split("\n").flatMap((lineText, index) => {
    const found = pattern.exec(lineText)?.[0];
    return found === undefined ? [] : [{ line: index + 1, found: found.trim() }];
  });
}
