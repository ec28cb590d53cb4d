import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { runToEnd } from "../support/processes.ts";
import { repositoryRoot } from "../support/repository.ts";
import { suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";

/** The set-up script in a clone with one dependency, where npm and the compiler are stand-ins that note their calls. */
const test = suite("set-up", { timeoutMs: 60_000 });

const LOCK = {
  packages: { "": { name: "x" }, "node_modules/dep": { version: "1.0.0" }, shared: { version: "0.1.0" } },
};

/** Installs what the lock file says, as far as set-up looks at it; fails when told to. */
const NPM = `
  const { appendFileSync, mkdirSync, readFileSync, writeFileSync } = require("node:fs");
  appendFileSync("calls.log", "npm " + process.argv.slice(2).join(" ") + "\\n");
  if (process.env.NPM_FAILS) process.exit(1);
  mkdirSync("node_modules/dep", { recursive: true });
  writeFileSync("node_modules/.package-lock.json", readFileSync("package-lock.json"));
`;
const TSC = `require("node:fs").appendFileSync("calls.log", "tsc " + process.argv.slice(2).join(" ") + "\\n");
  if (process.env.TSC_FAILS) process.exit(2);`;
const NPM_CALL = "npm ci --no-audit --no-fund";

function freshClone(): string {
  const root = tempFolder();
  mkdirSync(join(root, "firmware-sim/bin"), { recursive: true });
  copyFileSync(join(repositoryRoot, "firmware-sim/bin/setup.mjs"), join(root, "firmware-sim/bin/setup.mjs"));
  writeFileSync(join(root, "package-lock.json"), JSON.stringify(LOCK));
  writeFileSync(join(root, "npm.cjs"), NPM);
  mkdirSync(join(root, "node_modules/typescript/bin"), { recursive: true });
  writeFileSync(join(root, "node_modules/typescript/bin/tsc"), TSC);
  return root;
}

/** Runs set-up; returns its exit code, what it printed, and the calls it made this time. */
async function setUp(
  root: string,
  env: Readonly<Record<string, string>> = {},
  ...args: string[]
): Promise<{ code: number | null; printed: string; calls: string[] }> {
  const calls = join(root, "calls.log");
  rmSync(calls, { force: true });
  const { code, stdout, stderr } = await runToEnd(
    process.execPath,
    [join(root, "firmware-sim/bin/setup.mjs"), ...args],
    {
      env: { npm_execpath: join(root, "npm.cjs"), ...env },
    },
  );
  const made = existsSync(calls) ? readFileSync(calls, "utf8").trimEnd().split("\n") : [];
  return { code, printed: stdout + stderr, calls: made };
}

test("installs and builds a fresh clone, and from then on only lets the compiler look", async () => {
  const root = freshClone();
  const first = await setUp(root);
  assert.is(first.code, 0);
  assert.equal(first.calls, [NPM_CALL, "tsc -b"]);
  assert.match(first.printed, "Installing the dependencies");
  mkdirSync(join(root, "agent/dist"), { recursive: true });
  writeFileSync(join(root, "agent/dist/main.js"), "");
  const second = await setUp(root);
  assert.is(second.code, 0);
  assert.equal(second.calls, ["tsc -b"]);
  assert.is(second.printed, "");
});

test("builds only the programs when they are all that is wanted", async () => {
  const { code, calls } = await setUp(freshClone(), {}, "--programs");
  assert.is(code, 0);
  assert.equal(calls, [NPM_CALL, "tsc -b agent aggregator aggregator/web firmware-sim"]);
});

test("installs again when the lock file has another version", async () => {
  const root = freshClone();
  await setUp(root);
  const changed = { packages: { ...LOCK.packages, "node_modules/dep": { version: "1.0.1" } } };
  writeFileSync(join(root, "package-lock.json"), JSON.stringify(changed));
  assert.equal((await setUp(root)).calls, [NPM_CALL, "tsc -b"]);
  assert.equal((await setUp(root)).calls, ["tsc -b"]);
});

test("takes what npm ci by hand has installed, and not what is incomplete", async () => {
  const root = freshClone();
  mkdirSync(join(root, "node_modules/dep"));
  writeFileSync(join(root, "node_modules/.package-lock.json"), JSON.stringify(LOCK));
  assert.equal((await setUp(root)).calls, ["tsc -b"]);
  const incomplete = freshClone();
  writeFileSync(join(incomplete, "node_modules/.package-lock.json"), JSON.stringify({ packages: {} }));
  assert.equal((await setUp(incomplete)).calls, [NPM_CALL, "tsc -b"]);
});

test("installs again for another version of Node, whose native code differs", async () => {
  const root = freshClone();
  await setUp(root);
  const stampFile = join(root, "node_modules/.weir-setup");
  writeFileSync(stampFile, readFileSync(stampFile, "utf8").replace(/abi\d+/, "abi1"));
  assert.equal((await setUp(root)).calls, [NPM_CALL, "tsc -b"]);
});

test("says what failed, exits 1, and tries again the next time", async () => {
  const root = freshClone();
  const failed = await setUp(root, { NPM_FAILS: "1", PATH: "" });
  assert.is(failed.code, 1);
  assert.equal(failed.calls, [NPM_CALL]);
  assert.match(failed.printed, "apt-get install python3 make g++");
  assert.equal((await setUp(root)).calls, [NPM_CALL, "tsc -b"]);
  const unbuilt = await setUp(root, { TSC_FAILS: "1" });
  assert.is(unbuilt.code, 1);
  assert.match(unbuilt.printed, "The build failed");
});
