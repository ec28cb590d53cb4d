import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { agentEnvPrefix, agentSections, agentSettings } from "@weir/agent/settings";
import { aggregatorEnvPrefix, aggregatorSettings } from "@weir/aggregator/settings";
import { settingsReference } from "@weir/shared/config/settings";
import { repositoryRoot } from "../support/repository.ts";
import { suite } from "../support/suite.ts";

const test = suite("settings page");

const FILE = join(repositoryRoot, "docs", "settings.md");

test("docs/settings.md says what the programs take; WEIR_UPDATE_DOCS=1 writes it anew", () => {
  const page = `# Settings

Every setting can stand in the file given with \`-c FILE.toml\` (\`section.name\` is \`name\` under \`[section]\`), in the
environment, or on the command line as \`--section.name VALUE\`; the last of these wins. Unknown and bad settings are
reported all at once, and the program ends with exit code 2. The simulator's are in
[firmware-sim/README.md](../firmware-sim/README.md).

## weir-agent

${settingsReference(agentSettings, agentSections, agentEnvPrefix)}

## weir-aggregator

${settingsReference(aggregatorSettings, {}, aggregatorEnvPrefix)}
`;
  if (process.env["WEIR_UPDATE_DOCS"] === "1") writeFileSync(FILE, page);
  assert.is(readFileSync(FILE, "utf8"), page);
});
