import { createHash } from "node:crypto";
import { join } from "node:path";
import { AgentStore } from "@weir/aggregator/stores/agents";
import { SqlDatabase } from "@weir/aggregator/stores/database";
import { createFrameChanges, FrameStore } from "@weir/aggregator/stores/frames";
import { createCalendar } from "@weir/shared/operators/calendar";
import type { AgentMessage, Lane } from "@weir/shared/wire/messages";
import { decodeFrame, LANES } from "@weir/shared/wire/messages";
import * as assert from "uvu/assert";
import type { RecordedRun } from "./recorded-run.ts";
import { AgentTraffic, messagesOfAggregator } from "./traffic.ts";

/** What a store holds of one lane's frames; names of series, since numbers of rows depend on the order of arrival. */
const HELD: Readonly<Record<Lane, readonly string[]>> = {
  alerts: [
    `SELECT id, site, device, metric, kind, severity, state, started_ms, ended_ms, value, low, high,
       threshold_version, breaches FROM alerts ORDER BY id`,
  ],
  data: [
    // Names of what was imported come by themselves, before the first frame.
    `SELECT site, device, metric, readings, first_ts_ms, last_ts_ms, last_value FROM series WHERE readings > 0
       ORDER BY device, metric`,
    `SELECT device, metric, windows.start_ms, body FROM windows JOIN series ON series.id = windows.series
       ORDER BY windows.start_ms, device, metric`,
    `SELECT device, metric, level, start_ms, body FROM cells JOIN series ON series.id = cells.series WHERE level = 1
       ORDER BY start_ms, device, metric`,
  ],
};

/** A file's fold to compare with: what it holds, when so many frames of a lane are applied. */
interface Fold {
  readonly lane: Lane;
  readonly seq: number;
  readonly held: string;
  readonly cut: number;
}

/** What an aggregator's file must hold after a power cut. */
export class AggregatorCheck {
  acknowledgedMax = 0;
  readonly #messages: readonly AgentMessage[];
  readonly #told: ReturnType<typeof messagesOfAggregator>;
  readonly #acknowledged: Record<Lane, number> = { alerts: 0, data: 0 };
  readonly #folds: Fold[] = [];
  #next = 0;
  #compared = 0;
  /** Broadcast so far. */
  #versions = 1;

  constructor(run: RecordedRun) {
    const traffic = new AgentTraffic(run);
    for (const event of run.agent.events) traffic.take(event);
    this.#messages = traffic.messages;
    this.#told = messagesOfAggregator(run.aggregator.events, run.httpPort);
  }

  /** The first `count` events of the aggregator have happened. */
  advance(count: number): void {
    for (; this.#next < this.#told.length && this.#told[this.#next]!.event < count; this.#next++) {
      const { message } = this.#told[this.#next]!;
      if (message.type === "ack") {
        this.#acknowledged[message.lane] = message.seq;
        this.acknowledgedMax = this.#acknowledged.alerts + this.#acknowledged.data;
      }
      // Agents judge by a version from then on.
      if (message.type === "thresholds") this.#versions = Math.max(this.#versions, message.version.version);
    }
  }

  /** Throws where the file lacks something or is damaged; remembers what it holds for checkFolds(). */
  check(folder: string, cut: number): void {
    const db = new SqlDatabase(join(folder, "aggregator.db"), { readonly: false });
    try {
      assert.equal(db.all("PRAGMA integrity_check"), [{ integrity_check: "ok" }]);
      const published = "SELECT count(*) AS count FROM thresholds WHERE state = 'published'";
      const versions = db.get<{ count: number }>(published)!.count;
      assert.ok(versions >= this.#versions, `${this.#versions} versions were broadcast, and ${versions} are published`);
      for (const lane of LANES) {
        const seq = appliedSeq(db, lane);
        const acknowledged = this.#acknowledged[lane];
        assert.ok(seq >= acknowledged, `frame ${acknowledged} of ${lane} was acknowledged, and ${seq} are applied`);
        this.#folds.push({ lane, seq, held: heldOf(db, lane), cut });
      }
    } finally {
      db.close();
    }
  }

  /** Applies the agent's frames one after the other, and compares the store with each file that had come as far. */
  checkFolds(): void {
    const db = new SqlDatabase(":memory:", { readonly: false });
    const frames = new FrameStore(db, createCalendar("UTC"), { queueForInflux: false });
    const agents = new AgentStore(db);
    let origin = { agent: "", incarnation: "" };
    this.#compare(db, "alerts", 0);
    this.#compare(db, "data", 0);
    for (const message of this.#messages) {
      if (message.type === "hello") {
        origin = { agent: message.agent, incarnation: message.incarnation };
        agents.seen(origin, message.software, 0);
      } else if (message.type === "names") db.transaction(() => frames.name(origin, message.series));
      else if (message.type === "frame" && message.seq === appliedSeq(db, message.lane) + 1) {
        const { lane, seq } = message;
        db.transaction(() => frames.apply(origin, lane, seq, decodeFrame(message.frame), 0, createFrameChanges()));
        this.#compare(db, lane, seq);
      }
    }
    db.close();
    assert.is(this.#compared, this.#folds.length, "every file is at a frame that was sent");
  }

  #compare(db: SqlDatabase, lane: Lane, seq: number): void {
    const alike = this.#folds.filter((fold) => fold.lane === lane && fold.seq === seq);
    if (alike.length === 0) return;
    const held = heldOf(db, lane);
    for (const { held: found, cut } of alike) {
      assert.is(found, held, `cut ${cut}: the file is not the fold of its first ${seq} frames of ${lane}`);
    }
    this.#compared += alike.length;
  }
}

function appliedSeq(db: SqlDatabase, lane: Lane): number {
  return db.get<{ seq: number | null }>("SELECT max(seq) AS seq FROM cursors WHERE lane = ?", lane)?.seq ?? 0;
}

function heldOf(db: SqlDatabase, lane: Lane): string {
  const hash = createHash("sha256");
  for (const sql of HELD[lane]) {
    for (const { body, ...rest } of db.all<{ body?: Buffer }>(sql)) {
      hash.update(JSON.stringify(rest));
      if (body) hash.update(body);
    }
  }
  return hash.digest("hex");
}
