import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import * as assert from "uvu/assert";
import type { LiveEvent } from "@weir/aggregator/queries";
import { AgentStore } from "@weir/aggregator/stores/agents";
import { SqlDatabase } from "@weir/aggregator/stores/database";
import type { Frame, Lane } from "@weir/shared/wire/messages";
import { encodeFrame, encodeMessage, WIRE_VERSION } from "@weir/shared/wire/messages";
import { decodeWindows } from "@weir/shared/wire/partial-codec";
import { encodePartial } from "@weir/shared/wire/partial-codec";
import { WebSocket } from "ws";
import type { AggregatorProcess } from "../support/pipeline-processes.ts";
import { startAggregator } from "../support/pipeline-processes.ts";
import { suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";
import type { TestReading } from "./stores-fixture.ts";
import { ALERT, partialsOf } from "./stores-fixture.ts";

const test = suite("alerts during reports", { timeoutMs: 600_000 });

const SERIES = 20_000;
const METRICS = ["temp", "flow", "rpm", "vibration"];
const DAY = "2026-03-10";
const DAY_MS = Date.parse(`${DAY}T00:00:00Z`);
const HOUR_MS = 3_600_000;
const ALERT_EVERY_MS = 20;

/**
 * An alert may take longer than in an idle aggregator by so much at the 99th percentile, ms, on a machine on which other
 * tests run as well. On the thread that takes frames a report of so many series would take tens of seconds.
 */
const EXTRA_MS_MAX = 200;

/** A data file with a day of hours of all series, whose report was never issued. */
function fill(folder: string): void {
  const db = new SqlDatabase(join(folder, "aggregator.db"), { readonly: false });
  new AgentStore(db).seen({ agent: "bulk", incarnation: "i" }, "test", 1);
  db.run("UPDATE agents SET clock_ms = ?", DAY_MS + 24 * HOUR_MS);
  db.transaction(() => {
    const sql = `INSERT INTO series (agent, site, device, metric, first_ts_ms, last_ts_ms, last_value, readings)
      VALUES ('bulk', ?, ?, ?, ?, ?, 1, 1440)`;
    for (let i = 0; i < SERIES; i++) {
      const device = Math.floor(i / METRICS.length);
      const name = `device-${String(device).padStart(5, "0")}`;
      db.run(sql, `site-${device % 10}`, name, METRICS[i % METRICS.length], DAY_MS, DAY_MS + 24 * HOUR_MS - 1000);
    }
    for (let hour = 0; hour < 24; hour++) {
      const startMs = DAY_MS + hour * HOUR_MS;
      const bodies = Array.from({ length: 32 }, (_, i) => bodyOf(startMs, i));
      for (let i = 1; i <= SERIES; i++) db.run("INSERT INTO hours VALUES (?, ?, ?)", i, startMs, bodies[i % 32]);
    }
    db.run("INSERT INTO days VALUES (?, 1)", DAY);
  });
  db.close();
}

function bodyOf(startMs: number, seed: number): Uint8Array {
  const readings = Array.from({ length: 60 }, (_, i): TestReading => [
    0,
    startMs + i * 900,
    20 + ((i * 37 + seed * 101) % 977) / 100,
  ]);
  const frame = partialsOf(readings);
  if (frame.kind !== "partials") throw new Error("There are no partials.");
  return encodePartial(decodeWindows(frame.windows)[0]!.partial);
}

async function opened(url: string): Promise<WebSocket> {
  const socket = new WebSocket(url);
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  return socket;
}

/** Sends an alert now and then as an agent, and times how long each takes to the watchers. */
class AlertBeat {
  readonly #sentMs = new Map<string, number>();
  readonly #uplink: WebSocket;
  readonly #live: WebSocket;
  readonly #timer: NodeJS.Timeout;
  #latenciesMs: number[] = [];
  #seq = 0;

  constructor(uplink: WebSocket, live: WebSocket) {
    this.#uplink = uplink;
    this.#live = live;
    uplink.send(
      encodeMessage({
        type: "hello",
        wire: WIRE_VERSION,
        agent: "gw",
        incarnation: "g",
        software: "test",
        thresholdVersions: [],
      }),
    );
    this.#send("data", 1, { kind: "series", series: [[0, "s", "pump", "temp"]] });
    live.on("message", (data: Buffer) => {
      const event = JSON.parse(data.toString()) as LiveEvent;
      if (event.type !== "alert") return;
      this.#latenciesMs.push(performance.now() - (this.#sentMs.get(event.alert.id) ?? NaN));
      this.#sentMs.delete(event.alert.id);
    });
    this.#timer = setInterval(() => this.#beat(), ALERT_EVERY_MS);
  }

  /** Times, sorted, of the alerts that arrived while work was under way, and of those still on their way then. */
  async during(work: () => Promise<unknown>): Promise<number[]> {
    this.#latenciesMs = [];
    await work();
    const onTheirWay = [...this.#sentMs.keys()];
    while (onTheirWay.some((id) => this.#sentMs.has(id))) await delay(5);
    return this.#latenciesMs.toSorted((a, b) => a - b);
  }

  end(): void {
    clearInterval(this.#timer);
    this.#uplink.terminate();
    this.#live.terminate();
  }

  #beat(): void {
    const id = `a${++this.#seq}`;
    this.#sentMs.set(id, performance.now());
    this.#send("alerts", this.#seq, { kind: "alerts", alerts: [{ ...ALERT, id, startedAtMs: Date.now() }] });
  }

  #send(lane: Lane, seq: number, frame: Frame): void {
    this.#uplink.send(encodeMessage({ type: "frame", lane, seq, frame: encodeFrame(frame) }));
  }
}

function at(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
}

function told(what: string, sorted: readonly number[]): string {
  const figures = [0.5, 0.99, 1].map((share) => at(sorted, share).toFixed(1));
  return `${what}: ${sorted.length} alerts, p50 ${figures[0]}, p99 ${figures[1]}, longest ${figures[2]} ms`;
}

test("alerts reach watchers while the report of 20,000 series is made, issued, asked for and made anew", async () => {
  const folder = tempFolder();
  fill(folder);
  const aggregator: AggregatorProcess = await startAggregator({}, folder);
  const beat = new AlertBeat(
    await opened(aggregator.uplinkUrl),
    await opened(aggregator.url.replace("http", "ws") + "/live"),
  );
  const issuing = await beat.during(() =>
    aggregator.process.waitForOutput(/Issued the report/, { timeoutMs: 300_000 }),
  );
  const idle = await beat.during(() => delay(5000));
  const asking = await beat.during(async () => {
    const report = await aggregator.text(`/api/reports/daily/${DAY}`);
    assert.is(await aggregator.text(`/api/reports/daily/${DAY}?recompute=1`), report);
    assert.is((JSON.parse(report) as { devices: unknown[] }).devices.length, SERIES / METRICS.length);
  });
  beat.end();
  const figures = [told("idle", idle), told("issuing", issuing), told("asking", asking)].join("; ");
  process.stdout.write(`${figures}\n`);
  for (const sorted of [issuing, asking]) assert.ok(at(sorted, 0.99) < at(idle, 0.99) + EXTRA_MS_MAX, figures);
  await aggregator.process.stop();
});
