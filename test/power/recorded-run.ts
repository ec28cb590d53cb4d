import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { join } from "node:path";
import { SqlDatabase } from "@weir/aggregator/stores/database";
import { ThresholdStore } from "@weir/aggregator/stores/thresholds";
import { DAY_MS, HOUR_MS } from "@weir/shared/operators/calendar";
import { parseBandRules } from "@weir/shared/rules/parse-rules";
import { eventually } from "../support/eventually.ts";
import type { DiskHistory, DiskJournal } from "../support/power-loss.ts";
import { createDiskJournal } from "../support/power-loss.ts";
import type { TestProcess } from "../support/processes.ts";
import { startWeir } from "../support/processes.ts";
import { tempFolder } from "../support/temp.ts";

/** A run of an agent and its aggregator under load, with all that they did to their files and sent. */
export interface RecordedRun {
  readonly agent: DiskHistory;
  readonly aggregator: DiskHistory;
  readonly mqttPorts: ReadonlySet<number>;
  readonly httpPort: number;
  /** What each connection published at QoS 1, in order: numbers of readings. By the port of the device. */
  readonly published: ReadonlyMap<number, readonly number[]>;
  /** Readings, numbered from 1; some were published twice. */
  readonly readings: number;
  /** Readings that were imported before, numbered from IMPORTED_FROM, in the order of the file. */
  readonly imported: number;
  /** Events of the agent's folder that were over when the import had ended and said that all of them are in the log. */
  readonly importEvents: number;
  readonly fromMs: number;
}

/** A reading by its number. Its value is the number too, below zero where it breaches. */
export interface NumberedReading {
  readonly topic: string;
  readonly tsMs: number;
  readonly value: number;
}

/** Numbers of imported readings begin here. */
export const IMPORTED_FROM = 100_000;
/** Windows of the agent. */
export const WINDOW_MS = 60_000;

const SERIES = 200;
const STEP_MS = 30_000;
const IMPORTED_SERIES = 100;
const IMPORTED_STEPS = 60;
/** The live readings begin so long before now: all of them are in the past, and of two hours, at least. */
export const LIVE_MS: number = 70 * 60_000;
/**
 * The import is so long ago, by the agent's clock, when devices connect; the agent forgets what is older than the second.
 * So it trims all of the import in the middle of the run, and nothing else.
 */
const IMPORT_AGO_MS = 4 * HOUR_MS;
const LOG_AGE_MAX_MS = 6 * HOUR_MS;
/** How often the agent's clock is set ahead, in bursts, and by how much: blocks are then old enough to be cut. */
const LEAP_BURSTS = 24;
const LEAP_MS = 11 * 60_000;
/** One in so many is published again by another connection, as after a lost acknowledgement. */
const REPEATED = 50;
/** Readings below zero breach; by the second version, which is in force for all of time as well, far fewer. */
const WARNING_LOWS: readonly number[] = [0, -3000];

/** The reading of a number, the same in every run that began at fromMs. */
export function readingOf(number: number, fromMs: number): NumberedReading {
  if (number >= IMPORTED_FROM) return importedReadingOf(number, fromMs);
  const series = number % SERIES;
  const step = Math.floor(number / SERIES);
  // One in 101 is late, by which it breaks into windows and episodes that are over.
  const lateSteps = number % 101 === 0 ? Math.min(step, 30) : 0;
  return {
    topic: `s/plant/dev-${series}/temp`,
    tsMs: fromMs + (step - lateSteps) * STEP_MS + (lateSteps > 0 ? 7 : 0),
    value: (step + series) % 20 < 3 ? -number : number,
  };
}

/** A day before the others. */
function importedReadingOf(number: number, fromMs: number): NumberedReading {
  const series = number % IMPORTED_SERIES;
  const step = Math.floor((number - IMPORTED_FROM) / IMPORTED_SERIES);
  return {
    topic: `s/plant/old-${series}/temp`,
    tsMs: fromMs - DAY_MS + step * STEP_MS,
    value: (step + series) % 20 < 3 ? -number : number,
  };
}

/**
 * Imports a file, then runs both programs; the agent is stopped and started again. bursts: of some 50 readings each. The
 * agent's clock goes ahead by hours, so that its log is compacted and trimmed under load.
 */
export async function recordRun(bursts: number): Promise<RecordedRun> {
  const aggregatorFolder = tempFolder("weir-power-aggregator-");
  addVersions(aggregatorFolder);
  const aggregatorJournal = await createDiskJournal(aggregatorFolder);
  const agentJournal = await createDiskJournal(tempFolder("weir-power-agent-"));
  const aside = tempFolder("weir-power-settings-");

  const aggregator = await startWeir(
    "aggregator",
    flags("run", { "http.port": "0", "data.dir": aggregatorJournal.folder }),
    { env: aggregatorJournal.nextEnv() },
  );
  const [, url = ""] = await aggregator.waitForOutput(/Dashboard and API: (http:\S+)/);
  const agentToml = writeTopics(aside);
  const fromMs = Math.floor(Date.now() / 1000) * 1000 - LIVE_MS;
  agentJournal.setClock(-IMPORT_AGO_MS);
  const imported = await importHistory(agentJournal, aside, fromMs);
  const importEvents = agentJournal.read().events.length;
  agentJournal.setClock(0);
  const startAgent = async (): Promise<{ process: TestProcess; mqttPort: number }> => {
    const settings = {
      "data.dir": agentJournal.folder,
      "agent.id": "gateway-1",
      "listen.port": "0",
      "checkpoint.interval": "200ms",
      "tick.interval": "200ms",
      "window.length": `${WINDOW_MS}ms`,
      "log.age_max": `${LOG_AGE_MAX_MS}ms`,
      "uplink.url": `${url.replace("http", "ws")}/uplink`,
    };
    const args = [...flags("run", settings), "-c", agentToml];
    const process = await startWeir("agent", args, { env: agentJournal.nextEnv() });
    const [, port] = await process.waitForOutput(/MQTT endpoint .*:(\d+)/);
    return { process, mqttPort: Number(port) };
  };

  const published = new Map<number, number[]>();
  const mqttPorts = new Set<number>();
  let next = 1;
  let burst = 0;
  // The second part is long enough for the write-ahead log to be moved into the database and to begin anew.
  for (const part of [Math.ceil(bursts / 4), bursts]) {
    const agent = await startAgent();
    mqttPorts.add(agent.mqttPort);
    if (burst === 0) await compactedAll(url, imported);
    const devices = await Promise.all(Array.from({ length: 4 }, () => connectDevice(agent.mqttPort)));
    for (const { port, sent } of devices) published.set(port, sent);
    for (; burst < part; burst++) {
      for (const [i, device] of devices.entries()) {
        for (let n = 0; n < 12; n++, next++) {
          device.publish(next, fromMs);
          if (next % REPEATED === 0) devices[(i + 1) % 4]!.publish(next, fromMs);
        }
      }
      if (burst === Math.floor(bursts / 2)) await publishSecondVersion(url);
      if (burst % LEAP_BURSTS === 0) agentJournal.setClock((burst / LEAP_BURSTS) * LEAP_MS);
      await new Promise((resolve) => setTimeout(resolve, 4));
    }
    await eventually(() => {
      for (const { sent, acknowledged } of devices) {
        if (acknowledged() < sent.length) throw new Error(`${acknowledged()} of ${sent.length} are acknowledged`);
      }
    });
    for (const { socket } of devices) socket.destroy();
    const { code } = await agent.process.stop();
    if (code !== 0) throw new Error(`The agent ended with ${code}: ${agent.process.stderr()}`);
  }
  await aggregator.stop();
  return {
    agent: agentJournal.read(),
    aggregator: aggregatorJournal.read(),
    mqttPorts,
    httpPort: Number(new URL(url).port),
    published,
    readings: next - 1,
    imported,
    importEvents,
    fromMs,
  };
}

/** Waits until all imported readings are compacted: by themselves, so that they can be trimmed by themselves. */
async function compactedAll(url: string, imported: number): Promise<void> {
  await eventually(async () => {
    const metrics = await (await fetch(new URL("/metrics", url))).text();
    const merged = Number(/^weir_agent_compaction_merged_readings_total\{[^}]*\} (\d+)$/m.exec(metrics)?.[1] ?? 0);
    if (merged < imported) throw new Error(`${merged} of ${imported} imported readings are merged`);
  });
}

/** Has the agent import a file, in group commits of a few hundred rows; returns how many rows it has. */
async function importHistory(journal: DiskJournal, folder: string, fromMs: number): Promise<number> {
  const rows = Array.from({ length: IMPORTED_SERIES * IMPORTED_STEPS }, (_, i) => {
    const { topic, tsMs, value } = readingOf(IMPORTED_FROM + i, fromMs);
    const [, site, device, metric] = topic.split("/");
    return [tsMs, site, device, metric, value].join(",");
  });
  const path = join(folder, "history.csv");
  writeFileSync(path, ["time,site,device,metric,value", ...rows, ""].join("\n"));
  const settings = {
    "data.dir": journal.folder,
    "agent.id": "gateway-1",
    "ingest.batch_readings_max": "256",
    "window.length": `${WINDOW_MS}ms`,
  };
  const args = [...flags("import", settings), path];
  const program = await startWeir("agent", args, { env: journal.nextEnv() });
  const { code } = await program.ended;
  if (code !== 0) throw new Error(`The import ended with ${code}: ${program.stderr()}`);
  return rows.length;
}

function flags(command: string, settings: Readonly<Record<string, string>>): string[] {
  return [command, ...Object.entries(settings).flatMap(([key, value]) => [`--${key}`, value])];
}

/** Two versions, of which the first is published. */
function addVersions(folder: string): void {
  const db = new SqlDatabase(join(folder, "aggregator.db"), { readonly: false });
  const thresholds = new ThresholdStore(db);
  for (const warningLow of WARNING_LOWS) {
    const rules = parseBandRules({ rules: [{ match: { metric: "temp" }, band: { warningLow, gapMs: 84_000 } }] });
    thresholds.addDraft({ effectiveFromMs: 0, createdAtMs: 0, timezone: "UTC", note: "", rules, series: [] });
  }
  thresholds.publish(1, 0);
  db.close();
}

/** Agents judge all that has come so far again. */
async function publishSecondVersion(url: string): Promise<void> {
  const init = {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ effectiveFromMs: 0 }),
  };
  const response = await fetch(new URL("/api/thresholds/2/publish", url), init);
  if (!response.ok) throw new Error(`Publishing version 2: ${response.status} ${await response.text()}`);
}

/** A device and what it has published and got acknowledged. */
export interface Device {
  readonly socket: Socket;
  readonly port: number;
  readonly sent: number[];
  publish(number: number, fromMs: number): void;
  readonly acknowledged: () => number;
}

/** Writes an agent's file that maps the topics of readingOf; returns its path. */
export function writeTopics(folder: string): string {
  const path = join(folder, "agent.toml");
  writeFileSync(path, '[[topic]]\ntemplate = "s/{site}/{device}/{metric}"\n');
  return path;
}

/** A device that speaks MQTT 3.1.1 in bytes, so that what is acknowledged when is known to the byte. */
export async function connectDevice(mqttPort: number): Promise<Device> {
  const socket = connect(mqttPort, "127.0.0.1");
  await once(socket, "connect");
  const port = socket.localPort!;
  const clientId = Buffer.from(`device-${port}`);
  const connectBody = [Buffer.from("\0\x04MQTT\x04\x02\0\0", "latin1"), Buffer.from([0, clientId.length]), clientId];
  socket.write(packet(0x10, Buffer.concat(connectBody)));
  const sent: number[] = [];
  let bytes = 0;
  socket.on("data", (chunk) => (bytes += chunk.length));
  socket.on("error", () => {});
  return {
    socket,
    port,
    sent,
    publish(number, fromMs) {
      const { topic, tsMs, value } = readingOf(number, fromMs);
      sent.push(number);
      const head = Buffer.alloc(2);
      head.writeUInt16BE(topic.length);
      const id = Buffer.alloc(2);
      id.writeUInt16BE(packetIdOf(sent.length - 1));
      const payload = Buffer.from(JSON.stringify({ ts: tsMs, value }));
      socket.write(packet(0x32, Buffer.concat([head, Buffer.from(topic), id, payload])));
    },
    // CONNACK and PUBACK have four bytes each.
    acknowledged: () => bytes / 4 - 1,
  };
}

/** The packet id of a connection's publish by its place. */
export function packetIdOf(place: number): number {
  return (place % 65_535) + 1;
}

function packet(first: number, body: Buffer): Buffer {
  const length = body.length < 128 ? [body.length] : [(body.length & 0x7f) | 0x80, body.length >> 7];
  return Buffer.concat([Buffer.from([first, ...length]), body]);
}
