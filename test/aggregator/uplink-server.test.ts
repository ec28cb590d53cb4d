import * as assert from "uvu/assert";
import { createServer } from "node:http";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { createLiveEvents } from "@weir/aggregator/live-events";
import type { LiveEvent } from "@weir/aggregator/queries";
import { alertById } from "@weir/aggregator/stores/alerts";
import { seriesColumns } from "@weir/aggregator/stores/series-columns";
import { ThresholdStore } from "@weir/aggregator/stores/thresholds";
import type { UplinkServer } from "@weir/aggregator/uplink-server";
import { createUplinkServer } from "@weir/aggregator/uplink-server";
import type { Alert, AlertKind } from "@weir/shared/model/alert";
import type { AgentMessage, AggregatorMessage, Frame, Lane } from "@weir/shared/wire/messages";
import { decodeAggregatorMessage, encodeFrame, encodeMessage, WIRE_VERSION } from "@weir/shared/wire/messages";
import { WebSocket } from "ws";
import { eventually } from "../support/eventually.ts";
import { suite } from "../support/suite.ts";
import { partialsOf, Stores, versionOf } from "./stores-fixture.ts";

const test = suite("uplink server", { timeoutMs: 15_000 });

const DAY_MS = Date.UTC(2026, 2, 14);

let stores: Stores;
let thresholds: ThresholdStore;
let http: Server;
let server: UplinkServer;
let events: LiveEvent[];
let log: string[];
let agents: RawAgent[];

/** An agent's end of the uplink in the test's hands. */
class RawAgent {
  readonly socket: WebSocket;
  readonly heard: AggregatorMessage[] = [];
  closeCode: number | undefined;
  error = "";

  constructor(token = "secret") {
    agents.push(this);
    this.socket = new WebSocket(`ws://127.0.0.1:${(http.address() as AddressInfo).port}/uplink`, {
      headers: { authorization: `Bearer ${token}` },
    });
    this.socket.on("message", (data: Buffer) => this.heard.push(decodeAggregatorMessage(data)));
    this.socket.on("close", (code) => (this.closeCode = code));
    this.socket.on("error", (error) => (this.error = error.message));
  }

  async opened(): Promise<this> {
    if (this.socket.readyState !== WebSocket.OPEN) await new Promise((resolve) => this.socket.once("open", resolve));
    return this;
  }

  say(message: AgentMessage): void {
    this.socket.send(encodeMessage(message));
  }

  sayHello(agent: string, incarnation = "i1", thresholdVersions: number[] = [], wire: number = WIRE_VERSION): void {
    this.say({ type: "hello", wire, agent, incarnation, software: "1.2.3", thresholdVersions });
  }

  frame(lane: Lane, seq: number, frame: Frame): void {
    this.say({ type: "frame", lane, seq, frame: encodeFrame(frame) });
  }

  told<T extends AggregatorMessage["type"]>(type: T): Array<Extract<AggregatorMessage, { type: T }>> {
    return this.heard.filter((message): message is Extract<AggregatorMessage, { type: T }> => message.type === type);
  }
}

async function connected(agent: string, incarnation = "i1", versions: number[] = []): Promise<RawAgent> {
  const raw = await new RawAgent().opened();
  raw.sayHello(agent, incarnation, versions);
  await eventually(() => assert.is(raw.told("welcome").length, 1));
  return raw;
}

/** How far the aggregator's clock is off, ms. */
let clockOffMs: number;

function serve(): void {
  events = [];
  const live = createLiveEvents();
  live.subscribe((event) => events.push(event));
  thresholds = new ThresholdStore(stores.db);
  server = createUplinkServer(stores.db, stores.frames, stores.agents, thresholds, live, {
    token: "secret",
    timezone: "Europe/Berlin",
    now: () => Date.now() + clockOffMs,
    log: (line) => log.push(line),
    issuedRevisions: () => [{ day: "2026-03-13", revision: 2 }],
  });
}

test.before.each(async () => {
  clockOffMs = 0;
  stores = new Stores();
  log = [];
  agents = [];
  serve();
  http = createServer();
  http.on("upgrade", (request, socket, head) => server.upgrade(request, socket, head));
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
});
test.after.each(async () => {
  for (const { socket } of agents) socket.terminate();
  await server.close();
  http.closeAllConnections();
  await new Promise((resolve) => http.close(resolve));
  stores.close();
});

const NAMES: Frame = { kind: "series", series: [[0, "s", "pump", "temp"]] };

function reading(n: number): Frame {
  return partialsOf([[0, DAY_MS + n * 1000, n]]);
}

function stored(metric = "temp"): number {
  const range = { fromMs: 0, toMs: 1e15, stepMs: 86_400_000 };
  const columns = seriesColumns(stores.db, stores.history, { site: "s", device: "pump", metric }, range);
  return (columns?.count ?? []).reduce((sum, count) => sum + count, 0);
}

function lastAck(agent: RawAgent, lane: Lane): number {
  return agent.told("ack").findLast((ack) => ack.lane === lane)?.seq ?? 0;
}

function alertFrame(id: string, over: { kind?: AlertKind; state?: "resolved" } = {}): Frame {
  const alert = {
    id,
    site: "s",
    device: "pump",
    metric: "temp",
    kind: "high",
    severity: "warning",
    state: "firing",
    startedAtMs: DAY_MS,
    endedAtMs: null,
    value: 1,
    low: null,
    high: 0,
    thresholdVersion: 1,
    breaches: 1,
    ...over,
  } as const;
  return { kind: "alerts", alerts: [alert] };
}

test("acknowledges frames of both lanes after they are stored", async () => {
  const agent = await connected("a");
  agent.frame("data", 1, NAMES);
  for (let seq = 2; seq <= 200; seq++) agent.frame("data", seq, reading(seq));
  agent.frame("alerts", 1, alertFrame("x"));
  await eventually(() => assert.equal([lastAck(agent, "data"), lastAck(agent, "alerts")], [200, 1]));
  assert.is(stored(), 199);
  assert.is(server.counters().frames, 201);
  assert.ok(events.some((event) => event.type === "alert" && event.alert.id === "x"));
  assert.ok(events.some((event) => event.type === "series" && event.metrics.includes("temp")));
});

/** Makes each frame of partials take ms longer to apply; returns the lanes of frames in the order they were applied. */
function slowPartials(ms: number): Lane[] {
  const lanes: Lane[] = [];
  const apply = stores.frames.apply.bind(stores.frames);
  stores.frames.apply = (origin, lane, seq, frame, nowMs, changes) => {
    const endMs = performance.now() + (frame.kind === "partials" ? ms : 0);
    while (performance.now() < endMs);
    apply(origin, lane, seq, frame, nowMs, changes);
    lanes.push(lane);
  };
  return lanes;
}

test("alerts go before data that waits, their own and that of others, and so do timers", async () => {
  const [first, second] = [await connected("a"), await connected("b")];
  first.frame("data", 1, NAMES);
  await eventually(() => assert.is(lastAck(first, "data"), 1));
  const lanes = slowPartials(6);
  let published = 0;
  let ticks = 0;
  const timer = setInterval(() => {
    ticks++;
    if (published === 0 && events.some(({ type }) => type === "alert")) published = lanes.length;
  }, 1);
  for (let seq = 2; seq <= 80; seq++) first.frame("data", seq, reading(seq));
  first.frame("alerts", 1, alertFrame("x"));
  second.frame("alerts", 1, alertFrame("y"));
  await eventually(() => assert.is(lastAck(first, "data"), 80));
  clearInterval(timer);
  const before = lanes.lastIndexOf("alerts");
  assert.ok(before < 20, `${before} of ${lanes.length} frames were applied before the last alert`);
  assert.ok(published < 30, `${published} of ${lanes.length} frames were applied when the alert was published`);
  assert.ok(ticks > 30, `timers had ${ticks} turns in ${lanes.length} transactions`);
  assert.equal([lastAck(first, "alerts"), lastAck(second, "alerts"), stored()], [1, 1, 79]);
});

test("small frames that wait are applied together", async () => {
  const agent = await connected("a");
  let transactions = 0;
  const transaction = stores.db.transaction.bind(stores.db);
  stores.db.transaction = (work) => {
    transactions++;
    return transaction(work);
  };
  agent.frame("data", 1, NAMES);
  for (let seq = 2; seq <= 300; seq++) agent.frame("data", seq, reading(seq));
  await eventually(() => assert.is(lastAck(agent, "data"), 300));
  assert.ok(transactions < 100, `${transactions} transactions`);
});

test("counts nothing twice when the ack was lost", async () => {
  const first = await connected("a");
  first.frame("data", 1, NAMES);
  first.frame("data", 2, reading(1));
  await eventually(() => assert.is(stored(), 1));
  first.socket.terminate();
  const second = await connected("a");
  assert.equal(second.told("welcome")[0]?.applied, { alerts: 0, data: 2 });
  second.frame("data", 2, reading(1));
  second.frame("data", 3, reading(2));
  await eventually(() => assert.is(lastAck(second, "data"), 3));
  assert.is(stored(), 2);
});

test("welcomes with the time zone, what it holds, versions that are lacking and reports that were issued", async () => {
  for (const number of [1, 2, 3]) {
    const { version: _, ...draft } = versionOf(number, 0, number);
    thresholds.addDraft(draft);
    if (number < 3) thresholds.publish(number, 0);
  }
  const agent = await connected("a", "i1", [1]);
  await eventually(() => assert.is(agent.heard.length, 3));
  const welcome = {
    type: "welcome",
    wire: WIRE_VERSION,
    timezone: "Europe/Berlin",
    applied: { alerts: 0, data: 0 },
    seriesKnown: 0,
  };
  assert.equal(agent.heard[0], welcome);
  assert.equal(
    agent.told("thresholds").map(({ version }) => version.version),
    [2],
  );
  assert.equal(agent.told("report"), [{ type: "report", day: "2026-03-13", revision: 2 }]);
  assert.equal(
    thresholds.list().map(({ version, agents: acked }) => [version, acked]),
    [
      [3, []],
      [2, []],
      [1, ["a"]],
    ],
  );
  agent.say({ type: "thresholdsStored", version: 2 });
  await eventually(() => assert.equal(thresholds.list()[1]?.agents, ["a"]));
  assert.is(stores.agents.view("a", server)?.thresholdVersion, 2);
});

test("broadcasts versions and revisions to everybody who has said hello", async () => {
  const one = await connected("a");
  const two = await connected("b");
  const silent = await new RawAgent().opened();
  server.broadcast(versionOf(5, 0, 1));
  server.reportIssued("2026-03-14", 1, "1 device changed");
  for (const agent of [one, two]) await eventually(() => assert.is(agent.told("report").length, 2));
  assert.is(one.told("thresholds")[0]?.version.version, 5);
  assert.is(silent.heard.length, 0);
});

test("takes the names that a new store lacks", async () => {
  const agent = await connected("a");
  agent.say({ type: "names", series: [[0, "s", "pump", "temp"]] });
  agent.frame("data", 90, reading(1));
  await eventually(() => assert.is(lastAck(agent, "data"), 90));
  assert.is(stored(), 1);
  const again = await connected("a");
  assert.is(again.told("welcome")[0]?.seriesKnown, 1);
});

test("turns away a wrong token before the upgrade", async () => {
  for (const token of ["wrong!", "secret2", ""]) {
    const agent = new RawAgent(token);
    await eventually(() => assert.match(agent.error, /401/));
  }
});

test("refuses another version of the wire, a bad name and silence before the hello, and says why", async () => {
  const strangers: Array<[string, (agent: RawAgent) => void]> = [
    ["WIRE_VERSION", (agent) => agent.sayHello("a", "i1", [], 9)],
    ["BAD_AGENT", (agent) => agent.sayHello("a/b")],
    ["NO_HELLO", (agent) => agent.frame("data", 1, NAMES)],
  ];
  for (const [code, speak] of strangers) {
    const agent = await new RawAgent().opened();
    speak(agent);
    await eventually(() => assert.is(agent.closeCode, 1008));
    assert.equal(
      agent.told("refused").map((refused) => refused.code),
      [code],
    );
  }
  assert.not.ok(server.isConnected("a"));
});

test("a frame that cannot be applied hurts only its sender, and nothing behind it is applied", async () => {
  const good = await connected("good");
  const bad = await connected("bad");
  good.frame("data", 1, NAMES);
  bad.frame("data", 1, { kind: "series", series: [[0, "s", "pump", "flow"]] });
  await eventually(() => assert.equal([lastAck(good, "data"), lastAck(bad, "data")], [1, 1]));
  bad.frame("data", 2, partialsOf([[7, DAY_MS, 1]]));
  for (let seq = 3; seq <= 200; seq++) bad.frame("data", seq, reading(seq));
  for (let seq = 2; seq <= 100; seq++) good.frame("data", seq, reading(seq));
  await eventually(() => assert.is(lastAck(good, "data"), 100));
  await eventually(() => assert.is(bad.closeCode, 1008));
  assert.match(bad.told("refused")[0]?.message ?? "", /frame 2 of its data cannot be applied.*series 7/);
  assert.is(stored("temp"), 99);
  assert.is(stored("flow"), 0);
  assert.is(good.closeCode, undefined);
  assert.is(server.counters().failures, 1);
  const again = await connected("bad");
  assert.equal(again.told("welcome")[0]?.applied, { alerts: 0, data: 1 });
});

test("a store that fails for a moment loses no frame", async () => {
  const agent = await connected("a");
  agent.frame("data", 1, NAMES);
  const apply = stores.frames.apply.bind(stores.frames);
  let attempts = 0;
  stores.frames.apply = (origin, lane, seq, frame, nowMs, changes) => {
    if (seq === 5) attempts++;
    if (seq === 5) throw new Error("disk I/O error");
    apply(origin, lane, seq, frame, nowMs, changes);
  };
  for (let seq = 2; seq <= 300; seq++) agent.frame("data", seq, reading(seq));
  await eventually(() => assert.is(agent.closeCode, 1008));
  assert.is(stored(), 3);
  assert.ok(attempts <= 2, `together with others and by itself, but ${attempts} times`);
  stores.frames.apply = apply;
  const again = await connected("a");
  assert.equal(again.told("welcome")[0]?.applied, { alerts: 0, data: 4 });
});

test("hangs up on what is no message, and goes on with others", async () => {
  const good = await connected("good");
  const bad = await connected("bad");
  bad.socket.send(Buffer.from("no CBOR"));
  await eventually(() => assert.ok(bad.closeCode));
  good.frame("data", 1, NAMES);
  await eventually(() => assert.is(lastAck(good, "data"), 1));
});

test("the same agent again takes the place of its half-open connection", async () => {
  const first = await connected("a");
  const second = await connected("a");
  await eventually(() => assert.ok(first.closeCode));
  second.frame("data", 1, NAMES);
  await eventually(() => assert.is(lastAck(second, "data"), 1));
  assert.ok(server.isConnected("a"));
});

test("an aggregator's clock that is set forward ends no connection", async () => {
  const agent = await connected("a");
  clockOffMs = 86_400_000;
  // It looks for dead connections every five seconds.
  await new Promise((resolve) => setTimeout(resolve, 5500));
  assert.is(agent.closeCode, undefined);
  assert.ok(server.isConnected("a"));
});

test("a second gateway of the same name is told so, and does not push out the first", async () => {
  const first = await connected("a", "i1");
  const second = await new RawAgent().opened();
  second.sayHello("a", "i2");
  await eventually(() => assert.is(second.closeCode, 1008));
  assert.is(second.told("refused")[0]?.code, "AGENT_CONNECTED");
  assert.ok(log.some((line) => /share a name/.test(line)));
  first.frame("data", 1, NAMES);
  await eventually(() => assert.is(lastAck(first, "data"), 1));
  first.socket.close();
  await eventually(() => assert.not.ok(server.isConnected("a")));
  await connected("a", "i2");
});

test("shows who is connected and what they say of themselves", async () => {
  const agent = await connected("a");
  const ledger = { stored: 7, duplicates: 1, rejected: { json_shape: 2 }, dropped: {} };
  agent.say({ type: "status", series: 3, readings: 7, gauges: {}, quarantined: [], ledger });
  await eventually(() => assert.equal(stores.agents.view("a", server)?.ledger, ledger));
  agent.socket.close();
  await eventually(() => assert.not.ok(server.isConnected("a")));
  const shown = events.flatMap((event) => (event.type === "agent" ? [event.agent.connected] : []));
  assert.equal([shown[0], shown.at(-1)], [true, false]);
  assert.is(stores.agents.list(server)[0]?.version, "1.2.3");
});

/** What watchers were told of an alert, oldest first: whether it is held back. */
function toldOf(id: string): boolean[] {
  return events.flatMap((event) => (event.type === "alert" && event.alert.id === id ? [event.alert.inhibited] : []));
}

const TICK: Frame = { kind: "tick", nowMs: DAY_MS, rejected: {}, dropped: {} };

test("silence is held back until its agent has caught up, and again when it goes; watchers are told each time", async () => {
  const agent = await connected("a");
  agent.frame("data", 1, NAMES);
  agent.frame("alerts", 1, alertFrame("silent", { kind: "silence" }));
  agent.frame("alerts", 2, alertFrame("high"));
  await eventually(() => assert.equal([lastAck(agent, "alerts"), lastAck(agent, "data")], [2, 1]));
  // It has said hello, and has not told all that it knows.
  assert.equal([toldOf("silent"), toldOf("high"), [...server.caughtUp()]], [[true], [false], []]);
  assert.equal([server.isConnected("a"), stores.agents.view("a", server)?.caughtUp], [true, false]);
  agent.frame("data", 2, TICK);
  await eventually(() => assert.equal(toldOf("silent"), [true, false]));
  assert.equal([[...server.caughtUp()], toldOf("high")], [["a"], [false]]);
  agent.frame("data", 3, TICK);
  await eventually(() => assert.is(lastAck(agent, "data"), 3));
  assert.equal(toldOf("silent"), [true, false], "once");

  agent.socket.close();
  await eventually(() => assert.equal(toldOf("silent"), [true, false, true]));
  const shown = events.findLast((event) => event.type === "agent");
  assert.equal([shown?.agent.connected, shown?.agent.caughtUp, shown?.agent.inhibitedAlerts], [false, false, 1]);

  // An aggregator that starts on the same file knows of nobody: it fires nothing anew.
  await server.close();
  serve();
  assert.equal([...server.caughtUp()], []);
  assert.is(stores.agents.view("a", server)?.inhibitedAlerts, 1);
  const again = await connected("a");
  assert.equal(toldOf("silent"), []);
  again.frame("alerts", 3, alertFrame("silent", { kind: "silence", state: "resolved" }));
  again.frame("data", 4, TICK);
  await eventually(() => assert.is(lastAck(again, "data"), 4));
  assert.equal(toldOf("silent"), [false], "it is over, and is told once");
});

test("a tick sent again is not the word of an agent that has caught up; a newer one is", async () => {
  const first = await connected("a");
  first.frame("data", 1, NAMES);
  first.frame("data", 2, TICK);
  await eventually(() => assert.equal([...server.caughtUp()], ["a"]));
  first.socket.terminate();
  await eventually(() => assert.equal([...server.caughtUp()], []));
  const second = await connected("a");
  second.frame("data", 2, TICK);
  await eventually(() => assert.is(lastAck(second, "data"), 2));
  assert.equal([...server.caughtUp()], []);
  second.frame("data", 3, TICK);
  await eventually(() => assert.equal([...server.caughtUp()], ["a"]));
});

test("watchers are told again of the newest silences, not of all of a large fleet", async () => {
  const agent = await connected("a");
  const alerts = Array.from({ length: 1000 }, (_, i) => {
    const frame = alertFrame(`silent-${String(i).padStart(4, "0")}`, { kind: "silence" });
    return frame.kind === "alerts" ? { ...frame.alerts[0]!, startedAtMs: DAY_MS + i } : assert.unreachable();
  });
  agent.frame("alerts", 1, { kind: "alerts", alerts: alerts as Alert[] });
  await eventually(() => assert.is(lastAck(agent, "alerts"), 1));
  events.length = 0;
  agent.frame("data", 1, TICK);
  await eventually(() => assert.is(lastAck(agent, "data"), 1));
  const told = events.flatMap((event) => (event.type === "alert" ? [event.alert.id] : []));
  assert.equal([told.length, told[0]], [256, "silent-0999"]);
});

test("alerts sent ahead of a backlog are shown at once; older frames don't undo them, and their turn comes", async () => {
  const agent = await connected("a");
  const state = (id: string): unknown => alertById(stores.db, id)?.state;
  agent.say({ type: "ahead", seq: 9, frame: encodeFrame(alertFrame("x", { state: "resolved" })) });
  agent.say({ type: "ahead", seq: 8, frame: encodeFrame(alertFrame("x")) });
  agent.say({ type: "ahead", seq: 7, frame: encodeFrame(alertFrame("y")) });
  agent.say({ type: "ahead", seq: 7, frame: encodeFrame(NAMES) });
  agent.say({ type: "ahead", seq: 7, frame: Uint8Array.of(1, 2) });
  await eventually(() => assert.equal([state("x"), state("y")], ["resolved", "firing"]));
  assert.ok(events.some((event) => event.type === "alert" && event.alert.id === "x"));
  await eventually(() => assert.match(log[0] ?? "", /ahead of their turn/));
  assert.equal(
    [lastAck(agent, "alerts"), stores.frames.appliedSeq({ agent: "a", incarnation: "i1" }, "alerts")],
    [0, 0],
  );
  agent.frame("alerts", 1, alertFrame("x"));
  agent.frame("alerts", 2, alertFrame("z"));
  await eventually(() => assert.is(lastAck(agent, "alerts"), 2));
  assert.equal([state("x"), state("z")], ["resolved", "firing"]);
  agent.frame("alerts", 8, alertFrame("x"));
  agent.frame("alerts", 9, alertFrame("x", { state: "resolved" }));
  agent.frame("alerts", 10, alertFrame("x"));
  await eventually(() => assert.is(lastAck(agent, "alerts"), 10));
  assert.is(state("x"), "firing", "what is newer than what went ahead counts");
  agent.say({ type: "ahead", seq: 9, frame: encodeFrame(alertFrame("x", { state: "resolved" })) });
  agent.frame("alerts", 11, alertFrame("z"));
  await eventually(() => assert.is(lastAck(agent, "alerts"), 11));
  assert.is(state("x"), "firing", "its turn has been");
});

test("tells watchers what a revision changed", () => {
  server.reportIssued("2026-03-14", 3, "1 device changed: pump readings 1 → 2");
  const summary = "1 device changed: pump readings 1 → 2";
  assert.equal(events, [{ type: "report", day: "2026-03-14", revision: 3, summary }]);
});

test("close applies what has arrived, tells agents, and leaves the store alone afterwards", async () => {
  const agent = await connected("a");
  agent.frame("data", 1, NAMES);
  for (let seq = 2; seq <= 100; seq++) agent.frame("data", seq, reading(seq));
  await eventually(() => assert.ok(stored() > 0));
  await server.close();
  await eventually(() => assert.is(agent.closeCode, 1001));
  assert.is(stores.frames.appliedSeq({ agent: "a", incarnation: "i1" }, "data"), stored() + 1);
  assert.ok(lastAck(agent, "data") <= stored() + 1);
});

test("close does not wait for a peer that has gone silent, nor touch the store when that ends", async () => {
  const agent = await connected("a");
  agent.socket.pause();
  const startMs = performance.now();
  await server.close();
  assert.ok(performance.now() - startMs < 3000);
  stores.close();
  await delay(50);
  assert.equal(log, []);
  stores = new Stores();
  serve();
});
