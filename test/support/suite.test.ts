import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import * as assert from "uvu/assert";
import { COUNTS_MARK } from "./counts.ts";
import type { TestCounts } from "./counts.ts";
import { runToEnd } from "./processes.ts";
import { repositoryRoot } from "./repository.ts";
import { suite } from "./suite.ts";
import { tempFolder } from "./temp.ts";

const test = suite("suite wrapper", { timeoutMs: 60_000 });

const support = (file: string): string =>
  JSON.stringify(pathToFileURL(join(repositoryRoot, "test/support", file)).href);
const PREAMBLE = `
  import { suite } from ${support("suite.ts")};
  import { atEnd } from ${support("at-end.ts")};
  const test = suite("s", { timeoutMs: 300 });
  const fail = () => { throw new Error("deliberate"); };
`;

/** Runs a test file with this text; returns its exit code, its counts where it printed them, and its output. */
async function runTestFile(
  text: string,
  preamble: string = PREAMBLE,
): Promise<{ code: number | null; counts: TestCounts | undefined; output: string }> {
  const folder = tempFolder();
  writeFileSync(join(folder, "package.json"), `{ "type": "module" }`);
  const file = join(folder, "fixture.test.ts");
  writeFileSync(file, preamble + text);
  const { code, stdout, stderr } = await runToEnd(process.execPath, ["--import", "tsx", "--conditions=source", file]);
  const line = stdout.split("\n").findLast((candidate) => candidate.startsWith(COUNTS_MARK));
  const counts = line === undefined ? undefined : (JSON.parse(line.slice(COUNTS_MARK.length)) as TestCounts);
  return { code, counts, output: stdout + stderr };
}

test("passes a file whose tests pass, without a call to run()", async () => {
  const { code, counts } = await runTestFile(`test("a", () => {}); test("b", async () => {});`);
  assert.is(code, 0);
  assert.equal(counts, { passed: 2, failed: 0, skipped: 0 });
});

test("waits for tests that are added after a top-level await", async () => {
  const { code, counts } = await runTestFile(
    `await new Promise((resolve) => setTimeout(resolve, 100)); test("late", () => {});`,
  );
  assert.is(code, 0);
  assert.equal(counts, { passed: 1, failed: 0, skipped: 0 });
});

test("fails the failing test and still runs the others", async () => {
  const { code, counts, output } = await runTestFile(`test("a", fail); test("b", () => {});`);
  assert.is(code, 1);
  assert.equal(counts, { passed: 1, failed: 1, skipped: 0 });
  assert.match(output, "deliberate");
});

test("fails a test that throws something that is no Error, or an Error with odd details", async () => {
  const { code, counts, output } = await runTestFile(`
    test("string", () => { throw "just text"; });
    test("undefined", () => Promise.reject(undefined));
    test("details", () => { throw Object.assign(new Error("odd one"), { details: { a: 1 }, operator: 7 }); });
    test("cause", () => { throw new Error("outer", { cause: new Error("inner") }); });
    test("fine", () => {});
  `);
  assert.is(code, 1);
  assert.equal(counts, { passed: 1, failed: 4, skipped: 0 });
  for (const text of ["just text", "odd one", "inner"]) assert.match(output, text);
});

test("ends a test that hangs, with or without something that keeps the process alive", async () => {
  const { code, counts, output } = await runTestFile(`
    test("idle", () => new Promise(() => {}));
    test("busy", () => new Promise((resolve) => setTimeout(resolve, 1500)));
    test("fine", () => {});
  `);
  assert.is(code, 1);
  assert.equal(counts, { passed: 1, failed: 2, skipped: 0 });
  assert.match(output, "not over after 300 ms");
});

test("fails the tests of a throwing before-hook or after-hook", async () => {
  const before = await runTestFile(`test.before.each(fail); test("a", () => {}); test("b", () => {});`);
  assert.is(before.code, 1);
  assert.equal(before.counts, { passed: 0, failed: 2, skipped: 0 });
  const after = await runTestFile(`test.after.each(fail); test("a", () => {}); test("b", fail);`);
  assert.is(after.code, 1);
  assert.equal(after.counts, { passed: 0, failed: 2, skipped: 0 });
});

test("runs every after-hook, also after a failure", async () => {
  const { output } = await runTestFile(`
    test.after.each(fail);
    test.after.each(() => console.log("second hook ran"));
    test("a", fail);
  `);
  assert.match(output, "second hook ran");
});

test("fails a file without tests, and passes one whose tests are all skipped", async () => {
  const empty = await runTestFile("");
  assert.is(empty.code, 1);
  assert.equal(empty.counts, { passed: 0, failed: 1, skipped: 0 });
  const skipped = await runTestFile(`test.skip("a", "no reason but this");`);
  assert.is(skipped.code, 0);
  assert.equal(skipped.counts, { passed: 0, failed: 0, skipped: 1 });
  assert.match(skipped.output, "SKIPPED s: a: no reason but this");
});

test("fails a test during which a rejection or an exception goes unhandled", async () => {
  const { code, counts } = await runTestFile(`
    test("rejection", () => { void Promise.reject(new Error("loose")); });
    test("exception", () => new Promise(() => setTimeout(fail, 10)));
    test("fine", () => {});
  `);
  assert.is(code, 1);
  assert.equal(counts, { passed: 1, failed: 2, skipped: 0 });
});

test("fails a file with a rejection that goes unhandled after its tests", async () => {
  const { code, counts } = await runTestFile(`test("a", () => void setTimeout(fail, 100));`);
  assert.is(code, 1);
  assert.equal(counts, { passed: 1, failed: 1, skipped: 0 });
});

test("fails a file that cannot be evaluated to its end", async () => {
  const { code, output } = await runTestFile(`test("a", () => {}); fail();`);
  assert.is.not(code, 0);
  assert.match(output, "deliberate");
});

test("fails a file that exits with 0 in the middle of a test", async () => {
  const { code, counts } = await runTestFile(`test("a", () => process.exit(0)); test("b", () => {});`);
  assert.is(code, 1);
  assert.equal(counts, { passed: 0, failed: 1, skipped: 0 });
});

test("names what a file leaves open, and ends it", async () => {
  const { code, counts, output } = await runTestFile(`test("a", () => void setInterval(() => {}, 1000));`);
  assert.is(code, 1);
  assert.equal(counts, { passed: 1, failed: 1, skipped: 0 });
  assert.match(output, /leak.*Timeout/su);
});

test("cleans up when the tests are over, and fails the file when that fails", async () => {
  const { code, counts, output } = await runTestFile(`
    atEnd(() => console.log("cleaned up"));
    atEnd(fail);
    test("a", () => {});
  `);
  assert.is(code, 1);
  assert.equal(counts, { passed: 1, failed: 1, skipped: 0 });
  assert.match(output, "cleaned up");
});

test("counts the others as skipped beside test.only", async () => {
  // Put together here, for the tidy test looks for the call.
  const { code, counts } = await runTestFile(`test["only"]("a", () => {}); test("b", fail);`);
  assert.is(code, 0);
  assert.equal(counts, { passed: 1, failed: 0, skipped: 1 });
});
