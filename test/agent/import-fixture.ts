import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { parquetWriteBuffer } from "hyparquet-writer";
import { LogReplay } from "@weir/agent/replay";
import { Store } from "@weir/agent/store/store";
import { canonicalJson } from "@weir/shared/model/canonical-json";
import { createCalendar } from "@weir/shared/operators/calendar";
import { dailyReport } from "@weir/shared/operators/report";
import type { ProcessEnd } from "../support/processes.ts";
import { runToEnd, sourceFlags } from "../support/processes.ts";
import { createPlant } from "../support/plant.ts";
import { repositoryRoot } from "../support/repository.ts";
import { tempFolder } from "../support/temp.ts";
import { version } from "./pipeline-fixture.ts";

const MAIN = join(repositoryRoot, "agent", "src", "main.ts");

/** The arguments of Node that run weir-agent on a data folder. */
export function agentArgs(folder: string, args: readonly string[]): string[] {
  const settings = ["--data.dir", folder, "--agent.id", "agent-1"];
  return [...sourceFlags, MAIN, ...args, ...settings];
}

/** Runs weir-agent on a data folder to its end. */
export function agent(folder: string, ...args: string[]): Promise<ProcessEnd & { stdout: string; stderr: string }> {
  return runToEnd(process.execPath, agentArgs(folder, args), { timeoutMs: 90_000 });
}

/** What `weir-agent import --json` prints. */
export interface ImportSummary {
  readonly end: string;
  readonly skipped: number;
  readonly rows: number;
  readonly stored: number;
  readonly duplicates: number;
  readonly rejected: Record<string, number>;
}

/** Imports a file to its end, which must be a good one. */
export async function importFile(folder: string, ...args: string[]): Promise<ImportSummary> {
  const end = await agent(folder, "import", ...args, "--json");
  if (end.code !== 0) throw new Error(`weir-agent import ended with ${end.code}: ${end.stderr}`);
  return JSON.parse(end.stdout) as ImportSummary;
}

/** The reports of all days that a data folder holds readings of, in the plant's time zone UTC: a line each. */
export function reportsOf(folder: string, days: readonly string[]): string {
  return look(folder, (store) => {
    const replayed = new LogReplay(store, createCalendar("UTC"), "agent-1").fold();
    const reports = days.map((day) => dailyReport(replayed, day, 1)).filter((report) => report !== undefined);
    return reports.map((report) => `${canonicalJson(report)}\n`).join("");
  });
}

/** Looks into a data folder. */
export function look<T>(folder: string, ask: (store: Store) => T): T {
  const store = new Store(join(folder, "agent.db"), { readonly: true });
  try {
    return ask(store);
  } finally {
    store.close();
  }
}

/** One reading of the tables of these tests. */
export interface Row {
  readonly tsMs: number;
  readonly site: string;
  readonly device: string;
  readonly metric: string;
  readonly value: number;
}

/** First day of made-up rows. */
export const FIRST_MS: number = Date.UTC(2026, 0, 5);

/** Rows of some devices, a second apart each, with excursions; the same each time. */
export function madeUpRows(count: number, devices: number): Row[] {
  return Array.from({ length: count }, (_, i) => {
    const device = i % devices;
    const second = Math.floor(i / devices);
    const excursion = second % 500 < 10 ? 40 : 0;
    return {
      tsMs: FIRST_MS + second * 1000 + device,
      site: "plant-1",
      device: `pump-${device}`,
      metric: i % 3 === 0 ? "flow" : "temperature",
      value: Math.round(1000 * (20 + 5 * Math.sin(second / 70 + device) + excursion)) / 1000,
    };
  });
}

/** A reading a row, comma-separated. */
export function longCsv(rows: readonly Row[]): string {
  const lines = rows.map(({ tsMs, site, device, metric, value }) =>
    [new Date(tsMs).toISOString(), site, device, metric, value].join(","),
  );
  return `time,site,device,metric,value\n${lines.join("\n")}\n`;
}

/** The same in Parquet. rowGroupSize: rows of a group; withIndex: pages can be found alone. */
export function writeLongParquet(path: string, rows: readonly Row[], rowGroupSize: number, withIndex: boolean): void {
  const text = (name: "site" | "device" | "metric") => ({
    name,
    data: rows.map((row) => row[name]),
    type: "STRING" as const,
    offsetIndex: withIndex,
  });
  const time = { name: "time", data: rows.map(({ tsMs }) => new Date(tsMs)), type: "TIMESTAMP" as const };
  const value = { name: "value", data: rows.map((row) => row.value), type: "DOUBLE" as const };
  const numbers = [time, value].map((column) => ({ ...column, offsetIndex: withIndex }));
  const columnData = [numbers[0]!, text("site"), text("device"), text("metric"), numbers[1]!];
  writeFileSync(path, Buffer.from(parquetWriteBuffer({ columnData, rowGroupSize, pageSize: 16_384 })));
}

/** The local days of madeUpRows. */
export const DAYS = ["2026-01-05", "2026-01-06"] as const;

/** A new file with this in it. */
export function fileOf(text: string | Uint8Array, name = "history.csv"): string {
  const file = join(tempFolder(), name);
  writeFileSync(file, text);
  return file;
}

/** A data folder whose log has thresholds, and so judges what comes. */
export function judgingFolder(): string {
  const folder = tempFolder();
  const plant = createPlant(folder, { nowMs: FIRST_MS });
  plant.publish(version(1, 0, 50));
  plant.close();
  return folder;
}

/** Rows of the file that is being imported into a folder of which it is noted that they are done. */
export function placeOf(folder: string): number {
  return look(folder, (store) => store.sql.number("SELECT max(rows) FROM imports") ?? 0);
}
