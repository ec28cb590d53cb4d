import { join } from "node:path";
import { AgentStore } from "@weir/aggregator/stores/agents";
import { findAlerts } from "@weir/aggregator/stores/alerts";
import type { FrameOrigin } from "@weir/aggregator/stores/frames";
import { createFrameChanges, FrameStore } from "@weir/aggregator/stores/frames";
import { ReportStore } from "@weir/aggregator/stores/reports";
import type { Alert } from "@weir/shared/model/alert";
import type { ThresholdVersion } from "@weir/shared/model/thresholds";
import type { Calendar } from "@weir/shared/operators/calendar";
import { ThresholdHistory } from "@weir/shared/operators/thresholds";
import type { Lane } from "@weir/shared/wire/messages";
import { decodeFrame, LANES } from "@weir/shared/wire/messages";
import { FaultyDatabase } from "../support/faulty-files.ts";
import type { AgentSide } from "./agent-side.ts";

/** The agent's name, as it stands in lineages. */
export const AGENT = "agent-1";

/** A connection of the uplink, as the plan says it goes. */
export interface Connection {
  readonly lanes: readonly Lane[];
  /** Frames sent of each lane before it is cut. */
  readonly frames: number;
  /** Frames of one transaction. */
  readonly group: number;
  /** Acknowledgements are lost on their way. */
  readonly lostAcks: boolean;
  /** Begins with the oldest frame in the outbox, as if the welcome had told of none. */
  readonly fromOldest: boolean;
}

/** A connection on which nothing goes wrong. */
export const WHOLE: Connection = {
  lanes: LANES,
  frames: 1_000_000,
  group: 64,
  lostAcks: false,
  fromOldest: false,
};

/** An aggregator's stores on a real file, which can die within any transaction. */
export class AggregatorSide {
  db!: FaultyDatabase;
  reports!: ReportStore;
  readonly #path: string;
  readonly #calendar: Calendar;
  readonly #published: ThresholdVersion[] = [];
  #history!: ThresholdHistory;
  #frames!: FrameStore;
  kills = 0;

  constructor(folder: string, calendar: Calendar) {
    this.#path = join(folder, "aggregator.db");
    this.#calendar = calendar;
    this.#start();
  }

  get published(): readonly ThresholdVersion[] {
    return this.#published;
  }

  publish(version: ThresholdVersion): void {
    if (this.#published.includes(version)) return;
    this.#published.push(version);
    this.#history.add(version);
  }

  /** The agent connects, sends frames, and hears what became of them, as far as the connection lets it. */
  connect(agent: AgentSide, nowMs: number, connection: Connection): void {
    const origin = { agent: AGENT, incarnation: agent.store.incarnation };
    const went = this.attempt(() => new AgentStore(this.db).seen(origin, "test", nowMs));
    if (!went) return;
    for (const lane of LANES) {
      const applied = this.#frames.appliedSeq(origin, lane);
      if (!connection.fromOldest && !acknowledge(agent, lane, applied)) return;
    }
    for (const lane of connection.lanes) {
      if (!this.#sendLane(agent, origin, lane, nowMs, connection)) return;
    }
  }

  /** False when the connection has ended. */
  #sendLane(agent: AgentSide, origin: FrameOrigin, lane: Lane, nowMs: number, connection: Connection): boolean {
    const frames = agent.store.frames(lane, 0, connection.frames);
    for (let from = 0; from < frames.length; from += connection.group) {
      const group = frames.slice(from, from + connection.group);
      const went = this.attempt(() =>
        this.db.transaction(() => {
          for (const { seq, body } of group) {
            this.#frames.apply(origin, lane, seq, decodeFrame(body), nowMs, createFrameChanges());
          }
        }),
      );
      if (!went) return false;
      if (!connection.lostAcks && !acknowledge(agent, lane, group.at(-1)!.seq)) return false;
    }
    return true;
  }

  /** Issues a day's report, and tells the agent of the revision. */
  issue(day: string, agent: AgentSide, nowMs: number): void {
    this.attempt(() => void this.reports.issue(day, nowMs));
    for (const issued of this.reports.issuedRevisions()) {
      write(agent, () => agent.store.setMeta(`report ${issued.day}`, issued.revision));
    }
  }

  /** Alerts, withdrawn ones left out, by id. */
  alerts(): Alert[] {
    return findAlerts(this.db, { limit: 1_000_000 }).map(withoutView).toSorted(byId);
  }

  restart(): void {
    this.kills++;
    this.db.close();
    this.#start();
  }

  close(): void {
    this.db.close();
  }

  #start(): void {
    this.db = new FaultyDatabase(this.#path);
    this.#history = new ThresholdHistory();
    for (const version of this.#published) this.#history.add(version);
    this.#frames = new FrameStore(this.db, this.#calendar, { queueForInflux: false });
    this.reports = new ReportStore(this.db, this.#history, this.#calendar);
  }

  /** Runs something of the aggregator's; false when it died in it, and is now started again. */
  attempt(work: () => void): boolean {
    try {
      work();
    } catch (error) {
      if (!this.db.fate.died) throw error;
    }
    if (!this.db.fate.died) return true;
    this.restart();
    return false;
  }
}

/** An alert as agents make it: without what the aggregator, or a person, has added. */
export function withoutView(alert: Alert): Alert {
  const { id, site, device, metric, kind, severity, state, startedAtMs, endedAtMs } = alert;
  const { value, low, high, thresholdVersion, breaches } = alert;
  const times = { startedAtMs, endedAtMs };
  return { id, site, device, metric, kind, severity, state, ...times, value, low, high, thresholdVersion, breaches };
}

/** Order of alerts in comparisons. */
export function byId(a: Alert, b: Alert): number {
  return a.id < b.id ? -1 : Number(a.id > b.id);
}

function acknowledge(agent: AgentSide, lane: Lane, seq: number): boolean {
  return write(agent, () => agent.store.acknowledge(lane, seq));
}

/** Something that the uplink writes at the agent; false when it could not: the uplink then hangs up. */
function write(agent: AgentSide, work: () => void): boolean {
  let isFull = false;
  const lives = agent.attempt(() => {
    try {
      work();
    } catch (error) {
      isFull = (error as { code?: string }).code === "SQLITE_FULL";
      if (!isFull) throw error;
    }
  });
  return lives && !isFull;
}
