import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { createDecoder } from "@weir/agent/decode/create-decoder";
import type { Decoder, DecodeSink, TopicMapping } from "@weir/agent/decode/decoder";
import { parseDecimal } from "@weir/agent/decode/number-text";
import { timeToMs } from "@weir/agent/decode/time";
import { newTopic, type Topic } from "@weir/agent/decode/topic";
import { VALUE_ABS_MAX } from "@weir/shared/model/reading";
import * as fc from "fast-check";
import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";

const RECEIVED_AT_MS = 1_700_000_999_000;
const TOPIC = "sensors/north/pump/temp";

const mapping = (changes: Partial<TopicMapping> = {}): TopicMapping => ({
  template: "sensors/{site}/{device}/{metric}",
  format: "auto",
  timeUnit: "auto",
  site: "",
  device: "",
  metric: "",
  ...changes,
});
/** A mapping whose topics name no metric. */
const keyed = (changes: Partial<TopicMapping> = {}): TopicMapping =>
  mapping({ template: "plant/{device}", site: "south", ...changes });

/** A sink that notes what it is told: readings as "name tsMs value", with * where stamped, refusals as "!reason". */
function recorder(seriesMax = Infinity): DecodeSink & { readonly told: string[]; readonly names: string[] } {
  const names: string[] = [];
  const told: string[] = [];
  return {
    told,
    names,
    resolve(site, device, metric) {
      const name = `${site}/${device}/${metric}`;
      const known = names.indexOf(name);
      if (known >= 0) return known;
      return names.length < seriesMax ? names.push(name) - 1 : -1;
    },
    push: (series, tsMs, value, stamped) =>
      void told.push(`${names[series]} ${tsMs} ${Object.is(value, -0) ? "-0" : value}${stamped ? "*" : ""}`),
    reject: (reason) => void told.push(`!${reason}`),
  };
}

/** Hands a decoder its messages one by one, with one Topic for each name. */
function feeder(
  decoder: Decoder,
  sink: DecodeSink,
): (name: string, payload: string | Uint8Array, atMs: number) => void {
  const topics = new Map<string, Topic>();
  return (name, payload, atMs) => {
    const topic = topics.get(name) ?? newTopic(name);
    topics.set(name, topic);
    const bytes = Buffer.from(payload);
    decoder(topic, bytes, 0, bytes.length, atMs, sink);
  };
}

/** What one payload becomes. */
function decode(payload: string | Uint8Array, options: { mapping?: TopicMapping; topic?: string } = {}): string[] {
  const sink = recorder();
  const feed = feeder(createDecoder([options.mapping ?? mapping()]), sink);
  feed(options.topic ?? TOPIC, payload, RECEIVED_AT_MS);
  return sink.told;
}

const numbers = suite("decode: plain numbers");

numbers("reads decimals and stamps them with the receive time", () => {
  for (const [text, value] of [
    ["23.5", 23.5],
    [" 23.5\r\n", 23.5],
    ["-0.25", -0.25],
    ["+7", 7],
    ["007.50", 7.5],
    ["5.", 5],
    [".5", 0.5],
    ["1e3", 1000],
    ["1.5E-3", 0.0015],
    ["-0", 0],
    ["0.1", 0.1],
    ["123456789012345678", 123456789012345680],
    ["4.9e-324", 5e-324],
  ] as const) {
    assert.equal(decode(text), [`north/pump/temp ${RECEIVED_AT_MS} ${value}*`], text);
  }
});

numbers("refuses what is no decimal", () => {
  for (const text of [
    "0x10",
    "1_000",
    "1,5",
    "abc",
    " ",
    "-",
    ".",
    "e5",
    "1e",
    "1e+",
    "12 13",
    "23.5C",
    "--1",
    "23\0",
    "٣",
  ]) {
    assert.equal(decode(text), ["!number_malformed"], text);
  }
  for (const text of ["NaN", "nan", "Infinity", "-inf", "1e999", "-1e400", "null"]) {
    assert.equal(decode(text), ["!not_finite"], text);
  }
});

numbers("refuses an empty payload, one too large, and a value out of range", () => {
  assert.equal(decode(""), ["!payload_empty"]);
  assert.equal(decode("1e300"), ["!value_out_of_range"]);
  assert.equal(decode(String(VALUE_ABS_MAX)), [`north/pump/temp ${RECEIVED_AT_MS} ${VALUE_ABS_MAX}*`]);
  const sink = recorder();
  const feed = feeder(createDecoder([mapping()], { payloadBytesMax: 4 }), sink);
  feed(TOPIC, "1234", RECEIVED_AT_MS);
  feed(TOPIC, "12345", RECEIVED_AT_MS);
  assert.equal(sink.told, [`north/pump/temp ${RECEIVED_AT_MS} 1234*`, "!payload_too_large"]);
});

/** The digits of a number with a point before the last `decimals` of them. */
function pointAt(digits: bigint, decimals: number): string {
  const text = String(digits)
    .replace("-", "")
    .padStart(decimals + 1, "0");
  return `${text.slice(0, text.length - decimals)}.${text.slice(text.length - decimals)}`;
}

numbers("rounds as Number() does, for any text a program prints", () => {
  const text = fc.oneof(
    fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
    fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e6, max: 1e6 }).map((value) => value.toFixed(6)),
    fc.tuple(fc.bigInt(-(10n ** 30n), 10n ** 30n), fc.integer({ min: -340, max: 310 })).map(([m, e]) => `${m}e${e}`),
    // What single precision looks like in double; digits and a point anywhere; the middle between two doubles, and near it.
    fc.float({ noNaN: true, noDefaultInfinity: true, min: -1000, max: 1000 }).map(String),
    fc.tuple(fc.bigInt(0n, 10n ** 20n), fc.nat(20)).map(([m, p]) => pointAt(m, p)),
    fc
      .tuple(fc.bigInt(2n ** 52n, 2n ** 54n), fc.constantFrom("5", "50", "49", "51", "25", "75"))
      .map((p) => p.join(".")),
    fc
      .tuple(fc.integer({ min: 0, max: 50 }), fc.nat(17), fc.bigInt(-3n, 3n))
      .map(([e, p, off]) => pointAt(2n ** BigInt(e) * 10n ** BigInt(p) + off, p)),
    fc.double({ noNaN: true, min: 1, max: 1e6 }).map((value) => (value * (1 + 2 ** -53)).toPrecision(18)),
  );
  fc.assert(
    fc.property(text, (spelled) => {
      const bytes = Buffer.from(spelled);
      assert.ok(Object.is(parseDecimal(bytes, 0, bytes.length), Number(spelled)), spelled);
    }),
    { numRuns: 10_000 },
  );
});

const json = suite("decode: JSON");

json("reads single readings, alone and in lists", () => {
  const at = 1_700_000_000_123;
  assert.equal(decode(`{"ts":${at},"value":23.5}`), [`north/pump/temp ${at} 23.5`]);
  assert.equal(decode(` {"t":${at},"v":-0}`), [`north/pump/temp ${at} 0`]);
  assert.equal(decode(`[{"ts":${at},"value":1},{"value":2},{"timestamp":${at},"v":3}]`), [
    `north/pump/temp ${at} 1`,
    `north/pump/temp ${RECEIVED_AT_MS} 2*`,
    `north/pump/temp ${at} 3`,
  ]);
  assert.equal(decode("23.5", { mapping: mapping({ format: "json" }) }), [`north/pump/temp ${RECEIVED_AT_MS} 23.5*`]);
});

json("names the metric by topic, mapping, or value, and by key", () => {
  const topic = "plant/pump";
  assert.equal(decode('{"value":1}', { mapping: keyed(), topic }), [`south/pump/value ${RECEIVED_AT_MS} 1*`]);
  assert.equal(decode('{"value":1}', { mapping: keyed({ metric: "rpm" }), topic }), [
    `south/pump/rpm ${RECEIVED_AT_MS} 1*`,
  ]);
  assert.equal(decode('{"ts":1700000000,"values":{"temp":1,"rpm":2},"value":3}', { mapping: keyed(), topic }), [
    "south/pump/value 1700000000000 3",
    "south/pump/temp 1700000000000 1",
    "south/pump/rpm 1700000000000 2",
  ]);
  assert.equal(decode('{"values":{"max":1}}'), [`north/pump/temp.max ${RECEIVED_AT_MS} 1*`]);
});

json("refuses readings one by one and keeps the others", () => {
  const message = '{"values":{"a":1,"b":null,"c":"2","d":true,"e":1e999,"f":1e300,"g":{},"":1,"x/y":1,"h":2}}';
  assert.equal(decode(message, { mapping: keyed(), topic: "plant/pump" }), [
    `south/pump/a ${RECEIVED_AT_MS} 1*`,
    "!not_finite",
    "!number_malformed",
    "!number_malformed",
    "!not_finite",
    "!value_out_of_range",
    "!number_malformed",
    "!name_invalid",
    "!name_invalid",
    `south/pump/h ${RECEIVED_AT_MS} 2*`,
  ]);
  assert.equal(decode('[{"value":1},7,{"ts":"soon","value":2},{"value":3}]'), [
    `north/pump/temp ${RECEIVED_AT_MS} 1*`,
    "!time_malformed",
    `north/pump/temp ${RECEIVED_AT_MS} 3*`,
    "!json_shape",
  ]);
});

json("refuses a message without any reading once", () => {
  for (const text of [
    "{}",
    "[]",
    "[[1],[2]]",
    "[1,2,3]",
    '{"values":{}}',
    '{"values":[1]}',
    '{"ts":1}',
    '[{"ts":1},{}]',
  ]) {
    assert.equal(decode(text), ["!json_shape"], text);
  }
  for (const text of ["{", "[1,]", '{"value":NaN}', "{'value':1}", '\ufeff{"value":1}', '{"value":01}']) {
    assert.equal(decode(text, { mapping: mapping({ format: "json" }) }), ["!json_malformed"], text);
  }
  assert.equal(decode(Buffer.from('{"values":{"\xff":1}}', "latin1")), ["!json_malformed"]);
  assert.equal(decode('"23.5"', { mapping: mapping({ format: "json" }) }), ["!number_malformed"]);
  assert.equal(decode("null", { mapping: mapping({ format: "json" }) }), ["!not_finite"]);
});

json("takes the last of members that come twice, as JSON.parse does", () => {
  assert.equal(decode('{"value":1,"value":2}'), [`north/pump/temp ${RECEIVED_AT_MS} 2*`]);
});

json("is not impressed by names of the prototype", () => {
  assert.equal(decode('{"__proto__":{"value":1}}'), ["!json_shape"]);
  assert.equal(decode('{"values":{"__proto__":1,"constructor":2}}', { mapping: keyed(), topic: "plant/pump" }), [
    `south/pump/__proto__ ${RECEIVED_AT_MS} 1*`,
    `south/pump/constructor ${RECEIVED_AT_MS} 2*`,
  ]);
  assert.equal(decode('{"__proto__":{"polluted":1},"value":{"toString":1}}'), ["!number_malformed"]);
  assert.is(({} as { polluted?: number }).polluted, undefined);
});

json("survives depth", () => {
  const deep = (count: number): string => "[".repeat(count) + "]".repeat(count);
  assert.equal(decode(deep(100_000)), ["!json_shape"]);
  assert.equal(decode("[".repeat(100_000)), ["!json_malformed"]);
  assert.equal(decode(`{"value":${'{"a":'.repeat(20_000)}1${"}".repeat(20_000)}}`), ["!number_malformed"]);
});

const times = suite("decode: times");

times("tells the unit by magnitude, or takes the one it is given", () => {
  for (const [time, unit, ms] of [
    [1_700_000_000, "auto", 1_700_000_000_000],
    [1_700_000_000_123, "auto", 1_700_000_000_123],
    [1_700_000_000_123_456, "auto", 1_700_000_000_123],
    [1_700_000_000_123_000_000, "auto", 1_700_000_000_123],
    [-1_700_000_000, "auto", -1_700_000_000_000],
    [1_700_000_000.123, "s", 1_700_000_000_123],
    [1_700_000_000.1239, "s", 1_700_000_000_123],
    [-0.0001, "s", -1],
    [1_700_000_000_123.999, "ms", 1_700_000_000_123],
    [-1.5, "ms", -2],
    [1_700_000_000_123_999, "us", 1_700_000_000_123],
    [1_700_000_000_123_000_000, "ns", 1_700_000_000_123],
    [5, "ms", 5],
  ] as const) {
    assert.is(timeToMs(time, unit), ms, `${time} ${unit}`);
  }
  assert.ok(Object.is(timeToMs(-0, "ms"), 0));
});

times("keeps every whole millisecond in every unit", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1_000_000_000_000, max: 4_000_000_000_000 }), (ms) => {
      assert.is(timeToMs(JSON.parse(`${ms}e-3`), "s"), ms);
      assert.is(timeToMs(ms, "ms"), ms);
      assert.is(timeToMs(JSON.parse(`${ms}000`), "us"), ms);
      assert.is(timeToMs(JSON.parse(`${ms}000000`), "ns"), ms);
      assert.is(timeToMs(new Date(ms).toISOString(), "s"), ms);
    }),
    { numRuns: 2000 },
  );
});

times("reads ISO 8601, without a zone as UTC whatever the machine's zone", () => {
  const ms = Date.UTC(2026, 10, 23, 10, 28, 20, 125);
  for (const text of [
    "2026-11-23T10:28:20.125Z",
    "2026-11-23T10:28:20.125",
    "2026-11-23 10:28:20,1259z",
    "2026-11-23T11:58:20.125+01:30",
    "2026-11-23T05:28:20.125-0500",
    "2026-11-23t12:28:20.125+02",
  ]) {
    assert.is(timeToMs(text, "auto"), ms, text);
  }
  assert.is(timeToMs("2026-11-23T10:28", "auto"), Date.UTC(2026, 10, 23, 10, 28));
  assert.is(timeToMs("2024-02-29T00:00:00Z", "auto"), Date.UTC(2024, 1, 29));
  assert.is(timeToMs("2016-12-31T23:59:60Z", "auto"), Date.UTC(2017, 0, 1));
  assert.is(timeToMs("1969-12-31T23:59:59.9999Z", "auto"), -1);
});

times("refuses what is no time", () => {
  for (const time of [
    null,
    true,
    "",
    "now",
    "1700000000",
    "2026-11-23",
    "2026-02-29T00:00:00Z",
    "2026-13-01T00:00:00Z",
    "2026-11-23T24:00:00Z",
    "2026-11-23T10:60:00Z",
    "2026-11-23T10:28:20.Z",
    "2026-11-23T10:28:20+1",
    "2026-11-23T10:28:20Zx",
    "23.11.2026 10:28:20",
    {},
    [],
    NaN,
    Infinity,
    1e300,
  ]) {
    assert.is.not(timeToMs(time, "ms"), timeToMs(time, "ms"), JSON.stringify(time));
  }
  assert.equal(
    decode('{"ts":null,"value":1}'),
    ["!time_malformed"],
    "null is there, so nothing is stamped in its place",
  );
  assert.equal(decode('{"ts":"x","values":{"a":1,"b":2}}'), ["!time_malformed", "!time_malformed"]);
});

const routes = suite("decode: topics");

routes("takes the first mapping that matches", () => {
  const sink = recorder();
  const feed = feeder(
    createDecoder([keyed({ template: "plant/{device}", metric: "a" }), keyed({ template: "{device}/#" })]),
    sink,
  );
  feed("plant/pump", "1", 1);
  feed("other/pump", "2", 2);
  feed("$SYS/uptime", "3", 3);
  assert.equal(sink.told, ["south/pump/a 1 1*", "south/other/value 2 2*", "!topic_unmapped"]);
});

routes("refuses names that cannot be a series", () => {
  assert.equal(decode("1", { topic: "sensors//pump/temp" }), ["!name_invalid"]);
  assert.equal(decode("1", { topic: "sensors/north/pump/te\u0001mp" }), ["!name_invalid"]);
  assert.equal(decode("1", { topic: `sensors/north/${"p".repeat(129)}/temp` }), ["!name_invalid"]);
  const long = JSON.stringify({ values: { ["k".repeat(125)]: 1 } });
  assert.equal(decode(long), ["!name_invalid"], "temp. and the key together are too long");
});

routes("wants a site and a device for every mapping", () => {
  assert.throws(() => createDecoder([mapping({ template: "a/{device}" })]), /no \{site\}/);
  assert.throws(() => createDecoder([mapping({ template: "a/{site}", device: "x/y" })]), /no \{device\}/);
  assert.throws(() => createDecoder([keyed({ metric: "a#" })]), /is no name/);
});

routes("registers no series for readings it refuses, and says when the dictionary is full", () => {
  const sink = recorder(1);
  const feed = feeder(createDecoder([mapping()]), sink);
  feed("sensors/a/b/c", "x", 1);
  feed("sensors/a/b/c", '{"ts":"x","value":1}', 1);
  assert.equal(sink.names, []);
  feed("sensors/a/b/c", "1", 1);
  feed("sensors/a/b/d", "1", 1);
  feed("sensors/a/b/d", '{"values":{"k":1}}', 1);
  assert.equal(sink.told.slice(2), ["a/b/c 1 1*", "!series_limit", "!series_limit"]);
});

routes("asks for the series of a topic once, also when other topics come between", () => {
  const sink = recorder();
  let asked = 0;
  const counting: DecodeSink = { ...sink, resolve: (...key) => (asked++, sink.resolve(...key)) };
  const feed = feeder(createDecoder([mapping()]), counting);
  for (let round = 0; round < 5; round++) {
    for (let device = 0; device < 100; device++) feed(`sensors/a/${device}/c`, "1", 1);
    feed("sensors/a/b/c", '{"values":{"x":1,"y":2}}', 1);
  }
  assert.is(asked, 102);
});

routes("decodes on, to the same series, when every message comes with a new Topic", () => {
  const sink = recorder();
  const decoder = createDecoder([mapping()]);
  const payload = Buffer.from("1");
  for (let i = 0; i < 1000; i++) decoder(newTopic(`sensors/a/${i % 50}/c`), payload, 0, 1, i, sink);
  assert.is(sink.told.length, 1000);
  assert.is(sink.names.length, 50);
  assert.is(sink.told[777], "a/27/c 777 1*");
});

routes("tries again when the dictionary was full", () => {
  const sink = recorder(0);
  let full = true;
  const filling: DecodeSink = { ...sink, resolve: () => (full ? -1 : 0) };
  const feed = feeder(createDecoder([keyed()]), filling);
  const messages = ["1", '{"value":1}', '{"values":{"a":1}}', '[{"value":1},{"values":{"b":2}}]'];
  for (const message of messages) feed("plant/pump", message, 1);
  assert.equal(sink.told.splice(0), Array(5).fill("!series_limit"));
  full = false;
  for (const message of [...messages, ...messages]) feed("plant/pump", message, 1);
  assert.is(sink.told.length, 10);
  assert.not.ok(sink.told.some((entry) => entry.startsWith("!")));
});

const flood = suite("decode: a topic a message", { timeoutMs: 60_000 });

/** Heap in use, in bytes, once all garbage is gone. */
function heapBytes(): number {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  collect();
  return process.memoryUsage().heapUsed;
}

flood("takes a million of them in steady time and without keeping anything of them", () => {
  const seriesMax = 1000;
  const names = new Map<string, number>();
  const counts = { pushed: 0, refused: 0 };
  const sink: DecodeSink = {
    resolve(site, device, metric) {
      const name = `${site}/${device}/${metric}`;
      const index = names.get(name) ?? (names.size < seriesMax ? names.size : -1);
      if (index === names.size) names.set(name, index);
      return index;
    },
    push: () => void counts.pushed++,
    reject: (reason) => void (reason === "series_limit" && counts.refused++),
  };
  const decoder = createDecoder([mapping()]);
  const payloads = ['{"ts":1700000000123,"value":23.5}', '{"ts":1700000000123,"values":{"a":1}}'].map((text) =>
    Buffer.from(text),
  );
  const run = (from: number, count: number): number => {
    const start = process.cpuUsage();
    for (let i = from; i < from + count; i++) {
      const payload = payloads[i & 1]!;
      decoder(newTopic(`sensors/north/device-${i}/temp`), payload, 0, payload.length, 1, sink);
    }
    const { user, system } = process.cpuUsage(start);
    return user + system;
  };
  run(0, 100_000);
  const before = heapBytes();
  const tenthsUs = Array.from({ length: 9 }, (_, tenth) => run((tenth + 1) * 100_000, 100_000));
  assert.equal(counts, { pushed: seriesMax, refused: 1_000_000 - seriesMax });
  assert.ok(heapBytes() - before < 2 ** 20, `${heapBytes() - before} bytes were kept`);
  // About equal; a machine busy with other things is given room.
  const [first, last] = [Math.min(...tenthsUs.slice(0, 3)), Math.min(...tenthsUs.slice(-3))];
  assert.ok(last < 3 * first, `${first} us at first, ${last} us in the end for 100,000 messages`);
});

flood("keeps names of very long topics, not the topics", () => {
  const kept: string[] = [];
  const sink: DecodeSink = {
    resolve: (site, device, metric) => kept.push(site, device, metric) / 3 - 1,
    push: () => undefined,
    reject: (reason) => assert.unreachable(reason),
  };
  const decoder = createDecoder([mapping({ template: "{device}/#", site: "north" })]);
  const payload = Buffer.from("1");
  const before = heapBytes();
  for (let i = 0; i < 500; i++) {
    const name = Buffer.from(`a-device-with-a-name-${i}/${"x".repeat(60_000)}`).toString();
    decoder(newTopic(name), payload, 0, 1, 1, sink);
  }
  assert.is(kept.length, 1500);
  assert.ok(heapBytes() - before < 2 ** 20, `${heapBytes() - before} bytes were kept`);
});

const properties = suite("decode: any bytes");

properties("ends in at least one push or refusal, and never throws", () => {
  const text = fc.oneof(
    fc.json(),
    fc.json().map((value) => `{"ts":${value},"value":1}`),
    fc.json().map((value) => `{"ts":1,"value":${value}}`),
    fc.json().map((value) => `[{"values":{"a":${value},"b":1}}]`),
    fc.string({ unit: "binary" }),
  );
  const payload = fc.oneof(
    text.map((value) => Buffer.from(value)),
    fc.uint8Array(),
  );
  fc.assert(
    fc.property(payload, fc.constantFrom("auto", "json", "number"), (bytes, format) => {
      const told = decode(bytes, { mapping: mapping({ format }) });
      assert.ok(told.length >= 1);
      for (const entry of told) assert.not.match(entry, /NaN|Infinity|-0$|undefined/);
    }),
    { numRuns: 2000 },
  );
});
