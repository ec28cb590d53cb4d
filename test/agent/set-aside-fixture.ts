import { closeSync, copyFileSync, mkdirSync, openSync, statSync, truncateSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import Database from "better-sqlite3";
import * as assert from "uvu/assert";
import type { CoreHost } from "@weir/agent/core-host";
import { openCoreHost } from "@weir/agent/core-host";
import { createDecoder } from "@weir/agent/decode/create-decoder";
import { newTopic } from "@weir/agent/decode/topic";
import { Intake } from "@weir/agent/pipeline/intake";
import type { AgentSettings } from "@weir/agent/settings";
import { agentEnvPrefix, agentSections, agentSettings } from "@weir/agent/settings";
import { setAsideFiles } from "@weir/agent/store/set-aside";
import { Store } from "@weir/agent/store/store";
import { loadSettings } from "@weir/shared/config/settings";
import { CodedError } from "@weir/shared/errors";
import { Random } from "../support/random.ts";
import { tempFolder } from "../support/temp.ts";
import { Line, NOW_MS, version } from "./pipeline-fixture.ts";

/** Settings of an agent as they come, but for those given. */
export function settingsWith(flags: Readonly<Record<string, string>>): AgentSettings {
  const loaded = loadSettings(agentSettings, agentSections, { env: {}, flags, envPrefix: agentEnvPrefix });
  if (loaded.problems.length > 0) throw new Error(JSON.stringify(loaded.problems));
  return loaded.values;
}

/** Files of a data folder that make one data file. */
export const PARTS = ["agent.db", "agent.db-wal"] as const;

/** What the file below holds. */
export const SAMPLE = { readings: 1200, series: 12, versions: [1, 2] } as const;

let sample: string | undefined;

/**
 * A folder with a data file as a kill -9 leaves it, the same for all that ask: two threshold versions, twelve series, a
 * checkpoint in the middle of the log, an alert that fires, and a write-ahead log that holds the end of it.
 */
export function sampleFolder(): string {
  if (sample) return sample;
  const line = new Line();
  line.pipeline.addThresholds(version(1, 0, 1000));
  for (let block = 0; block < 100; block++) {
    for (let series = 0; series < 12; series++) {
      line.send(`metric-${series}`, NOW_MS - 600_000 + block * 1000, block * 3 + series / 8);
    }
    line.pipeline.commit();
    if (block === 50) line.pipeline.addThresholds(version(2, NOW_MS - 550_000, 200));
    if (block % 20 === 10) line.pipeline.tick();
    if (block === 80) line.pipeline.checkpoint();
    if (block === 90) emptyWal(line.path);
  }
  sample = tempFolder();
  for (const part of PARTS) copyFileSync(join(dirname(line.path), part), join(sample, part));
  line.close();
  return sample;
}

/** Has SQLite move all that was written to the file itself. */
function emptyWal(path: string): void {
  const db = new Database(path);
  db.pragma("wal_checkpoint(TRUNCATE)");
  db.close();
}

/** A copy of the sample in a folder of its own. */
export function copyOfSample(): string {
  const folder = join(tempFolder(), "data");
  mkdirSync(folder);
  for (const part of PARTS) copyFileSync(join(sampleFolder(), part), join(folder, part));
  return folder;
}

/** A core on this thread with an intake before it, as in a program with one thread. */
export class Hosted {
  readonly folder: string;
  readonly host: CoreHost;
  readonly lines: string[] = [];
  readonly failures: Error[] = [];
  committed = 0;
  readonly #intake: Intake;
  #nowMs: () => number;

  /** Throws what openCoreHost throws. */
  constructor(folder: string, flags: Readonly<Record<string, string>> = {}, nowMs: () => number = Date.now) {
    this.folder = folder;
    this.#nowMs = nowMs;
    this.host = openCoreHost(settingsWith({ "data.dir": folder, "log.age_max": "3650d", ...flags }), {
      committed: (columns) => {
        this.committed++;
        this.#intake.committed(columns);
      },
      alerts: () => {},
      log: (line) => this.lines.push(line),
      failed: (error) => this.failures.push(error),
    });
    const mapping = { template: "t/{site}/{device}/{metric}", format: "auto", timeUnit: "ms" } as const;
    this.#intake = new Intake(
      createDecoder([{ ...mapping, site: "", device: "", metric: "" }]),
      this.host.names,
      {
        commitIntervalMs: 3_600_000,
        seriesMax: 1000,
        aheadMaxMs: 60_000,
        floorMs: 0,
        deadLetterPayloadBytesMax: 16,
        batchReadingsMax: 1000,
        shedAfterMs: 3_600_000,
      },
      { now: () => this.#nowMs(), later: () => () => {} },
      (batch) => this.host.commit(batch),
    );
  }

  /** Hands a message over; it is committed by commit(). */
  send(topic: string, payload: unknown): void {
    const bytes = Buffer.from(JSON.stringify(payload));
    const port = this.#intake.open("test");
    port.turn();
    port.accept(newTopic(topic), bytes, 0, bytes.length);
  }

  commit(): void {
    this.#intake.commit();
  }
}

/** Opens a folder's data file to read, does something with it, and closes it. */
export function reading<T>(folder: string, work: (store: Store) => T): T {
  const store = new Store(join(folder, "agent.db"), { readonly: true });
  try {
    return work(store);
  } finally {
    store.close();
  }
}

/** Writes bytes over a part of a file. */
export function overwrite(path: string, at: number, bytes: Uint8Array): void {
  const file = openSync(path, "r+");
  writeSync(file, bytes, 0, bytes.length, at);
  closeSync(file);
}

function randomBytes(random: Random, count: number): Uint8Array {
  return Uint8Array.from({ length: count }, () => random.between(0, 255));
}

/** Damages a data file in a way that follows from the seed; returns which. */
function damage(folder: string, seed: number): string {
  const random = new Random(seed);
  const part = PARTS[random.chance(0.7) ? 0 : 1];
  const path = join(folder, part);
  const { size } = statSync(path);
  const page = 4096 * random.between(0, Math.max(0, Math.floor(size / 4096) - 1));
  const kinds: Record<string, () => void> = {
    "bytes here and there": () => {
      for (let i = random.between(1, 6); i > 0; i--) {
        overwrite(path, random.between(0, size - 20), randomBytes(random, random.between(1, 16)));
      }
    },
    "the head of a page": () => overwrite(path, page, randomBytes(random, random.between(1, 60))),
    "a page": () => overwrite(path, page, randomBytes(random, Math.min(4096, size - page))),
    "a page of zeros": () => overwrite(path, page, new Uint8Array(Math.min(4096, size - page))),
    "all after a page zeros": () => overwrite(path, page, new Uint8Array(size - page)),
    truncated: () => truncateSync(path, random.between(0, size)),
    "the header": () => overwrite(path, random.between(0, 99), randomBytes(random, random.between(1, 30))),
  };
  const names = Object.keys(kinds);
  const kind = names[random.between(0, names.length - 1)]!;
  kinds[kind]!();
  return `${part}: ${kind}`;
}

/** How a start ended. */
export type Outcome = "ran" | "set aside" | "another version";

/** Starts on a folder, has new readings committed, and ends; returns how far it came. */
export async function run(folder: string): Promise<Outcome> {
  let hosted: Hosted;
  try {
    hosted = new Hosted(folder);
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    if (error.code === "DATA_FILE_VERSION") return "another version";
    assert.is(error.code, "DATA_FILE_DAMAGED", error.message);
    return "set aside";
  }
  for (let i = 0; i < 3; i++) {
    hosted.send("t/new/press/a", { ts: NOW_MS + i, value: i + 0.5 });
    hosted.send("t/s/d/metric-0", { ts: NOW_MS + i, value: i + 0.25 });
    hosted.commit();
  }
  await hosted.host.close();
  if (hosted.failures.length > 0) {
    assert.is((hosted.failures[0] as CodedError).code, "DATA_FILE_DAMAGED");
    return "set aside";
  }
  assert.is(hosted.committed, 3);
  const values = reading(folder, (store) => {
    const newest = store.sql.number("SELECT max(seq) FROM log WHERE kind = 1") ?? 0;
    const found: number[] = [];
    for (const entry of store.entries(newest - 3)) {
      if (entry.kind === "block") found.push(...entry.block.value.subarray(0, entry.block.count));
    }
    return found;
  });
  for (const value of [0.5, 1.5, 2.5]) assert.ok(values.includes(value), `${value} in ${values.join(", ")}`);
  return "ran";
}

/** Damages files by seeds and starts on each three times: damage is met once at most. Returns how first starts ended. */
export async function survives(fromSeed: number, toSeed: number): Promise<Record<Outcome, number>> {
  const seen = { ran: 0, "set aside": 0, "another version": 0 };
  for (let seed = fromSeed; seed <= toSeed; seed++) {
    const folder = copyOfSample();
    const what = damage(folder, seed);
    try {
      const first = await run(folder);
      seen[first]++;
      if (first === "another version") continue;
      // Damage may be where the first start has not looked.
      const starts = [first, await run(folder), await run(folder)];
      const asides = starts.filter((how) => how === "set aside").length;
      assert.ok(asides <= 1 && starts.at(-1) === "ran", starts.join(", "));
      assert.is(setAsideFiles(join(folder, "agent.db")).length, asides);
    } catch (error) {
      throw new Error(`seed ${seed}, ${what}: ${String(error)}`, { cause: error });
    }
  }
  return seen;
}
