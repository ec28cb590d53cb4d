import { existsSync } from "node:fs";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { repositoryRoot } from "../support/repository.ts";
import { suite } from "../support/suite.ts";
import { projectFiles } from "./files.ts";
import {
  exportsAreDocumented,
  filesAreShort,
  functionsFitAScreen,
  importsGoOneWay,
  linksLeadSomewhere,
  noMachineIsNamed,
  nothingIsUnfinished,
  sharedIsPure,
  testsUseTheWrapper,
} from "./rules.ts";
import type { Rule } from "./rules.ts";

const test = suite("house rules");

interface RuleCase {
  rule: Rule;
  /** A file that breaks the rule, as path and text, and one that obeys it: the rule has to tell them apart. */
  breaks: Array<readonly [path: string, text: string]>;
  obeys: Array<readonly [path: string, text: string]>;
}

const lines = (count: number): string => "  x();\n".repeat(count);
// Put together here, so that this file obeys the rules it tests.
const ONLY = [".", "only"].join("");
const UNFINISHED = ["TO", "DO"].join("");
const HOME = ["", "home", "somebody"].join("/");
const REGISTRY = ["regis", "try"].join("");
const wrapper = `import { suite } from "../support/suite.ts";\n`;

const CASES: Readonly<Record<string, RuleCase>> = {
  "tests use the suite wrapper": {
    rule: testsUseTheWrapper,
    breaks: [
      ["test/a/b.test.ts", `import { test } from "uvu";\n`],
      ["test/a/b.test.ts", `import { readFileSync } from "node:fs";\n`],
      ["test/a/b.test.ts", `${wrapper}test${ONLY}("x", () => {});\n`],
    ],
    obeys: [["test/a/b.test.ts", `${wrapper}import * as assert from "uvu/assert";\n`]],
  },
  "imports go one way": {
    rule: importsGoOneWay,
    breaks: [
      ["agent/src/a.ts", `import { b } from "@weir/aggregator/b";\n`],
      ["aggregator/src/a.ts", `import type {\n  B,\n} from "@weir/agent/b";\n`],
      ["shared/src/a.ts", `import { readFileSync } from "node:fs";\n`],
      ["shared/src/a.ts", `export { b } from "mqtt";\n`],
      ["agent/src/a.ts", `import { b } from "../../shared/src/b.ts";\n`],
      ["agent/src/a.ts", `const b = await import("@weir/test/b");\n`],
      ["aggregator/web/src/a.ts", `import { b } from "node:fs";\n`],
      ["aggregator/web/src/a.ts", `import { b } from "@weir/aggregator/b";\n`],
    ],
    obeys: [
      ["agent/src/a.ts", `import { b } from "@weir/shared/b";\nimport mqtt from "mqtt";\nimport "./c.ts";\n`],
      ["shared/src/x/a.ts", `import { encode } from "cborg";\nimport { b } from "../b.ts";\n`],
      ["shared/src/a.ts", `// import { b } from "node:fs";\nexport type B = "mqtt";\n`],
      ["aggregator/web/src/a.ts", `import type { B } from "@weir/aggregator/b";\n`],
    ],
  },
  "shared is pure": {
    rule: sharedIsPure,
    breaks: [
      ["shared/src/a.ts", "const now = Date.now();\n"],
      ["shared/src/a.ts", "const now = new Date();\n"],
      ["shared/src/a.ts", "const r = Math.random();\n"],
      ["shared/src/a.ts", "setTimeout(f, 1);\n"],
    ],
    obeys: [
      ["shared/src/a.ts", `// Date.now() is not for us\nconst d = new Date(tsMs);\nconst text = "process";\n`],
      ["agent/src/a.ts", "const now = Date.now();\n"],
    ],
  },
  "exports are documented": {
    rule: exportsAreDocumented,
    breaks: [
      ["agent/src/a.ts", "export function f(): void {}\n"],
      ["agent/src/a.ts", "/** A. */\n\nexport interface A {}\n"],
      ["agent/src/a.ts", "/** A. */\nexport type A = 1;\n\nexport const b = 1;\n"],
      ["agent/src/a.ts", "export interface A {\n  a: 1;\n}\n\n/** B. */\nexport const b = 1;\n"],
    ],
    obeys: [
      ["agent/src/a.ts", "/** F. */\nexport function f(a: 1): void;\nexport function f(a: 2): void;\n"],
      ["agent/src/a.ts", "/** In ms. */\nexport const A = 1;\nexport const B = 2;\n"],
      ["agent/src/a.ts", "export interface A {\n  /** In ms. */\n  a: 1;\n}\n"],
    ],
  },
  "files are short": {
    rule: filesAreShort,
    breaks: [["agent/src/a.ts", lines(401)]],
    obeys: [["agent/src/a.ts", lines(400)]],
  },
  "functions fit a screen": {
    rule: functionsFitAScreen,
    breaks: [
      ["agent/src/a.ts", `function f(): void {\n${lines(69)}}\n`],
      ["agent/src/a.ts", `class A {\n  async f(a: number): Promise<void> {\n${lines(69)}  }\n}\n`],
      ["agent/src/a.ts", `const f = (): void => {\n${lines(69)}};\n`],
      ["agent/src/a.ts", `function f(\n  a: number,\n): void {\n${lines(69)}}\n`],
    ],
    obeys: [
      ["agent/src/a.ts", `function f(): void {\n${lines(68)}}\n`],
      ["agent/src/a.ts", `function f(): void {\n${lines(35)}  const g = () => {\n${lines(35)}  };\n}\n`],
      ["agent/src/a.ts", `class A {\n${lines(100)}}\n`],
    ],
  },
  "nothing is unfinished": {
    rule: nothingIsUnfinished,
    breaks: [["README.md", `${UNFINISHED}: write it\n`]],
    obeys: [["README.md", "All done.\n"]],
  },
  "no machine is named": {
    rule: noMachineIsNamed,
    breaks: [
      ["docs/a.md", `see ${HOME}/x/y\n`],
      ["agent/src/a.ts", `const file = "${HOME}/x";\n`],
      ["test/a.ts", `const host = "https://${REGISTRY}.example.org";\n`],
    ],
    obeys: [["docs/a.md", "The root folder / data in /var/lib/weir/\n"]],
  },
  "relative links lead somewhere": {
    rule: linksLeadSomewhere((path) => existsSync(join(repositoryRoot, path))),
    breaks: [["docs/a.md", "[x](no-such-file.md)\n"]],
    obeys: [["docs/a.md", "[x](../package.json) [y](https://example.org/z) [z](#here)\n"]],
  },
};

const files = projectFiles();

for (const [name, { rule, breaks, obeys }] of Object.entries(CASES)) {
  test(`${name}: the rule sees what breaks it`, () => {
    for (const [path, text] of breaks) assert.ok(rule({ path, text }).length > 0, `not seen in ${path}: ${text}`);
    for (const [path, text] of obeys) assert.equal(rule({ path, text }), []);
  });
  test(name, () => {
    const findings = files.flatMap((file) => rule(file).map((finding) => `${file.path}:${finding}`));
    if (findings.length > 0) throw new Error(`${findings.length} findings:\n    ${findings.join("\n    ")}`);
  });
}

test("the rules have looked at the project", () => {
  for (const path of ["shared/src/errors.ts", "package.json", "test/tidy/tidy.test.ts"]) {
    assert.ok(
      files.some((file) => file.path === path),
      `${path} was not looked at`,
    );
  }
});
