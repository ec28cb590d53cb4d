#!/usr/bin/env node
import { readFileSync } from "node:fs";
import type { CliProgram } from "@weir/shared/config/cli";
import { prepareProgram } from "@weir/shared/config/program";
import { CodedError } from "@weir/shared/errors";
import { runClient } from "./client.ts";
import { runAggregator } from "./run.ts";
import { aggregatorEnvPrefix, aggregatorSettings } from "./settings.ts";

const CLIENT_OPTIONS = {
  url: { type: "string", placeholder: "URL", doc: "the aggregator; default: http.host and http.port of the settings" },
  json: { type: "boolean", doc: "print JSON rather than a table" },
} as const;

const program = {
  name: "weir-aggregator",
  summary: "Receives alerts and window summaries of agents; dashboard, API, thresholds and daily health reports.",
  envPrefix: aggregatorEnvPrefix,
  commands: {
    run: { summary: "Run the aggregator until it is stopped." },
    report: {
      summary: "Print the health report of a day (YYYY-MM-DD), or list the days.",
      positionals: "[DAY]",
      options: { ...CLIENT_OPTIONS, recompute: { type: "boolean", doc: "make it by the batch path now" } },
    },
    alerts: {
      summary: "List alerts, newest first.",
      options: { ...CLIENT_OPTIONS, state: { type: "string", placeholder: "STATE", doc: "firing or resolved only" } },
    },
    thresholds: {
      summary: "List threshold versions; `train` makes a draft from history, `publish N` broadcasts one.",
      positionals: "[train | publish N]",
      options: {
        ...CLIENT_OPTIONS,
        days: { type: "string", placeholder: "N", doc: "train: days of history, default 30" },
        note: { type: "string", placeholder: "TEXT", doc: "train: a note kept with the version" },
      },
    },
    agents: { summary: "List agents and their ledgers.", options: CLIENT_OPTIONS },
  },
  settings: aggregatorSettings,
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
  const prepared = prepareProgram(program, {}, world, { PORT: "http.port" });
  if (prepared.kind === "exit") {
    (prepared.code === 0 ? process.stdout : process.stderr).write(prepared.text);
    return prepared.code;
  }
  try {
    if (prepared.command !== "run") {
      log(await runClient(prepared.command, prepared.options, prepared.positionals, prepared.values));
      return 0;
    }
    const aggregator = await runAggregator(prepared.values, log);
    log(`Dashboard and API: ${aggregator.address}`);
    await new Promise<void>((resolve) => {
      process.once("SIGTERM", resolve);
      process.once("SIGINT", resolve);
    });
    await aggregator.close();
    log("Stopped.");
    return 0;
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    process.stderr.write(`weir-aggregator: ${error.message}\n`);
    return ["BAD_TIMEZONE", "PASSWORD_REQUIRED", "TOKEN_REQUIRED", "BAD_RULES", "USAGE"].includes(error.code) ? 2 : 1;
  }
}
