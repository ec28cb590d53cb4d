#!/usr/bin/env node
// `npm start`: a simulated fleet, the agent and the aggregator together on embedded parts, built and in one terminal.
// Environment: PORT, MQTT_PORT, WEIR_DATA, SIM=off; every WEIR_AGENT_…, WEIR_AGGREGATOR_… and WEIR_SIM_… goes through.
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { dirname, join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { createSupervisor } from "./supervise.mjs";

const HOST = "127.0.0.1";
const READY_MS_MAX = 60_000;
const POLL_MS = 100;

/** Folder of the built programs; `--root` is for tests, with stand-ins for them. */
const rootFlag = process.argv.indexOf("--root");
const root =
  rootFlag > 0 ? resolve(process.argv[rootFlag + 1]) : join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const programs = {
  aggregator: join(root, "aggregator", "dist", "main.js"),
  agent: join(root, "agent", "dist", "main.js"),
  sim: join(root, "firmware-sim", "dist", "main.js"),
};

const port = readPort("PORT", 8080, "the dashboard");
const mqttPort = readPort("MQTT_PORT", 1883, "the agent's MQTT endpoint");
if (port === mqttPort) refuse(`PORT and MQTT_PORT are both ${port}; give them different ports.`);
const dataFolder = resolve(process.env.WEIR_DATA || "weir-data");
const withSim = process.env.SIM !== "off";

await requireFreePort(port, "PORT", "the dashboard");
await requireFreePort(mqttPort, "MQTT_PORT", "the agent's MQTT endpoint");
const limitsFile = withSim ? writeLimits() : undefined;

const supervisor = createSupervisor({ nameWidth: "aggregator".length, colour: useColour() });

supervisor.say("Starting the aggregator…");
supervisor.start("aggregator", [programs.aggregator, "run"], {
  WEIR_AGGREGATOR_HTTP_HOST: process.env.WEIR_AGGREGATOR_HTTP_HOST || HOST,
  WEIR_AGGREGATOR_HTTP_PORT: String(port),
  WEIR_AGGREGATOR_DATA_DIR: join(dataFolder, "aggregator"),
  ...(limitsFile && { WEIR_AGGREGATOR_THRESHOLDS_INITIAL_FILE: limitsFile }),
});
await ready("aggregator", async () => (await fetch(`http://${HOST}:${port}/readyz`)).ok);

supervisor.say("Starting the agent…");
supervisor.start("agent", [programs.agent, "run"], {
  WEIR_AGENT_LISTEN_PORT: String(mqttPort),
  WEIR_AGENT_LISTEN_HOST: process.env.WEIR_AGENT_LISTEN_HOST || HOST,
  WEIR_AGENT_DATA_DIR: join(dataFolder, "agent"),
  WEIR_AGENT_AGENT_ID: process.env.WEIR_AGENT_AGENT_ID || "demo",
  WEIR_AGENT_UPLINK_URL: `ws://${HOST}:${port}/uplink`,
});
await ready("agent", () => accepts(mqttPort));

if (withSim) {
  supervisor.say("Starting the simulated fleet…");
  supervisor.start("sim", [programs.sim, "run"], { WEIR_SIM_MQTT_URL: `mqtt://${HOST}:${mqttPort}` }, { mayEnd: true });
}

supervisor.say(
  [
    "",
    "Weir is running.",
    `  Dashboard: http://${HOST}:${port}`,
    `  MQTT endpoint of the agent: mqtt://${HOST}:${mqttPort} (topics sensors/SITE/DEVICE/METRIC)`,
    `  Data folder: ${dataFolder}`,
    withSim
      ? "  Fleet: simulated; without it: SIM=off npm start"
      : "  Fleet: none (SIM=off); send it readings over MQTT",
    "  Stop: Ctrl-C",
    "",
  ].join("\n"),
);

/** The nameplate limits of the fleet: the aggregator's first thresholds, in force until it has trained its own. */
function writeLimits() {
  const result = spawnSync(process.execPath, [programs.sim, "limits"], { encoding: "utf8" });
  if (result.status !== 0) refuse(`weir-sim limits failed:\n${result.stderr || result.error?.message}`);
  const file = join(dataFolder, "initial-thresholds.json");
  try {
    mkdirSync(dataFolder, { recursive: true });
    writeFileSync(file, result.stdout);
  } catch (error) {
    refuse(`Cannot write to the data folder: ${error.message}. Choose another with WEIR_DATA.`);
  }
  return file;
}

/** Waits until check() is true; what it throws means not yet. After READY_MS_MAX everything is stopped, exit 1. */
async function ready(name, check) {
  const deadlineMs = performance.now() + READY_MS_MAX;
  for (;;) {
    if (supervisor.isStopping()) await new Promise(() => {});
    if (await Promise.resolve(check()).catch(() => false)) return;
    if (performance.now() > deadlineMs) {
      await supervisor.fail(`${name} did not become ready within ${READY_MS_MAX / 1000} s; its lines are above.`);
    }
    await delay(POLL_MS);
  }
}

function accepts(portNumber) {
  return new Promise((done) => {
    const socket = connect(portNumber, HOST, () => {
      socket.destroy();
      done(true);
    });
    socket.once("error", () => done(false));
  });
}

function readPort(variable, fallback, what) {
  const text = process.env[variable] || String(fallback);
  const number = Number(text);
  if (Number.isInteger(number) && number >= 1 && number <= 65_535) return number;
  return refuse(`${variable} is ${JSON.stringify(text)}; it is the port of ${what}, a number from 1 to 65535.`);
}

async function requireFreePort(portNumber, variable, what) {
  const problem = await new Promise((done) => {
    const server = createServer();
    server.once("error", done);
    server.listen(portNumber, HOST, () => server.close(() => done(undefined)));
  });
  if (problem === undefined) return;
  const why = problem.code === "EADDRINUSE" ? "is in use" : `cannot be used (${problem.message})`;
  const other = portNumber > 55_000 ? portNumber - 10_000 : portNumber + 10_000;
  refuse(`Port ${portNumber} for ${what} ${why}: choose another, such as ${variable}=${other} npm start.`);
}

function useColour() {
  return process.stdout.isTTY === true && !process.env.NO_COLOR;
}

/** @returns {never} */
function refuse(message) {
  console.error(message);
  process.exit(1);
}
