import { once } from "node:events";
import { connect, createServer, type AddressInfo } from "node:net";
import { Gather } from "@weir/agent/sources/gather";
import { lendReads } from "@weir/agent/sources/lent-reads";
import { createListenSource, type ListenOptions, type ListenSource } from "@weir/agent/sources/listen";
import { TOPICS_REMEMBERED } from "@weir/agent/sources/topic-table";
import type { Ingest } from "@weir/agent/sources/source";
import type { Packet } from "mqtt-packet";
import * as assert from "uvu/assert";
import { eventually } from "../support/eventually.ts";
import { suite } from "../support/suite.ts";
import {
  commit,
  publishPacket,
  rawClient,
  type RawClient,
  type RecordingIngest,
  recordingIngest,
} from "./listen-fixture.ts";

let ingest: RecordingIngest;
let source: ListenSource;
const raws: RawClient[] = [];

async function open(options: Partial<ListenOptions> = {}, into: Ingest = (ingest = recordingIngest())): Promise<void> {
  source = createListenSource(into, { host: "127.0.0.1", port: 0, anonymous: true, ...options });
  await source.start();
}
async function raw(clientId: string): Promise<RawClient> {
  const connected = await rawClient(source.address().port, 4, { clientId });
  raws.push(connected);
  return connected;
}
async function cleanUp(): Promise<void> {
  for (const one of raws.splice(0)) one.socket.destroy();
  source.stop();
  await source.close();
}
const payloads = (): string[] => ingest.messages.map(({ payload }) => payload);
const cmds = (packets: readonly Packet[]): string[] =>
  packets.map(({ cmd, messageId }) => `${cmd} ${messageId ?? ""}`.trim());
const took = (count: number): Promise<void> => eventually(() => assert.is(ingest.messages.length, count));
const turns = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 50));
const ping: Packet = { cmd: "pingreq" };

const commits = suite("listen: commits that run while messages come");
commits.before.each(() => open());
commits.after.each(cleanUp);

commits("acknowledge what came before their seal only", async () => {
  const device = await raw("device");
  device.send(publishPacket("t", "a", { qos: 1, id: 1 }));
  await took(1);
  source.seal();
  device.send(publishPacket("t", "b", { qos: 1, id: 2 }));
  await took(2);
  source.committed();
  await device.received(2);
  await turns();
  assert.equal(cmds(device.packets), ["connack", "puback 1"]);
  assert.is(source.status().unacknowledged, 1);
  source.seal();
  source.committed();
  await device.received(3);
  assert.equal(cmds(device.packets), ["connack", "puback 1", "puback 2"]);
});

commits("do not by themselves end back-pressure", async () => {
  const device = await raw("device");
  ingest.answers.push(false);
  device.send(publishPacket("t", "a", { qos: 1, id: 1 }), publishPacket("t", "b", { qos: 1, id: 2 }));
  await took(1);
  source.seal();
  source.committed();
  await device.received(2);
  await turns();
  assert.equal(payloads(), ["a"]);
  source.readOn();
  await took(2);
});

const shedding = suite("listen: no room for a while");
shedding.before.each(() => open());
shedding.after.each(cleanUp);

shedding("QoS 0 is counted as dropped, QoS 1 and 2 wait and come through, pings are answered meanwhile", async () => {
  const [zero, one, two] = [await raw("zero"), await raw("one"), await raw("two")];
  ingest.answers.push(false);
  zero.send(publishPacket("t", "first"), publishPacket("t", "in hand"));
  await took(1);
  await turns();
  assert.equal(ingest.dropped, []);
  source.shed();
  one.send(ping, publishPacket("t", "one 0"), publishPacket("t", "one 1", { qos: 1, id: 1 }), ping);
  two.send(publishPacket("t", "two 1", { qos: 2, id: 1 }), publishPacket("t", "two 0"));
  zero.send(publishPacket("t", "read"), ping);
  await eventually(() => assert.equal([...ingest.dropped].sort(), ["t in hand", "t one 0", "t read"]));
  await eventually(() => assert.equal(cmds(zero.packets), ["connack", "pingresp"]));
  await eventually(() => assert.equal(cmds(one.packets), ["connack", "pingresp"]));
  source.seal();
  source.committed();
  await turns();
  assert.equal(payloads(), ["first"], "what waits keeps its place, and what is behind it waits with it");
  assert.equal(cmds(two.packets), ["connack"]);
  source.readOn();
  await took(4);
  assert.equal(payloads().sort(), ["first", "one 1", "two 0", "two 1"]);
  commit(source);
  await eventually(() => assert.equal(cmds(one.packets).slice(2), ["pingresp", "puback 1"]));
  await eventually(() => assert.equal(cmds(two.packets).slice(1), ["pubrec 1"]));
  zero.send(publishPacket("t", "flows"));
  await took(5);
  assert.is(ingest.dropped.length, 3);
});

shedding(
  "clients may come and go meanwhile; a will is counted as dropped, one that waits is not given up",
  async () => {
    const waiting = await rawClient(source.address().port, 4, { keepalive: 1, clientId: "waiting" });
    raws.push(waiting);
    ingest.answers.push(false);
    waiting.send(publishPacket("t", "a", { qos: 1, id: 1 }));
    await took(1);
    const will = { topic: "will", payload: "gone", qos: 1, retain: false };
    const cut = await rawClient(source.address().port, 4, { clientId: "cut", will });
    source.shed();
    waiting.send(publishPacket("t", "b", { qos: 1, id: 2 }));
    cut.socket.destroy();
    await eventually(() => assert.equal(ingest.dropped, ["will gone"]));
    await new Promise((resolve) => setTimeout(resolve, 2600));
    assert.not.ok(waiting.closed);
    source.readOn();
    await took(2);
  },
);

shedding("what waits in hand is bounded for all connections together", async () => {
  await cleanUp();
  await open({ partialBytesMax: 50_000 });
  const devices = await Promise.all(["a", "b"].map(raw));
  ingest.answers.push(false);
  devices[0]!.send(publishPacket("t", "full", { qos: 1, id: 1 }));
  await took(1);
  source.shed();
  const frame = publishPacket("t", "x".repeat(29_900), { qos: 1, id: 1 });
  for (const device of devices) device.send(frame);
  await eventually(() => assert.is(source.status().counters.overBudget, 1));
  await eventually(() => assert.is(devices.filter(({ closed }) => closed).length, 1));
  source.readOn();
  await took(2);
  const left = devices.find(({ closed }) => !closed)!;
  for (let count = 3; count < 8; count++) {
    source.shed();
    left.send(frame);
    await turns();
    source.readOn();
    await took(count);
  }
  assert.is(source.status().counters.overBudget, 1, "what has been handled counts no more");
});

const cuts = suite("listen: frames cut by reads", { timeoutMs: 60_000 });
cuts.before.each(() => open());
cuts.after.each(cleanUp);

cuts("at any byte, packets of all kinds are the same messages", async () => {
  const device = await raw("device");
  const committing = setInterval(() => commit(source), 1);
  const stream = Buffer.concat([
    publishPacket("t/ü", "one", { qos: 1, id: 1 }),
    Buffer.from([0xc0, 0]),
    publishPacket("t/ü", "two", { qos: 2, id: 2 }),
    publishPacket("t", "x".repeat(130)),
    Buffer.from([0x62, 2, 0, 2]),
    publishPacket("t", ""),
  ]);
  device.socket.setNoDelay(true);
  try {
    for (let cut = 1; cut < stream.length; cut++) {
      const from = ingest.messages.length;
      const reads = source.status().reads;
      device.send(stream.subarray(0, cut));
      await eventually(() => assert.ok(source.status().reads > reads), { intervalMs: 1 });
      device.send(stream.subarray(cut));
      await eventually(() => assert.is(ingest.messages.length, from + 4), { intervalMs: 1 });
      assert.equal(payloads().slice(from), ["one", "two", "x".repeat(130), ""], `cut at ${cut}`);
    }
  } finally {
    clearInterval(committing);
  }
  await eventually(() => assert.is(device.packets.filter(({ cmd }) => cmd === "pubcomp").length, stream.length - 1));
  assert.is(source.status().lastError, null);
});

const flood = suite("listen: a topic for each message", { timeoutMs: 120_000 });
flood.after.each(cleanUp);

flood("a million distinct ones are taken, and the memory for them is bounded", async () => {
  const names = new Set<string>();
  let messages = 0;
  const into: Ingest = {
    open: () => ({
      turn() {},
      accept(topic, bytes, start, end) {
        assert.is(topic.name, `once/${bytes.toString("latin1", start, end)}`);
        if (messages++ % 1000 === 0) names.add(topic.name);
        return true;
      },
      drop: () => assert.unreachable(),
      refuse: () => assert.unreachable(),
    }),
  };
  await open({}, into);
  const device = await raw("device");
  const secondsOf: number[] = [];
  for (let part = 0; part < 4; part++) {
    const began = performance.now();
    for (let i = 0; i < 250_000; i += 5000) {
      const frames = Array.from({ length: 5000 }, (_, k) => qos0Frame(part * 250_000 + i + k));
      device.socket.write(Buffer.concat(frames));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await eventually(() => assert.is(messages, (part + 1) * 250_000), { timeoutMs: 30_000 });
    secondsOf.push((performance.now() - began) / 1000);
  }
  assert.is(names.size, 1000);
  assert.ok(TOPICS_REMEMBERED < 500_000, "the flood is larger than what is remembered");
  assert.ok(secondsOf[3]! < 4 * secondsOf[1]! + 1, `parts took ${secondsOf.map((s) => s.toFixed(2)).join(", ")} s`);
});

/** PUBLISH of a number to a topic of its own. */
function qos0Frame(n: number): Buffer {
  const payload = String(n);
  const topic = `once/${payload}`;
  const frame = Buffer.alloc(4 + topic.length + payload.length);
  frame[0] = 0x30;
  frame[1] = frame.length - 2;
  frame.writeUInt16BE(topic.length, 2);
  frame.write(topic + payload, 4, "latin1");
  return frame;
}

const lent = suite("listen: reads into a lent buffer");

lent("are what accepted sockets do on this Node, and the server knows of their end", async () => {
  const buffer = Buffer.alloc(1024);
  const taken: string[] = [];
  let ended = 0;
  const server = createServer({ pauseOnConnect: true }, (accepted) => {
    const socket = lendReads(accepted, buffer, (bytes, length) => {
      assert.is(bytes, buffer);
      taken.push(bytes.toString("latin1", 0, length));
      socket!.write("answer");
    });
    assert.ok(socket, "net.Server's sockets cannot be taken over on this Node");
    socket.on("data", () => assert.unreachable("it has a buffer of its own all the same"));
    socket.on("close", () => ended++);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const client = connect((server.address() as AddressInfo).port, "127.0.0.1", () => client.write("question"));
  const [answer] = (await once(client, "data")) as [Buffer];
  assert.is(answer.toString(), "answer");
  assert.equal(taken, ["question"]);
  const closed = new Promise((resolve) => server.close(resolve));
  client.end();
  await closed;
  await eventually(() => assert.is(ended, 1));
});

lent("are not tried on sockets that are made otherwise", async () => {
  const server = createServer(() => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const plain = connect((server.address() as AddressInfo).port, "127.0.0.1");
  await once(plain, "connect");
  /* oxlint-disable no-underscore-dangle -- the name is Node's. */
  const inside = plain as unknown as { _handle: unknown };
  const handle = inside._handle;
  inside._handle = { readStart() {} };
  assert.is(
    lendReads(plain, Buffer.alloc(10), () => {}),
    null,
  );
  inside._handle = handle;
  plain.destroy();
  await new Promise((resolve) => server.close(resolve));
});

const gathering = suite("listen: sockets that are ready gather");

/**
 * Plays sockets on which messages of 80 bytes arrive at a rate, for a while; resolves to the sleeps. sockets: messages
 * go to as many in turn, each of which is read when it has something.
 */
async function play(gather: Gather, messagesPerS: number, sockets: number, forMs: number): Promise<number> {
  const before = gather.sleeps;
  const began = performance.now();
  let read = 0;
  while (performance.now() - began < forMs) {
    const come = Math.floor(((performance.now() - began) / 1000) * messagesPerS);
    const ready = Math.min(come - read, sockets);
    for (let i = 0; i < ready; i++) gather.note(((come - read) / ready) * 80);
    read = come;
    await new Promise((resolve) => setImmediate(resolve));
  }
  return gather.sleeps - before;
}

gathering("under load, and no longer when it is over", async () => {
  const gather = new Gather(4);
  assert.ok((await play(gather, 50_000, 1, 1000)) > 30);
  await play(gather, 500, 1, 200);
  assert.is(await play(gather, 500, 1, 500), 0, "a lone publisher is not delayed");
});

gathering("not where reads are few, or large already", async () => {
  assert.is(await play(new Gather(4), 2000, 1, 500), 0);
  const gather = new Gather(4);
  for (let i = 0; i < 3000; i++) {
    gather.note(60_000);
    if (i % 5 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  assert.is(gather.sleeps, 0);
});

gathering("not where it brings nothing, because hardly any socket has more to read", async () => {
  const gather = new Gather(4);
  const tried = await play(gather, 50_000, 1_000_000, 500);
  assert.ok(tried < 40, `${tried} sleeps`);
  assert.is(await play(gather, 50_000, 1_000_000, 500), 0);
});

gathering("messages come through all the same", async () => {
  await open({ gather: new Gather(4) });
  const device = await raw("device");
  const frame = publishPacket("t", "23.5");
  for (let i = 0; i < 20_000; i++) {
    device.socket.write(frame);
    if (i % 5 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  await took(20_000);
  await cleanUp();
});
