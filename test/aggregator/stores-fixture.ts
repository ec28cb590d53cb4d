import { join } from "node:path";
import type { BatchDone, BatchJob, BatchRunner } from "@weir/aggregator/batch/jobs";
import { openBatchRunner } from "@weir/aggregator/batch/jobs";
import type { BatchQueue } from "@weir/aggregator/batch/queue";
import { createBatchQueue } from "@weir/aggregator/batch/queue";
import type { BatchHand } from "@weir/aggregator/batch/thread";
import type { Presence } from "@weir/aggregator/stores/agents";
import { AgentStore } from "@weir/aggregator/stores/agents";
import { SqlDatabase } from "@weir/aggregator/stores/database";
import type { FrameChanges, FrameOrigin } from "@weir/aggregator/stores/frames";
import { createFrameChanges, FrameStore } from "@weir/aggregator/stores/frames";
import { ReportStore } from "@weir/aggregator/stores/reports";
import type { Alert } from "@weir/shared/model/alert";
import type { ThresholdVersion } from "@weir/shared/model/thresholds";
import type { Calendar } from "@weir/shared/operators/calendar";
import { createCalendar } from "@weir/shared/operators/calendar";
import { createEmissions, SeriesFold } from "@weir/shared/operators/series-fold";
import { ThresholdHistory } from "@weir/shared/operators/thresholds";
import type { Frame, Lane } from "@weir/shared/wire/messages";
import { encodeWindows } from "@weir/shared/wire/partial-codec";
import { tempFolder } from "../support/temp.ts";

/** Nobody is connected. */
export const NOBODY: Presence = { isConnected: () => false, caughtUp: () => new Set() };

/** A reading as a test writes it: series index at its agent, event time, value. */
export type TestReading = readonly [series: number, tsMs: number, value: number];

interface StoresOptions {
  readonly timezone?: string;
  readonly queueForInflux?: boolean;
  readonly revisionsMax?: number;
}

/** Does jobs on this thread. */
export class LocalHand implements BatchHand {
  readonly #runner: BatchRunner;
  isAlive = true;

  constructor(path: string, calendar: Calendar) {
    this.#runner = openBatchRunner(path, calendar);
  }

  async run(job: BatchJob): Promise<BatchDone> {
    return this.#runner.run(job);
  }

  async end(): Promise<void> {
    if (this.isAlive) this.#runner.close();
    this.isAlive = false;
  }
}

/** The aggregator's stores on a real file, and frames as agents make them, without agents. */
export class Stores {
  readonly path: string = join(tempFolder(), "aggregator.db");
  readonly db: SqlDatabase = new SqlDatabase(this.path, { readonly: false });
  readonly history: ThresholdHistory = new ThresholdHistory();
  readonly agents: AgentStore = new AgentStore(this.db);
  readonly frames: FrameStore;
  readonly reports: ReportStore;
  readonly calendar: Calendar;
  /** The aggregator's clock, ms. */
  nowMs = 1000;
  readonly #seqs = new Map<string, number>();

  constructor({ timezone = "UTC", queueForInflux = false, revisionsMax = 10 }: StoresOptions = {}) {
    this.calendar = createCalendar(timezone);
    this.frames = new FrameStore(this.db, this.calendar, { queueForInflux });
    this.reports = new ReportStore(this.db, this.history, this.calendar, { revisionsMax });
  }

  /** A queue whose jobs are done here and now, on a connection of their own, as their thread does them. */
  queue(log: (line: string) => void = () => {}): BatchQueue {
    return createBatchQueue(() => new LocalHand(this.path, this.calendar), log);
  }

  /** Says hello for an agent and names its series: device/metric, at site s, in the order of their indexes. */
  hello(agent: string, names: readonly string[] = []): FrameOrigin {
    const origin = { agent, incarnation: `${agent}-1` };
    this.agents.seen(origin, "test", this.nowMs);
    const series = names.map((name, index) => {
      const [device = "", metric = ""] = name.split("/");
      return [index, "s", device, metric] as const;
    });
    this.apply(origin, { kind: "series", series });
    return origin;
  }

  /** Applies a frame as the next of its lane. */
  apply(origin: FrameOrigin, frame: Frame): FrameChanges {
    const lane: Lane = frame.kind === "alerts" ? "alerts" : "data";
    const name = `${origin.agent}/${origin.incarnation}/${lane}`;
    const seq = (this.#seqs.get(name) ?? 0) + 1;
    this.#seqs.set(name, seq);
    return this.applyAs(origin, lane, seq, frame);
  }

  /** Applies a frame under a number. */
  applyAs(origin: FrameOrigin, lane: Lane, seq: number, frame: Frame): FrameChanges {
    const changes = createFrameChanges();
    this.db.transaction(() => this.frames.apply(origin, lane, seq, frame, this.nowMs, changes));
    return changes;
  }

  /** Applies the partials of readings, judged by the versions in the history. */
  readings(origin: FrameOrigin, readings: readonly TestReading[], replace = false): FrameChanges {
    return this.apply(origin, partialsOf(readings, this.history, replace));
  }

  tick(origin: FrameOrigin, nowMs: number, rejected: Record<string, number> = {}): void {
    this.apply(origin, { kind: "tick", nowMs, rejected, dropped: {} });
  }

  alert(origin: FrameOrigin, alert: Partial<Alert> & Pick<Alert, "id" | "startedAtMs">): FrameChanges {
    return this.apply(origin, { kind: "alerts", alerts: [{ ...ALERT, ...alert }] });
  }

  /** Bytes of a day's report by the live path. */
  live(day: string): string | undefined {
    return this.reports.make(day, { batch: false })?.bytes;
  }

  batch(day: string): string | undefined {
    return this.reports.make(day, { batch: true })?.bytes;
  }

  close(): void {
    this.db.close();
  }
}

/** An alert without what tells it from others. */
export const ALERT: Omit<Alert, "id" | "startedAtMs"> = {
  site: "s",
  device: "pump",
  metric: "temp",
  kind: "high",
  severity: "warning",
  state: "firing",
  endedAtMs: null,
  value: 11,
  low: null,
  high: 10,
  thresholdVersion: 1,
  breaches: 1,
};

/** The partials of readings, in windows of a minute. thresholds: judge them; none by default. */
export function partialsOf(
  readings: readonly TestReading[],
  thresholds: ThresholdHistory = new ThresholdHistory(),
  replace = false,
): Frame {
  const keyOf = (): { site: string; device: string; metric: string } => ({ site: "s", device: "d", metric: "m" });
  const fold = new SeriesFold(keyOf, thresholds, { windowMs: 60_000 });
  const out = createEmissions();
  const block = {
    count: readings.length,
    series: Uint32Array.from(readings, ([series]) => series),
    tsMs: Float64Array.from(readings, ([, tsMs]) => tsMs),
    value: Float64Array.from(readings, ([, , value]) => value),
    stamped: new Uint8Array(readings.length),
  };
  fold.applyBlock(block, out);
  return { kind: "partials", replace, windows: encodeWindows(fold.flush(out)) };
}

/** A version with one band for every series, warning at ±high. */
export function versionOf(
  version: number,
  effectiveFromMs: number,
  high: number,
  intervalMs: number | null = null,
): ThresholdVersion {
  const limits = { warningLow: -high, warningHigh: high, criticalLow: null, criticalHigh: null };
  const rules = [
    { match: { site: "*", device: "*", metric: "*" }, band: { ...limits, forMs: 0, gapMs: 300_000, intervalMs } },
  ];
  return { version, effectiveFromMs, createdAtMs: 0, timezone: "UTC", note: "", rules, series: [] };
}
