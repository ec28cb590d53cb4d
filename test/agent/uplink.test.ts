import * as assert from "uvu/assert";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import type { Outbox, Uplink, UplinkHooks, UplinkOptions } from "@weir/agent/uplink";
import { createUplink } from "@weir/agent/uplink";
import { CodedError } from "@weir/shared/errors";
import type { AgentMessage, AggregatorMessage, Lane } from "@weir/shared/wire/messages";
import { decodeAgentMessage, encodeMessage, WIRE_VERSION } from "@weir/shared/wire/messages";
import type { WebSocket } from "ws";
import { WebSocketServer } from "ws";
import { eventually } from "../support/eventually.ts";
import { suite } from "../support/suite.ts";
import { version } from "./pipeline-fixture.ts";

const test = suite("uplink", { timeoutMs: 15_000 });

/** An outbox in memory. */
class MemoryOutbox implements Outbox {
  readonly lanes: Record<Lane, Array<{ seq: number; body: Uint8Array }>> = { alerts: [], data: [] };
  readonly #last: Record<Lane, number> = { alerts: 0, data: 0 };

  add(lane: Lane, bytes = 10): void {
    this.lanes[lane].push({ seq: ++this.#last[lane], body: new Uint8Array(bytes) });
  }

  frames(lane: Lane, afterSeq: number, limit: number): Array<{ seq: number; body: Uint8Array }> {
    return this.lanes[lane].filter(({ seq }) => seq > afterSeq).slice(0, limit);
  }

  newestFrames(lane: Lane, afterSeq: number, limit: number): Array<{ seq: number; body: Uint8Array }> {
    return this.frames(lane, afterSeq, Infinity).toReversed().slice(0, limit);
  }

  acknowledge(lane: Lane, throughSeq: number): void {
    this.lanes[lane] = this.lanes[lane].filter(({ seq }) => seq > throughSeq);
  }
}

/** An aggregator in the test's hands: it keeps what it hears and says only what it is told to. */
class FakeAggregator {
  readonly server: WebSocketServer = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  readonly sockets: WebSocket[] = [];
  readonly heard: AgentMessage[] = [];
  /** Answer to a hello; undefined: none. */
  greeting: AggregatorMessage | undefined = {
    type: "welcome",
    wire: WIRE_VERSION,
    timezone: "Europe/Berlin",
    applied: { alerts: 0, data: 0 },
    seriesKnown: 0,
  };

  constructor() {
    this.server.on("connection", (socket) => {
      this.sockets.push(socket);
      socket.on("error", () => {});
      socket.on("message", (data: Buffer) => {
        const message = decodeAgentMessage(data);
        this.heard.push(message);
        if (message.type === "hello" && this.greeting) this.say(this.greeting);
      });
    });
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.server.address() as AddressInfo).port}/uplink`;
  }

  say(message: AggregatorMessage): void {
    this.sockets.at(-1)?.send(encodeMessage(message));
  }

  /** Numbers of the frames heard, such as "data 3". */
  frames(): string[] {
    return this.heard.flatMap((message) => (message.type === "frame" ? [`${message.lane} ${message.seq}`] : []));
  }

  hellos(): number {
    return this.heard.filter(({ type }) => type === "hello").length;
  }

  close(): void {
    for (const socket of this.sockets) socket.terminate();
    this.server.close();
  }
}

let aggregator: FakeAggregator;
let outbox: MemoryOutbox;
let uplink: Uplink | undefined;
let log: string[];
let names: Array<readonly [number, string, string, string]>;

test.before.each(async () => {
  aggregator = new FakeAggregator();
  await new Promise((resolve) => aggregator.server.once("listening", resolve));
  outbox = new MemoryOutbox();
  log = [];
  names = [];
});
test.after.each(async () => {
  await uplink?.close(0);
  uplink = undefined;
  aggregator.close();
});

/** Where nobody listens. */
const NOWHERE = "ws://127.0.0.1:1/uplink";

function open(options: Partial<UplinkOptions> = {}, hooks: Partial<UplinkHooks> = {}): Uplink {
  const allHooks: UplinkHooks = {
    thresholds: () => {},
    thresholdVersions: () => [3],
    timezone: () => {},
    reportIssued: () => {},
    seriesNames: (fromIndex) => names.slice(fromIndex),
    status: () => ({
      series: 0,
      readings: 0,
      ledger: { stored: 0, duplicates: 0, rejected: {}, dropped: {} },
      gauges: {},
      quarantined: [],
    }),
    log: (message) => log.push(message),
    ...hooks,
  };
  uplink = createUplink(outbox, allHooks, () => 0, {
    url: aggregator.url,
    token: "",
    agent: "a",
    incarnation: "i",
    software: "test",
    windowBytes: 1e3,
    ...options,
  });
  return uplink;
}

test("says hello with what it is and what it has", async () => {
  open();
  await eventually(() => assert.ok(aggregator.heard.length > 0));
  const hello = {
    type: "hello",
    wire: WIRE_VERSION,
    agent: "a",
    incarnation: "i",
    software: "test",
    thresholdVersions: [3],
  };
  assert.equal(aggregator.heard[0], hello);
});

test("sends nothing before the welcome", async () => {
  aggregator.greeting = undefined;
  outbox.add("data");
  const opened = open();
  await eventually(() => assert.is(aggregator.hellos(), 1));
  opened.wake();
  await delay(50);
  assert.equal(aggregator.frames(), []);
  assert.not.ok(opened.connected);
});

test("redelivers unacknowledged frames in order after a reconnect, from where the aggregator is", async () => {
  for (let i = 0; i < 5; i++) outbox.add("data");
  outbox.add("alerts");
  open();
  await eventually(() => assert.is(aggregator.frames().length, 6));
  assert.equal(aggregator.frames(), ["alerts 1", "data 1", "data 2", "data 3", "data 4", "data 5"]);
  aggregator.heard.length = 0;
  // The acks of these were lost with the connection.
  aggregator.greeting = { ...aggregator.greeting, applied: { alerts: 1, data: 2 } } as AggregatorMessage;
  aggregator.sockets.at(-1)!.terminate();
  await eventually(() => assert.equal(aggregator.frames(), ["data 3", "data 4", "data 5"]));
  assert.equal(outbox.lanes.alerts, []);
  assert.equal(
    outbox.lanes.data.map(({ seq }) => seq),
    [3, 4, 5],
  );
});

test("forgets frames when they are acknowledged, and not before", async () => {
  for (let i = 0; i < 4; i++) outbox.add("data");
  open();
  await eventually(() => assert.is(aggregator.frames().length, 4));
  assert.is(outbox.lanes.data.length, 4);
  aggregator.say({ type: "ack", lane: "data", seq: 3 });
  await eventually(() =>
    assert.equal(
      outbox.lanes.data.map(({ seq }) => seq),
      [4],
    ),
  );
});

test("has at most a window of bytes unacknowledged, and a frame more", async () => {
  for (let i = 0; i < 50; i++) outbox.add("data", 100);
  open({ windowBytes: 1000 });
  await eventually(() => assert.is(aggregator.frames().length, 10));
  await delay(50);
  assert.is(aggregator.frames().length, 10);
  aggregator.say({ type: "ack", lane: "data", seq: 4 });
  await eventually(() => assert.is(aggregator.frames().length, 14));
  await delay(30);
  assert.is(aggregator.frames().length, 14);
});

test("sends a frame that is larger than the window by itself", async () => {
  outbox.add("data", 5000);
  outbox.add("data", 10);
  open({ windowBytes: 1000 });
  await eventually(() => assert.equal(aggregator.frames(), ["data 1"]));
  aggregator.say({ type: "ack", lane: "data", seq: 1 });
  await eventually(() => assert.equal(aggregator.frames(), ["data 1", "data 2"]));
});

test("alerts overtake a backlog of data", async () => {
  for (let i = 0; i < 100; i++) outbox.add("data", 100);
  const opened = open({ windowBytes: 1000 });
  await eventually(() => assert.is(aggregator.frames().length, 10));
  outbox.add("alerts");
  opened.wake();
  aggregator.say({ type: "ack", lane: "data", seq: 2 });
  await eventually(() => assert.is(aggregator.frames()[10], "alerts 1"));
});

test("gives an aggregator with a new store the names it lacks, before any frame", async () => {
  names = [
    [0, "s", "d", "a"],
    [1, "s", "d", "b"],
    [2, "s", "d", "c"],
  ];
  outbox.add("data");
  aggregator.greeting = { ...aggregator.greeting, seriesKnown: 1 } as AggregatorMessage;
  open();
  await eventually(() => assert.is(aggregator.frames().length, 1));
  assert.equal(
    aggregator.heard.map(({ type }) => type),
    ["hello", "names", "frame"],
  );
  assert.equal((aggregator.heard[1] as { series: unknown }).series, names.slice(1));
});

test("acknowledges a threshold version only when it was stored", async () => {
  let full = true;
  const thresholds = (): void => {
    if (full) throw new CodedError("DATA_FILE_STUCK", "The disk is full.");
  };
  open({}, { thresholds });
  await eventually(() => assert.is(aggregator.hellos(), 1));
  aggregator.say({ type: "thresholds", version: version(7, 0, 1) });
  await eventually(() => assert.is(aggregator.hellos(), 2));
  const stored = (): AgentMessage[] => aggregator.heard.filter(({ type }) => type === "thresholdsStored");
  assert.equal(stored(), []);
  full = false;
  aggregator.say({ type: "thresholds", version: version(7, 0, 1) });
  await eventually(() => assert.equal(stored(), [{ type: "thresholdsStored", version: 7 }]));
});

test("a refusal is told once and not asked for again at once", async () => {
  aggregator.greeting = { type: "refused", code: "WIRE_VERSION", message: "it speaks version 9." };
  aggregator.server.on("connection", (socket) => socket.on("message", () => socket.close(1008)));
  open();
  await eventually(() => assert.is(aggregator.hellos(), 1));
  await delay(1200);
  assert.is(aggregator.hellos(), 1);
  assert.equal(log, ["The aggregator refused this agent: it speaks version 9."]);
});

test("backs off from an aggregator that ends every connection after its welcome", async () => {
  aggregator.server.on("connection", (socket) => socket.on("message", () => socket.terminate()));
  open({ retryMsFirst: 20 });
  await delay(1500);
  // 20 ms doubled each time, halved by the jitter: at 10, 30, 70, 150, 310, 630 and 1270 ms.
  assert.ok(aggregator.hellos() >= 4 && aggregator.hellos() <= 9, `${aggregator.hellos()} attempts`);
});

test("comes back quickly once frames have been acknowledged again", async () => {
  aggregator.greeting = undefined;
  const cut = (socket: WebSocket): void => void socket.on("message", () => socket.terminate());
  aggregator.server.on("connection", cut);
  open({ retryMsFirst: 20 });
  await eventually(() => assert.ok(aggregator.hellos() >= 6));
  aggregator.server.off("connection", cut);
  aggregator.greeting = {
    type: "welcome",
    wire: WIRE_VERSION,
    timezone: "UTC",
    applied: { alerts: 0, data: 0 },
    seriesKnown: 0,
  };
  outbox.add("data");
  await eventually(() => assert.is(aggregator.frames().length, 1));
  aggregator.say({ type: "ack", lane: "data", seq: 1 });
  await eventually(() => assert.equal(outbox.lanes.data, []));
  const hellos = aggregator.hellos();
  aggregator.sockets.at(-1)!.terminate();
  await eventually(() => assert.is(aggregator.hellos(), hellos + 1), { timeoutMs: 300, intervalMs: 5 });
});

test("ends a connection on which nothing is heard any more", async () => {
  open({ pingIntervalMs: 20, silenceMsMax: 100 });
  await eventually(() => assert.is(aggregator.hellos(), 1));
  await delay(300);
  assert.is(aggregator.hellos(), 1, "pongs keep it");
  // As when a firewall has forgotten the connection: bytes go out and nothing comes back.
  aggregator.sockets[0]!.pause();
  await eventually(() => assert.is(aggregator.hellos(), 2));
});

test("ends a connection that is never welcomed", async () => {
  aggregator.greeting = undefined;
  open({ pingIntervalMs: 20, silenceMsMax: 100 });
  await eventually(() => assert.ok(aggregator.hellos() >= 2));
});

test("hangs up on anything it does not understand, and comes back", async () => {
  open();
  await eventually(() => assert.is(aggregator.hellos(), 1));
  aggregator.sockets[0]!.send(Buffer.from("hello?"));
  await eventually(() => assert.is(aggregator.hellos(), 2));
  assert.ok(log.some((line) => /is not CBOR/.test(line)));
});

test("close waits for the outbox to be acknowledged, at most as long as it is told", async () => {
  outbox.add("data");
  const opened = open();
  await eventually(() => assert.is(aggregator.frames().length, 1));
  let closed = false;
  const closing = opened.close(5000).then(() => (closed = true));
  await delay(100);
  assert.not.ok(closed);
  aggregator.say({ type: "ack", lane: "data", seq: 1 });
  await closing;
  outbox.add("data");
  const again = open();
  await eventually(() => assert.ok(again.connected));
  const startMs = performance.now();
  await again.close(150);
  assert.ok(performance.now() - startMs < 2000);
  const { length } = aggregator.heard;
  await delay(400);
  assert.is(aggregator.heard.length, length, "stays closed");
});

test("can be closed while nobody answers", async () => {
  const opened = open({ url: NOWHERE });
  await delay(50);
  await opened.close(1000);
  assert.match(log[0] ?? "", /No uplink to .* Trying again/);
});

test("after an outage the newest alerts go ahead of the backlog, and new ones as long as it lasts", async () => {
  for (let i = 0; i < 100; i++) outbox.add("alerts", 500);
  open({ windowBytes: 1000 });
  const ahead = (): number[] => aggregator.heard.flatMap((message) => (message.type === "ahead" ? [message.seq] : []));
  await eventually(() => assert.is(aggregator.frames().length, 2));
  assert.equal(
    ahead(),
    Array.from({ length: 16 }, (_, i) => 100 - i),
  );
  const order = aggregator.heard.filter(({ type }) => type === "ahead" || type === "frame").map(({ type }) => type);
  assert.is(order.indexOf("frame"), 16);
  outbox.add("alerts", 500);
  uplink!.wake();
  await eventually(() => assert.is(ahead().at(-1), 101));
  assert.is(ahead().length, 17);
  // Their turn comes all the same, and once the backlog is through nothing goes ahead.
  for (let seq = 2; seq <= 101; seq += 1) {
    aggregator.say({ type: "ack", lane: "alerts", seq });
    await eventually(() => assert.ok(aggregator.frames().includes(`alerts ${Math.min(101, seq + 1)}`)));
  }
  outbox.add("alerts", 500);
  uplink!.wake();
  await eventually(() => assert.is(aggregator.frames().at(-1), "alerts 102"));
  assert.is(ahead().length, 17);
});
