import { parse as parsePath } from "node:path";
import type { CliCommand } from "@weir/shared/config/cli";
import type { Problem } from "@weir/shared/config/settings";
import { isSeriesNamePart } from "@weir/shared/model/reading";
import type { ReplayOptions } from "./replay.ts";
import type { SimSettings } from "./settings.ts";
import { parseTimeMs } from "./time.ts";

/** The replay command as the command line knows it. */
export const replayCommand: CliCommand = {
  summary: "Replay a CSV (timestamp,value) as a device.",
  positionals: "FILE.csv",
  options: {
    site: { type: "string", placeholder: "NAME", doc: "site (default: fleet.site)" },
    device: { type: "string", placeholder: "NAME", doc: "device (default: the file's name without its ending)" },
    metric: {
      type: "string",
      placeholder: "NAME",
      doc: "metric of a single value column (default: value), or which of several columns to send (default: all)",
    },
    speed: {
      type: "string",
      placeholder: "N",
      doc: "seconds of the file a second: 1 real time (default), 3600 an hour; 0 or max: as fast as acknowledged",
    },
    "keep-time": { type: "boolean", doc: "send the file's own times (default)" },
    "shift-to-now": {
      type: "boolean",
      doc: "the first row is now and times advance with the clock, whatever the speed",
    },
    from: { type: "string", placeholder: "TIME", doc: "only rows at or after this time of the file" },
    to: { type: "string", placeholder: "TIME", doc: "only rows before this time of the file" },
    "repeat-each": { type: "string", placeholder: "N", doc: "send each message N times (default 1)" },
    times: { type: "string", placeholder: "N", doc: "send the whole file N times over (default 1)" },
    "readings-per-message": {
      type: "string",
      placeholder: "N",
      doc: "readings in one message (default: fleet.readings_per_message)",
    },
    json: { type: "boolean", doc: "print the summary as JSON" },
  },
};

/** Reads the options of a replay; every problem is pushed to `problems`. */
export function readReplayOptions(
  given: Readonly<Record<string, string | true>>,
  positionals: readonly string[],
  settings: SimSettings,
  problems: Problem[],
): ReplayOptions {
  const add = (where: string, message: string): void => void problems.push({ where, message });
  const text = (name: string): string | undefined => (typeof given[name] === "string" ? given[name] : undefined);

  const wholeNumber = (name: string, fallback: number, max: number): number => {
    const raw = text(name);
    if (raw === undefined) return fallback;
    const value = Number(raw);
    if (/^\d+$/.test(raw) && value >= 1 && value <= max) return value;
    add(`--${name}`, `must be a whole number from 1 to ${max}, is ${JSON.stringify(raw)}`);
    return fallback;
  };
  const time = (name: string, fallback: number): number => {
    const raw = text(name);
    const value = raw === undefined ? fallback : parseTimeMs(raw);
    if (value === undefined) add(`--${name}`, `must be a time such as 2026-05-01T00:00:00Z, is ${JSON.stringify(raw)}`);
    return value ?? fallback;
  };
  const name = (option: string, value: string): string => {
    if (!isSeriesNamePart(value))
      add(`--${option}`, `must be 1 to 128 characters without / + #, is ${JSON.stringify(value)}`);
    return value;
  };

  const file = positionals[0] ?? "";
  if (positionals.length !== 1) add("FILE.csv", `one file is needed, ${positionals.length} were given`);
  const speed = readSpeed(text("speed"), add);
  const shiftToNow = given["shift-to-now"] === true;
  if (shiftToNow && given["keep-time"] === true) add("--shift-to-now", "and --keep-time exclude each other");
  if (shiftToNow && speed === Infinity) add("--shift-to-now", "needs a speed: at --speed max all rows would be now");
  const metric = text("metric");
  const readingsPerMessage = wholeNumber("readings-per-message", settings["fleet.readings_per_message"], 8192);
  if (settings["fleet.payload"] === "number" && readingsPerMessage > 1) {
    add("--readings-per-message", "must be 1 where fleet.payload is number");
  }
  return {
    file,
    site: name("site", text("site") ?? settings["fleet.site"]),
    device: file === "" ? "" : name("device", text("device") ?? parsePath(file).name),
    metric: metric === undefined ? undefined : name("metric", metric),
    speed,
    shiftToNow,
    fromMs: time("from", -Infinity),
    toMs: time("to", Infinity),
    repeatEach: wholeNumber("repeat-each", 1, 1000),
    times: wholeNumber("times", 1, 1_000_000),
    readingsPerMessage,
  };
}

function readSpeed(raw: string | undefined, add: (where: string, message: string) => void): number {
  if (raw === undefined) return 1;
  if (raw === "max") return Infinity;
  const speed = Number(raw);
  if (raw.trim() !== "" && Number.isFinite(speed) && speed >= 0) return speed === 0 ? Infinity : speed;
  add("--speed", `must be a number ≥ 0 or max, is ${JSON.stringify(raw)}`);
  return 1;
}
