import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { BlockColumns, decodeBlockInto } from "@weir/agent/store/block-codec";
import { Store } from "@weir/agent/store/store";
import type { Lane } from "@weir/shared/wire/messages";
import { LANES } from "@weir/shared/wire/messages";
import * as assert from "uvu/assert";
import { createPlant } from "../support/plant.ts";
import { readingOf } from "./recorded-run.ts";
import type { RecordedRun } from "./recorded-run.ts";
import { AgentTraffic, messagesOfAggregator } from "./traffic.ts";

/** Every so many cuts, the pipeline is started on the files, and devices send again what was not acknowledged. */
const RESTART_EVERY = 10;
const REDELIVERED = 50;

/** What an agent's files must hold after a power cut. */
export class AgentCheck {
  acknowledgedMax = 0;
  readonly #run: RecordedRun;
  readonly #traffic: AgentTraffic;
  readonly #acks: ReadonlyArray<{ readonly timeMs: number; readonly lane: Lane; readonly seq: number }>;
  #at = 0;

  constructor(run: RecordedRun) {
    this.#run = run;
    this.#traffic = new AgentTraffic(run);
    this.#acks = messagesOfAggregator(run.aggregator.events, run.httpPort).flatMap(({ timeMs, message }) => {
      if (message.type === "ack") return [{ timeMs, lane: message.lane, seq: message.seq }];
      return message.type === "welcome" ? LANES.map((lane) => ({ timeMs, lane, seq: message.applied[lane] })) : [];
    });
  }

  /** The first `count` events of the agent have happened. */
  advance(count: number): void {
    for (; this.#at < count; this.#at++) this.#traffic.take(this.#run.agent.events[this.#at]!);
    this.acknowledgedMax = this.#traffic.promises.acknowledgements;
  }

  /** Throws where the files in the folder lack something, or hold it twice, or are damaged. */
  check(folder: string, nth: number): void {
    const path = join(folder, "agent.db");
    // As the first start leaves it before its first sync; the program may set such a file aside rather than open it.
    if (!this.#hasPromised() && existsSync(path) && statSync(path).size === 0) return;
    const store = new Store(path, { readonly: false });
    let stored: Uint8Array;
    try {
      const integrity = store.sql.all<{ integrity_check: string }>("PRAGMA integrity_check");
      assert.equal(integrity, [{ integrity_check: "ok" }]);
      stored = readingsOf(store, this.#run);
      this.#checkReadings(stored);
      this.#checkOutbox(store);
      const versions = new Set(store.thresholdVersions(Number.MAX_SAFE_INTEGER).map(({ version }) => version));
      for (const version of this.#traffic.promises.versions) assert.ok(versions.has(version), `version ${version}`);
    } finally {
      store.close();
    }
    if (nth % RESTART_EVERY === 0) restart(folder, stored, this.#run);
  }

  #hasPromised(): boolean {
    const { acknowledgements, sent, versions } = this.#traffic.promises;
    return acknowledgements > 0 || sent.alerts > 0 || sent.data > 0 || versions.size > 0;
  }

  #checkReadings(stored: Uint8Array): void {
    const { acknowledged } = this.#traffic.promises;
    const missing: number[] = [];
    for (let number = 1; number < acknowledged.length; number++) {
      if (acknowledged[number] === 1 && stored[number] === 0) missing.push(number);
    }
    if (missing.length > 0) {
      throw new Error(`${missing.length} acknowledged readings are not in the log, the first is ${missing[0]}`);
    }
  }

  /** No number of a frame that has left may be given to another, and what is not acknowledged must still be there. */
  #checkOutbox(store: Store): void {
    const { timeMs } = this.#run.agent.events[this.#at - 1]!;
    for (const lane of LANES) {
      const last = store.sql.number("SELECT last_seq FROM lanes WHERE lane = ?", lane) ?? 0;
      const sent = this.#traffic.promises.sent[lane];
      assert.ok(last >= sent, `frame ${sent} of ${lane} has left, and the newest is ${last}`);
      let acknowledged = 0;
      for (const ack of this.#acks) {
        if (ack.lane === lane && ack.timeMs <= timeMs) acknowledged = Math.max(acknowledged, ack.seq);
      }
      const seqs = store.sql.all<{ seq: number }>("SELECT seq FROM outbox WHERE lane = ? ORDER BY seq", lane);
      const kept = new Set(seqs.map(({ seq }) => seq));
      for (let seq = acknowledged + 1; seq <= last; seq++) assert.ok(kept.has(seq), `frame ${seq} of ${lane} is gone`);
    }
  }
}

/** Which readings a file holds, in blocks, pieces or chunks. Throws for one that is there twice, or was never sent. */
export function readingsOf(store: Store, { readings, fromMs }: Pick<RecordedRun, "readings" | "fromMs">): Uint8Array {
  const stored = new Uint8Array(readings + 1);
  const columns = new BlockColumns();
  const keys = store.allSeries();
  const sql = "SELECT body FROM log WHERE kind = 1 UNION ALL SELECT body FROM pieces UNION ALL SELECT body FROM chunks";
  for (const { body } of store.sql.all<{ body: Buffer }>(sql)) {
    const { count, series, tsMs, value } = decodeBlockInto(body, columns);
    for (let i = 0; i < count; i++) {
      const number = Math.abs(value[i]!);
      const expected = readingOf(number, fromMs);
      const key = keys[series[i]!]!;
      const isIt = expected.tsMs === tsMs[i] && expected.value === value[i];
      if (!isIt || expected.topic !== `s/${key.site}/${key.device}/${key.metric}`) {
        throw new Error(`The log holds ${value[i]} at ${tsMs[i]} of ${key.device}, which nobody sent`);
      }
      if (stored[number] === 1) throw new Error(`Reading ${number} is in the log twice`);
      stored[number] = 1;
    }
  }
  return stored;
}

/** The agent starts, devices send again what they must and what is there already, the log is compacted: all is once. */
function restart(folder: string, stored: Uint8Array, run: RecordedRun): void {
  const plant = createPlant(folder, { nowMs: run.fromMs + 600_000, pipeline: { windowMs: 1000 } });
  try {
    const first = stored.indexOf(0, 1);
    const numbers = Array.from({ length: REDELIVERED }, (_, i) => (first < 0 ? 1 : Math.max(1, first - 10)) + i);
    for (const number of numbers) {
      if (number > run.readings) continue;
      const { topic, tsMs, value } = readingOf(number, run.fromMs);
      plant.send(topic, tsMs, value);
      stored[number] = 1;
    }
    plant.pipeline.commit();
    plant.pipeline.compact();
    assert.ok(Buffer.compare(readingsOf(plant.store, run), stored) === 0, "each is there once, compacted or not");
  } finally {
    plant.close();
  }
}
