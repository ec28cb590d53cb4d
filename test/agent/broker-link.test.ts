import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type BrokerOptions, createBrokerSource } from "@weir/agent/sources/broker";
import { parseBrokerAddress } from "@weir/agent/sources/broker-address";
import type { Source } from "@weir/agent/sources/source";
import * as assert from "uvu/assert";
import { eventually } from "../support/eventually.ts";
import { skipWith, suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";
import {
  brokerOptions,
  type FakeBroker,
  type FakeBrokerOptions,
  fakeBroker,
  brokerPublish as publish,
} from "./broker-fixture.ts";
import { commit, publishPacket, type RecordingIngest, recordingIngest } from "./listen-fixture.ts";

let broker: FakeBroker;
let source: Source;
let ingest: RecordingIngest;

type Options = Partial<BrokerOptions> & { scheme?: string };

async function begin({ scheme = "mqtt", ...options }: Options = {}, fake: FakeBrokerOptions = {}): Promise<void> {
  broker = await fakeBroker(fake);
  ingest = recordingIngest();
  source = createBrokerSource(ingest, { ...brokerOptions(`${scheme}://127.0.0.1:${broker.port}`), ...options });
  await source.start();
}
const ready = (): Promise<void> =>
  eventually(() => assert.ok(source.status().connected, String(source.status().lastError)));
async function end(): Promise<void> {
  source.stop();
  await source.close();
  await broker.close();
}
const payloads = (): string[] => ingest.messages.map(({ payload }) => payload);
const acks = (connection: number): string[] =>
  broker.connections[connection]!.filter(({ cmd }) => cmd.startsWith("pub")).map(
    ({ cmd, messageId }) => `${cmd} ${messageId}`,
  );
const sent = (connection: number, cmd: string): number =>
  broker.connections[connection]!.filter((packet) => packet.cmd === cmd).length;
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const pings = suite("broker: pings", { timeoutMs: 30_000 });
pings.after.each(end);

pings("a connection whose messages wait is not given up, and reads on", async () => {
  await begin({ keepAliveS: 1 });
  await ready();
  ingest.answers.push(false);
  // What follows fills the pipe, so that no answer of the broker's could come through.
  broker.send(publish(1, "a"), publish(2, "b".repeat(200_000)), publish(3, "c".repeat(200_000)));
  await eventually(() => assert.equal(payloads(), ["a"]));
  await eventually(() => assert.ok(sent(0, "pingreq") >= 3, "it goes on pinging"));
  assert.is(broker.connections.length, 1);
  assert.is(source.status().connected, true);
  commit(source);
  await eventually(() => assert.is(ingest.messages.length, 3));
  assert.is(broker.connections.length, 1);
});

pings("whatever comes says that the broker lives", async () => {
  await begin({ keepAliveS: 1 });
  await ready();
  const sending = setInterval(() => broker.send(publish(0, "x", 0)), 100);
  try {
    await eventually(() => assert.ok(sent(0, "pingreq") >= 3));
    assert.is(broker.connections.length, 1);
  } finally {
    clearInterval(sending);
  }
});

pings("answered by the broker keep the connection; a broker that has gone silent is given up", async () => {
  await begin({ keepAliveS: 1 }, { answersPings: true });
  await ready();
  await eventually(() => assert.ok(sent(0, "pingreq") >= 3));
  assert.is(broker.connections.length, 1);
  await end();
  await begin({ keepAliveS: 1 });
  await ready();
  await eventually(() => assert.is(broker.connections.length, 2));
});

const shedding = suite("broker: no room for a while", { timeoutMs: 20_000 });
shedding.after.each(end);

shedding("QoS 0 is counted as dropped, QoS 1 waits and comes through", async () => {
  await begin();
  await ready();
  ingest.answers.push(false);
  broker.send(publish(1, "a"), publish(0, "waits", 0));
  await eventually(() => assert.equal(payloads(), ["a"]));
  await pause(50);
  assert.equal(ingest.dropped, []);
  source.shed();
  await eventually(() => assert.equal(ingest.dropped, ["sensors/a/b/c waits"]));
  broker.send(publish(0, "zero", 0), publish(2, "b"), publish(0, "behind", 0));
  await eventually(() => assert.is(ingest.dropped.length, 2));
  source.seal();
  source.committed();
  await eventually(() => assert.equal(acks(0), ["puback 1"]));
  assert.equal(payloads(), ["a"]);
  source.readOn();
  await eventually(() => assert.equal(payloads(), ["a", "b", "behind"]));
  commit(source);
  await eventually(() => assert.equal(acks(0), ["puback 1", "puback 2"]));
});

const sessions = suite("broker: sessions and connections", { timeoutMs: 20_000 });
sessions.after.each(end);

sessions("messages that come in one piece with CONNACK are taken", async () => {
  await begin({}, { greeting: [publish(4, "a"), publish(0, "b", 0)] });
  await eventually(() => assert.equal(payloads(), ["a", "b"]));
  commit(source);
  await eventually(() => assert.equal(acks(0), ["puback 4"]));
  await ready();
});

sessions("while messages wait, a connection is made, but takes none", async () => {
  await begin({ connections: 2, sharedGroup: "weir" }, { greeting: [publish(4, "greeting")] });
  await eventually(() => assert.is(ingest.messages.length, 2));
  await ready();
  ingest.answers.push(false);
  broker.sendTo(0, publish(5, "a"));
  await eventually(() => assert.is(ingest.messages.length, 3));
  broker.cut(1);
  await eventually(() => assert.is(broker.connections.length, 3));
  await eventually(() => assert.ok(source.status().connected));
  await pause(50);
  assert.is(ingest.messages.length, 3);
  source.readOn();
  await eventually(() => assert.is(ingest.messages.length, 4));
});

sessions("messages before CONNACK end the connection", async () => {
  await begin({}, { preambles: [publish(4, "early"), { cmd: "pubrel", messageId: 4 }] });
  await eventually(() => assert.is(broker.connections.length, 3));
  await ready();
  assert.equal(
    ingest.refused.map(({ reason }) => reason),
    ["frame_malformed", "frame_malformed"],
  );
  assert.equal(payloads(), []);
});

sessions("a broker that refuses the subscription is said to, and the source is not connected", async () => {
  await begin({}, { granted: 0x80, sessionPresent: false });
  await eventually(() => assert.match(source.status().lastError ?? "", /subscribe.*sensors/));
  assert.is(source.status().connected, false);
});

sessions("a closed source says goodbye while messages wait for it, and acknowledges none of them", async () => {
  await begin();
  await ready();
  ingest.answers.push(false);
  broker.send(publish(1, "a"), publish(2, "b"), publish(3, "c".repeat(200_000)));
  await eventually(() => assert.equal(payloads(), ["a"]));
  source.stop();
  source.seal();
  source.committed();
  const began = performance.now();
  await source.close();
  assert.ok(performance.now() - began < 900, "it parts in order");
  await eventually(() => assert.is(broker.connections[0]!.at(-1)!.cmd, "disconnect"));
  assert.equal(acks(0), ["puback 1"]);
  assert.equal(payloads(), ["a"]);
});

const wrong = suite("broker: what is wrong", { timeoutMs: 60_000 });
wrong.after.each(end);

wrong("frames cut at any byte are the same messages", async () => {
  await begin({}, { answersPings: true });
  await ready();
  const stream = Buffer.concat([
    publishPacket("t/ü", "one", { qos: 1, id: 1 }),
    Buffer.from([0xd0, 0]),
    publishPacket("t/ü", "two", { qos: 2, id: 2 }),
    publishPacket("t", "x".repeat(130)),
    Buffer.from([0x62, 2, 0, 2]),
    publishPacket("t", ""),
  ]);
  broker.sockets[0]!.setNoDelay(true);
  for (let cut = 1; cut < stream.length; cut++) {
    const from = ingest.messages.length;
    const { reads } = source.status();
    broker.send(stream.subarray(0, cut));
    await eventually(() => assert.ok(source.status().reads > reads), { intervalMs: 1 });
    broker.send(stream.subarray(cut));
    await eventually(() => assert.is(ingest.messages.length, from + 4), { intervalMs: 1 });
    assert.equal(payloads().slice(from), ["one", "two", "x".repeat(130), ""], `cut at ${cut}`);
    commit(source);
  }
  await eventually(() => assert.is(sent(0, "puback"), stream.length - 1));
  await eventually(() => assert.is(sent(0, "pubcomp"), stream.length - 1));
  assert.is(broker.connections.length, 1);
});

wrong("a topic that is none costs the message, which is acknowledged and counted", async () => {
  await begin();
  await ready();
  broker.send(Buffer.from([0x32, 6, 0, 1, 0xff, 0, 9, 0x31]), publish(2, "after"));
  await eventually(() => assert.equal(payloads(), ["after"]));
  assert.equal(
    ingest.refused.map(({ reason, head }) => `${reason} ${head.toString()}`),
    ["topic_malformed 1"],
  );
  commit(source);
  await eventually(() => assert.equal(acks(0), ["puback 9", "puback 2"]));
});

wrong("a message too large is passed over, refused and acknowledged", async () => {
  await begin({ payloadBytesMax: 1000 });
  await ready();
  broker.send(publish(1, "y".repeat(3_000_000)), publish(2, "after"));
  await eventually(() => assert.equal(payloads(), ["after"]));
  assert.equal(
    ingest.refused.map(({ reason, topic, head }) => `${reason} ${topic} ${head.length}`),
    ["payload_too_large sensors/a/b/c 4096"],
  );
  commit(source);
  await eventually(() => assert.equal(acks(0), ["puback 1", "puback 2"]));
});

for (const [what, version, bytes, reason] of [
  ["an overlong length", 4, [0x30, 0xff, 0xff, 0xff, 0xff, 1], "frame_malformed"],
  ["a topic beyond the end", 4, [0x30, 3, 0, 9, 0x61], "frame_malformed"],
  ["packet id 0", 4, [0x32, 5, 0, 1, 0x61, 0, 0], "frame_malformed"],
  ["a client's packet", 4, [0x82, 6, 0, 1, 0, 1, 0x61, 0], "frame_malformed"],
  ["a control packet of 200 MiB", 4, [0x90, 0xff, 0xff, 0xff, 0x63], "payload_too_large"],
  ["a topic alias, which was not offered", 5, [0x30, 7, 0, 1, 0x61, 3, 0x23, 0, 1], "frame_malformed"],
] as const) {
  wrong(`${what} is counted, and the connection is made anew`, async () => {
    await begin({ protocolVersion: version }, { version });
    await ready();
    broker.send(Buffer.from(bytes));
    await eventually(() => assert.is(broker.connections.length, 2));
    assert.equal(
      ingest.refused.map((refused) => refused.reason),
      [reason],
    );
    assert.match(source.status().lastError ?? "", /reason 0x/);
    await ready();
    broker.send(publish(1, "after"));
    await eventually(() => assert.equal(payloads(), ["after"]));
  });
}

wrong("a message that ends its connection each time is not fetched in a tight loop", async () => {
  const poison = Buffer.from([0x30, 3, 0, 9, 0x61]);
  await begin({ reconnectFirstMs: 40 });
  const poisoning = setInterval(() => broker.send(poison), 5);
  try {
    await pause(1000);
  } finally {
    clearInterval(poisoning);
  }
  // 40 ms, doubled each time: 5 attempts take more than 600 ms of waiting.
  assert.ok(broker.connections.length <= 8, `${broker.connections.length} connections in a second`);
});

wrong("MQTT 5: a subscription identifier of an earlier client's session does no harm", async () => {
  await begin({ protocolVersion: 5 }, { version: 5 });
  await ready();
  broker.send(Buffer.from([0x30, 8, 0, 1, 0x61, 3, 0x0b, 0x80, 1, 0x31]));
  await eventually(() => assert.equal(payloads(), ["1"]));
});

wrong("a million distinct topics are taken", async () => {
  await begin();
  await ready();
  for (let i = 0; i < 1_000_000; i += 5000) {
    const frames = Array.from({ length: 5000 }, (_, k) => publishPacket(`once/${i + k}`, "1"));
    if (!broker.sockets[0]!.write(Buffer.concat(frames))) await new Promise((resolve) => setImmediate(resolve));
    ingest.messages.length = Math.min(ingest.messages.length, 1);
  }
  await eventually(() => assert.is(source.status().messages, 1_000_000), { timeoutMs: 40_000 });
  assert.is(broker.connections.length, 1);
});

const addresses = suite("broker: addresses");

addresses("of all forms are understood", () => {
  const parse = (text: string, wantsTls = false) => {
    const { host, port, isTls, username, password } = parseBrokerAddress(text, wantsTls);
    return `${host} ${port}${isTls ? " TLS" : ""}${username === undefined ? "" : ` ${username}:${password}`}`;
  };
  for (const [text, expected] of [
    ["mqtt://broker", "broker 1883"],
    ["mqtt://broker:1884", "broker 1884"],
    ["tcp://10.0.0.1:1884", "10.0.0.1 1884"],
    ["mqtts://broker.example", "broker.example 8883 TLS"],
    ["ssl://broker:443", "broker 443 TLS"],
    ["tls://broker/", "broker 8883 TLS"],
    ["mqtt://[::1]:1884", "::1 1884"],
    ["mqtt://Broker_1", "broker_1 1883"],
    ["mqtt://bücher.example", "xn--bcher-kva.example 1883"],
    ["mqtt://pump:ge%20heim@broker:1884/path", "broker 1884 pump:ge heim"],
    ["mqtt://pump@broker", "broker 1883 pump:undefined"],
  ] as const) {
    assert.is(parse(text), expected);
  }
  assert.is(parse("mqtt://broker", true), "broker 8883 TLS");
  for (const bad of ["broker:1883", "http://broker", "mqtt://", "mqtt://:1883", "mqtt://broker:99999", "mqtt://a b"]) {
    assert.throws(() => parse(bad), /write the address as mqtt/, bad);
  }
});

addresses("name the user where the options do not, and where they do", async () => {
  broker = await fakeBroker();
  source = createBrokerSource((ingest = recordingIngest()), {
    ...brokerOptions(`mqtt://pump:geheim@127.0.0.1:${broker.port}`),
    username: "somebody",
  });
  await source.start();
  await ready();
  const connect = broker.connections[0]![0] as { username?: string; password?: Buffer };
  assert.is(connect.username, "pump");
  assert.is(String(connect.password), "geheim");
  await end();
});

const openssl = spawnSync("openssl", ["version"]).status === 0;
if (!openssl) skipWith("broker: TLS", "there is no openssl to make certificates with; apt-get install -y openssl");
else {
  const tls = suite("broker: TLS", { timeoutMs: 20_000 });
  tls.after.each(end);

  tls(
    "with the broker's authority given, messages come and are acknowledged; without it, it says why not",
    async () => {
      const folder = tempFolder();
      const key = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-keyout",
        `${folder}/key.pem`,
      ];
      const subject = ["-subj", "/CN=broker", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"];
      const made = spawnSync("openssl", ["req", "-x509", ...key, "-out", `${folder}/cert.pem`, ...subject]);
      assert.is(made.status, 0, String(made.stderr));
      const material = { cert: readFileSync(join(folder, "cert.pem")), key: readFileSync(join(folder, "key.pem")) };
      await begin({ tls: { ca: join(folder, "cert.pem") }, scheme: "mqtts" }, { tls: material });
      await ready();
      const texts = Array.from({ length: 500 }, (_, i) => `${i} ${"x".repeat(i)}`);
      ingest.answers.push(...Array<boolean>(100).fill(true), false);
      broker.send(...texts.map((text, i) => publish(i + 1, text)));
      await eventually(() => assert.is(ingest.messages.length, 101));
      await pause(50);
      assert.is(ingest.messages.length, 101, "reading stops");
      commit(source);
      await eventually(() => assert.equal(payloads(), texts));
      commit(source);
      await eventually(() => assert.is(acks(0).length, 500));
      await end();
      const files = { ca: join(folder, "cert.pem"), cert: join(folder, "cert.pem"), key: join(folder, "key.pem") };
      // A certificate of one's own means TLS, whatever the scheme.
      await begin({ tls: files }, { tls: material });
      await ready();
      await end();
      await begin({ scheme: "mqtts" }, { tls: material });
      await eventually(() => assert.match(source.status().lastError ?? "", /self-signed|certificate/));
      assert.is(source.status().connected, false);
    },
  );
}
