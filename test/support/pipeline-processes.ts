import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { DailyReport } from "@weir/shared/model/report";
import type { AlertView } from "@weir/shared/model/alert";
import type { AgentView, DeviceView, ReportListing, ThresholdListing } from "@weir/aggregator/queries";
import { eventually } from "./eventually.ts";
import type { TestProcess } from "./processes.ts";
import { runToEnd, startWeir, sourceFlags } from "./processes.ts";
import { repositoryRoot } from "./repository.ts";
import { tempFolder } from "./temp.ts";

/** An aggregator process with its API. */
export interface AggregatorProcess {
  readonly process: TestProcess;
  readonly url: string;
  readonly uplinkUrl: string;
  readonly folder: string;
  /** The body of a GET that answers 2xx, as text; throws on any other status. */
  text(path: string): Promise<string>;
  json<T>(path: string): Promise<T>;
  post<T>(path: string, body?: unknown): Promise<T>;
  agents(): Promise<AgentView[]>;
  devices(): Promise<DeviceView[]>;
  alerts(): Promise<AlertView[]>;
  reportDays(): Promise<ReportListing[]>;
  report(day: string): Promise<DailyReport>;
  thresholds(): Promise<ThresholdListing[]>;
}

/** Starts an aggregator on a free port; resolves when it answers. settings: by dotted key. */
export async function startAggregator(
  settings: Readonly<Record<string, string>> = {},
  folder: string = tempFolder("weir-aggregator-"),
): Promise<AggregatorProcess> {
  const flags = Object.entries({ "http.port": "0", "data.dir": folder, ...settings });
  const child = await startWeir("aggregator", ["run", ...flags.flatMap(([key, value]) => [`--${key}`, value])]);
  const [, url = ""] = await child.waitForOutput(/Dashboard and API: (http:\S+)/);
  const ask = async (path: string, init?: RequestInit): Promise<string> => {
    const response = await fetch(new URL(path, url), init);
    const body = await response.text();
    if (!response.ok) throw new Error(`${init?.method ?? "GET"} ${path}: ${response.status} ${body}`);
    return body;
  };
  const json = async <T>(path: string): Promise<T> => JSON.parse(await ask(path)) as T;
  return {
    process: child,
    url,
    uplinkUrl: `${url.replace("http", "ws")}/uplink`,
    folder,
    text: ask,
    json,
    post: async <T>(path: string, body: unknown = {}) => {
      const headers = { "content-type": "application/json" };
      return JSON.parse(await ask(path, { method: "POST", headers, body: JSON.stringify(body) })) as T;
    },
    agents: () => json("/api/agents"),
    devices: () => json("/api/devices"),
    alerts: () => json("/api/alerts?limit=1000"),
    reportDays: () => json("/api/reports/daily"),
    report: (day) => json(`/api/reports/daily/${day}`),
    thresholds: () => json("/api/thresholds"),
  };
}

/** An agent process and what it was started with, so that it can be started again on the same data. */
export interface AgentProcess {
  readonly process: TestProcess;
  readonly folder: string;
  readonly mqttPort: number;
  /** Starts it again after it ended. */
  again(): Promise<AgentProcess>;
  /** `weir-agent replay --day`: the report's bytes. */
  replay(day: string): Promise<string>;
}

/** Fast enough for tests: what is sent is at the aggregator within a fraction of a second. */
const BRISK = { "checkpoint.interval": "200ms", "tick.interval": "200ms" };

/** Starts an agent. toml: its file, for [[broker]] and [[topic]]; settings: by dotted key. */
export async function startAgent(
  settings: Readonly<Record<string, string>>,
  toml: string = "",
  folder: string = tempFolder("weir-agent-"),
): Promise<AgentProcess> {
  const file = join(folder, "agent.toml");
  writeFileSync(file, toml);
  const all = { "data.dir": folder, "agent.id": "gateway-1", "listen.port": "0", ...BRISK, ...settings };
  const flags = ["-c", file, ...Object.entries(all).flatMap(([key, value]) => [`--${key}`, value])];
  const child = await startWeir("agent", ["run", ...flags]);
  const listens = settings["listen.enabled"] !== "false";
  const ready = await child.waitForOutput(listens ? /MQTT endpoint .*:(\d+)/ : /broker/i);
  return {
    process: child,
    folder,
    mqttPort: Number(ready[1] ?? 0),
    again: () => startAgent(settings, toml, folder),
    async replay(day) {
      const main = join(repositoryRoot, "agent", "src", "main.ts");
      const args = [...sourceFlags, main, "replay", "--day", day, ...flags];
      const end = await runToEnd(process.execPath, args);
      if (end.code !== 0) throw new Error(`weir-agent replay ended with ${end.code}: ${end.stderr}`);
      return end.stdout;
    },
  };
}

/** Runs weir-sim to its end and returns its summary. Throws when it fails. */
export async function runSim(args: readonly string[]): Promise<Record<string, number>> {
  const main = join(repositoryRoot, "firmware-sim", "src", "main.ts");
  const end = await runToEnd(process.execPath, [...sourceFlags, main, ...args, "--json"]);
  if (end.code !== 0) throw new Error(`weir-sim ended with ${end.code}: ${end.stderr}`);
  return JSON.parse(end.stdout) as Record<string, number>;
}

/** Waits until the aggregator has everything that an agent has stored: `readings` of them, over all reports. */
export async function waitForReadings(
  aggregator: AggregatorProcess,
  readings: number,
  timeoutMs = 30_000,
): Promise<void> {
  await eventually(
    async () => {
      const metrics = await aggregator.text("/metrics");
      const summarised = Number(/^weir_summarised_readings (\d+)$/m.exec(metrics)?.[1] ?? 0);
      if (summarised !== readings) throw new Error(`${summarised} of ${readings} readings are summarised`);
    },
    { timeoutMs, intervalMs: 100 },
  );
}
