#!/usr/bin/env node
import { readFileSync } from "node:fs";
import type { CliProgram } from "@weir/shared/config/cli";
import { prepareProgram } from "@weir/shared/config/program";
import { CodedError, errorMessage } from "@weir/shared/errors";
import { importCommand, runImport } from "./import/import-command.ts";
import { replayCommand, runReplay } from "./replay-command.ts";
import { runAgent } from "./run.ts";
import { agentEnvPrefix, agentSections, agentSettings, dataFile } from "./settings.ts";
import { hashPassword } from "./sources/passwords.ts";
import { describeStatus } from "./status.ts";
import { isDamage } from "./store/damage.ts";
import { Store } from "./store/store.ts";

const program = {
  name: "weir-agent",
  summary: "Takes MQTT readings, judges them at once, keeps them in one SQLite file and ships alerts to an aggregator.",
  envPrefix: agentEnvPrefix,
  commands: {
    run: { summary: "Run the agent until it is stopped." },
    replay: replayCommand,
    import: importCommand,
    status: {
      summary: "Print what the data file holds: log, outbox, ledger, newest dead letters.",
      options: { json: { type: "boolean", doc: "print JSON rather than text" } },
    },
    password: {
      summary: "Read a password from standard input and print its line for listen.password_file.",
      positionals: "USER",
    },
  },
  settings: agentSettings,
} as const satisfies CliProgram;

/** Codes of errors in what was asked for, rather than in what happened. */
const MISTAKES: ReadonlySet<string> = new Set([
  "BAD_CANDIDATE",
  "BAD_DAY",
  "BAD_IMPORT",
  "BAD_REPLAY",
  "BAD_SETTING",
  "BAD_TEMPLATE",
  "BAD_TIMEZONE",
  "BROKER_OPTIONS",
]);

const log = (line: string): void => void process.stdout.write(`${line}\n`);

process.exitCode = await main();

/** 0: done; 1: it failed while it ran; 2: bad settings or arguments. */
async function main(): Promise<number> {
  const world = {
    argv: process.argv.slice(2),
    env: process.env,
    readFile: (path: string) => readFileSync(path, "utf8"),
  };
  const prepared = prepareProgram(program, agentSections, world, { MQTT_PORT: "listen.port" });
  if (prepared.kind === "exit") {
    (prepared.code === 0 ? process.stdout : process.stderr).write(prepared.text);
    return prepared.code;
  }
  const { command, options, values, sections } = prepared;
  try {
    if (command === "replay") {
      const note = (line: string): void => void process.stderr.write(`weir-agent: ${line}\n`);
      return runReplay(values, options, (text) => process.stdout.write(text), note, Date.now());
    }
    if (command === "import") return await runImport(values, options, prepared.positionals);
    if (command === "password") return printPasswordLine(prepared.positionals[0]);
    if (command === "status") {
      const store = new Store(dataFile(values), { readonly: true });
      log(describeStatus(store, options.json === true));
      return 0;
    }
    // Listened to from the start: whoever has read the notes may send a signal at once, and is owed a clean end.
    const told = new Promise<void>((resolve) => {
      process.once("SIGTERM", resolve);
      process.once("SIGINT", resolve);
    });
    const agent = await runAgent(values, sections, log);
    for (const note of agent.notes) log(note);
    await Promise.race([told, agent.failed]);
    await agent.close();
    log("Stopped.");
    return 0;
  } catch (error) {
    // A file that is damaged is no mistake of this program: whatever SQLite says of it is enough.
    if (!(error instanceof CodedError || isDamage(error))) throw error;
    const problem = errorMessage(error);
    const isUnnamed = isDamage(error) && !problem.includes(dataFile(values));
    process.stderr.write(`weir-agent: ${isUnnamed ? `${dataFile(values)} is damaged: ` : ""}${problem}\n`);
    return error instanceof CodedError && MISTAKES.has(error.code) ? 2 : 1;
  }
}

/** `user:scrypt$salt$hash`; the password itself is on no command line, where others could read it. */
function printPasswordLine(user: string | undefined): number {
  if (user === undefined || user === "" || user.includes(":")) {
    process.stderr.write("weir-agent: password needs the name of a user, without colons\n");
    return 2;
  }
  const password = readFileSync(0, "utf8").replace(/\r?\n$/, "");
  log(`${user}:${hashPassword(password)}`);
  return 0;
}
