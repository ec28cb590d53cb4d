import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as assert from "uvu/assert";
import { runToEnd } from "../support/processes.ts";
import { repositoryRoot } from "../support/repository.ts";
import { suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";

/** What the compiler is relied upon to hold; the settings that make it do so are easily lost. */
const test = suite("compiler settings", { timeoutMs: 60_000 });

/** Compiles one file with the settings of a workspace; returns the compiler's messages, empty when it is content. */
async function compile(workspace: string, text: string): Promise<string> {
  const folder = tempFolder();
  mkdirSync(join(folder, "src"));
  writeFileSync(join(folder, "package.json"), `{ "type": "module" }`);
  writeFileSync(join(folder, "src", "a.ts"), text);
  const tsconfig = {
    extends: join(repositoryRoot, workspace, "tsconfig.json"),
    compilerOptions: {
      rootDir: folder,
      outDir: join(folder, "dist"),
      typeRoots: [join(repositoryRoot, "node_modules/@types")],
    },
    include: ["src"],
    references: [],
  };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(tsconfig));
  const tsc = join(repositoryRoot, "node_modules/typescript/bin/tsc");
  const { code, stdout } = await runToEnd(process.execPath, [tsc, "-p", folder]);
  assert.is(code === 0, stdout === "", stdout);
  return stdout;
}

test("shared knows neither Node nor the browser", async () => {
  assert.is(await compile("shared", "export const a: number = Math.max(1, 2);\n"), "");
  const outside = ["process.exit(1)", "setTimeout(() => {}, 1)", "console.log(1)", "fetch('x')", "performance.now()"];
  for (const use of [...outside, "window.close()", "Buffer.alloc(1)", "crypto.randomUUID()"]) {
    const name = /^\w+/.exec(use)![0];
    assert.match(await compile("shared", `${use};\nexport {};\n`), `Cannot find name '${name}'`);
  }
  const imported = `import { readFileSync } from "node:fs";\nexport const a: unknown = readFileSync;\n`;
  assert.match(await compile("shared", imported), "node:fs");
});

test("the programs know Node", async () => {
  assert.is(
    await compile("agent", `import { readFileSync } from "node:fs";\nexport const a: unknown = readFileSync;\n`),
    "",
  );
});

test("types are checked strictly, in tests too", async () => {
  assert.match(await compile("test", "export const a: number = 'text';\n"), "TS2322");
  assert.match(await compile("test", "const list: number[] = [];\nexport const a: number = list[0];\n"), "TS2322");
  assert.match(await compile("agent", "export enum A { B }\n"), "TS1294");
  assert.match(await compile("agent", "export const a = Math.max(1, 2);\n"), "TS9010");
});

test("tests run the sources of other packages, not their builds", () => {
  const path = fileURLToPath(import.meta.resolve("@weir/shared/errors"));
  assert.is(path, join(repositoryRoot, "node_modules/@weir/shared/src/errors.ts").replace("node_modules/@weir/", ""));
});
