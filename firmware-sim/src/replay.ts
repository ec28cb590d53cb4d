import { createReadStream } from "node:fs";
import { CodedError, errorMessage } from "@weir/shared/errors";
import { createCsvParser } from "./csv.ts";
import type { CsvRow } from "./csv.ts";
import { joinRows, valueRow, valuesRow } from "./payload.ts";
import type { RunWorld } from "./run.ts";
import type { SimSettings } from "./settings.ts";
import { summarize } from "./summary.ts";
import type { Summary } from "./summary.ts";
import { readHeader, readRow } from "./table.ts";
import type { TableRow, TableShape } from "./table.ts";
import { fillTopic, hasMetric } from "./topic.ts";

export interface ReplayOptions {
  readonly file: string;
  readonly site: string;
  readonly device: string;
  /** The name of a single value column, or which of several to send; undefined: `value`, or all. */
  readonly metric: string | undefined;
  /** Seconds of the file a second; Infinity: as fast as the receiver acknowledges. */
  readonly speed: number;
  /** True: the first row is now, and event times advance with the clock; needs a finite speed. */
  readonly shiftToNow: boolean;
  /** Rows with fromMs ≤ event time < toMs are sent. */
  readonly fromMs: number;
  readonly toMs: number;
  /** How often each message is sent, ≥ 1. */
  readonly repeatEach: number;
  /** How often the whole file is sent, ≥ 1. */
  readonly times: number;
  readonly readingsPerMessage: number;
}

/** Bad rows named by line, at most; all are counted. */
const BAD_ROWS_NAMED_MAX = 20;
const WAIT_MS = 10;
/** Sleeps are cut to this, so that a stop is not waited for. */
const SLEEP_MS_MAX = 200;
const STATUS_EVERY_MS = 5_000;

interface Counts {
  rows: number;
  badRows: number;
  filtered: number;
  readings: number;
  duplicates: number;
}

/**
 * Sends a CSV as one device, line by line; what is in memory is one chunk of the file and the rows of one message. Bad
 * rows are named in the log and counted. The sender must be connected.
 *
 * Throws CodedError CSV_HEADER and FILE_UNREADABLE.
 */
export async function replayFile(settings: SimSettings, options: ReplayOptions, world: RunWorld): Promise<Summary> {
  const startMs = world.nowMs();
  const counts: Counts = { rows: 0, badRows: 0, filtered: 0, readings: 0, duplicates: 0 };
  const status = setInterval(() => {
    const { messages, acknowledged } = world.sender.counts();
    world.log(`sent ${messages}, acknowledged ${acknowledged}, rows ${counts.rows}, bad rows ${counts.badRows}`);
  }, STATUS_EVERY_MS);
  const clock = createReplayClock(options);
  try {
    for (let pass = 0; pass < options.times && !world.stop.aborted; pass++) {
      await replayOnce(settings, options, world, counts, clock, pass === 0);
    }
  } finally {
    clearInterval(status);
  }
  if (counts.badRows > BAD_ROWS_NAMED_MAX) world.log(`… and ${counts.badRows - BAD_ROWS_NAMED_MAX} more bad rows`);
  const missing = await world.sender.drain(Math.max(1, settings["mqtt.ack_timeout"]));
  const { rows, badRows, filtered } = counts;
  return summarize(world.sender.counts(), settings["mqtt.qos"], missing, {
    readings: counts.readings,
    duplicates: counts.duplicates,
    durationMs: world.nowMs() - startMs,
    details: { rows, badRows, filtered },
  });
}

/** Decides what time a row is sent with, and when. */
export interface ReplayClock {
  /** A pass over the file begins. */
  restart(): void;
  /** tsMs: of the row in the file. Returns the time it carries, and the wall clock to wait for; in milliseconds. */
  place(tsMs: number, nowMs: number): { readonly sentTsMs: number; readonly dueMs: number };
}

/**
 * Times of a replay. The first row of a pass is due at once, every other as much later as the file says, divided by
 * the speed. Shifted rows carry the time they are due, at least a millisecond after the row before, unless the file
 * itself gives the two one time or goes back: so no two readings become one at high speeds, and none lies ahead.
 */
export function createReplayClock(options: Pick<ReplayOptions, "speed" | "shiftToNow">): ReplayClock {
  let first: { readonly tsMs: number; readonly nowMs: number } | undefined;
  let lastTsMs = -Infinity;
  let lastSentMs = -Infinity;
  return {
    restart() {
      first = undefined;
      lastTsMs = -Infinity;
    },
    place(tsMs, nowMs) {
      first ??= { tsMs, nowMs };
      const dueMs = options.speed === Infinity ? nowMs : first.nowMs + (tsMs - first.tsMs) / options.speed;
      if (!options.shiftToNow) return { sentTsMs: tsMs, dueMs };
      const plainMs = Math.floor(dueMs);
      const sentTsMs = tsMs > lastTsMs ? Math.max(plainMs, lastSentMs + 1) : tsMs === lastTsMs ? lastSentMs : plainMs;
      lastTsMs = tsMs;
      lastSentMs = sentTsMs;
      return { sentTsMs, dueMs: Math.max(dueMs, sentTsMs) };
    },
  };
}

async function replayOnce(
  settings: SimSettings,
  options: ReplayOptions,
  world: RunWorld,
  counts: Counts,
  clock: ReplayClock,
  nameBadRows: boolean,
): Promise<void> {
  let shape: TableShape | undefined;
  let batches: Batches | undefined;
  clock.restart();

  const take = async (rows: readonly CsvRow[]): Promise<void> => {
    for (const csvRow of rows) {
      if (world.stop.aborted) return;
      if (!shape) {
        shape = readHeader(csvRow, options.metric);
        batches = createBatches(settings, options, shape);
        continue;
      }
      counts.rows++;
      const row = readRow(csvRow, shape);
      if (typeof row === "string") {
        counts.badRows++;
        if (nameBadRows && counts.badRows <= BAD_ROWS_NAMED_MAX) world.log(`${options.file}:${csvRow.line}: ${row}`);
      } else if (row.tsMs < options.fromMs || row.tsMs >= options.toMs) counts.filtered++;
      else {
        const { sentTsMs, dueMs } = clock.place(row.tsMs, world.nowMs());
        if (dueMs > world.nowMs()) await sleepUntil(world, dueMs);
        if (world.stop.aborted) return;
        for (const message of batches?.add({ tsMs: sentTsMs, values: row.values }) ?? []) {
          await deliver(options, world, counts, message);
        }
      }
    }
  };

  const parser = createCsvParser();
  try {
    for await (const chunk of createReadStream(options.file, { encoding: "utf8" })) {
      await take(parser.push(chunk as string));
      if (world.stop.aborted) break;
    }
  } catch (cause) {
    if (cause instanceof CodedError) throw cause;
    throw new CodedError("FILE_UNREADABLE", `Cannot read ${options.file}: ${errorMessage(cause)}.`, { cause });
  }
  await take(parser.end());
  if (!shape) throw new CodedError("CSV_HEADER", "the file is empty");
  // Rows taken are sent even when the run is stopped: draining is the point of stopping softly.
  for (const message of batches?.flush() ?? []) await deliver(options, world, counts, message);
}

interface Batch {
  readonly topic: string;
  readonly rows: string[];
  readings: number;
}

interface Batches {
  /** The messages that this row completes. */
  add(row: TableRow): Batch[];
  /** The messages that are not full. */
  flush(): Batch[];
}

/** Gathers rows into messages: one message for each metric, or for the device where the topic has no metric. */
function createBatches(settings: SimSettings, options: ReplayOptions, shape: TableShape): Batches {
  const template = settings["fleet.topic"];
  const bare = settings["fleet.payload"] === "number";
  const names = shape.metrics.map(({ name }) => name);
  const newBatch = (metric: string): Batch => ({
    topic: fillTopic(template, options.site, options.device, metric),
    rows: [],
    readings: 0,
  });
  const apart = hasMetric(template);
  const batches = apart ? names.map(newBatch) : [newBatch("")];

  const takeIf = (done: (batch: Batch) => boolean): Batch[] => {
    const taken: Batch[] = [];
    batches.forEach((batch, index) => {
      if (!done(batch)) return;
      taken.push(batch);
      batches[index] = { ...batch, rows: [], readings: 0 };
    });
    return taken;
  };

  return {
    add({ tsMs, values }) {
      if (apart) {
        batches.forEach((batch, index) => {
          const value = values[index];
          if (value === undefined) return;
          batch.rows.push(bare ? String(value) : valueRow(tsMs, value));
          batch.readings++;
        });
      } else {
        const present = names.flatMap((name, index) =>
          values[index] === undefined ? [] : [{ name, value: values[index] }],
        );
        const batch = batches[0] as Batch;
        batch.rows.push(
          valuesRow(
            tsMs,
            present.map(({ name }) => name),
            present.map(({ value }) => value),
          ),
        );
        batch.readings += present.length;
      }
      return takeIf((batch) => batch.readings >= options.readingsPerMessage);
    },
    flush: () => takeIf((batch) => batch.rows.length > 0),
  };
}

/** Sends a message as often as asked, each time when there is room. Gives up what has no room once stopped. */
async function deliver(
  options: ReplayOptions,
  { sender, room, stop }: RunWorld,
  counts: Counts,
  batch: Batch,
): Promise<void> {
  const payload = joinRows(batch.rows);
  for (let i = 0; i < options.repeatEach; i++) {
    while (sender.full(0)) {
      if (stop.aborted) return;
      await room.wait(WAIT_MS);
    }
    sender.send(0, batch.topic, payload);
    if (i === 0) counts.readings += batch.readings;
    else counts.duplicates++;
  }
}

async function sleepUntil({ nowMs, stop }: RunWorld, dueMs: number): Promise<void> {
  for (let leftMs = dueMs - nowMs(); leftMs > 0 && !stop.aborted; leftMs = dueMs - nowMs()) {
    await new Promise((resolve) => setTimeout(resolve, Math.min(leftMs, SLEEP_MS_MAX)));
  }
}
