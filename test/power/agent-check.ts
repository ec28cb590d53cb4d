import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { Store } from "@weir/agent/store/store";
import type { Lane } from "@weir/shared/wire/messages";
import { LANES } from "@weir/shared/wire/messages";
import * as assert from "uvu/assert";
import { DAY_MS, HOUR_MS } from "@weir/shared/operators/calendar";
import { goOn } from "./go-on.ts";
import { IMPORTED_FROM, readingOf } from "./recorded-run.ts";
import type { RecordedRun } from "./recorded-run.ts";
import { readingsOf } from "./stored-readings.ts";
import { AgentTraffic, messagesOfAggregator } from "./traffic.ts";

/** Every so many cuts, the agent goes on with the files; see go-on.ts. */
const RESTART_EVERY = 20;

/** What an agent's files must hold after a power cut. */
export class AgentCheck {
  acknowledgedMax = 0;
  /** How many of the files looked at held these: without them the cuts would say nothing of such moments. */
  readonly seen = { importUnderWay: 0, pieces: 0, chunks: 0, refoldsWaiting: 0, trimmed: 0 };
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
      this.#checkReadings(store, stored);
      this.#checkBounds(store);
      this.#checkOutbox(store);
      const versions = new Set(store.thresholdVersions(Number.MAX_SAFE_INTEGER).map(({ version }) => version));
      for (const version of this.#traffic.promises.versions) assert.ok(versions.has(version), `version ${version}`);
    } finally {
      store.close();
    }
    if (nth % RESTART_EVERY === 0) goOn(folder, stored, this.#run, this.#traffic.messages);
  }

  #hasPromised(): boolean {
    const { acknowledgements, sent, versions } = this.#traffic.promises;
    return acknowledgements > 0 || sent.alerts > 0 || sent.data > 0 || versions.size > 0;
  }

  #checkReadings(store: Store, stored: Uint8Array): void {
    const { acknowledged } = this.#traffic.promises;
    const { imported, importEvents, fromMs } = this.#run;
    const missing: number[] = [];
    for (let number = 1; number < acknowledged.length; number++) {
      if (acknowledged[number] === 1 && stored[number] === 0) missing.push(number);
    }
    // An import that has ended has promised all of its file, and one under way the rows up to the place it has noted.
    const placed = store.sql.number("SELECT max(rows) FROM imports") ?? 0;
    const rows = this.#at >= importEvents ? imported : placed;
    for (let number = IMPORTED_FROM; number < IMPORTED_FROM + rows; number++) {
      if (stored[number] === 0 && readingOf(number, fromMs).tsMs >= store.wholeFromMs) missing.push(number);
    }
    if (this.#at < importEvents) this.seen.importUnderWay++;
    if (missing.length > 0) {
      throw new Error(`${missing.length} acknowledged readings are not in the log, the first is ${missing[0]}`);
    }
  }

  /** What is trimmed is as old as the settings say, and what the log is said to hold is what it holds. */
  #checkBounds(store: Store): void {
    const { sql } = store;
    const count = (table: string): number => sql.number(`SELECT count(*) FROM ${table}`)!;
    const endOfImportMs = this.#run.fromMs - DAY_MS + HOUR_MS;
    assert.ok(store.wholeFromMs <= endOfImportMs + HOUR_MS, `the log was trimmed up to ${store.wholeFromMs}`);
    const bodies = ["log", "pieces", "chunks"].map((table) => `SELECT sum(length(body)) AS bytes FROM ${table}`);
    const bytes = sql.number(`SELECT coalesce(sum(bytes), 0) FROM (${bodies.join(" UNION ALL ")})`);
    assert.is(store.logBytes, bytes);
    if (count("pieces") > 0) this.seen.pieces++;
    if (count("chunks") > 0) this.seen.chunks++;
    if (count("refolds") > 0) this.seen.refoldsWaiting++;
    if (store.wholeFromMs > -Infinity) this.seen.trimmed++;
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
