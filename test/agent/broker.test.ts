import { connect as connectSocket, createServer, type AddressInfo, type Socket } from "node:net";
import { type BrokerOptions, createBrokerSource } from "@weir/agent/sources/broker";
import type { Source } from "@weir/agent/sources/source";
import mqtt, { type MqttClient } from "mqtt";
import mqttPacket from "mqtt-packet";
import * as assert from "uvu/assert";
import { eventually } from "../support/eventually.ts";
import { requireServer, startMosquitto, type TestServer } from "../support/servers.ts";
import { suite } from "../support/suite.ts";
import { brokerOptions as base, type FakeBroker, fakeBroker, brokerPublish as publish } from "./broker-fixture.ts";
import { commit, type RecordingIngest, recordingIngest } from "./listen-fixture.ts";

const options = suite("broker: options");

options("that cannot work are refused at start", async () => {
  const start = (changes: Partial<BrokerOptions>): Promise<void> =>
    createBrokerSource(recordingIngest(), { ...base("mqtt://127.0.0.1:1"), ...changes }).start();
  await rejects(start({ url: "http://x" }), "BROKER_OPTIONS");
  await rejects(start({ topics: [] }), "BROKER_OPTIONS");
  await rejects(start({ clientId: "" }), "BROKER_OPTIONS");
  await rejects(start({ connections: 2 }), "BROKER_OPTIONS");
  await rejects(start({ tls: { cert: "a.pem" } }), "TLS_FILES");
  await rejects(start({ tls: { ca: "/does/not/exist.pem" } }), "TLS_FILES");
});

const wire = suite("broker: acknowledgements on the wire", { timeoutMs: 20_000 });
let broker: FakeBroker;
let source: Source | undefined;
let ingest: RecordingIngest;

async function begin(changes: Partial<BrokerOptions> = {}, sessionPresent = true): Promise<void> {
  broker = await fakeBroker({ sessionPresent });
  ingest = recordingIngest();
  source = createBrokerSource(ingest, { ...base(`mqtt://127.0.0.1:${broker.port}`), ...changes });
  await source.start();
  await eventually(() => assert.ok(source!.status().connected));
}
const payloads = (): string[] => ingest.messages.map(({ payload }) => payload);
const acks = (connection: number): string[] =>
  broker.connections[connection]!.filter(({ cmd }) => cmd.startsWith("pub")).map(
    ({ cmd, messageId }) => `${cmd} ${messageId}`,
  );
const turns = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 60));

wire.after.each(async () => {
  source?.stop();
  await source?.close();
  source = undefined;
  await broker?.close();
});

wire("wait for the commit, and leave in order of receipt", async () => {
  await begin();
  broker.send(publish(3, "a"), publish(1, "b", 2), publish(0, "c", 0), publish(2, "d"));
  await eventually(() => assert.equal(payloads(), ["a", "b", "c", "d"]));
  await turns();
  assert.equal(acks(0), []);
  assert.is(source!.status().unacknowledged, 3);
  commit(source!);
  await eventually(() => assert.equal(acks(0), ["puback 3", "pubrec 1", "puback 2"]));
  broker.send({ cmd: "pubrel", messageId: 1 });
  await eventually(() => assert.equal(acks(0).slice(3), ["pubcomp 1"]));
  assert.is(ingest.messages.length, 4, "a QoS 2 message counts at its PUBLISH, once");
  assert.is(source!.status().unacknowledged, 0);
});

wire("of a lost connection are dropped", async () => {
  await begin();
  broker.send(publish(1, "a"), publish(2, "b", 2));
  await eventually(() => assert.is(ingest.messages.length, 2));
  broker.cut();
  await eventually(() => assert.ok(broker.connections.length === 2 && source!.status().connected));
  commit(source!);
  broker.send(publish(2, "b", 2), publish(5, "e"));
  await eventually(() => assert.equal(payloads(), ["a", "b", "e"], "a QoS 2 message in flight is not taken again"));
  commit(source!);
  await eventually(() => assert.equal(acks(1), ["pubrec 2", "puback 5"]));
});

wire("QoS 2 packet ids are free again when the broker has lost the session", async () => {
  await begin({}, false);
  broker.send(publish(2, "old", 2));
  await eventually(() => assert.is(ingest.messages.length, 1));
  broker.cut();
  await eventually(() => assert.ok(broker.connections.length === 2 && source!.status().connected));
  broker.send(publish(2, "new", 2));
  await eventually(() => assert.equal(payloads(), ["old", "new"]));
});

wire("back-pressure stops at the message that caused it, and the commit lets it go on", async () => {
  await begin();
  ingest.answers.push(true, false, true, false);
  broker.send(...["a", "b", "c", "d", "e"].map((payload, index) => publish(index + 1, payload)));
  await eventually(() => assert.equal(payloads(), ["a", "b"]));
  await turns();
  assert.equal(payloads(), ["a", "b"]);
  commit(source!);
  await eventually(() => assert.equal(payloads(), ["a", "b", "c", "d"]));
  await eventually(() => assert.equal(acks(0), ["puback 1", "puback 2"]));
  commit(source!);
  await eventually(() => assert.equal(payloads(), ["a", "b", "c", "d", "e"]));
  commit(source!);
  await eventually(() => assert.is(acks(0).length, 5));
});

wire(
  "a connection lost while its messages waited: nothing is acknowledged on the next that was not sent there",
  async () => {
    await begin({ connections: 2, sharedGroup: "weir" }, false);
    ingest.answers.push(false);
    broker.sendTo(0, publish(1, "a"), publish(2, "b"));
    await eventually(() => assert.equal(payloads(), ["a"]));
    broker.sendTo(1, publish(1, "held up"), publish(0, "QoS 0", 0));
    await turns();
    assert.equal(payloads(), ["a"]);
    broker.cut(1);
    await turns();
    commit(source!);
    await eventually(() => assert.is(broker.connections.length, 3));
    await eventually(() => assert.ok(source!.status().connected));
    assert.equal(payloads().sort(), ["QoS 0", "a", "b", "held up"]);
    commit(source!);
    await turns();
    assert.equal(acks(0), ["puback 1", "puback 2"]);
    assert.equal(acks(2), [], "packet id 1 is another message's there");
  },
);

wire("after stop() nothing more is taken, and what was taken is still acknowledged", async () => {
  await begin();
  broker.send(publish(1, "a"));
  await eventually(() => assert.is(ingest.messages.length, 1));
  source!.stop();
  broker.send(publish(2, "b"));
  await turns();
  commit(source!);
  await source!.close();
  assert.equal(payloads(), ["a"]);
  await eventually(() => assert.equal(acks(0), ["puback 1"]));
  assert.is(broker.connections[0]!.at(-1)!.cmd, "disconnect");
});

wire("a source that is closed while it looks for its broker stays closed", async () => {
  await begin();
  const { port } = broker;
  await source!.close();
  await broker.close();
  const lookers = Array.from({ length: 30 }, () =>
    createBrokerSource(recordingIngest(), { ...base(`mqtt://127.0.0.1:${port}`), reconnectFirstMs: 2 }),
  );
  await Promise.all(
    lookers.map(async (looker, index) => {
      await looker.start();
      await eventually(() => assert.match(looker.status().lastError ?? "", /ECONNREFUSED/));
      await new Promise((resolve) => setTimeout(resolve, index));
      looker.stop();
      await looker.close();
    }),
  );
  let calls = 0;
  const server = createServer((socket) => {
    calls++;
    socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  await new Promise((resolve) => setTimeout(resolve, 200));
  await new Promise<void>((resolve) => server.close(() => resolve()));
  assert.is(calls, 0);
});

wire("connecting again is tried until the broker is there", async () => {
  await begin();
  for (let i = 2; i < 5; i++) {
    broker.cut();
    await eventually(() => assert.is(broker.connections.length, i));
  }
  await eventually(() => assert.ok(source!.status().connected));
});

if (requireServer("mosquitto")) {
  const real = suite("broker: with mosquitto", { timeoutMs: 60_000 });
  let server: TestServer;
  let publisher: MqttClient;
  const sources: Source[] = [];

  async function open(into: RecordingIngest, changes: Partial<BrokerOptions> = {}): Promise<Source> {
    const opened = createBrokerSource(into, { ...base(server.url), ...changes });
    sources.push(opened);
    await opened.start();
    await eventually(() => assert.ok(opened.status().connected, opened.status().lastError ?? "not connected"));
    return opened;
  }
  const sendAll = (from: number, to: number, qos: 0 | 1 | 2 = 1): Promise<unknown> =>
    Promise.all(
      Array.from({ length: to - from }, (_, i) => publisher.publishAsync("sensors/a/b/c", String(from + i), { qos })),
    );
  const range = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, i) => String(from + i));

  real.before.each(async () => {
    server = await startMosquitto({ configLines: ["max_inflight_messages 0", "max_queued_messages 0"] });
    publisher = await mqtt.connectAsync(server.url, { clientId: "publisher" });
  });
  real.after.each(async () => {
    await publisher.endAsync(true);
    for (const opened of sources.splice(0)) {
      opened.stop();
      await opened.close();
    }
    await server.stop();
  });

  for (const protocolVersion of [4, 5] as const) {
    for (const qos of [1, 2] as const) {
      real(
        `MQTT ${protocolVersion}, QoS ${qos}: what was not committed comes again, in order; what was does not`,
        async () => {
          const path = await relay(server.port);
          const url = `mqtt://127.0.0.1:${path.port}`;
          try {
            const first = recordingIngest();
            const before = await open(first, { url, protocolVersion, qos });
            await sendAll(0, 100, qos);
            await eventually(() => assert.is(first.messages.length, 100));
            commit(before);
            await eventually(() => assert.is(path.count(qos === 1 ? "puback" : "pubcomp"), 100));
            await sendAll(100, 200, qos);
            await eventually(() => assert.is(first.messages.length, 200));
            await turns();
            assert.is(path.count(qos === 1 ? "puback" : "pubrec"), 100, "nothing is acknowledged before the commit");
            // As a crash would: cut off, with no chance to say a word.
            before.stop();
            path.cut();
            await before.close();
            await path.open();

            const second = recordingIngest();
            const after = await open(second, { url, protocolVersion, qos });
            await eventually(() =>
              assert.equal(
                second.messages.map(({ payload }) => payload),
                range(100, 200),
              ),
            );
            commit(after);
            await sendAll(200, 210, qos);
            await eventually(() =>
              assert.equal(
                second.messages.slice(100).map(({ payload }) => payload),
                range(200, 210),
              ),
            );
          } finally {
            await path.close();
          }
        },
      );
    }
  }

  real("several connections share a subscription, each message once", async () => {
    const into = recordingIngest();
    const opened = await open(into, { sharedGroup: "weir", connections: 3, protocolVersion: 5 });
    assert.is(opened.status().connections, 3);
    const committing = setInterval(() => commit(opened), 5);
    try {
      await sendAll(0, 3000);
      await eventually(() => assert.is(into.messages.length, 3000));
    } finally {
      clearInterval(committing);
    }
    assert.equal(
      into.messages.map(({ payload }) => Number(payload)).sort((a, b) => a - b),
      range(0, 3000).map(Number),
    );
  });

  real("comes back after the broker was restarted", async () => {
    const into = recordingIngest();
    const opened = await open(into, { protocolVersion: 5 });
    await server.restart();
    await eventually(() => assert.ok(opened.status().connected && publisher.connected));
    await sendAll(0, 10);
    await eventually(() => assert.is(into.messages.length, 10));
  });

  real("says why it is not connected", async () => {
    const refusing = createBrokerSource(recordingIngest(), { ...base("mqtt://127.0.0.1:1"), connections: 1 });
    sources.push(refusing);
    await refusing.start();
    await eventually(() => assert.match(refusing.status().lastError ?? "", /ECONNREFUSED/));
    assert.is(refusing.status().connected, false);
  });
}

/** A relay to a port that counts what the client sends by kind, and can cut the line. */
async function relay(target: number) {
  const counts = new Map<string, number>();
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    const upstream = connectSocket(target, "127.0.0.1");
    const parser = mqttPacket.parser({});
    parser.on("packet", ({ cmd }) => void counts.set(cmd, (counts.get(cmd) ?? 0) + 1));
    parser.on("error", () => {});
    socket.on("data", (chunk) => void parser.parse(Buffer.from(chunk)));
    for (const end of [socket, upstream]) {
      sockets.add(end);
      end.on("error", () => {});
      end.on("close", () => {
        socket.destroy();
        upstream.destroy();
        sockets.delete(end);
      });
    }
    socket.pipe(upstream).pipe(socket);
  });
  const listen = (port: number): Promise<void> => new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  await listen(0);
  const { port } = server.address() as AddressInfo;
  const cut = (): void => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  return {
    port,
    count: (cmd: string): number => counts.get(cmd) ?? 0,
    cut,
    open: () => listen(port),
    close: async () => {
      cut();
    },
  };
}

async function rejects(promise: Promise<unknown>, code: string): Promise<void> {
  const error = await promise.then(
    () => assert.unreachable(`should have failed with ${code}`),
    (reason: unknown) => reason,
  );
  assert.is((error as { code?: string }).code, code, String(error));
}
