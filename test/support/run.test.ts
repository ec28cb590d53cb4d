import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import * as assert from "uvu/assert";
import { runToEnd } from "./processes.ts";
import { repositoryRoot } from "./repository.ts";
import { suite } from "./suite.ts";
import { tempFolder } from "./temp.ts";

const test = suite("test runner", { timeoutMs: 60_000 });

const supportFolder = join(repositoryRoot, "test/support");
const suiteUrl = pathToFileURL(join(supportFolder, "suite.ts")).href;
const FILES: Readonly<Record<string, string>> = {
  "a/good.test.ts": `test("one", () => {}); test("two", () => {});`,
  "a/bad.test.ts": `test("one", () => { throw new Error("seen in full"); }); test("two", () => {});`,
  "a/skipping.test.ts": `test("one", () => {}); test.skip("two", "for the runner's test");`,
  "b/throwing.test.ts": `throw new Error("at the top level");`,
  "b/exiting.test.ts": `test("one", () => {}); process.exit(0);`,
  "b/deaf.test.ts": `test("one", () => {}); process.on("exit", () => { process.exitCode = 3; });`,
  "d/endless.test.ts": `test("one", () => {}); test("two", () => { throw new Error("soon"); }); test("three", () => { for (;;); });`,
  "c/heavy.slow.test.ts": `test("one", () => {});`,
};

function testFolder(): string {
  const root = tempFolder();
  writeFileSync(join(root, "package.json"), `{ "type": "module" }`);
  for (const [path, text] of Object.entries(FILES)) {
    mkdirSync(join(root, path, ".."), { recursive: true });
    writeFileSync(
      join(root, path),
      `import { suite } from ${JSON.stringify(suiteUrl)};\nconst test = suite("s");\n${text}\n`,
    );
  }
  return root;
}

/** Runs the runner over FILES; returns its exit code, its last line and everything it printed. */
async function runRunner(...args: string[]): Promise<{ code: number | null; lastLine: string; stdout: string }> {
  const runner = ["--import", "tsx", "--conditions=source", join(supportFolder, "run.ts"), "--root", testFolder()];
  const { code, stdout } = await runToEnd(process.execPath, [...runner, ...args]);
  return { code, lastLine: stdout.trimEnd().split("\n").at(-1) ?? "", stdout };
}

test("counts what passed", async () => {
  const { code, lastLine } = await runRunner("a/good");
  assert.is(lastLine, "2 passed, 0 failed");
  assert.is(code, 0);
});

test("adds up all files, and prints the failures in full", async () => {
  const { code, lastLine, stdout } = await runRunner("a/");
  assert.is(lastLine, "4 passed, 1 failed, 1 skipped");
  assert.is(code, 1);
  assert.match(stdout, "seen in full");
  assert.match(stdout, "SKIPPED s: two: for the runner's test");
});

test("counts a file that throws, exits early or ends with a code of its own as failed", async () => {
  const { code, lastLine, stdout } = await runRunner("b/");
  assert.is(lastLine, "1 passed, 3 failed");
  assert.is(code, 1);
  assert.match(stdout, "at the top level");
});

test("runs slow files only when asked to", async () => {
  const without = await runRunner("c/");
  assert.is(without.lastLine, "0 passed, 0 failed");
  assert.is(without.code, 1);
  const withSlow = await runRunner("--slow", "c/");
  assert.is(withSlow.lastLine, "1 passed, 0 failed");
  assert.is(withSlow.code, 0);
});

test("fails when nothing matches", async () => {
  const { code, lastLine } = await runRunner("no such file");
  assert.is(lastLine, "0 passed, 0 failed");
  assert.is(code, 1);
});

test("kills a file that does not end, and tells what it was at and what had failed", async () => {
  const { code, lastLine, stdout } = await runRunner("--file-timeout", "3", "d/");
  assert.is(lastLine, "0 passed, 1 failed");
  assert.is(code, 1);
  assert.match(stdout, "It was at: s: three");
  assert.match(stdout, /Failed before: s: two\s+Error: soon/);
});
