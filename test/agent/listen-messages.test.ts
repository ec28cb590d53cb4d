import { AckBuffer, PUBACK, PUBREC } from "@weir/agent/sources/mqtt-acks";
import { MessageFlow } from "@weir/agent/sources/message-flow";
import { FrameReader } from "@weir/agent/sources/mqtt-frames";
import { type MessagePeer, type MessageSession, MqttMessages } from "@weir/agent/sources/mqtt-messages";
import * as fc from "fast-check";
import mqttPacket from "mqtt-packet";
import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";
import { publishPacket, recordingIngest } from "./listen-fixture.ts";

const LIMITS = {
  frameBytesMax: 1000,
  skipBytesMax: 1000,
  receiveMaximum: 65_535,
  topicAliasMax: 0,
  isFromServer: false,
};

/** A connection without a socket: what is fed to it, and the acknowledgements that it writes. */
function connection(flow: MessageFlow, session: MessageSession = { inFlight: null }) {
  const written: string[] = [];
  const peer: MessagePeer = {
    control: () => {
      throw new Error("no control packet was sent");
    },
    write(bytes) {
      for (let at = 0; at < bytes.length; at += 4) {
        const kind = { [PUBACK]: "puback", [PUBREC]: "pubrec" }[bytes[at]!] ?? "pubcomp";
        written.push(`${kind} ${bytes.readUInt16BE(at + 2)}`);
      }
    },
    malformed: () => assert.unreachable("nothing malformed was sent"),
    end: () => assert.unreachable("no rule was broken"),
    fault: (fault) => assert.unreachable(fault),
    resume: () => {},
  };
  const messages = new MqttMessages(flow, peer, LIMITS, session);
  const reader = new FrameReader(LIMITS, { bytes: 0, bytesMax: 1000 }, messages);
  messages.open(4);
  flow.port.turn();
  return { written, messages, feed: (frame: Buffer) => assert.is(reader.read(frame, 0, frame.length), frame.length) };
}

const acks = suite("listen: acknowledgements in two parts");

acks("are written at the commit after their seal, each once, in order of receipt", () => {
  const message = fc.record({ connection: fc.nat(2), id: fc.integer({ min: 1, max: 9 }) });
  fc.assert(
    fc.property(fc.array(fc.oneof(message, fc.constant("seal"), fc.constant("committed"))), (steps) => {
      const flow = new MessageFlow(recordingIngest(), "listen");
      const connections = [0, 1, 2].map(() => connection(flow));
      const open: string[][] = [[], [], []];
      const sealed: string[][] = [[], [], []];
      const written: string[][] = [[], [], []];
      let isUnderWay = false;
      for (const step of steps) {
        if (typeof step === "object") {
          connections[step.connection]!.feed(publishPacket("t", "1", { qos: 1, id: step.id }));
          open[step.connection]!.push(`puback ${step.id}`);
        } else if (step === "seal" && !isUnderWay) {
          flow.seal();
          isUnderWay = true;
          open.forEach((list, index) => sealed[index]!.push(...list.splice(0)));
        } else if (step === "committed" && isUnderWay) {
          flow.committed();
          isUnderWay = false;
          sealed.forEach((list, index) => written[index]!.push(...list.splice(0)));
        }
        assert.equal(
          connections.map((one) => one.written),
          written,
        );
        assert.is(flow.unacknowledged, [...open, ...sealed].flat().length);
      }
    }),
  );
});

acks("of QoS 2: what was accepted after the seal is not durable at its commit", () => {
  const ingest = recordingIngest();
  const flow = new MessageFlow(ingest, "listen");
  const { feed, written } = connection(flow);
  const [one, two] = [1, 2].map((id) => publishPacket("t", String(id), { qos: 2, id }));
  feed(one!);
  flow.seal();
  feed(two!);
  feed(one!);
  flow.committed();
  assert.equal(written, ["pubrec 1"]);
  feed(two!);
  assert.equal(written, ["pubrec 1"], "its PUBREC waits for the next commit");
  feed(one!);
  flow.seal();
  flow.committed();
  assert.equal(written, ["pubrec 1", "pubrec 2", "pubrec 1"], "durable, but not past the one that waited");
  feed(two!);
  assert.equal(written.slice(3), ["pubrec 2"], "durable and nothing waits: at once");
  assert.is(ingest.messages.length, 2);
});

acks("of QoS 2 by an earlier connection of the session come with the commit under way", () => {
  const ingest = recordingIngest();
  const flow = new MessageFlow(ingest, "broker");
  const session: MessageSession = { inFlight: null };
  const frame = publishPacket("t", "1", { qos: 2, id: 7 });
  const first = connection(flow, session);
  first.feed(frame);
  flow.seal();
  first.messages.close();
  const second = connection(flow, session);
  second.feed(frame);
  assert.equal(second.written, []);
  flow.committed();
  assert.equal(second.written, ["pubrec 7"], "no other seal may come for long");
  assert.equal(first.written, []);
  second.feed(mqttPacket.generate({ cmd: "pubrel", messageId: 7 }));
  second.feed(frame);
  assert.is(ingest.messages.length, 2, "after PUBREL it is another message");
});

acks("of QoS 2 by an earlier connection, not sealed yet, wait for their own commit", () => {
  const flow = new MessageFlow(recordingIngest(), "broker");
  const session: MessageSession = { inFlight: null };
  const frame = publishPacket("t", "1", { qos: 2, id: 7 });
  const first = connection(flow, session);
  flow.seal();
  first.feed(frame);
  first.messages.close();
  const second = connection(flow, session);
  second.feed(frame);
  flow.committed();
  assert.equal(second.written, []);
  flow.seal();
  flow.committed();
  assert.equal(second.written, ["pubrec 7"]);
});

acks("keep their order in a buffer that grows and is emptied in parts", () => {
  const buffer = new AckBuffer();
  const expected: number[] = [];
  const taken: number[] = [];
  for (let id = 1; id < 20_000; id++) {
    buffer.hold(PUBACK, id);
    expected.push(id);
    if (id % 7 === 0) buffer.seal();
    if (id % 61 !== 0) continue;
    const bytes = buffer.takeSealed();
    for (let at = 0; at < bytes.length; at += 4) taken.push(bytes.readUInt16BE(at + 2));
    assert.is(taken.length, id - (id % 7));
    assert.is(buffer.count, id % 7);
  }
  assert.equal(taken, expected.slice(0, taken.length));
});
