import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/ports.ts";
import { startProcess } from "../support/processes.ts";
import type { TestProcess } from "../support/processes.ts";
import { repositoryRoot } from "../support/repository.ts";
import { suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";

/** What `npm start` does around the programs, with stand-ins that note in events.log what happens to them. */
const test = suite("demo launcher", { timeoutMs: 60_000 });

const STAND_IN = `
  import { appendFileSync } from "node:fs";
  import { createServer as createHttp } from "node:http";
  import { createServer } from "node:net";
  const note = (what) => appendFileSync(process.env.EVENTS, NAME + " " + what + "\\n");
  const serveUntilStopped = (server, port) => server.listen(Number(port), "127.0.0.1", () => note("started"));
  process.on("SIGTERM", () => {
    if (process.env.STUBBORN === NAME) return;
    note("drained");
    process.exit(0);
  });
`;
const STAND_INS = {
  aggregator: `
    console.log("I listen on " + process.env.WEIR_AGGREGATOR_HTTP_PORT);
    note("thresholds " + process.env.WEIR_AGGREGATOR_THRESHOLDS_INITIAL_FILE);
    const http = createHttp((request, response) => response.writeHead(request.url === "/readyz" ? 200 : 404).end());
    serveUntilStopped(http, process.env.WEIR_AGGREGATOR_HTTP_PORT);
  `,
  agent: `
    note("uplink " + process.env.WEIR_AGENT_UPLINK_URL);
    if (process.env.AGENT_FAILS) { console.error("disk is on fire"); process.exit(7); }
    serveUntilStopped(createServer(), process.env.WEIR_AGENT_LISTEN_PORT);
  `,
  "firmware-sim": `
    if (process.argv[2] === "limits") { console.log('{"rules":[]}'); process.exit(0); }
    note("to " + process.env.WEIR_SIM_MQTT_URL);
    setInterval(() => {}, 1000);
  `,
};

interface Demo {
  process: TestProcess;
  port: number;
  mqttPort: number;
  dataFolder: string;
  events(): string[];
}

async function startDemo(env: Readonly<Record<string, string>> = {}): Promise<Demo> {
  const root = tempFolder();
  writeFileSync(join(root, "package.json"), `{ "type": "module" }`);
  for (const [name, text] of Object.entries(STAND_INS)) {
    mkdirSync(join(root, name, "dist"), { recursive: true });
    writeFileSync(join(root, name, "dist", "main.js"), `const NAME = ${JSON.stringify(name)};\n${STAND_IN}\n${text}`);
  }
  const eventsFile = join(root, "events.log");
  const dataFolder = join(root, "data");
  const port = await freePort();
  const mqttPort = await freePort();
  const launcher = join(repositoryRoot, "firmware-sim/bin/demo.mjs");
  const child = await startProcess(process.execPath, [launcher, "--root", root], {
    env: { PORT: String(port), MQTT_PORT: String(mqttPort), WEIR_DATA: dataFolder, EVENTS: eventsFile, ...env },
  });
  const events = (): string[] => (existsSync(eventsFile) ? readFileSync(eventsFile, "utf8").trimEnd().split("\n") : []);
  return { process: child, port, mqttPort, dataFolder, events };
}

test("starts aggregator, agent and fleet in this order, each with its settings", async () => {
  const demo = await startDemo();
  await demo.process.waitForOutput(/Weir is running/);
  await eventually(() => assert.is(demo.events().length, 5));
  assert.equal(demo.events(), [
    `aggregator thresholds ${join(demo.dataFolder, "initial-thresholds.json")}`,
    "aggregator started",
    `agent uplink ws://127.0.0.1:${demo.port}/uplink`,
    "agent started",
    `firmware-sim to mqtt://127.0.0.1:${demo.mqttPort}`,
  ]);
  assert.is(readFileSync(join(demo.dataFolder, "initial-thresholds.json"), "utf8"), `{"rules":[]}\n`);
  const printed = demo.process.stdout();
  assert.match(printed, `Dashboard: http://127.0.0.1:${demo.port}\n`);
  assert.match(printed, `mqtt://127.0.0.1:${demo.mqttPort}`);
  assert.match(printed, `Data folder: ${demo.dataFolder}\n`);
  assert.match(printed, new RegExp(`^aggregator +\\| I listen on ${demo.port}$`, "m"));
  await demo.process.stop();
});

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  test(`${signal} stops the fleet, then the agent, then the aggregator, and exits 0`, async () => {
    const demo = await startDemo();
    await demo.process.waitForOutput(/Weir is running/);
    await eventually(() => assert.is(demo.events().length, 5));
    demo.process.signal(signal);
    // npm sends on what the terminal has already sent; that is not yet a second Ctrl-C.
    demo.process.signal(signal);
    assert.equal(await demo.process.ended, { code: 0, signal: null });
    assert.equal(demo.events().slice(5), ["firmware-sim drained", "agent drained", "aggregator drained"]);
  });
}

test("a second Ctrl-C kills what does not stop", async () => {
  const demo = await startDemo({ STUBBORN: "agent" });
  await demo.process.waitForOutput(/Weir is running/);
  demo.process.signal("SIGINT");
  await demo.process.waitForOutput(/Stopping agent/);
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  demo.process.signal("SIGINT");
  assert.equal(await demo.process.ended, { code: 1, signal: null });
  await eventually(() => assertFree(demo.mqttPort));
});

test("a child that dies is named, and the others are stopped", async () => {
  const demo = await startDemo({ AGENT_FAILS: "1" });
  assert.equal(await demo.process.ended, { code: 1, signal: null });
  assert.match(demo.process.stdout(), /agent +\| disk is on fire/);
  assert.match(demo.process.stderr(), "agent ended unexpectedly (exit code 7)");
  assert.is(demo.events().at(-1), "aggregator drained");
});

test("SIM=off starts without the fleet", async () => {
  const demo = await startDemo({ SIM: "off" });
  await demo.process.waitForOutput(/Weir is running/);
  await demo.process.stop();
  assert.not(demo.events().some((event) => event.startsWith("firmware-sim")));
});

test("a port in use is named with the variable that changes it, before anything starts", async () => {
  for (const variable of ["PORT", "MQTT_PORT"]) {
    const taken = await freePort();
    const blocker = createServer();
    await new Promise<void>((resolve) => blocker.listen(taken, "127.0.0.1", resolve));
    const demo = await startDemo({ [variable]: String(taken) });
    assert.equal(await demo.process.ended, { code: 1, signal: null });
    assert.match(demo.process.stderr(), new RegExp(`^Port ${taken} .*is in use.* ${variable}=\\d+ npm start\\.\\n$`));
    assert.equal(demo.events(), []);
    await new Promise((resolve) => blocker.close(resolve));
  }
});

test("a port that is none, or given twice, is refused", async () => {
  const wrong = await startDemo({ PORT: "many" });
  assert.equal(await wrong.process.ended, { code: 1, signal: null });
  assert.match(wrong.process.stderr(), `PORT is "many"`);
  const same = await startDemo({ PORT: "18080", MQTT_PORT: "18080" });
  assert.equal(await same.process.ended, { code: 1, signal: null });
  assert.match(same.process.stderr(), "PORT and MQTT_PORT are both 18080");
});

/** Throws while somebody listens on the port. */
function assertFree(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => server.close(() => resolve()));
  });
}
