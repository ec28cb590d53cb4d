import { type FrameFault, type FrameHandler, FrameReader, SKIP_HEAD_BYTES } from "@weir/agent/sources/mqtt-frames";
import { emptyPublishHead, readPublishHead } from "@weir/agent/sources/mqtt-publish";
import { decodeTopicName } from "@weir/agent/sources/topic-name";
import { filterTakes, isLocalFilter } from "@weir/agent/sources/topic-filter";
import * as fc from "fast-check";
import mqttPacket from "mqtt-packet";
import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";
import { publishPacket } from "./listen-fixture.ts";

const LIMITS = { frameBytesMax: 300, skipBytesMax: 200_000 };

/** Notes what a reader hands over; refuseEvery: so often a frame is not taken at first. */
function collector(refuseEvery = Infinity) {
  const seen: string[] = [];
  let calls = 0;
  let refused = false;
  const takes = (): boolean => {
    refused = !refused && ++calls % refuseEvery === 0;
    return !refused;
  };
  const handler: FrameHandler = {
    frame(bytes, start, bodyStart, end) {
      if (!takes()) return false;
      seen.push(`${bytes.toString("hex", start, end)}@${bodyStart - start}`);
      return true;
    },
    skipping(bytes, start, _, headEnd) {
      if (!takes()) return false;
      seen.push(`skipping ${headEnd - start} ${bytes.toString("hex", start, start + 8)}`);
      return true;
    },
    skipped: () => void seen.push("skipped"),
    fault: (fault) => void seen.push(`fault ${fault}`),
  };
  return { seen, handler };
}

function readAll(stream: Buffer, cuts: readonly number[], refuseEvery?: number, bytesMax = 1 << 20): string[] {
  const { seen, handler } = collector(refuseEvery);
  const budget = { bytes: 0, bytesMax };
  const reader = new FrameReader(LIMITS, budget, handler);
  const ends = [...new Set([...cuts, stream.length])].filter((cut) => cut <= stream.length).sort((a, b) => a - b);
  let start = 0;
  for (const end of ends) {
    // Lent: what the reader keeps it must copy.
    const lent = Buffer.concat([Buffer.alloc(3, 0xff), stream.subarray(start, end), Buffer.alloc(3, 0xff)]);
    let at = 3;
    do at = reader.read(lent, at, lent.length - 3);
    while (at < lent.length - 3 || reader.holds);
    lent.fill(0xff);
    start = end;
  }
  reader.close();
  assert.is(budget.bytes, 0, "every byte of the budget is given back");
  return seen;
}

const frames = suite("listen: frames");
const ping = mqttPacket.generate({ cmd: "pingreq" });
const small = publishPacket("a/b", "23.5", { qos: 1, id: 7 });
const medium = publishPacket("a/b", "x".repeat(200));
const large = publishPacket("a/b", "x".repeat(1000), { qos: 1, id: 8 });
const huge = publishPacket("a/b", "x".repeat(100_000));

frames("come out the same wherever the bytes are cut", () => {
  const stream = Buffer.concat([ping, small, medium, ping, large, small, ping]);
  const whole = readAll(stream, []);
  assert.is(whole.length, 8);
  assert.is(whole[0], `${ping.toString("hex")}@2`);
  for (let cut = 1; cut < stream.length; cut++) assert.equal(readAll(stream, [cut]), whole, `cut at ${cut}`);
  assert.equal(
    readAll(
      stream,
      Array.from({ length: stream.length }, (_, i) => i),
    ),
    whole,
    "byte by byte",
  );
});

frames("come out the same for any cuts and any refusals", () => {
  const frame = fc.constantFrom(ping, small, medium, large, huge);
  fc.assert(
    fc.property(
      fc.array(frame, { minLength: 1, maxLength: 12 }),
      fc.array(fc.nat(120_000), { maxLength: 20 }),
      fc.integer({ min: 1, max: 4 }),
      (list, cuts, refuseEvery) => {
        const stream = Buffer.concat(list);
        assert.equal(readAll(stream, cuts, refuseEvery), readAll(stream, []));
      },
    ),
    { numRuns: 300 },
  );
});

frames("of any length come out whole", () => {
  const lengths = [0, 1, 2, 125, 126, 127, 128, 129, 200, 16_381, 16_382, 16_383, 16_384, 16_385, 70_000];
  const list = lengths.map((length) => publishPacket("", Buffer.alloc(length, "x")));
  const { seen, handler } = collector();
  const reader = new FrameReader({ frameBytesMax: 1 << 20, skipBytesMax: 1 << 20 }, { bytes: 0, bytesMax: 0 }, handler);
  const stream = Buffer.concat(list);
  reader.read(stream, 0, stream.length);
  assert.equal(
    seen.map((frame) => frame.split("@")[0]),
    list.map((frame) => frame.toString("hex")),
  );
});

frames("a large PUBLISH is passed over with only its head held", () => {
  assert.equal(readAll(huge, []), [`skipping ${SKIP_HEAD_BYTES} ${huge.toString("hex", 0, 8)}`, "skipped"]);
  assert.equal(readAll(large, []), [`skipping ${large.length} ${large.toString("hex", 0, 8)}`, "skipped"]);
  const { handler } = collector();
  const budget = { bytes: 0, bytesMax: 1 << 20 };
  const reader = new FrameReader(LIMITS, budget, handler);
  let most = 0;
  for (let at = 0; at < huge.length; at += 1000) {
    reader.read(huge, at, Math.min(huge.length, at + 1000));
    most = Math.max(most, budget.bytes);
  }
  assert.ok(most <= 2 * SKIP_HEAD_BYTES, `${most} bytes were held`);
});

frames("faults end the reading", () => {
  const fault = (name: FrameFault): string[] => [`${ping.toString("hex")}@2`, `fault ${name}`];
  assert.equal(
    readAll(Buffer.concat([ping, Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 1]), ping]), []),
    fault("length_malformed"),
  );
  assert.equal(
    readAll(Buffer.concat([ping, Buffer.from([0x30, 0xff, 0xff, 0xff, 0x7f]), ping]), []),
    fault("too_large"),
  );
  assert.equal(readAll(Buffer.concat([ping, Buffer.from([0x82, 0xff, 0x7f, 0, 0]), ping]), []), fault("too_large"));
  assert.equal(
    readAll(Buffer.concat([ping, medium]), [100], undefined, 150),
    fault("over_budget").slice(0, 1).concat("fault over_budget"),
  );
});

frames("the claimed length of a frame reserves no memory", () => {
  const budget = { bytes: 0, bytesMax: 1 << 20 };
  const reader = new FrameReader({ frameBytesMax: 1 << 28, skipBytesMax: 1 << 28 }, budget, collector().handler);
  reader.read(Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f, 0]), 0, 6);
  assert.ok(budget.bytes <= 128, `${budget.bytes} bytes`);
});

const heads = suite("listen: PUBLISH");

/** What readPublishHead makes of a frame; null: malformed. */
function read(frame: Buffer, version5: boolean, end = frame.length, whole = true) {
  const head = emptyPublishHead();
  let bodyStart = 2;
  while (frame[bodyStart - 1]! >= 0x80) bodyStart++;
  if (!readPublishHead(frame, 0, bodyStart, end, version5, whole, head)) return null;
  const topic = frame.toString("utf8", head.topicStart, head.topicEnd);
  return {
    topic,
    qos: head.qos,
    id: head.packetId,
    alias: head.alias,
    payload: frame.toString("latin1", head.payloadStart, end),
  };
}

heads("reads what mqtt-packet writes", () => {
  const properties = fc.record(
    {
      payloadFormatIndicator: fc.boolean(),
      messageExpiryInterval: fc.integer({ min: 1, max: 2 ** 32 - 1 }),
      topicAlias: fc.integer({ min: 1, max: 65_535 }),
      responseTopic: fc.constantFrom("r", "r".repeat(200)),
      correlationData: fc.constant(Buffer.from([1, 2, 3])),
      contentType: fc.constant("t"),
      userProperties: fc.constant({ a: "b", c: "d" }),
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(
      fc.constantFrom<4 | 5>(4, 5),
      fc.constantFrom<0 | 1 | 2>(0, 1, 2),
      fc.integer({ min: 1, max: 65_535 }),
      fc.string({ minLength: 1, maxLength: 40 }),
      fc.string({ maxLength: 300 }),
      properties,
      (version, qos, id, topic, payload, given) => {
        const frame = publishPacket(topic, Buffer.from(payload, "latin1"), {
          qos,
          version,
          ...(qos > 0 ? { id } : {}),
          ...(version === 5 ? { properties: given } : {}),
        });
        assert.equal(read(frame, version === 5), {
          topic,
          qos,
          id: qos > 0 ? id : 0,
          alias: version === 5 ? (given.topicAlias ?? -1) : -1,
          payload: Buffer.from(payload, "latin1").toString("latin1"),
        });
      },
    ),
  );
});

heads("refuses malformed ones", () => {
  for (const [what, bytes, version5] of [
    ["QoS 3", [0x36, 5, 0, 1, 0x61, 0, 1], false],
    ["no topic", [0x30, 1, 0], false],
    ["topic beyond the end", [0x30, 3, 0, 9, 0x61], false],
    ["no packet id", [0x32, 3, 0, 1, 0x61], false],
    ["packet id 0", [0x32, 5, 0, 1, 0x61, 0, 0], false],
    ["no properties", [0x30, 3, 0, 1, 0x61], true],
    ["properties beyond the end", [0x30, 4, 0, 1, 0x61, 9], true],
    ["unknown property", [0x30, 6, 0, 1, 0x61, 2, 0x7e, 0], true],
    ["half a subscription identifier", [0x30, 6, 0, 1, 0x61, 2, 0x0b, 0x80], true],
    ["half an alias", [0x30, 6, 0, 1, 0x61, 2, 0x23, 0], true],
    ["two aliases", [0x30, 10, 0, 1, 0x61, 6, 0x23, 0, 1, 0x23, 0, 1], true],
    ["property running out", [0x30, 7, 0, 1, 0x61, 3, 0x03, 0, 9], true],
    ["overlong length", [0x30, 6, 0, 1, 0x61, 0x80, 0, 0x31], true],
  ] as const) {
    assert.is(read(Buffer.from(bytes), version5), null, what);
  }
});

heads("never reads beyond the frame", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 2, maxLength: 40 }),
      fc.boolean(),
      fc.boolean(),
      (bytes, version5, whole) => {
        const frame = Buffer.from([0x30 | (bytes[0]! & 0x0f), ...bytes]);
        const head = emptyPublishHead();
        if (!readPublishHead(frame, 0, 2, frame.length, version5, whole, head)) return;
        assert.ok(head.topicEnd <= head.payloadStart && head.payloadStart <= frame.length);
      },
    ),
    { numRuns: 3000 },
  );
});

const names = suite("listen: topic names and filters");

names("are refused when empty, not UTF-8, or with NUL or wildcards", () => {
  const decode = (bytes: Buffer): string | null => decodeTopicName(bytes, 0, bytes.length);
  assert.is(decode(Buffer.from("anlage/grün/℃")), "anlage/grün/℃");
  for (const bad of [[], [0x61, 0], [0x2b], [0x61, 0x23], [0xff], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xe2, 0x82]]) {
    assert.is(decode(Buffer.from(bad)), null, String(bad));
  }
});

names("only filters below weir/ are the agent's own", () => {
  for (const filter of ["weir/#", "weir", "weir/alerts/+/pump/#", "weir/+"]) assert.ok(isLocalFilter(filter), filter);
  for (const filter of [
    "#",
    "+/alerts",
    "weirs/#",
    "sensors/#",
    "weir/a#",
    "weir/#/b",
    "weir/a+",
    "$share/g/weir/#",
    "",
  ]) {
    assert.not.ok(isLocalFilter(filter), filter);
  }
});

names("filters take what MQTT says they take", () => {
  for (const [filter, topic, takes] of [
    ["weir/#", "weir/a/b", true],
    ["weir/#", "weir", true],
    ["weir/+", "weir/a", true],
    ["weir/+", "weir/a/b", false],
    ["weir/+", "weir", false],
    ["weir/a", "weir/a", true],
    ["weir/a", "weir/a/b", false],
    ["weir/+/b", "weir//b", true],
  ] as const) {
    assert.is(filterTakes(filter, topic), takes, `${filter} ${topic}`);
  }
});
