import { createDecoder } from "@weir/agent/decode/create-decoder";
import { newTopic } from "@weir/agent/decode/topic";
import type { PipelineOptions } from "@weir/agent/pipeline/pipeline";
import { Pipeline } from "@weir/agent/pipeline/pipeline";
import type { IngestPort, Source } from "@weir/agent/sources/source";
import type { CommitBatch } from "@weir/agent/store/commit-batch";
import { Store } from "@weir/agent/store/store";
import type { Alert } from "@weir/shared/model/alert";
import type { ThresholdVersion } from "@weir/shared/model/thresholds";
import { decodeFrame } from "@weir/shared/wire/messages";
import type { Frame } from "@weir/shared/wire/messages";
import { newDataFile } from "./store-fixture.ts";

/** The clock of these tests at their start: 2026-03-14 12:00 UTC. */
export const NOW_MS: number = Date.UTC(2026, 2, 14, 12);

/** Readings of a batch in these tests. */
export const BATCH_READINGS_MAX = 8192;

const OPTIONS: PipelineOptions = {
  commitIntervalMs: 3_600_000,
  checkpointIntervalMs: 10_000,
  batchReadingsMax: BATCH_READINGS_MAX,
  shedAfterMs: 3_600_000,
  windowMs: 60_000,
  seriesMax: 100,
  aheadMaxMs: 60_000,
  floorMs: Date.UTC(2000, 0, 1),
  deadLetterPayloadBytesMax: 16,
  deadLetterCountMax: 1000,
  outboxBytesMax: 2 ** 30,
  logBytesMax: 2 ** 30,
  logAgeMaxMs: 365 * 86_400_000,
};

/** A store whose disk can be full: then every write throws as SQLite does, and nothing is written. */
export class FillableStore extends Store {
  full = false;
  /** Commits that the disk took, with something in them or without. */
  commits = 0;

  override commit(batch: CommitBatch): void {
    this.#check();
    super.commit(batch);
    this.commits++;
  }

  override trimDeadLetters(countMax: number): void {
    this.#check();
    super.trimDeadLetters(countMax);
  }

  #check(): void {
    if (this.full) throw Object.assign(new Error("database or disk is full"), { code: "SQLITE_FULL" });
  }
}

/** A pipeline on a real file, with everything that it said. Commits, checkpoints and ticks are the test's calls. */
export class Line {
  readonly path: string = newDataFile();
  readonly #options: PipelineOptions;
  store: FillableStore;
  pipeline: Pipeline;
  nowMs: number = NOW_MS;
  readonly warnings: string[] = [];
  readonly alerts: Alert[] = [];
  /** What happened in which order: "seal", "committed", "readOn", "shed", "alerts". */
  readonly events: string[] = [];
  #ports = new Map<string, IngestPort>();
  /** Whether commits come by themselves, as they do in a program; otherwise they are the test's calls. */
  automatic = false;
  readonly #timers = new Set<NodeJS.Timeout>();
  /** Called in committed(). */
  onCommitted: () => void = () => {};
  /** Called in seal(). */
  onSealed: () => void = () => {};

  constructor(options: Partial<PipelineOptions> = {}) {
    this.#options = { ...OPTIONS, ...options };
    this.store = new FillableStore(this.path, { readonly: false });
    this.pipeline = this.#start();
  }

  /** A JSON message of one reading of site s, device d; returns whether to read on. */
  send(metric: string, tsMs: number, value: number): boolean {
    return this.raw(`t/s/d/${metric}`, JSON.stringify({ ts: tsMs, value }));
  }

  raw(topic: string, payload: string | Uint8Array, source = "mqtt"): boolean {
    const bytes = Buffer.from(payload);
    return this.port(source).accept(newTopic(topic), bytes, 0, bytes.length);
  }

  /** The port of a source, its clock set to nowMs. */
  port(source: string): IngestPort {
    let port = this.#ports.get(source);
    if (!port) this.#ports.set(source, (port = this.pipeline.intake.open(source)));
    port.turn();
    return port;
  }

  /** As a kill -9 and a start. */
  restart(): void {
    this.close();
    this.store = new FillableStore(this.path, { readonly: false });
    this.pipeline = this.#start();
  }

  /** Readings in the log. */
  stored(): Array<readonly [series: number, tsMs: number, value: number]> {
    const readings: Array<readonly [number, number, number]> = [];
    for (const { count, series, tsMs, value } of this.store.readings.all()) {
      for (let i = 0; i < count; i++) readings.push([series[i]!, tsMs[i]!, value[i]!]);
    }
    return readings;
  }

  ticks(): Array<{ nowMs: number; rejected: Record<string, number>; dropped: Record<string, number> }> {
    return [...this.store.entries(0)].flatMap((entry) => (entry.kind === "tick" ? [entry.tick] : []));
  }

  /** Frames that wait for the uplink. */
  frames(lane: "alerts" | "data"): Frame[] {
    return this.store.frames(lane, 0, 1_000_000).map(({ body }) => decodeFrame(body));
  }

  close(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.store.close();
  }

  #start(): Pipeline {
    const mapping = { template: "t/{site}/{device}/{metric}", format: "auto", timeUnit: "ms" } as const;
    const decode = createDecoder([{ ...mapping, site: "", device: "", metric: "" }]);
    this.#ports = new Map();
    const pipeline = new Pipeline(this.store, decode, this.#options, {
      now: () => this.nowMs,
      emitted: () => {},
      alerts: (alerts) => {
        this.events.push("alerts");
        this.alerts.push(...alerts);
      },
      later: (work, waitMs) => {
        if (!this.automatic) return () => {};
        const timer = setTimeout(work, waitMs);
        this.#timers.add(timer);
        return () => clearTimeout(timer);
      },
      warn: (message) => this.warnings.push(message),
    });
    pipeline.serve([this.#source()]);
    return pipeline;
  }

  /** A source that notes what it is told. */
  #source(): Source {
    const note = (event: string) => (): void => void this.events.push(event);
    return {
      name: "test",
      start: () => Promise.resolve(),
      seal: () => {
        this.events.push("seal");
        this.onSealed();
      },
      committed: () => {
        this.events.push("committed");
        this.onCommitted();
      },
      readOn: note("readOn"),
      shed: note("shed"),
      stop: () => {},
      close: () => Promise.resolve(),
      status: () => {
        throw new Error("nobody asks");
      },
    };
  }
}

/** A version with one band for all: warning at ±high, critical at ±2 high, gap 60 s. */
export function version(number: number, effectiveFromMs: number, high: number): ThresholdVersion {
  const limits = { warningLow: -high, warningHigh: high, criticalLow: -2 * high, criticalHigh: 2 * high };
  const band = { ...limits, forMs: 0, gapMs: 60_000, intervalMs: null };
  const rules = [{ match: { site: "*", device: "*", metric: "*" }, band }];
  return { version: number, effectiveFromMs, createdAtMs: 0, timezone: "UTC", note: "", rules, series: [] };
}
