#!/usr/bin/env node
import { readFileSync } from "node:fs";
import type { CliProgram } from "@weir/shared/config/cli";
import { prepareProgram } from "@weir/shared/config/program";
import { CodedError } from "@weir/shared/errors";
import { canonicalJson } from "@weir/shared/model/canonical-json";
import { createCalendar } from "@weir/shared/operators/calendar";
import { dailyReport } from "@weir/shared/operators/report";
import { replayLog } from "./replay.ts";
import { runAgent } from "./run.ts";
import type { AgentSettings } from "./settings.ts";
import { agentEnvPrefix, agentName, agentSections, agentSettings, dataFile } from "./settings.ts";
import { hashPassword } from "./sources/passwords.ts";
import { describeStatus } from "./status.ts";
import { Store } from "./store/store.ts";

const program = {
  name: "weir-agent",
  summary: "Takes MQTT readings, judges them at once, keeps them in one SQLite file and ships alerts to an aggregator.",
  envPrefix: agentEnvPrefix,
  commands: {
    run: { summary: "Run the agent until it is stopped." },
    replay: {
      summary: "Fold the log again and print a day's health report: the same bytes as the aggregator's.",
      options: {
        day: { type: "string", placeholder: "YYYY-MM-DD", doc: "the day, local to the plant's time zone" },
        timezone: {
          type: "string",
          placeholder: "ZONE",
          doc: "IANA name; default: what the aggregator told, else UTC",
        },
      },
    },
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
    if (command === "replay") return replay(values, options);
    if (command === "password") return printPasswordLine(prepared.positionals[0]);
    if (command === "status") {
      const store = new Store(dataFile(values), { readonly: true });
      log(describeStatus(store, options.json === true));
      return 0;
    }
    const agent = await runAgent(values, sections, log);
    for (const note of agent.notes) log(note);
    const told = new Promise<void>((resolve) => {
      process.once("SIGTERM", resolve);
      process.once("SIGINT", resolve);
    });
    await Promise.race([told, agent.failed]);
    await agent.close();
    log("Stopped.");
    return 0;
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    process.stderr.write(`weir-agent: ${error.message}\n`);
    return ["BAD_TEMPLATE", "BAD_TIMEZONE", "BAD_DAY", "BAD_SETTING", "BROKER_OPTIONS"].includes(error.code) ? 2 : 1;
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

function replay(settings: AgentSettings, options: Readonly<Record<string, string | true>>): number {
  if (typeof options.day !== "string") {
    process.stderr.write("weir-agent: replay needs --day YYYY-MM-DD\n");
    return 2;
  }
  const store = new Store(dataFile(settings), { readonly: true });
  const timezone = options.timezone ?? store.meta("timezone") ?? "UTC";
  const calendar = createCalendar(String(timezone));
  // Checked before the log is read, which may take a while.
  calendar.dayRange(options.day);
  const replayed = replayLog(store, calendar, String(store.meta("agent") ?? agentName(settings)));
  const report = dailyReport(replayed, options.day, Number(store.meta(`report ${options.day}`) ?? 1));
  if (!report)
    throw new CodedError("NO_READINGS", `The log holds no readings of ${options.day} (${calendar.timezone}).`);
  process.stdout.write(canonicalJson(report));
  return 0;
}
