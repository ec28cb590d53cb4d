import { basename } from "node:path";
import type { CliCommand } from "@weir/shared/config/cli";
import { CodedError, errorMessage } from "@weir/shared/errors";
import type { AgentSettings } from "../settings.ts";
import { agentName, dataFile } from "../settings.ts";
import { isDamage } from "../store/damage.ts";
import { lockDataFolder } from "../store/lock.ts";
import { finishSetAside, setAside } from "../store/set-aside.ts";
import { coreOptions, intakeOptions } from "../pipeline-options.ts";
import { Store } from "../store/store.ts";
import type { Layout } from "./layout.ts";
import { describeLayout, findLayout } from "./layout.ts";
import { openTable } from "./open-table.ts";
import { importKey, ImportPlaces } from "./place.ts";
import { Progress } from "./progress.ts";
import type { ImportOutcome } from "./run-import.ts";
import { importTable } from "./run-import.ts";
import type { Table } from "./table.ts";
import type { TimeReader, TimeUnit } from "./times.ts";
import { createTimeReader } from "./times.ts";

/** `weir-agent import` as the command line knows it. */
export const importCommand: CliCommand = {
  summary: "Take history from a CSV (also .csv.gz) or Parquet file into the log, as if it had been received.",
  positionals: "FILE",
  options: {
    site: { type: "string", placeholder: "NAME", doc: "site of all rows, where no column says it (default: default)" },
    device: { type: "string", placeholder: "NAME", doc: "device of all rows, where no column says it" },
    metric: { type: "string", placeholder: "NAME", doc: "metric of all rows of a table with a column value" },
    time: {
      type: "string",
      placeholder: "COLUMN",
      doc: "column of times (default: time, timestamp, ts, … as there is)",
    },
    "time-unit": {
      type: "string",
      placeholder: "UNIT",
      doc: "of times that are numbers: auto (default), s, ms, us, ns",
    },
    columns: {
      type: "string",
      placeholder: "A,B=METRIC,…",
      doc: "columns that are metrics, of a table of a column a metric (default: all others)",
    },
    timezone: { type: "string", placeholder: "ZONE", doc: "IANA name for times that say no offset from UTC" },
    json: { type: "boolean", doc: "print the summary as JSON" },
  },
};

type Options = Readonly<Record<string, string | true>>;

const TIME_UNITS: readonly TimeUnit[] = ["auto", "s", "ms", "us", "ns"];

/**
 * Runs `weir-agent import`. Returns the exit code: 0 all rows are in the log, 1 not all, or nothing could be used. Throws
 * CodedErrors: BAD_IMPORT for what the command line or the file has wrong, others of the parts.
 */
export async function runImport(
  settings: AgentSettings,
  options: Options,
  positionals: readonly string[],
): Promise<number> {
  const [path] = positionals;
  if (path === undefined || positionals.length > 1) {
    throw new CodedError("BAD_IMPORT", `import needs one file, ${positionals.length} were given.`);
  }
  const text = (name: string): string | undefined => (typeof options[name] === "string" ? options[name] : undefined);
  const unit = text("time-unit") ?? "auto";
  if (!isTimeUnit(unit)) {
    throw new CodedError("BAD_IMPORT", `--time-unit must be one of ${TIME_UNITS.join(", ")}, is ${unit}.`);
  }
  // Before anything is read.
  coreOptions(settings);
  const times = createTimeReader(unit, text("timezone"));
  const table = await openTable(path);
  const named = Object.entries({
    site: text("site"),
    device: text("device"),
    metric: text("metric"),
    time: text("time"),
    columns: text("columns"),
  }).filter(([, value]) => value !== undefined);
  const layout = findLayout(path, table, Object.fromEntries(named));
  checkFirstTime(path, table, layout, times, text("timezone"));
  const { seriesMax, floorMs } = intakeOptions(settings);
  // What was refused by a bound is asked for again when that is another.
  const key = importKey(path, [layout, unit, text("timezone") ?? "", seriesMax, floorMs]);
  const unlock = lock(settings["data.dir"]);
  try {
    finishSetAside(dataFile(settings));
    const store = new Store(dataFile(settings), { readonly: false });
    try {
      return await importInto(store, settings, table, layout, times, key, path, options.json === true);
    } catch (error) {
      if (!isDamage(error)) throw error;
      // Not left to the agent: what an import reads of the log, an agent may not read for days.
      store.close();
      const { message } = setAside(dataFile(settings), errorMessage(error), {
        nowMs: Date.now(),
        aheadMaxMs: settings["time.ahead_max"],
        keptMax: settings["data.corrupt_files_max"],
      });
      throw new CodedError("DATA_FILE_DAMAGED", `${message} Import again, into the new file.`, { cause: error });
    } finally {
      store.close();
    }
  } finally {
    unlock();
  }
}

async function importInto(
  store: Store,
  settings: AgentSettings,
  table: Table,
  layout: Layout,
  times: TimeReader,
  key: string,
  path: string,
  json: boolean,
): Promise<number> {
  // The answer alone goes to standard output where a program reads it.
  const out = json ? process.stderr : process.stdout;
  const places = new ImportPlaces(store.sql, key);
  const { rows, isDone } = places.read();
  out.write(`${describeLayout(table, layout)}\n`);
  if (isDone) {
    out.write(`This file has been imported: all its ${rows} rows. Nothing is left to do.\n`);
    const nothing = { end: "done", skipped: rows, rows: 0, stored: 0, duplicates: 0, rejected: {} } as const;
    if (json) process.stdout.write(`${summaryJson(path, nothing, 0)}\n`);
    return 0;
  }
  if (rows > 0) out.write(`Going on after row ${rows}, where it was stopped.\n`);
  store.setMeta("agent", agentName(settings));
  const progress = new Progress(out, Date.now);
  const signal = { told: false };
  const tell = (): void => void (signal.told = true);
  process.once("SIGINT", tell);
  process.once("SIGTERM", tell);
  const beganMs = Date.now();
  const rules = { layout, columns: table.columns, times, fileName: basename(path) };
  const bounds = { ...coreOptions(settings), ...intakeOptions(settings) };
  try {
    const outcome = await importTable(table, rules, store, places, bounds, {
      now: Date.now,
      isStopped: () => signal.told,
      progress: (share, done) => progress.update(share, done),
      warn: (message) => {
        progress.clear();
        process.stderr.write(`weir-agent: ${message}\n`);
      },
    });
    progress.clear();
    const seconds = (Date.now() - beganMs) / 1000;
    if (json) process.stdout.write(`${summaryJson(path, outcome, seconds)}\n`);
    else process.stdout.write(summaryText(outcome, seconds));
    const advice = adviceOf(outcome, settings);
    if (advice !== undefined) process.stderr.write(`weir-agent: ${advice}\n`);
    return advice === undefined ? 0 : 1;
  } finally {
    progress.clear();
    process.removeListener("SIGINT", tell);
    process.removeListener("SIGTERM", tell);
  }
}

/** Times without an offset are asked about before anything is read: they would all be refused. */
function checkFirstTime(
  path: string,
  table: Table,
  layout: Layout,
  times: TimeReader,
  timezone: string | undefined,
): void {
  const { name, time } = table.columns[layout.time]!;
  const field = table.first?.[layout.time];
  const isZoneless = time === "local" || (time === undefined && times.whyNot(field) === "time_without_zone");
  if (!isZoneless || timezone !== undefined) return;
  const example = time === "local" || typeof field !== "string" ? "" : `, such as ${JSON.stringify(field)},`;
  const problem = `Times of column ${JSON.stringify(name)}${example} say no offset from UTC`;
  throw new CodedError(
    "BAD_IMPORT",
    `${path}: ${problem}. Say by --timezone where the clocks were that wrote them, such as --timezone UTC or --timezone Europe/Berlin.`,
  );
}

function lock(folder: string): () => void {
  try {
    return lockDataFolder(folder);
  } catch (error) {
    if (!(error instanceof CodedError) || error.code !== "DATA_FOLDER_IN_USE") throw error;
    throw new CodedError(
      "DATA_FOLDER_IN_USE",
      `An agent, or another import, is running on ${folder}, and only one may write it. Stop it, import, and start it again: brokers keep what they get meanwhile for its session.`,
      { cause: error },
    );
  }
}

function adviceOf({ end, rows, stored, duplicates }: ImportOutcome, settings: AgentSettings): string | undefined {
  if (end === "stopped") return "The import was stopped. The same command goes on from there.";
  if (end === "outbox_full") {
    const full = `The outbox is full: of outbox.bytes_max (${settings["outbox.bytes_max"]} bytes) no more is free for what would come of further rows`;
    return settings["uplink.url"] === ""
      ? `${full}. As no uplink.url is set, nothing will be sent: raise outbox.bytes_max, and import again; it goes on from there.`
      : `${full}. Start the agent, let it send (weir-agent status says what waits), stop it, and import again; it goes on from there.`;
  }
  if (rows > 0 && stored + duplicates === 0) {
    return "No reading of this file could be used; weir-agent status shows some of its rows as dead letters.";
  }
  return undefined;
}

function summaryJson(path: string, outcome: ImportOutcome, seconds: number): string {
  return JSON.stringify({ file: path, ...outcome, seconds });
}

function summaryText({ skipped, rows, stored, duplicates, rejected }: ImportOutcome, seconds: number): string {
  const count = (number: number): string => number.toLocaleString("en-US");
  const before = skipped > 0 ? ` after the ${count(skipped)} of before` : "";
  const rate = seconds > 0 ? ` (${count(Math.round(rows / seconds))} rows/s)` : "";
  const refused = Object.values(rejected).reduce((sum, one) => sum + one, 0);
  const lines = [
    `${count(rows)} rows${before} in ${seconds.toFixed(1)} s${rate}.`,
    `Readings: ${count(stored)} stored, ${count(duplicates)} known already, ${count(refused)} refused.`,
    ...Object.entries(rejected).map(([reason, number]) => `  ${reason.padEnd(24)} ${count(number)}`),
  ];
  return `${lines.join("\n")}\n`;
}

function isTimeUnit(text: string): text is TimeUnit {
  return (TIME_UNITS as readonly string[]).includes(text);
}
