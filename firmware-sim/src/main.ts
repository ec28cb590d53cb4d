#!/usr/bin/env node
import { randomBytes } from "node:crypto";
import { accessSync, constants, readFileSync } from "node:fs";
import { parseCommandLine } from "@weir/shared/config/cli";
import type { CliProgram, CliResult } from "@weir/shared/config/cli";
import { loadSettings } from "@weir/shared/config/settings";
import type { Problem } from "@weir/shared/config/settings";
import { CodedError, errorMessage } from "@weir/shared/errors";
import { limitRules } from "./catalog.ts";
import { readReplayOptions, replayCommand } from "./replay-options.ts";
import { replayFile } from "./replay.ts";
import { createRoom } from "./room.ts";
import { runFleet } from "./run.ts";
import type { RunWorld } from "./run.ts";
import { createSender } from "./sender.ts";
import type { SenderEvents, SenderOptions } from "./sender.ts";
import { fleetProblems, intervalMs, simEnvPrefix, simSettings, topicProblems } from "./settings.ts";
import type { SimSettings } from "./settings.ts";
import { exitCodeOf, summaryJson, summaryText } from "./summary.ts";
import type { Summary } from "./summary.ts";

const program: CliProgram = {
  name: "weir-sim",
  summary: "Simulates a fleet of industrial devices over real MQTT connections.",
  envPrefix: simEnvPrefix,
  commands: {
    run: {
      summary: "Run the fleet until its duration or count is reached, or until stopped.",
      options: { json: { type: "boolean", doc: "print the summary as JSON" } },
    },
    replay: replayCommand,
    limits: { summary: "Print the nameplate limits of the fleet as threshold rules, in JSON." },
  },
  settings: simSettings,
};

type Command = Extract<CliResult, { kind: "command" }>;

const log = (line: string): void => void process.stderr.write(`weir-sim: ${line}\n`);

process.exitCode = await main(process.argv.slice(2));

/** The program: returns the exit code. 0: done; 1: messages missing, or something failed; 2: bad settings. */
async function main(argv: readonly string[]): Promise<number> {
  const parsed = parseCommandLine(program, argv);
  if (parsed.kind === "help") {
    process.stdout.write(parsed.text);
    return 0;
  }
  if (parsed.kind === "error") return complain(parsed.problems);
  const { settings, problems } = readSettings(parsed);
  const replay =
    parsed.command === "replay" ? readReplayOptions(parsed.options, parsed.positionals, settings, problems) : undefined;
  problems.push(...(replay ? topicProblems(settings) : fleetProblems(settings)));
  if (replay && replay.file !== "") checkReadable(replay.file, problems);
  const tls = readTls(settings, problems);
  if (problems.length > 0) return complain(problems.map(({ where, message }) => `${where}: ${message}`));

  if (parsed.command === "limits") {
    process.stdout.write(`${JSON.stringify({ rules: limitRules(intervalMs(settings)) }, null, 2)}\n`);
    return 0;
  }
  const work = replay
    ? (world: RunWorld) => replayFile(settings, replay, world)
    : (world: RunWorld) => runFleet(settings, world);
  try {
    const summary = await withSender(settings, tls, replay ? 1 : settings["mqtt.connections"], work);
    if (!summary) return 0;
    process.stdout.write(`${parsed.options.json ? summaryJson(summary) : summaryText(summary)}\n`);
    return exitCodeOf(summary);
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    log(error.message);
    return 1;
  }
}

function complain(problems: readonly string[]): 2 {
  for (const problem of problems) log(problem);
  return 2;
}

function readSettings(command: Command): { settings: SimSettings; problems: Problem[] } {
  const problems: Problem[] = [];
  const text = command.configFile === undefined ? undefined : readText(command.configFile, "-c", problems);
  const loaded = loadSettings(
    simSettings,
    {},
    {
      ...(text === undefined ? {} : { file: { name: command.configFile ?? "", text } }),
      env: process.env,
      flags: command.flags,
      envPrefix: simEnvPrefix,
    },
  );
  return { settings: loaded.values, problems: [...problems, ...loaded.problems] };
}

type Tls = Pick<SenderOptions, "ca" | "cert" | "key">;

function readTls(settings: SimSettings, problems: Problem[]): Tls {
  const read = (name: "mqtt.ca_file" | "mqtt.cert_file" | "mqtt.key_file"): string | undefined =>
    settings[name] === "" ? undefined : readText(settings[name], name, problems);
  return { ca: read("mqtt.ca_file"), cert: read("mqtt.cert_file"), key: read("mqtt.key_file") };
}

function readText(file: string, where: string, problems: Problem[]): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    problems.push({ where, message: `cannot read ${file}: ${errorMessage(error)}` });
    return undefined;
  }
}

function checkReadable(file: string, problems: Problem[]): void {
  try {
    accessSync(file, constants.R_OK);
  } catch (error) {
    problems.push({ where: "FILE.csv", message: `cannot read ${file}: ${errorMessage(error)}` });
  }
}

/** Connects, works, and disconnects, whatever comes; undefined: stopped before the work could begin. */
async function withSender(
  settings: SimSettings,
  tls: Tls,
  connections: number,
  work: (world: RunWorld) => Promise<Summary>,
): Promise<Summary | undefined> {
  const room = createRoom();
  const stop = new AbortController();
  let refused: string | undefined;
  const events: SenderEvents = {
    room: () => room.signal(),
    warn: log,
    refused: (message) => {
      refused = message;
      stop.abort();
    },
  };
  const sender = createSender(senderOptions(settings, tls, connections), events, Date.now);
  const onSignal = (): void => {
    // The second signal means at once.
    if (stop.signal.aborted) process.exit(130);
    stop.abort();
  };
  process.on("SIGTERM", onSignal).on("SIGINT", onSignal);
  try {
    await sender.connect(settings["mqtt.connect_timeout"], stop.signal);
    if (stop.signal.aborted) return undefined;
    log(`connected to ${settings["mqtt.url"]}, ${connections} connection${connections > 1 ? "s" : ""}`);
    const summary = await work({ sender, room, nowMs: Date.now, log, stop: stop.signal });
    if (refused !== undefined) throw new CodedError("CONNECT_REFUSED", `${refused}\n${summaryText(summary)}`);
    return summary;
  } finally {
    await sender.close(Math.max(1, settings["mqtt.ack_timeout"]));
    process.off("SIGTERM", onSignal).off("SIGINT", onSignal);
  }
}

function senderOptions(settings: SimSettings, tls: Tls, connections: number): SenderOptions {
  return {
    url: settings["mqtt.url"],
    username: settings["mqtt.username"],
    password: settings["mqtt.password"],
    ...tls,
    protocol: settings["mqtt.protocol"] === 5 ? 5 : 4,
    qos: settings["mqtt.qos"] as 0 | 1 | 2,
    connections,
    inflightMax: settings["mqtt.inflight_max"],
    bufferBytesMax: settings["mqtt.buffer_bytes_max"],
    // Two simulators with one identifier would throw each other off the server for ever.
    clientIdPrefix: `weir-sim-${randomBytes(4).toString("hex")}`,
  };
}
