import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestProcess } from "../support/processes.ts";
import { startProcess } from "../support/processes.ts";

/** A built program: a name for the table, and its dist/main.js. */
export interface BuiltProgram {
  readonly name: string;
  readonly main: string;
}

/** An agent or aggregator that runs, and its port: MQTT or HTTP. */
export interface RunningProgram {
  readonly process: TestProcess;
  readonly pid: number;
  readonly port: number;
}

/** How to start an agent, beside its settings by dotted key. */
export interface AgentStart {
  readonly folder: string;
  readonly settings?: Readonly<Record<string, string>>;
  /** Its file, for [[broker]] sections. */
  readonly toml?: string;
  /** Of Node, such as --cpu-prof. */
  readonly nodeArgs?: readonly string[];
}

/** Command line of an agent on a data folder: settings as flags. */
export function agentArgs(agent: BuiltProgram, command: string, start: AgentStart): string[] {
  const { folder, settings = {}, toml, nodeArgs } = start;
  const file = join(folder, "agent.toml");
  if (toml !== undefined) writeFileSync(file, toml);
  // Readings of one series are a millisecond apart; sent as fast as they are taken, they run ahead of the clock.
  const ahead = { "time.ahead_max": "30d" };
  const all = { "data.dir": folder, "agent.id": "bench", "listen.port": "0", ...ahead, ...settings };
  const flags = Object.entries(all).flatMap(([key, value]) => [`--${key}`, value]);
  return [...(nodeArgs ?? []), agent.main, command, ...(toml === undefined ? [] : ["-c", file]), ...flags];
}

/** Starts a built agent with its own settings but for a free port; resolves when its endpoint is open. */
export async function startBuiltAgent(agent: BuiltProgram, start: AgentStart): Promise<RunningProgram> {
  const child = await startProcess(process.execPath, agentArgs(agent, "run", start));
  const listens = start.settings?.["listen.enabled"] !== "false";
  const timeoutMs = 120_000;
  const [, port] = await child.waitForOutput(listens ? /MQTT endpoint .*:(\d+)/ : /broker/i, { timeoutMs });
  return { process: child, pid: child.pid, port: Number(port ?? 0) };
}

/** Starts a built aggregator on a free port; resolves when it answers. */
export async function startBuiltAggregator(
  main: string,
  folder: string,
  settings: Readonly<Record<string, string>> = {},
): Promise<RunningProgram> {
  const flags = Object.entries({ "http.port": "0", "data.dir": folder, ...settings });
  const args = [main, "run", ...flags.flatMap(([key, value]) => [`--${key}`, value])];
  const child = await startProcess(process.execPath, args);
  const [, url = ""] = await child.waitForOutput(/Dashboard and API: (http:\S+)/);
  return { process: child, pid: child.pid, port: Number(new URL(url).port) };
}
