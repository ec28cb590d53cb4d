import { join } from "node:path";
import { createDecoder } from "@weir/agent/decode/create-decoder";
import { newTopic } from "@weir/agent/decode/topic";
import { COMPACTOR_DEFAULTS } from "@weir/agent/pipeline/compactor";
import { Pipeline } from "@weir/agent/pipeline/pipeline";
import type { PipelineOptions } from "@weir/agent/pipeline/pipeline";
import type { IngestPort, Source } from "@weir/agent/sources/source";
import { CodedError } from "@weir/shared/errors";
import type { ThresholdVersion } from "@weir/shared/model/thresholds";
import { FaultyStore } from "../support/faulty-files.ts";
import { Random } from "../support/random.ts";
import type { Form, Plan, PlannedDevice, PlannedReading } from "./plan.ts";
import { AHEAD_MAX_MS } from "./plan.ts";

/** A reading as the log is to hold it. */
export interface KeptReading extends PlannedReading {
  readonly site: string;
  readonly device: string;
  readonly stamped: boolean;
}

/** What of a plan the agent has to know from the start. */
export type AgentPlan = Pick<Plan, "devices" | "batchReadingsMax" | "windowMs" | "compactsSoon" | "outboxBytesMax">;

/** A message and whether its sender has been told that it is safe. */
interface Message {
  readonly form: Form;
  readonly readings: readonly PlannedReading[];
  acknowledged: boolean;
}

/** A message that was handed over, and what has to become of it: a device may hand it over several times. */
interface Attempt {
  readonly message: Message;
  readonly accepted: readonly KeptReading[];
  readonly rejected: number;
}

const MAPPING = { format: "auto", timeUnit: "ms", site: "", device: "", metric: "" } as const;
const MAPPINGS = [
  { ...MAPPING, template: "s/{site}/{device}/{metric}" },
  { ...MAPPING, template: "s/{site}/{device}" },
];

const COMPACTS_SOON = {
  ...COMPACTOR_DEFAULTS,
  cutReadings: 20,
  cutAfterMs: 1_000,
  mergeReadings: 60,
  mergeAgainMs: 0,
  settleMs: 0,
};

const FLOOR_MS = Date.UTC(2000, 0, 1);

/**
 * A fleet's devices and an agent's pipeline on a real file, with a model beside it of what the agent has taken
 * responsibility for. Devices of QoS 1 send each message again until it is acknowledged.
 */
export class AgentSide {
  store!: FaultyStore;
  pipeline!: Pipeline;
  nowMs = 0;
  /** Readings that must be in every report: durable, or acknowledged. By identity. */
  readonly kept: Map<string, KeptReading> = new Map();
  /** What the ledger has to say, by source; since the file was made. */
  readonly counts: Map<string, { received: number; rejected: number; dropped: number }> = new Map();
  kills = 0;
  /** What the agent would have told a person last. */
  lastWarning = "";
  readonly #plan: AgentPlan;
  readonly #path: string;
  readonly #queues: Message[][];
  #ports = new Map<string, IngestPort>();
  #sources: FleetSource[] = [];
  #heldBack = false;

  constructor(folder: string, plan: AgentPlan) {
    this.#plan = plan;
    this.#path = join(folder, "agent.db");
    this.#queues = plan.devices.map(() => []);
    this.#start();
  }

  /** Messages of QoS 1 that were never acknowledged. */
  get unacknowledged(): number {
    return this.#queues.reduce((sum, queue) => sum + queue.length, 0);
  }

  send(device: number, form: Form, readings: readonly PlannedReading[]): void {
    const message = { form, readings, acknowledged: false };
    if (this.#plan.devices[device]!.qos === 1) this.#queues[device]!.push(message);
    this.#handOver(device, message);
  }

  /** A device connects again: what was not acknowledged is sent again, in the order of its messages or another. */
  resend(device: number, shuffle: number | null): void {
    const messages = this.#queues[device]!;
    const order = shuffle === null ? [...messages] : new Random(shuffle).shuffled(messages);
    for (const message of order) this.#handOver(device, message);
  }

  resendAll(): void {
    this.#queues.forEach((_, device) => this.resend(device, null));
  }

  /** Runs something of the agent's; false when the agent died in it, and is now started again. */
  attempt(work: () => void): boolean {
    try {
      work();
    } catch (error) {
      // A process that has died throws whatever it likes. A disk that is full is no reason to throw.
      if (!this.store.fate.died) throw error;
    }
    if (!this.store.fate.died) return true;
    this.restart();
    return false;
  }

  /** The clock comes to nowMs and is entered in the log. watching false: not all sources were connected since the last. */
  tick(nowMs: number, watching: boolean): void {
    this.nowMs = nowMs;
    if (!watching) this.pipeline.core.watching(false);
    this.pipeline.core.watching(true);
    this.pipeline.tick();
  }

  /** Compacts the log whole, as far as the disk lets it. */
  compact(): void {
    try {
      this.pipeline.compact();
    } catch (error) {
      // Unlike the turns that the program takes, this one says so.
      if ((error as { code?: string }).code !== "SQLITE_FULL") throw error;
    }
  }

  /** A version arrives; false when it was not taken and has to be sent again. */
  deliver(version: ThresholdVersion): boolean {
    return this.attempt(() => {
      try {
        this.pipeline.addThresholds(version);
      } catch (error) {
        if (!(error instanceof CodedError && error.code === "DATA_FILE_STUCK")) throw error;
      }
    });
  }

  /** kill -9, and a start: whatever was not committed is gone. */
  restart(): void {
    this.kills++;
    this.store.close();
    this.#start();
  }

  close(): void {
    this.store.close();
  }

  #start(): void {
    this.#heldBack = false;
    this.#ports = new Map();
    this.store = new FaultyStore(this.#path, () => this.#durable());
    const options = pipelineOptions(this.#plan);
    const hooks = {
      now: () => this.nowMs,
      emitted: () => {},
      alerts: () => {},
      // Nothing runs by itself: what is due is a step of the plan.
      later: () => () => {},
      warn: (message: string) => (this.lastWarning = message),
    };
    this.pipeline = new Pipeline(this.store, createDecoder(MAPPINGS), options, hooks);
    this.#sources = ["listen", "broker"].map(
      (name) => new FleetSource(name, (attempts) => this.#acknowledge(attempts)),
    );
    for (const source of this.#sources) source.onReadOn = () => (this.#heldBack = false);
    this.pipeline.serve(this.#sources);
  }

  #handOver(device: number, message: Message): void {
    const planned = this.#plan.devices[device]!;
    // A full batch is committed as soon as sockets have been read.
    if (this.#heldBack) this.attempt(() => this.pipeline.commit());
    const source = this.#sources.find(({ name }) => name === planned.source)!;
    const port = this.#port(planned.source);
    port.turn();
    const { topic, text } = encoded(planned, message);
    const bytes = Buffer.from(text);
    if (this.#heldBack) {
      // QoS 1 waits in the socket, and is sent again at the latest when the device connects again.
      if (planned.qos === 1) return;
      port.drop(newTopic(topic), bytes, 0, bytes.length);
      source.pendingDrops += Math.max(1, message.readings.length);
      return;
    }
    source.pending.push(this.#predict(planned, message));
    if (!port.accept(newTopic(topic), bytes, 0, bytes.length)) this.#heldBack = true;
  }

  #port(source: string): IngestPort {
    let port = this.#ports.get(source);
    if (!port) this.#ports.set(source, (port = this.pipeline.intake.open(source)));
    return port;
  }

  /** What has to become of a message that is handed over now. */
  #predict({ site, device }: PlannedDevice, message: Message): Attempt {
    if (message.form === "garbage") return { message, accepted: [], rejected: 1 };
    const stamped = message.form === "stamped";
    const all = message.readings.map(({ metric, tsMs, value }) => {
      return { site, device, metric, tsMs: stamped ? this.nowMs : tsMs, value, stamped };
    });
    const accepted = all.filter(({ tsMs }) => tsMs <= this.nowMs + AHEAD_MAX_MS);
    return { message, accepted, rejected: all.length - accepted.length };
  }

  /** The batch that was sealed last is in the file, whether or not anybody is told. */
  #durable(): void {
    for (const { name, sealed, sealedDrops } of this.#sources) {
      let counts = this.counts.get(name);
      if (!counts) this.counts.set(name, (counts = { received: 0, rejected: 0, dropped: 0 }));
      for (const { accepted, rejected } of sealed) {
        counts.received += accepted.length + rejected;
        counts.rejected += rejected;
        for (const reading of accepted) this.#keep(reading);
      }
      counts.received += sealedDrops;
      counts.dropped += sealedDrops;
    }
  }

  #acknowledge(attempts: readonly Attempt[]): void {
    // What a dead process says is never heard.
    if (this.store.fate.died) return;
    for (const { message, accepted } of attempts) {
      message.acknowledged = true;
      for (const reading of accepted) this.#keep(reading);
    }
    for (const [device, queue] of this.#queues.entries()) {
      this.#queues[device] = queue.filter(({ acknowledged }) => !acknowledged);
    }
  }

  #keep(reading: KeptReading): void {
    const name = `${reading.site}/${reading.device}/${reading.metric} ${reading.tsMs} ${reading.value}`;
    if (!this.kept.has(name)) this.kept.set(name, reading);
  }
}

/** A source as the intake sees it: it acknowledges what was sealed when it is told that it is durable. */
class FleetSource implements Source {
  readonly name: string;
  pending: Attempt[] = [];
  sealed: Attempt[] = [];
  pendingDrops = 0;
  sealedDrops = 0;
  onReadOn: () => void = () => {};
  readonly #acknowledge: (attempts: readonly Attempt[]) => void;

  constructor(name: string, acknowledge: (attempts: readonly Attempt[]) => void) {
    this.name = name;
    this.#acknowledge = acknowledge;
  }

  start(): Promise<void> {
    return Promise.resolve();
  }

  seal(): void {
    this.sealed = this.pending;
    this.sealedDrops = this.pendingDrops;
    this.pending = [];
    this.pendingDrops = 0;
  }

  committed(): void {
    const { sealed } = this;
    this.sealed = [];
    this.sealedDrops = 0;
    this.#acknowledge(sealed);
  }

  readOn(): void {
    this.onReadOn();
  }

  shed(): void {}

  stop(): void {}

  close(): Promise<void> {
    return Promise.resolve();
  }

  status(): never {
    throw new Error("nobody asks");
  }
}

function encoded({ site, device }: PlannedDevice, { form, readings }: Message): { topic: string; text: string } {
  const at = `s/${site}/${device}`;
  const [first] = readings;
  if (!first || form === "garbage") return { topic: `${at}/temp`, text: "neither number nor JSON" };
  if (form === "stamped") return { topic: `${at}/${first.metric}`, text: `{"value":${first.value}}` };
  if (form === "single") return { topic: `${at}/${first.metric}`, text: `{"ts":${first.tsMs},"value":${first.value}}` };
  const items = readings.map(({ metric, tsMs, value }) => ({ ts: tsMs, values: { [metric]: value } }));
  return { topic: at, text: JSON.stringify(items) };
}

function pipelineOptions({ batchReadingsMax, windowMs, compactsSoon, outboxBytesMax }: AgentPlan): PipelineOptions {
  return {
    // With so few readings, compaction would otherwise wait for more.
    ...(compactsSoon ? { compaction: COMPACTS_SOON } : {}),
    commitIntervalMs: 20,
    checkpointIntervalMs: 10_000,
    batchReadingsMax,
    shedAfterMs: 2_000,
    windowMs,
    seriesMax: 10_000,
    aheadMaxMs: AHEAD_MAX_MS,
    floorMs: FLOOR_MS,
    deadLetterPayloadBytesMax: 256,
    deadLetterCountMax: 100,
    outboxBytesMax,
    logBytesMax: 2 ** 30,
    // The clock is moved by days.
    logAgeMaxMs: 3650 * 86_400_000,
  };
}
