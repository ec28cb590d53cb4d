import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { connect as connectSocket } from "node:net";
import { join } from "node:path";
import { createListenSource, type ListenOptions, type ListenSource } from "@weir/agent/sources/listen";
import { hashPassword, parsePasswordFile } from "@weir/agent/sources/passwords";
import mqtt, { type MqttClient } from "mqtt";
import type { IConnackPacket, IDisconnectPacket, IPublishPacket, ISubackPacket, Packet } from "mqtt-packet";
import * as assert from "uvu/assert";
import { eventually } from "../support/eventually.ts";
import { skipWith, suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";
import {
  commit,
  connectPacket,
  publishPacket,
  rawClient,
  type RawClient,
  type RecordingIngest,
  recordingIngest,
} from "./listen-fixture.ts";

let ingest: RecordingIngest;
let source: ListenSource;
let port: number;
const raws: RawClient[] = [];
const clients: MqttClient[] = [];

async function open(options: Partial<ListenOptions> = {}): Promise<void> {
  ingest = recordingIngest();
  source = createListenSource(ingest, { host: "127.0.0.1", port: 0, anonymous: true, ...options });
  await source.start();
  port = source.address().port;
}
async function raw(version: 4 | 5 = 4, fields: Record<string, unknown> | null = {}): Promise<RawClient> {
  const connected = await rawClient(port, version, fields);
  raws.push(connected);
  return connected;
}
async function client(options: mqtt.IClientOptions = {}): Promise<MqttClient> {
  const connected = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, { reconnectPeriod: 0, ...options });
  clients.push(connected);
  return connected;
}
async function cleanUp(): Promise<void> {
  for (const one of clients.splice(0)) await one.endAsync(true);
  for (const one of raws.splice(0)) one.socket.destroy();
  source.stop();
  await source.close();
}
const payloads = (): string[] => ingest.messages.map(({ payload }) => payload);
const acks = (packets: readonly Packet[]): string[] =>
  packets.filter(({ cmd }) => /^pub(ack|rec|comp)$/.test(cmd)).map(({ cmd, messageId }) => `${cmd} ${messageId}`);
const turns = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 50));
const took = (count: number): Promise<void> => eventually(() => assert.is(ingest.messages.length, count));
const reasonOf = (packets: readonly Packet[]): number | undefined => {
  const last = packets.at(-1) as IDisconnectPacket | undefined;
  return last?.cmd === "disconnect" ? last.reasonCode : undefined;
};

const real = suite("listen: with the mqtt client");
real.before.each(() => open());
real.after.each(cleanUp);

for (const protocolVersion of [4, 5] as const) {
  real(`MQTT ${protocolVersion}: takes QoS 0, 1 and 2 and acknowledges after the commit`, async () => {
    const device = await client({ protocolVersion });
    await device.publishAsync("a/b", "zero");
    let done = 0;
    const sent = Promise.all(
      ([1, 2] as const).map((qos) => device.publishAsync("a/b", `qos ${qos}`, { qos }).then(() => done++)),
    );
    await took(3);
    assert.equal(ingest.messages, [
      { source: "listen", topic: "a/b", payload: "zero" },
      { source: "listen", topic: "a/b", payload: "qos 1" },
      { source: "listen", topic: "a/b", payload: "qos 2" },
    ]);
    await turns();
    assert.is(done, 0);
    assert.is(source.status().unacknowledged, 2);
    commit(source);
    await sent;
    assert.is(done, 2);
    assert.is(source.status().unacknowledged, 0);
    assert.is(ingest.messages.length, 3);
  });

  real(
    `MQTT ${protocolVersion}: delivers local messages to subscribers of weir/ and refuses other filters`,
    async () => {
      const panel = await client({ protocolVersion });
      const heard: string[] = [];
      panel.on("message", (topic, payload) => void heard.push(`${topic} ${payload.toString()}`));
      const granted = await panel.subscribeAsync("weir/alerts/+/pump/#");
      assert.is(granted[0]!.qos, 0);
      const refused = await panel.subscribeAsync("sensors/#").catch((error: unknown) => error);
      assert.ok(
        refused instanceof Error || (refused as Array<{ qos: number }>)[0]!.qos >= 0x80,
        "a filter outside weir/ is refused",
      );
      source.publishLocal("weir/alerts/north/pump/temp", "firing");
      source.publishLocal("weir/alerts/north/fan/temp", "not asked for");
      source.publishLocal("weir/alerts/north/pump/rpm", Buffer.from("resolved"));
      await eventually(() =>
        assert.equal(heard, ["weir/alerts/north/pump/temp firing", "weir/alerts/north/pump/rpm resolved"]),
      );
      await panel.unsubscribeAsync("weir/alerts/+/pump/#");
      source.publishLocal("weir/alerts/north/pump/temp", "after");
      await turns();
      assert.is(heard.length, 2);
      assert.is(ingest.messages.length, 0);
    },
  );

  real(
    `MQTT ${protocolVersion}: thousands of messages from several clients come through, each client's in order`,
    async () => {
      const committing = setInterval(() => commit(source), 2);
      try {
        const devices = await Promise.all([0, 1, 2].map(() => client({ protocolVersion })));
        await Promise.all(
          devices.flatMap((device, d) =>
            Array.from({ length: 1000 }, (_, i) =>
              device.publishAsync(`device/${d}`, String(i), { qos: (i % 3) as 0 | 1 | 2 }),
            ),
          ),
        );
        await took(3000);
      } finally {
        clearInterval(committing);
      }
      for (let d = 0; d < 3; d++) {
        const own = ingest.messages
          .filter(({ topic }) => topic === `device/${d}`)
          .map(({ payload }) => Number(payload));
        assert.equal(
          own,
          Array.from({ length: 1000 }, (_, i) => i),
        );
      }
    },
  );
}

real("MQTT 5: topic aliases stand for their topics", async () => {
  const device = await client({ protocolVersion: 5, autoAssignTopicAlias: true });
  for (let i = 0; i < 100; i++) device.publish(`device/${i % 40}`, String(i));
  await took(100);
  for (const { topic, payload } of ingest.messages) assert.is(topic, `device/${Number(payload) % 40}`);
});

real("gives an id to a client without one, and tells it the endpoint's limits", async () => {
  const five = (await raw(5, { clientId: "" })).packets[0] as IConnackPacket;
  assert.match(five.properties!.assignedClientIdentifier!, /^weir-/);
  assert.is(five.properties!.topicAliasMaximum, 32);
  assert.is(five.properties!.receiveMaximum, 65_535);
  assert.ok(five.properties!.maximumPacketSize! > 256 * 1024);
  assert.is(five.sessionPresent, false);
  const four = await raw(4, { clientId: "" });
  assert.is((four.packets[0] as IConnackPacket).returnCode, 0);
});

const order = suite("listen: acknowledgements");
order.before.each(() => open());
order.after.each(cleanUp);

order("leave in order of receipt, in one write", async () => {
  const device = await raw();
  const chunksBefore = device.chunks.length;
  const qos = (id: number): 1 | 2 => (id % 5 === 0 ? 2 : 1);
  const ids = [9, 5, 1, 2, 8, 10, 3];
  for (const id of ids) device.send(publishPacket("t", String(id), { qos: qos(id), id }));
  await took(ids.length);
  commit(source);
  await device.received(1 + ids.length);
  assert.equal(
    acks(device.packets),
    ids.map((id) => `${qos(id) === 2 ? "pubrec" : "puback"} ${id}`),
  );
  assert.is(device.chunks.length - chunksBefore, 1);
});

order("a repeated QoS 1 message is passed on again, a repeated QoS 2 message in flight is not", async () => {
  const device = await raw();
  device.send(publishPacket("t", "one", { qos: 1, id: 1 }), publishPacket("t", "one", { qos: 1, id: 1 }));
  device.send(publishPacket("t", "two", { qos: 2, id: 2 }), publishPacket("t", "two", { qos: 2, id: 2 }));
  await took(3);
  await turns();
  assert.equal(payloads(), ["one", "one", "two"]);
  commit(source);
  await device.received(4);
  assert.equal(acks(device.packets), ["puback 1", "puback 1", "pubrec 2"]);
  device.send(publishPacket("t", "two", { qos: 2, id: 2 }));
  await device.received(5);
  assert.equal(acks(device.packets).at(-1), "pubrec 2", "durable already: answered at once");
  device.send({ cmd: "pubrel", messageId: 2 });
  await device.received(6);
  device.send(publishPacket("t", "three", { qos: 2, id: 2 }));
  await took(4);
  assert.equal(acks(device.packets).at(-1), "pubcomp 2");
  assert.is(payloads().at(-1), "three", "after PUBREL the packet id is free for another message");
});

order("of a connection that has gone are dropped", async () => {
  const device = await raw();
  device.send(publishPacket("t", "x", { qos: 1, id: 1 }));
  await took(1);
  device.socket.destroy();
  await eventually(() => assert.is(source.status().connections, 0));
  assert.is(source.status().unacknowledged, 0);
  commit(source);
});

order("are still given after stop(), which takes nothing more", async () => {
  const device = await raw(5, { will: { topic: "will", payload: "gone", qos: 0, retain: false } });
  device.send(publishPacket("t", "a", { qos: 1, id: 1, version: 5 }));
  await took(1);
  source.stop();
  device.send(publishPacket("t", "b", { qos: 1, id: 2, version: 5 }));
  await turns();
  commit(source);
  await source.close();
  await device.ended();
  assert.equal(payloads(), ["a"], "no message, and no will on account of our own end");
  assert.equal(acks(device.packets), ["puback 1"]);
  assert.is(reasonOf(device.packets), 0x8b);
});

const pressure = suite("listen: back-pressure and bounds");
pressure.after.each(cleanUp);

pressure("stops all connections at the message that caused it; after the commit all go on", async () => {
  await open();
  const [one, two] = [await raw(4, { clientId: "one" }), await raw(4, { clientId: "two" })];
  ingest.answers.push(true, false);
  one.send(...[1, 2, 3, 4].map((id) => publishPacket("t", `one ${id}`, { qos: 1, id })));
  await took(2);
  two.send(publishPacket("t", "two 1", { qos: 1, id: 1 }));
  await turns();
  assert.equal(payloads(), ["one 1", "one 2"]);
  // The other connection gets its turn first: one that always fills the block must not starve it.
  ingest.answers.push(false, false, true);
  commit(source);
  await took(3);
  assert.is(payloads()[2], "two 1");
  commit(source);
  await took(4);
  commit(source);
  await took(5);
  commit(source);
  await eventually(() => assert.equal(acks(one.packets), ["puback 1", "puback 2", "puback 3", "puback 4"]));
});

pressure("connections with messages in hand come round, whoever else has more", async () => {
  await open();
  const devices = await Promise.all(["a", "b", "c"].map((clientId) => raw(4, { clientId })));
  ingest.answers.push(...Array<boolean>(300).fill(false));
  devices.forEach((device, d) =>
    device.send(...Array.from({ length: 100 }, (_, i) => publishPacket(`device/${d}`, String(i)))),
  );
  for (let count = 1; count <= 60; count++) {
    await took(count);
    commit(source);
  }
  for (let d = 0; d < 3; d++) {
    const own = ingest.messages.filter(({ topic }) => topic === `device/${d}`).length;
    assert.ok(own >= 15, `device ${d} got ${own} of 60 turns`);
  }
});

pressure("a paused connection is not given up for silence", async () => {
  await open();
  const device = await raw(4, { keepalive: 1 });
  ingest.answers.push(false);
  device.send(publishPacket("t", "x"));
  await took(1);
  await new Promise((resolve) => setTimeout(resolve, 2600));
  assert.not.ok(device.closed);
  commit(source);
  await device.ended();
  assert.is(source.status().counters.timeouts, 1);
});

pressure("connections beyond the bound are turned away and counted", async () => {
  await open({ connectionsMax: 2 });
  await raw(4, { clientId: "1" });
  await raw(4, { clientId: "2" });
  const third = await raw(4, null);
  await third.ended();
  assert.is(source.status().counters.connectionsRefused, 1);
  assert.is(source.status().connections, 2);
});

pressure("a subscriber that does not read misses messages; nobody's memory grows", async () => {
  await open({ writeBytesMax: 64 * 1024 });
  const panel = await raw();
  panel.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "weir/#", qos: 0 }] });
  await panel.received(2);
  panel.socket.pause();
  const message = Buffer.alloc(32 * 1024, "x");
  for (let i = 0; i < 2000; i++) {
    source.publishLocal("weir/a", message);
    if (i % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  assert.ok(source.status().counters.localDropped > 0);
  panel.socket.resume();
  await eventually(() => assert.ok(panel.packets.length > 10));
});

pressure("a client that does not read what it is sent is not read from until it does", async () => {
  await open({ writeBytesMax: 64 * 1024 });
  const device = await raw();
  device.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "weir/#", qos: 0 }] });
  await device.received(2);
  device.socket.pause();
  const filler = Buffer.alloc(32 * 1024, "x");
  while (source.status().counters.localDropped < 10) {
    source.publishLocal("weir/a", filler);
    await new Promise((resolve) => setImmediate(resolve));
  }
  const pings = Buffer.alloc(1_000_000, Buffer.from([0xc0, 0]));
  device.send(pings);
  await eventually(() => assert.ok(source.status().counters.writeStalls > 0));
  await turns();
  const read = source.status().bytes;
  await turns();
  assert.is(source.status().bytes, read, "nothing more is read");
  assert.ok(read < pings.length);
  device.socket.resume();
  const answered = (): number => device.packets.filter(({ cmd }) => cmd === "pingresp").length;
  await eventually(() => assert.is(answered(), pings.length / 2));
});

pressure("MQTT 5: more unacknowledged messages than the receive maximum end the connection", async () => {
  await open({ receiveMaximum: 3 });
  const device = await raw(5);
  const send = (id: number, qos: 1 | 2): void => device.send(publishPacket("t", String(id), { qos, id, version: 5 }));
  for (const id of [1, 2]) send(id, 1);
  send(3, 2);
  await took(3);
  commit(source);
  await device.received(4);
  for (const id of [4, 5]) send(id, 1);
  await took(5);
  commit(source);
  await device.received(6);
  for (const id of [6, 7, 8]) send(id, 1);
  await device.ended();
  assert.is(reasonOf(device.packets), 0x93);
});

pressure("bytes of incomplete frames are bounded for all connections together", async () => {
  await open({ partialBytesMax: 100_000 });
  const frame = publishPacket("t", "x".repeat(90_000));
  const [one, two] = [await raw(4, { clientId: "one" }), await raw(4, { clientId: "two" })];
  one.send(frame.subarray(0, 60_000));
  await eventually(() => assert.ok(source.status().bytes > 60_000));
  two.send(frame.subarray(0, 60_000));
  await two.ended();
  assert.is(source.status().counters.overBudget, 1);
  assert.not.ok(one.closed);
});

pressure("a connection that never says CONNECT is given up", async () => {
  await open({ connectTimeoutMs: 500 });
  const silent = await raw(4, null);
  await silent.ended();
  assert.is(source.status().counters.timeouts, 1);
});

pressure("a client is given up after one and a half times its keep-alive, unless it says something", async () => {
  await open();
  const [silent, lively] = [
    await raw(5, { clientId: "1", keepalive: 1 }),
    await raw(4, { clientId: "2", keepalive: 1 }),
  ];
  const from = performance.now();
  const pinging = setInterval(() => lively.send({ cmd: "pingreq" }), 500);
  try {
    await silent.ended();
    const afterMs = performance.now() - from;
    assert.ok(afterMs >= 1400 && afterMs < 4000, `${afterMs} ms`);
    assert.is(reasonOf(silent.packets), 0x8d);
    assert.not.ok(lively.closed);
    assert.is(lively.packets.at(-1)!.cmd, "pingresp");
  } finally {
    clearInterval(pinging);
  }
});

const hostile = suite("listen: what is wrong");
hostile.before.each(() => open({ payloadBytesMax: 1000, skipBytesMax: 4_000_000 }));
hostile.after.each(cleanUp);

hostile("a PUBLISH too large is passed over, refused and acknowledged; its connection goes on", async () => {
  const device = await raw(5);
  const big = publishPacket("big/one", "y".repeat(3_000_000), {
    qos: 1,
    id: 1,
    version: 5,
    properties: { topicAlias: 3, userProperties: { a: "b" } },
  });
  device.send(big, publishPacket("", "z".repeat(1_000_000), { version: 5, properties: { topicAlias: 3 } }));
  device.send(publishPacket("t", "after", { qos: 1, id: 2, version: 5 }));
  await took(1);
  assert.equal(payloads(), ["after"]);
  assert.equal(
    ingest.refused.map(
      ({ reason, topic, head }) => `${reason} ${topic} ${head.length} ${head.toString("latin1", 0, 1)}`,
    ),
    ["payload_too_large big/one 4096 y", "payload_too_large big/one 4096 z"],
  );
  commit(source);
  await device.received(3);
  assert.equal(acks(device.packets), ["puback 1", "puback 2"]);
  assert.not.ok(device.closed);
});

hostile("a packet beyond the last bound ends its connection, MQTT 5 with a reason", async () => {
  for (const [version, header] of [
    [5, [0x30, 0xff, 0xff, 0xff, 0x7f]],
    [4, [0x30, 0xff, 0xff, 0xff, 0x7f]],
    [5, [0x82, 0xff, 0xff, 0x7f]],
  ] as const) {
    const device = await raw(version);
    device.send(Buffer.from(header));
    await device.ended();
    assert.is(reasonOf(device.packets), version === 5 ? 0x95 : undefined);
  }
  assert.equal(
    ingest.refused.map(({ reason }) => reason),
    ["payload_too_large", "payload_too_large", "payload_too_large"],
  );
});

hostile("malformed frames end their connection only, and are counted with what there is of them", async () => {
  const bystander = await raw(4, { clientId: "bystander" });
  const frames: ReadonlyArray<readonly [string, 4 | 5, readonly number[]]> = [
    ["QoS 3", 4, [0x36, 5, 0, 1, 0x61, 0, 1]],
    ["packet id 0", 4, [0x32, 5, 0, 1, 0x61, 0, 0]],
    ["topic beyond the end", 4, [0x30, 3, 0, 9, 0x61]],
    ["overlong length", 4, [0x30, 0xff, 0xff, 0xff, 0xff, 1]],
    ["reserved type", 4, [0x00, 0]],
    ["a server's packet", 4, [0x20, 2, 0, 0]],
    ["second CONNECT", 4, [...connectPacket(4)]],
    ["SUBSCRIBE without filters", 4, [0x82, 2, 0, 1]],
    ["SUBSCRIBE with wrong flags", 4, [0x80, 6, 0, 1, 0, 1, 0x61, 0]],
    ["SUBSCRIBE cut short", 4, [0x82, 5, 0, 1, 0, 9, 0x61]],
    ["UNSUBSCRIBE without packet id", 4, [0xa2, 1, 0]],
    ["PUBREL with wrong flags", 4, [0x60, 2, 0, 1]],
    ["PUBREL too short", 4, [0x62, 1, 0]],
    ["PINGREQ with a body", 4, [0xc0, 1, 0]],
    ["AUTH in 3.1.1", 4, [0xf0, 0]],
    ["unknown property", 5, [0x30, 6, 0, 1, 0x61, 2, 0x7e, 0]],
    ["subscription identifier", 5, [0x30, 6, 0, 1, 0x61, 2, 0x0b, 1]],
    ["no topic and no alias", 5, [0x30, 3, 0, 0, 0]],
    ["unknown alias", 5, [0x30, 6, 0, 0, 3, 0x23, 0, 1]],
    ["alias 0", 5, [0x30, 7, 0, 1, 0x61, 3, 0x23, 0, 0]],
    ["alias beyond the maximum", 5, [0x30, 7, 0, 1, 0x61, 3, 0x23, 0, 99]],
    ["AUTH", 5, [0xf0, 0]],
  ];
  for (const [what, version, bytes] of frames) {
    const before = ingest.refused.length;
    const device = await raw(version, { clientId: what });
    device.send(Buffer.from(bytes));
    await device.ended();
    assert.equal(
      ingest.refused.slice(before).map(({ reason }) => reason),
      ["frame_malformed"],
      what,
    );
    assert.ok(ingest.refused.at(-1)!.head.equals(Buffer.from(bytes)), what);
    const reason = reasonOf(device.packets);
    assert.ok(version === 4 ? reason === undefined : [0x81, 0x82, 0x94].includes(reason ?? 0), `${what}: ${reason}`);
  }
  bystander.send(publishPacket("t", "still here"));
  await took(1);
});

hostile("what comes before CONNECT, or is no CONNECT, ends the connection", async () => {
  for (const bytes of [
    publishPacket("t", "x"),
    Buffer.from("GET / HTTP/1.1\r\n\r\n"),
    Buffer.from([0x10, 4, 0, 4, 0x4d, 0x51]),
    Buffer.from([0x10, 2, 0, 0]),
    connectPacket(4, { will: { topic: "a/#", payload: "x", qos: 0, retain: false } }),
  ]) {
    const device = await raw(4, null);
    device.send(bytes);
    await device.ended();
    assert.equal(device.packets, []);
  }
  assert.is(ingest.messages.length, 0);
});

hostile("unknown versions and clients without an id to come back by are refused in words", async () => {
  const unknown = await raw(4, null);
  const hello = connectPacket(4);
  hello[8] = 6;
  unknown.send(hello);
  await unknown.ended();
  assert.is((unknown.packets[0] as IConnackPacket).returnCode, 1);
  const nameless = await raw(4, null);
  nameless.send(Buffer.from([0x10, 12, 0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 0, 0, 0, 0, 0]));
  await nameless.ended();
  assert.is((nameless.packets[0] as IConnackPacket).returnCode, 2);
  const enhanced = await raw(5, null);
  enhanced.send(
    connectPacket(5, { properties: { authenticationMethod: "SCRAM", authenticationData: Buffer.from("x") } }),
  );
  await enhanced.ended();
  assert.is((enhanced.packets[0] as IConnackPacket).reasonCode, 0x8c);
});

hostile("MQTT 3.1 is taken for 3.1.1", async () => {
  const old = await raw(4, null);
  old.send(connectPacket(3, { clientId: "old" }), publishPacket("t", "x"));
  await took(1);
});

hostile("bad topics cost the message, not the connection", async () => {
  const device = await raw();
  const topics = [[0xff], [0x61, 0, 0x62], [0x61, 0x2f, 0x23], [0x2b], []];
  topics.forEach((topic, index) => {
    device.send(Buffer.from([0x32, 5 + topic.length, 0, topic.length, ...topic, 0, index + 1, 0x31]));
  });
  device.send(publishPacket("t", "after"));
  await took(1);
  assert.equal(
    ingest.refused.map(({ reason }) => reason),
    topics.map(() => "topic_malformed"),
  );
  commit(source);
  await device.received(1 + topics.length);
  assert.equal(
    acks(device.packets),
    topics.map((_, index) => `puback ${index + 1}`),
  );
});

hostile("random bytes never harm another connection", async () => {
  const bystander = await raw(5, { clientId: "bystander" });
  let seed = 1;
  const random = (): number => (seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) >>> 16;
  const attackers = await Promise.all(
    Array.from({ length: 60 }, async (_, i) => {
      const device = await raw(i % 2 ? 4 : 5, i % 3 ? { clientId: `attacker ${i}` } : null);
      device.send(Buffer.from(Array.from({ length: 300 }, () => random() & 0xff)));
      return device;
    }),
  );
  await turns();
  for (const attacker of attackers) attacker.socket.destroy();
  const before = ingest.messages.length;
  bystander.send(publishPacket("t", "still here", { version: 5 }));
  await eventually(() => assert.ok(ingest.messages.slice(before).some(({ payload }) => payload === "still here")));
});

const sessions = suite("listen: sessions");
sessions.before.each(() => open());
sessions.after.each(cleanUp);

sessions("a will is passed on when its client goes without DISCONNECT", async () => {
  const will = (payload: string) => ({ will: { topic: "wills/x", payload, qos: 1, retain: false } });
  const polite = await raw(4, { clientId: "polite", ...will("polite") });
  polite.send({ cmd: "disconnect" });
  await polite.ended();
  const cut = await raw(4, { clientId: "cut", ...will("cut") });
  cut.socket.destroy();
  await took(1);
  const wrong = await raw(5, { clientId: "wrong", ...will("wrong") });
  wrong.send(Buffer.from([0, 0]));
  await took(2);
  const wishing = await raw(5, { clientId: "wishing", ...will("wishing") });
  wishing.send({ cmd: "disconnect", reasonCode: 4 });
  await took(3);
  assert.equal(
    ingest.messages,
    ["cut", "wrong", "wishing"].map((payload) => ({ source: "listen", topic: "wills/x", payload })),
  );
});

sessions("a client id is taken over by the newer connection", async () => {
  const older = await raw(5, { clientId: "same", will: { topic: "w", payload: "old gone", qos: 0, retain: false } });
  const newer = await raw(5, { clientId: "same" });
  await older.ended();
  assert.is(reasonOf(older.packets), 0x8e);
  assert.equal(payloads(), ["old gone"]);
  newer.send(publishPacket("t", "newer", { version: 5 }));
  await took(2);
  const third = await raw(4, { clientId: "same" });
  await newer.ended();
  third.send(publishPacket("t", "third"));
  await took(3);
  assert.is(source.status().counters.takeOvers, 2);
  assert.is(source.status().connections, 1);
});

sessions("subscriptions are bounded and answered filter by filter", async () => {
  const panel = await raw(5);
  const topics = [
    "weir/#",
    "sensors/#",
    "$share/g/weir/#",
    "weir/a#",
    ...Array.from({ length: 32 }, (_, i) => `weir/${i}`),
  ];
  panel.send({ cmd: "subscribe", messageId: 1, subscriptions: topics.map((topic) => ({ topic, qos: 1 as const })) });
  const suback = (await panel.received(2))[1] as ISubackPacket;
  assert.equal(suback.granted, [0, 0x87, 0x9e, 0x87, ...Array<number>(31).fill(0), 0x97]);
  source.publishLocal("weir/3", "once");
  const message = (await panel.received(3))[2] as IPublishPacket;
  assert.is(String(message.payload), "once");
  await turns();
  assert.is(panel.packets.length, 3, "filters that overlap deliver once");
  panel.send({ cmd: "unsubscribe", messageId: 2, unsubscriptions: ["weir/3", "weir/none"] });
  assert.equal(((await panel.received(4))[3] as unknown as { granted: number[] }).granted, [0, 0x11]);
});

sessions("frames sent with CONNECT in one piece, cut anywhere, are the same messages", async () => {
  const stream = Buffer.concat([
    connectPacket(4, { clientId: "piecewise" }),
    publishPacket("t/ü", "one", { qos: 1, id: 1 }),
    publishPacket("t/ü", "two", { qos: 2, id: 2 }),
    publishPacket("t", "three"),
  ]);
  for (let cut = 1; cut < stream.length; cut += 3) {
    const from = ingest.messages.length;
    const device = await raw(4, null);
    device.socket.setNoDelay(true);
    device.send(stream.subarray(0, cut));
    await new Promise((resolve) => setImmediate(resolve));
    device.send(stream.subarray(cut));
    await took(from + 3);
    assert.equal(payloads().slice(from), ["one", "two", "three"], `cut at ${cut}`);
    commit(source);
    await device.received(3);
    device.socket.destroy();
  }
});

const logins = suite("listen: passwords and TLS");
logins.after.each(cleanUp);

/** A password file with the user pump, password geheim. */
function passwordFile(): string {
  const file = join(tempFolder(), "passwords");
  writeFileSync(file, `# devices\n\npump:${hashPassword("geheim")}\n`);
  return file;
}
const refusal = (options: mqtt.IClientOptions): Promise<number | string> =>
  client(options).then(
    () => "let in",
    (error: unknown) => (error as { code?: number }).code ?? String(error),
  );

logins("the right password is let in, at once the second time; others are refused", async () => {
  await open({ anonymous: false, passwordFile: passwordFile() });
  const device = await client({ username: "pump", password: "geheim" });
  await device.publishAsync("t", "x");
  await took(1);
  assert.is(await refusal({ username: "pump", password: "geheim", protocolVersion: 5 }), "let in");
  assert.is(await refusal({ username: "pump", password: "falsch" }), 4);
  assert.is(await refusal({ username: "pump", password: "falsch", protocolVersion: 5 }), 0x86);
  assert.is(await refusal({ username: "fan", password: "geheim" }), 4);
  assert.is(await refusal({}), 5);
  assert.is(await refusal({ protocolVersion: 5 }), 0x87);
  assert.is(source.status().counters.loginsRefused, 5);
});

logins("messages sent while the password is being checked are taken only if it is right", async () => {
  await open({ anonymous: false, passwordFile: passwordFile() });
  const bad = await raw(4, null);
  bad.send(connectPacket(4, { username: "pump", password: "falsch" }), publishPacket("t", "bad"));
  await bad.ended();
  const good = await raw(4, null);
  good.send(connectPacket(4, { username: "pump", password: "geheim" }), publishPacket("t", "good"));
  await took(1);
  assert.equal(payloads(), ["good"]);
});

logins("anonymous devices may come beside known users, but not with a wrong password", async () => {
  await open({ anonymous: true, passwordFile: passwordFile() });
  assert.is(await refusal({}), "let in");
  assert.is(await refusal({ username: "pump", password: "falsch" }), 4);
});

logins("a password file that is wrong is refused with its line", () => {
  for (const [text, message] of [
    ["pump:geheim", /devices:1: not user:scrypt/],
    [`a:${hashPassword("x")}\na:${hashPassword("y")}`, /devices:2: user "a" comes twice/],
    ["a:scrypt$AAAA$AAAA", /devices:1: the hash has 3 bytes/],
  ] as const) {
    assert.throws(() => parsePasswordFile("devices", text), message);
  }
  assert.is.not(hashPassword("x"), hashPassword("x"), "each hash has a salt of its own");
});

const openssl = spawnSync("openssl", ["version"]).status === 0;
if (!openssl) skipWith("listen: TLS", "there is no openssl to make certificates with; apt-get install -y openssl");
else {
  logins("TLS: with authorities given, a device's certificate lets it in and nothing else does", async () => {
    const folder = tempFolder();
    for (const name of ["server", "device", "stranger"]) {
      const key = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-keyout",
        `${folder}/${name}.key`,
      ];
      const subject = ["-subj", `/CN=${name}`, "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"];
      const made = spawnSync("openssl", ["req", "-x509", ...key, "-out", `${folder}/${name}.pem`, ...subject]);
      assert.is(made.status, 0, String(made.stderr));
    }
    const read = (name: string): Buffer => readFileSync(join(folder, name));
    const tls = { cert: join(folder, "server.pem"), key: join(folder, "server.key"), ca: join(folder, "device.pem") };
    await open({ anonymous: false, tls });
    const connectAs = (name: string): Promise<MqttClient> =>
      mqtt.connectAsync(
        `mqtts://127.0.0.1:${port}`,
        {
          reconnectPeriod: 0,
          connectTimeout: 2000,
          ca: read("server.pem"),
          cert: read(`${name}.pem`),
          key: read(`${name}.key`),
        },
        false,
      );
    const device = await connectAs("device");
    clients.push(device);
    await device.publishAsync("t", "over TLS");
    await took(1);
    const stranger = await connectAs("stranger").catch((error: unknown) => error);
    assert.ok(stranger instanceof Error);
    await eventually(() => assert.ok(source.status().lastError));
    const plain = await raw(4, null);
    plain.send(connectPacket(4));
    await plain.ended();
    assert.equal(payloads(), ["over TLS"]);
  });
}

logins("a port in use is a LISTEN_FAILED", async () => {
  await open();
  const second = createListenSource(recordingIngest(), { host: "127.0.0.1", port, anonymous: true });
  const error = await second.start().catch((reason: unknown) => reason);
  assert.is((error as { code: string }).code, "LISTEN_FAILED");
  assert.match((error as { message: string }).message, new RegExp(`127.0.0.1:${port}`));
  assert.ok(
    await new Promise((resolve) =>
      connectSocket(port, "127.0.0.1", function (this: { destroy(): void }) {
        this.destroy();
        resolve(true);
      }),
    ),
  );
});
