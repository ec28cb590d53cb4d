#!/usr/bin/env node
// Makes a fresh clone ready for `npm start` and `npm test`: checks Node, installs the dependencies, builds.
// With --programs it builds what `npm start` runs, and not the tests.
// Plain JavaScript without dependencies, for nothing else is there yet. Quiet when there is nothing to do.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const NODE_MINIMUM = [20, 19];

/** What the programs are made of; everything else they need comes along by reference. */
const PROGRAMS = ["agent", "aggregator", "aggregator/web", "firmware-sim"];

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const lockFile = join(root, "package-lock.json");
/** What npm itself notes about the installed packages. */
const installedFile = join(root, "node_modules", ".package-lock.json");
/** What we note: the lock file that was installed, and for which Node, since better-sqlite3 is native code. */
const stampFile = join(root, "node_modules", ".weir-setup");

checkNode();
install();
build();

function checkNode() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  const [majorMin, minorMin] = NODE_MINIMUM;
  if (major > majorMin || (major === majorMin && minor >= minorMin)) return;
  fail(`Weir needs Node ${NODE_MINIMUM.join(".")} or newer; this is ${process.versions.node} (${process.execPath}).`);
}

function install() {
  const lockText = readFileSync(lockFile, "utf8");
  const runtime = `${process.platform} ${process.arch} abi${process.versions.modules}`;
  const stamp = `${createHash("sha256").update(lockText).digest("hex")} ${runtime}\n`;
  const stamped = readOrEmpty(stampFile);
  if (stamped === stamp) return;
  // Installed by hand, by `npm ci` or `npm install`: good as well, unless it was for another Node.
  const sameRuntime = stamped === "" || stamped.trimEnd().endsWith(runtime);
  if (!sameRuntime || !isInstalled(JSON.parse(lockText))) {
    console.log("Installing the dependencies (npm ci); this takes a minute or so, once…");
    const npm = process.env.npm_execpath ? [process.execPath, process.env.npm_execpath] : ["npm"];
    const result = spawnSync(npm[0], [...npm.slice(1), "ci", "--no-audit", "--no-fund"], {
      cwd: root,
      stdio: "inherit",
    });
    if (result.status !== 0) fail(installHelp(result.error));
  }
  writeFileSync(stampFile, stamp);
}

/** Whether node_modules holds every package of the lock file in its version; those for other systems may be missing. */
function isInstalled(lock) {
  const text = readOrEmpty(installedFile);
  if (text === "") return false;
  const installed = JSON.parse(text).packages ?? {};
  return Object.entries(lock.packages).every(([path, wanted]) => {
    if (!path.includes("node_modules/") || wanted.optional || wanted.devOptional || wanted.peer) return true;
    return installed[path]?.version === wanted.version && existsSync(join(root, path));
  });
}

function installHelp(error) {
  if (error) return `Could not start npm: ${error.message}. Install npm, then try again.`;
  const lines = ["npm ci failed; its own messages are above."];
  const missing = [["python3"], ["make"], ["c++", "g++", "clang++"]].filter((names) => !names.some(isOnPath));
  if (missing.length > 0) {
    lines.push(
      `better-sqlite3 is compiled where no ready binary can be had, and this machine lacks ${missing.map(([name]) => name).join(", ")}.`,
      "Install a compiler and try again; on Debian: apt-get install python3 make g++",
    );
  }
  return lines.join("\n");
}

function isOnPath(program) {
  return (process.env.PATH ?? "").split(delimiter).some((folder) => existsSync(join(folder, program)));
}

/** The compiler itself knows what is up to date. */
function build() {
  const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
  const first = !existsSync(join(root, "agent", "dist", "main.js"));
  if (first) console.log("Building…");
  const projects = process.argv.includes("--programs") ? PROGRAMS : [];
  const result = spawnSync(process.execPath, [tsc, "-b", ...projects], { cwd: root, stdio: "inherit" });
  if (result.status !== 0) fail("The build failed; the compiler's messages are above.");
}

function readOrEmpty(file) {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

function fail(message) {
  console.error(message);
  process.exit(1);
}
