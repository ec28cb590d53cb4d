import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { eventually } from "./eventually.ts";
import { freePort } from "./ports.ts";
import { startProcess } from "./processes.ts";
import type { TestProcess } from "./processes.ts";
import { isCi } from "./repository.ts";
import { skipWith } from "./suite.ts";
import { tempFolder } from "./temp.ts";

/** A real server with a configuration and a data folder of its own, on a free port of 127.0.0.1. */
export interface TestServer {
  readonly host: string;
  readonly port: number;
  readonly url: string;
  /** Folder of configuration and data; it survives restart() and goes with the test process. */
  readonly folder: string;
  readonly pid: number;
  /** What the server printed since its last start. */
  log(): string;
  /** Ends it as the system would: SIGTERM, data saved. */
  stop(): Promise<void>;
  /** Ends it as a crash would: SIGKILL. */
  kill(): Promise<void>;
  /** Starts it again on the same port and data, after stop() when it still runs; resolves when it answers. */
  restart(): Promise<void>;
}

/** InfluxDB with a way to ask it. */
export interface TestInfluxd extends TestServer {
  /** Runs one InfluxQL statement (times in ms) and returns the parsed answer. Throws on what InfluxDB calls an error. */
  query(statement: string, database?: string): Promise<InfluxAnswer>;
}

/** The part of InfluxDB's answer that tests look at. */
export interface InfluxAnswer {
  results: Array<{
    error?: string;
    series?: Array<{ name: string; tags?: Record<string, string>; columns: string[]; values: unknown[][] }>;
  }>;
}

/** Outside programs that tests use. */
export type ServerName = "mosquitto" | "influxd" | "chromium";

const PROGRAMS: Readonly<Record<ServerName, { path: string; packages: string }>> = {
  mosquitto: { path: "/usr/sbin/mosquitto", packages: "mosquitto" },
  influxd: { path: "/usr/bin/influxd", packages: "influxdb" },
  chromium: { path: process.env["CHROMIUM_PATH"] ?? "/usr/bin/chromium", packages: "chromium fonts-dejavu-core" },
};

const READY_TIMEOUT_MS = 20_000;

/** Path of an outside program, whether or not it is there. */
export function serverPath(name: ServerName): string {
  return PROGRAMS[name].path;
}

/**
 * Whether the program is installed. Where it isn't, the skip is printed and counted once with the line that installs
 * it; with CI=true that is an error instead.
 */
export function requireServer(name: ServerName): boolean {
  const { path, packages } = PROGRAMS[name];
  if (existsSync(path)) return true;
  const remedy = `${path} is missing; install it with: apt-get install ${packages}`;
  if (isCi()) throw new Error(`Tests with ${name} must run where CI=true, but ${remedy}`);
  skipWith(`tests with ${name}`, remedy);
  return false;
}

/** Options of startMosquitto. */
export interface MosquittoOptions {
  /** Lines for mosquitto.conf after the listener, which lets anybody in. */
  configLines?: readonly string[];
  /** Keep sessions and queued messages over stop() and restart(). Default false. */
  persistence?: boolean;
  port?: number;
}

/** Starts Debian's mosquitto; resolves when it answers a CONNECT. */
export function startMosquitto({
  configLines = [],
  persistence = false,
  port,
}: MosquittoOptions = {}): Promise<TestServer> {
  const folder = tempFolder("weir-mosquitto-");
  const configFile = join(folder, "mosquitto.conf");
  return startServer("mosquitto", folder, port, {
    scheme: "mqtt",
    args: ["-c", configFile],
    configure: (chosenPort) => {
      const lines = [
        `listener ${chosenPort} 127.0.0.1`,
        "allow_anonymous true",
        // Started as root it would change to a user who cannot write to the folder.
        "user root",
        `persistence ${persistence}`,
        `persistence_location ${folder}/`,
        ...configLines,
      ];
      writeFileSync(configFile, `${lines.join("\n")}\n`);
    },
    ping: answersConnect,
  });
}

/** Starts Debian's InfluxDB 1.x without its self-monitoring; resolves when it answers a ping. */
export async function startInfluxd({ port }: { port?: number } = {}): Promise<TestInfluxd> {
  const folder = tempFolder("weir-influxd-");
  const configFile = join(folder, "influxdb.conf");
  const rpcPort = await freePort();
  const server = await startServer("influxd", folder, port, {
    scheme: "http",
    args: ["-config", configFile],
    configure: (chosenPort) => writeFileSync(configFile, influxConfig(folder, chosenPort, rpcPort)),
    ping: async (chosenPort) => {
      const answer = await fetch(`http://127.0.0.1:${chosenPort}/ping`);
      if (answer.status !== 204) throw new Error(`/ping answered ${answer.status}`);
    },
  });
  const query = async (statement: string, database: string = ""): Promise<InfluxAnswer> => {
    const body = new URLSearchParams({ q: statement, db: database, epoch: "ms" });
    const response = await fetch(`${server.url}/query`, { method: "POST", body });
    const answer = (await response.json()) as InfluxAnswer & { error?: string };
    const error = answer.error ?? answer.results.find((result) => result.error !== undefined)?.error;
    if (error !== undefined) throw new Error(`InfluxDB: ${error} (statement: ${statement})`);
    return answer;
  };
  return Object.assign(server, { query });
}

function influxConfig(folder: string, port: number, rpcPort: number): string {
  for (const part of ["meta", "data", "wal"]) mkdirSync(join(folder, part), { recursive: true });
  return `reporting-enabled = false
bind-address = "127.0.0.1:${rpcPort}"
[meta]
  dir = "${folder}/meta"
[data]
  dir = "${folder}/data"
  wal-dir = "${folder}/wal"
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:${port}"
  log-enabled = false
`;
}

interface ServerPlan {
  scheme: string;
  args: readonly string[];
  configure(port: number): void;
  /** Throws until the server answers. */
  ping(port: number): Promise<void>;
}

async function startServer(
  name: ServerName,
  folder: string,
  fixedPort: number | undefined,
  plan: ServerPlan,
): Promise<TestServer> {
  let port = fixedPort ?? (await freePort());
  let child: TestProcess;
  const start = async (): Promise<void> => {
    plan.configure(port);
    child = await startProcess(serverPath(name), plan.args);
    await eventually(
      async () => {
        if (child.isRunning()) await plan.ping(port);
      },
      { timeoutMs: READY_TIMEOUT_MS },
    );
    if (!child.isRunning())
      throw new Error(`${name} ended at once on port ${port}:\n${child.stdout()}${child.stderr()}`);
  };
  try {
    await start();
  } catch (error) {
    if (fixedPort !== undefined) throw error;
    // Somebody may have taken the port between our asking for it and the server's binding it.
    port = await freePort();
    await start();
  }
  const stop = async (): Promise<void> => void (await child.stop());
  return {
    host: "127.0.0.1",
    port,
    url: `${plan.scheme}://127.0.0.1:${port}`,
    folder,
    get pid(): number {
      return child.pid;
    },
    log: () => child.stdout() + child.stderr(),
    stop,
    kill: async () => void (await child.kill()),
    restart: async () => {
      await stop();
      await start();
    },
  };
}

/** Sends an MQTT 3.1.1 CONNECT; any answer will do, a refusal too. */
function answersConnect(port: number): Promise<void> {
  const connectPacket = Buffer.from([
    0x10, 16, 0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, 10, 0, 4, 0x70, 0x69, 0x6e, 0x67,
  ]);
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(connectPacket));
    socket.setTimeout(1000, () => socket.destroy(new Error("no answer to CONNECT within 1000 ms")));
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("closed without an answer to CONNECT")));
    socket.once("data", () => {
      resolve();
      socket.destroy();
    });
  });
}
