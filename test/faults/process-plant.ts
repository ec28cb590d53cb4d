import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { DeviceClient } from "../support/device-client.ts";
import type { AgentProcess, AggregatorProcess } from "../support/pipeline-processes.ts";
import { startAgent, startAggregator } from "../support/pipeline-processes.ts";
import { freePort } from "../support/ports.ts";
import type { Random } from "../support/random.ts";
import type { TestServer } from "../support/servers.ts";
import { startMosquitto } from "../support/servers.ts";
import type { SmallDisk } from "../support/small-disk.ts";
import { smallDisk } from "../support/small-disk.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { tempFolder } from "../support/temp.ts";
import { eventually } from "../support/eventually.ts";
import { AGENT } from "./aggregator-side.ts";

/** Room of the agent's file system; more than a run takes, and soon filled. */
const DISK_MEBIBYTES = 64;

const RULES = {
  rules: [{ match: { metric: "*" }, band: { warningHigh: 24.5, criticalHigh: 26, gapMs: 120_000 } }],
};

/** Aggregator, agent and, where asked for, a broker, in processes of their own, with a bad network between them. */
export class ProcessPlant {
  kills = 0;
  readonly proxy: TcpProxy;
  readonly broker: TestServer | undefined;
  /** The agent's file system; undefined where none can be made without being root. */
  readonly disk: SmallDisk | undefined;
  readonly agentFolder: string;
  /** Where devices connect. */
  readonly devicePort: number;
  readonly #threads: string;
  readonly #httpPort: number;
  #agent: AgentProcess | undefined;
  #aggregator: AggregatorProcess;

  private constructor(parts: {
    readonly proxy: TcpProxy;
    readonly broker: TestServer | undefined;
    readonly aggregator: AggregatorProcess;
    readonly devicePort: number;
    readonly httpPort: number;
    readonly threads: string;
  }) {
    this.proxy = parts.proxy;
    this.broker = parts.broker;
    this.devicePort = parts.devicePort;
    this.disk = smallDisk(DISK_MEBIBYTES);
    this.agentFolder = this.disk?.folder ?? tempFolder("weir-agent-");
    this.#aggregator = parts.aggregator;
    this.#httpPort = parts.httpPort;
    this.#threads = parts.threads;
  }

  /** Starts all of it; resolves when the agent is connected. */
  static async start(random: Random, withBroker: boolean): Promise<ProcessPlant> {
    const rules = join(tempFolder(), "rules.json");
    writeFileSync(rules, JSON.stringify(RULES));
    const httpPort = await freePort();
    const aggregator = await startAggregator({ "http.port": String(httpPort), "thresholds.initial_file": rules });
    const proxy = await TcpProxy.start(httpPort);
    const configLines = ["max_queued_messages 1000000", "max_inflight_messages 500", "autosave_interval 1"];
    const broker = withBroker ? await startMosquitto({ persistence: true, configLines }) : undefined;
    const devicePort = broker?.port ?? (await freePort());
    const threads = random.pick(["1", "2"]);
    const plant = new ProcessPlant({ proxy, broker, aggregator, devicePort, httpPort, threads });
    await plant.startAgent();
    await eventually(() => plant.assertConnected());
    return plant;
  }

  get aggregator(): AggregatorProcess {
    return this.#aggregator;
  }

  agentOutput(): string {
    return this.#agent ? this.#agent.process.stdout() + this.#agent.process.stderr() : "";
  }

  /** A device of the fleet. */
  device(name: string, setsDup: boolean): DeviceClient {
    return new DeviceClient(this.devicePort, name, setsDup);
  }

  /** Throws unless the agent is connected to the aggregator, and to the broker where there is one. */
  async assertConnected(): Promise<void> {
    if ((await this.#aggregator.agents())[0]?.connected !== true) throw new Error("The agent is not connected");
    // Before its session is there, the broker keeps nothing for it.
    if (this.broker && !this.broker.log().includes(`weir-${AGENT}-1`)) throw new Error("The agent has no session");
  }

  async startAgent(): Promise<void> {
    const settings = {
      "agent.id": AGENT,
      "uplink.url": `ws://127.0.0.1:${this.proxy.port}/uplink`,
      "ingest.threads": this.#threads,
    };
    this.#agent = this.broker
      ? await startAgent(
          { ...settings, "listen.enabled": "false" },
          `[[broker]]\nurl = "${this.broker.url}"\n`,
          this.agentFolder,
        )
      : await startAgent({ ...settings, "listen.port": String(this.devicePort) }, "", this.agentFolder);
  }

  async stopAgent(): Promise<void> {
    const end = await this.#agent?.process.stop({ graceMs: 20_000 });
    if (end && end.code !== 0) throw new Error(`The agent ended with ${end.code ?? end.signal}: ${this.agentOutput()}`);
  }

  /** kill -9 and, downMs later, a start on the same data. */
  async killAgent(downMs: number): Promise<void> {
    this.kills++;
    await this.#agent?.process.kill();
    await pause(downMs);
    await this.startAgent();
  }

  async killAggregator(downMs: number): Promise<void> {
    this.kills++;
    const { folder } = this.#aggregator;
    await this.#aggregator.process.kill();
    await pause(downMs);
    this.#aggregator = await startAggregator({ "http.port": String(this.#httpPort) }, folder);
  }

  /** Stops a process for a while without its knowing. */
  async freeze(which: "agent" | "aggregator", forMs: number): Promise<void> {
    const child = which === "agent" ? this.#agent?.process : this.#aggregator.process;
    child?.signal("SIGSTOP");
    await pause(forMs);
    child?.signal("SIGCONT");
  }

  replay(day: string): Promise<string> {
    return this.#agent!.replay(day);
  }

  async close(): Promise<void> {
    await this.#agent?.process.kill();
    await this.#aggregator.process.kill();
    await this.broker?.kill();
    await this.proxy.close();
    this.disk?.remove();
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
