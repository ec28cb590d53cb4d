import { join } from "node:path";
import { createDecoder } from "@weir/agent/decode/create-decoder";
import { newTopic } from "@weir/agent/decode/topic";
import { Pipeline } from "@weir/agent/pipeline/pipeline";
import type { PipelineOptions } from "@weir/agent/pipeline/pipeline";
import type { IngestPort } from "@weir/agent/sources/source";
import { LogReplay } from "@weir/agent/replay";
import { Store } from "@weir/agent/store/store";
import { AgentStore } from "@weir/aggregator/stores/agents";
import { findAlerts } from "@weir/aggregator/stores/alerts";
import { SqlDatabase } from "@weir/aggregator/stores/database";
import { createFrameChanges, FrameStore } from "@weir/aggregator/stores/frames";
import { ReportStore } from "@weir/aggregator/stores/reports";
import type { Alert } from "@weir/shared/model/alert";
import { canonicalJson } from "@weir/shared/model/canonical-json";
import type { ThresholdVersion } from "@weir/shared/model/thresholds";
import { createCalendar } from "@weir/shared/operators/calendar";
import { dailyReport } from "@weir/shared/operators/report";
import { ThresholdHistory } from "@weir/shared/operators/thresholds";
import type { ClockTick } from "@weir/shared/operators/watched";
import type { AgentMessage } from "@weir/shared/wire/messages";
import { decodeFrame, LANES } from "@weir/shared/wire/messages";

/**
 * An agent's pipeline and an aggregator's stores in one process, on real SQLite files, with the uplink and its faults
 * in the test's hands.
 */
export interface Plant {
  readonly pipeline: Pipeline;
  readonly store: Store;
  /** The agent's clock, ms; tests move it. */
  nowMs: number;
  /** Publishes one reading as a JSON message. */
  send(topic: string, tsMs: number, value: number): void;
  /** Publishes a message as it stands. */
  sendText(topic: string, payload: string): void;
  /** As a kill -9 and a start: everything not committed is gone. */
  restart(): void;
  /** Moves frames from the outbox to the aggregator. lostAcks: they stay in the outbox, as if the ack never came. */
  ship(options?: { readonly lostAcks?: boolean }): void;
  /** Takes frames to the aggregator that have left the agent before, in one transaction. */
  take(sent: Iterable<SentFrame>): void;
  /** Enters a clock tick of some time in the log. watching false: the sources were not connected all the time before. */
  tick(nowMs: number, watching: boolean): void;
  /** Clock ticks of the log, in order. */
  ticks(): ClockTick[];
  /** Publishes a version at the aggregator and takes it to the agent. */
  publish(version: ThresholdVersion): void;
  /** The day's report by the live path; undefined where there are no readings. */
  liveReport(day: string): string | undefined;
  /** The day's report by each path; undefined where there are no readings. */
  reports(day: string): { readonly live?: string; readonly batch?: string; readonly replay?: string };
  /** Alerts at the aggregator, withdrawn ones left out, by id. */
  alerts(): Alert[];
  /** Alerts as a replay of the log makes them, by id. */
  replayedAlerts(): Alert[];
  close(): void;
}

/** timezone: of the plant, default UTC; nowMs: where the agent's clock begins. */
export interface PlantOptions {
  readonly timezone?: string;
  readonly nowMs: number;
  readonly pipeline?: Partial<PipelineOptions>;
}

const PIPELINE_DEFAULTS: PipelineOptions = {
  commitIntervalMs: 20,
  checkpointIntervalMs: 10_000,
  batchReadingsMax: 8192,
  shedAfterMs: 2_000,
  windowMs: 60_000,
  seriesMax: 1000,
  aheadMaxMs: 60_000,
  floorMs: Date.UTC(2000, 0, 1),
  deadLetterPayloadBytesMax: 4096,
  deadLetterCountMax: 100,
  outboxBytesMax: 2 ** 30,
  logBytesMax: 2 ** 30,
  logAgeMaxMs: 365 * 86_400_000,
};

const MAPPING = {
  template: "s/{site}/{device}/{metric}",
  format: "auto",
  timeUnit: "ms",
  site: "",
  device: "",
  metric: "",
} as const;
const AGENT = "agent-1";

/** A frame as it goes up. */
export type SentFrame = Pick<Extract<AgentMessage, { type: "frame" }>, "lane" | "seq" | "frame">;

/** Makes a plant in a folder. Nothing runs by itself: commits, checkpoints and ticks are the test's calls. */
export function createPlant(folder: string, options: PlantOptions): Plant {
  const calendar = createCalendar(options.timezone ?? "UTC");
  const pipelineOptions = { ...PIPELINE_DEFAULTS, ...options.pipeline };
  const agentFile = join(folder, "agent.db");
  const db = new SqlDatabase(join(folder, "aggregator.db"), { readonly: false });
  const history = new ThresholdHistory();
  const frames = new FrameStore(db, calendar, { queueForInflux: false });
  const reports = new ReportStore(db, history, calendar);

  const start = (): { store: Store; pipeline: Pipeline } => {
    const store = new Store(agentFile, { readonly: false });
    const decode = createDecoder([MAPPING]);
    const hooks = {
      now: () => plant.nowMs,
      emitted: () => {},
      alerts: () => {},
      later: () => () => {},
      warn: (message: string) => {
        throw new Error(message);
      },
    };
    return { store, pipeline: new Pipeline(store, decode, pipelineOptions, hooks) };
  };
  const origin = (): { agent: string; incarnation: string } => ({ agent: AGENT, incarnation: plant.store.incarnation });

  const plant = {
    nowMs: options.nowMs,
    store: undefined as unknown as Store,
    pipeline: undefined as unknown as Pipeline,
    port: undefined as IngestPort | undefined,
    send(topic: string, tsMs: number, value: number): void {
      plant.sendText(topic, JSON.stringify({ ts: tsMs, value }));
    },
    sendText(topic: string, payload: string): void {
      const bytes = Buffer.from(payload);
      const port = (plant.port ??= plant.pipeline.intake.open("test"));
      port.turn();
      port.accept(newTopic(topic), bytes, 0, bytes.length);
    },
    restart(): void {
      plant.store.close();
      Object.assign(plant, start(), { port: undefined });
    },
    take(sent: Iterable<SentFrame>): void {
      const from = origin();
      db.transaction(() => {
        for (const { lane, seq, frame } of sent) {
          frames.apply(from, lane, seq, decodeFrame(frame), plant.nowMs, createFrameChanges());
        }
      });
    },
    ship({ lostAcks = false } = {}): void {
      for (const lane of LANES) {
        for (const { seq, body } of plant.store.frames(lane, 0, 1_000_000)) {
          plant.take([{ lane, seq, frame: body }]);
          if (!lostAcks) plant.store.acknowledge(lane, seq);
        }
      }
    },
    tick(nowMs: number, watching: boolean): void {
      const backMs = plant.nowMs;
      plant.nowMs = nowMs;
      if (!watching) plant.pipeline.core.watching(false);
      plant.pipeline.core.watching(true);
      plant.pipeline.tick();
      plant.nowMs = backMs;
    },
    ticks(): ClockTick[] {
      return [...plant.store.entries(0)].flatMap((entry) => (entry.kind === "tick" ? [entry.tick] : []));
    },
    publish(version: ThresholdVersion): void {
      history.add(version);
      plant.pipeline.addThresholds(version);
    },
    liveReport(day: string): string | undefined {
      return reports.make(day, { batch: false })?.bytes;
    },
    reports(day: string) {
      const live = plant.liveReport(day);
      const batch = reports.make(day, { batch: true })?.bytes;
      const made = dailyReport(new LogReplay(plant.store, calendar, AGENT, { windowMs: 300_000 }).fold(), day, 1);
      return {
        ...(live === undefined ? {} : { live }),
        ...(batch === undefined ? {} : { batch }),
        ...(made === undefined ? {} : { replay: canonicalJson(made) }),
      };
    },
    alerts(): Alert[] {
      return findAlerts(db, { limit: 1_000_000 })
        .map(({ agent: _agent, ackedBy: _by, ackedAtMs: _at, ...alert }) => alert)
        .toSorted((a, b) => (a.id < b.id ? -1 : 1));
    },
    replayedAlerts(): Alert[] {
      return [...new LogReplay(plant.store, calendar, AGENT, { windowMs: 300_000 }).fold().alerts()]
        .filter(({ state }) => state !== "withdrawn")
        .toSorted((a, b) => (a.id < b.id ? -1 : 1));
    },
    close(): void {
      plant.store.close();
      db.close();
    },
  };
  Object.assign(plant, start());
  new AgentStore(db).seen(origin(), "test", plant.nowMs);
  return plant;
}
