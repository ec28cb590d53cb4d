import { createDecoder } from "@weir/agent/decode/create-decoder";
import type { DecodeSink, TopicMapping } from "@weir/agent/decode/decoder";
import { decodeJson } from "@weir/agent/decode/json-readings";
import { scanJson } from "@weir/agent/decode/json-scan";
import { newTopic } from "@weir/agent/decode/topic";
import { createTopicRouter, type TopicRoute } from "@weir/agent/decode/topic-route";
import * as fc from "fast-check";
import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";

const RECEIVED_AT_MS = 1_700_000_999_000.25;
const TOPIC = "plant/pump";
const UNITS = ["auto", "s", "ms", "us", "ns"] as const;

const mapping = (timeUnit: TopicMapping["timeUnit"] = "auto"): TopicMapping => ({
  template: "plant/{device}",
  format: "json",
  timeUnit,
  site: "north",
  device: "",
  metric: "",
});

/** A sink that notes every call that matters, in order and to the bit. */
function recorder(seriesMax = Infinity): DecodeSink & { readonly told: string[] } {
  const names = new Map<string, number>();
  const told: string[] = [];
  return {
    told,
    resolve(site, device, metric) {
      const name = `${site}/${device}/${metric}`;
      const known = names.get(name);
      if (known !== undefined) return known;
      told.push(`registers ${name}`);
      if (names.size >= seriesMax) return -1;
      names.set(name, names.size);
      return names.size - 1;
    },
    push(series, tsMs, value, stamped) {
      for (const number of [series, tsMs, value]) assert.ok(Number.isFinite(number) && !Object.is(number, -0));
      told.push(`${series} ${tsMs} ${value} ${stamped}`);
    },
    reject: (reason) => void told.push(`!${reason}`),
  };
}

type Feed = (bytes: Buffer, start: number, end: number) => string[];

/** A decoder as it runs. */
function fast(unit: TopicMapping["timeUnit"], seriesMax?: number): Feed {
  const sink = recorder(seriesMax);
  const topic = newTopic(TOPIC);
  const decoder = createDecoder([mapping(unit)]);
  return (bytes, start, end) => {
    decoder(topic, bytes, start, end, RECEIVED_AT_MS, sink);
    return sink.told.splice(0);
  };
}

/** The same by JSON.parse alone. */
function slow(unit: TopicMapping["timeUnit"], seriesMax?: number): Feed {
  const sink = recorder(seriesMax);
  const route = routeOf(unit);
  return (bytes, start, end) => {
    if (start === end) sink.reject("payload_empty");
    else decodeJson(route, bytes, start, end, RECEIVED_AT_MS, sink);
    return sink.told.splice(0);
  };
}

function routeOf(unit: TopicMapping["timeUnit"] = "auto"): TopicRoute {
  const route = createTopicRouter([mapping(unit)])(TOPIC);
  if (typeof route === "string") throw new Error(route);
  return route;
}

/** Feeds all payloads, in turn and each twice, to both; what a route has learned from one must not tell in the next. */
function agree(
  payloads: readonly Buffer[],
  options: { unit?: TopicMapping["timeUnit"]; seriesMax?: number; around?: string } = {},
): void {
  const unit = options.unit ?? "auto";
  const one = fast(unit, options.seriesMax);
  const other = slow(unit, options.seriesMax);
  const around = Buffer.from(options.around ?? "");
  for (const payload of [...payloads, ...payloads]) {
    const bytes = Buffer.concat([around, payload, around]);
    const range = [around.length, around.length + payload.length] as const;
    assert.equal(one(bytes, ...range), other(bytes, ...range), `${unit} ${JSON.stringify(payload.toString("latin1"))}`);
  }
}

/** True when the scanner takes a payload by itself, once the route has had its keys. */
function isScanned(payload: string | Buffer): boolean {
  const route = routeOf();
  const bytes = Buffer.from(payload);
  const sink = recorder();
  decodeJson(route, bytes, 0, bytes.length, RECEIVED_AT_MS, sink);
  const expected = sink.told.splice(0).filter((entry) => !entry.startsWith("registers"));
  const scanned = scanJson(route, bytes, 0, bytes.length, RECEIVED_AT_MS, sink);
  assert.equal(sink.told, scanned ? expected : [], bytes.toString());
  return scanned;
}

const shapes = suite("decode: scanned shapes");

shapes("takes what devices usually send", () => {
  for (const text of [
    '{"ts":1700000000123,"value":23.5}',
    '{"value":-0.5,"timestamp":1700000000}',
    ' { "time" : 1700000000123456 ,\r\n\t"v" : 1e-3 } \n',
    '{"t":1700000000123456789,"v":-0}',
    '{"value":23.399999618530273}',
    '{"ts":1700000000.123,"value":0}',
    '{"ts":"2026-11-23T10:28:20.125Z","value":1}',
    '{"ts":"2024-02-29T23:59:59+05:30","value":1}',
    '{"ts":1700000000123,"value":23.5,"unit":"°C","quality":192,"ok":true,"note":null,"":"}"}',
    '{"meta":{"ts":1,"value":[1,"x",{},[],[true,null]],"meta" : { "fw" : "1.2" } },"value":23.5,"tags":[]}',
    '[{"ts":1700000000123,"value":1},{"value":2}, {"ts":1700000000124,"values":{"temp":1,"rpm":2}}]',
    '{"ts":1700000000123,"values":{"temp":1.5,"rpm":1200}}',
    '{"values":{"Öltemperatur":80,"__proto__":1,"constructor":2,"a.b":3, "x" : 4},"ts":-1700000000}',
  ]) {
    assert.ok(isScanned(text), text);
  }
});

shapes("leaves what it might get wrong to JSON.parse", () => {
  for (const text of [
    '{"ts":1700000000123,"value":1e999}',
    '{"\\u0074s":1700000000123,"value":1}',
    '{"value":1,"value":2}',
    '{"value":1,"v":2}',
    '{"ts":1,"t":2,"value":1}',
    '{"values":{"1":1,"0":2}}',
    '{"values":{"a":1,"b":2,"a":3}}',
    '{"value":1,"values":{"a":1}}',
    '{"value":1,"note":"a\\"b"}',
    '{"value":1,"more":{"a":{"b":{"c":{"d":{}}}}}}',
    '{"ts":null,"value":1}',
    '{"ts":"2016-12-31T23:59:60Z","value":1}',
    "{}",
    "[]",
    "23.5",
  ]) {
    assert.not.ok(isScanned(text), text);
  }
});

shapes("takes the keys of a device that changes their order or sends some of them", () => {
  const route = routeOf();
  const sink = recorder();
  const feed = (text: string): boolean => {
    const bytes = Buffer.from(text);
    if (scanJson(route, bytes, 0, bytes.length, RECEIVED_AT_MS, sink)) return true;
    decodeJson(route, bytes, 0, bytes.length, RECEIVED_AT_MS, sink);
    return false;
  };
  assert.not.ok(feed('{"ts":1700000000123,"values":{"a":1,"b":2,"ab":3}}'));
  sink.told.length = 0;
  for (const order of [["ab"], ["b", "a"], ["a", "b", "ab"], ["ab", "b", "a"], ["a", "ab"], ["b", "a"]]) {
    const values = order.map((key) => `"${key}":7`).join(",");
    assert.ok(feed(`{"ts":1700000000123,"values":{${values}}}`), values);
    const series = order.map((key) => ["a", "b", "ab"].indexOf(key));
    assert.equal(
      sink.told.splice(0),
      series.map((index) => `${index} 1700000000123 7 false`),
    );
  }
});

const corpus = suite("decode: scanner and JSON.parse agree");

const NUMBERS: readonly string[] = [
  ..."0 -0 1 -1 23.5 0.1 -0.0 1e3 1E+3 1e-3 1.5e-7 0e0 0e999999 1e999 -1e999 1e-999 -1e-999 1e308 1e289 9.8e288".split(
    " ",
  ),
  ..."123456789 1234567890 999999999.9 12345678.9 123456789.1 0.123456789 0.000000001 1.0000000000".split(" "),
  ..."9007199254740991 9007199254740992 9007199254740993 9007199254740995 -9007199254740993".split(" "),
  ..."12345678901234567 123456789012345678901234567890 0.30000000000000004 23.399999618530273".split(" "),
  ..."5e-324 2.4703282292062327e-324 2.4703282292062328e-324 1.7976931348623159e308 4.9e-324".split(" "),
  ..."9.007199254740993e15 900719925474099.3 90071992547409.93 9007199254740993e-2 1e22 1e23 8.5e22 3e-22 3e-23".split(
    " ",
  ),
  ..."01 00 -01 +1 .5 1. -.5 1.e3 1e 1e+ - -- 1.5.5 0x10 1_0 NaN Infinity -Infinity nan 1e5.5 1-1 0-1 ٣".split(" "),
];
const TIMES: readonly string[] = [
  ..."1700000000 1700000000.123 1700000000123 1700000000123.999 1700000000123456 1700000000123456789".split(" "),
  ..."99999999999 100000000000 99999999999999 100000000000000 99999999999999999 100000000000000000".split(" "),
  ..."8640000000000000 8640000000000001 -8640000000000000 8.64e15 8.64e18 8.64e21 8640000000001 0 -0 -1 0.0005 -0.0001".split(
    " ",
  ),
  ..."999999999999 1000000000000 9999999999999 0999999999999 01700000000123 1700000000123e0 1.700000000123e12".split(
    " ",
  ),
  ..."4611686018427387903 4611686019000000000 9223372036854775807 18446744073709551615 1e300 1e999".split(" "),
  '"2026-11-23T10:28:20.125Z"',
  '"2026-11-23T10:28:20Z"',
  '"2026-11-23T10:28:20.1234567891Z"',
  '"2026-11-23 10:28:20Z"',
  '"2026-02-29T00:00:00Z"',
  '"2024-02-29T00:00:00Z"',
  '"1900-02-29T00:00:00Z"',
  '"2000-02-29T00:00:00Z"',
  '"2016-12-31T23:59:60Z"',
  '"2026-11-23T24:00:00Z"',
  '"2026-11-23T10:28:20.Z"',
  '"2026-11-23T10:28"',
  '"20xx-11-23T10:28:20Z"',
  '"0999-01-01T00:00:00Z"',
  '"1000-01-01T00:00:00Z"',
  '"9999-12-31T23:59:59.999Z"',
  '"0001-01-01T00:00:00Z"',
  '"2026-11-23T10:28:20+14:00"',
  '"2026-11-23T10:28:20-00:30"',
  '"2026-11-23T10:28:20+24:00"',
  '"2026-11-23T10:28:20+0100"',
  '"1700000000123"',
  "null",
  "true",
  "{}",
  "[]",
  '""',
  '"2026-11-23T10:28:20.125Z',
  '"2026-11-23T10:28:20.125\\u005a"',
];
const NASTY: readonly string[] = [
  "",
  " ",
  "\0",
  "{",
  "}",
  "[",
  "]",
  "[}",
  "{]",
  '"',
  "{}",
  "[]",
  "[{}]",
  "[[]]",
  "[,]",
  "{,}",
  "null",
  '{"value":1',
  '{"value":1]',
  '[{"value":1}',
  '[{"value":1}}',
  '[{"value":1},]',
  '[,{"value":1}]',
  '[{"value":1} {"value":2}]',
  '[{"value":1},7]',
  '[{"value":1},[{"value":2}]]',
  '{"value":1}}',
  '{"value":1}{"value":2}',
  '{"value":1} x',
  '{"value":1}\0',
  '\0{"value":1}',
  '{"value":1,}',
  '{,"value":1}',
  '{"value" 1}',
  '{"value"::1}',
  "{value:1}",
  "{'value':1}",
  '{"value":1 "ts":2}',
  '{"value":"1"}',
  '{"value":null}',
  '{"value":true}',
  '{"value":{}}',
  '{"value":[1]}',
  '{"ts":1,"ts":2,"value":3}',
  '{"ts":1,"timestamp":2,"value":3}',
  '{"t":1,"time":2,"value":3}',
  '{"ts":1,"value":3,"ts":2}',
  '{"value":1,"value":2}',
  '{"value":1,"v":2}',
  '{"v":1,"value":2}',
  '{"v":1,"v":"x"}',
  '{"\\u0074s":1700000000123,"value":1}',
  '{"ts":1700000000,"\\u0074s":1700000001,"value":1}',
  '{"valu\\u0065":1,"value":2}',
  '{"value":1,"valu\\u0065":2}',
  '{"value":1,"\\u0076":2}',
  '{"__proto__":{"value":1}}',
  '{"__proto__":1,"value":1}',
  '{"__proto__":null,"value":1,"ts":1700000000}',
  '{"__proto__":"x","toString":1,"value":1}',
  '\ufeff{"value":1}',
  '{"value":\ufeff1}',
  '{"value":\u00a01}',
  '{"value":1\u000b}',
  '{"tss":1,"value":1}',
  '{"Ts":1,"value":1}',
  '{"ts ":1,"value":1}',
  '{"timestam":1,"value":1}',
  '{"timestamps":1,"value":1}',
  '{"tim":1,"times":2,"value":1}',
  '{"va":1}',
  '{"values":1}',
  '{"values":[1]}',
  '{"values":null,"value":1}',
  '{"values":{}}',
  '{"values":{},"value":1}',
  '{"values":{"a":1},"value":2}',
  '{"value":2,"values":{"a":1}}',
  '{"values":{"a":1},"values":{"b":2}}',
  '{"values":{"a":1,"a":2}}',
  '{"values":{"a":1,"b":2,"a":3}}',
  '{"values":{"b":1,"a":2,"1":3,"0":4,"01":5,"-1":6,"4294967295":7,"4294967294":8}}',
  '{"values":{"__proto__":1,"b":2}}',
  '{"values":{"b":1,"__proto__":2,"__proto__":3}}',
  '{"values":{"constructor":1,"hasOwnProperty":2}}',
  '{"values":{"a":1,"b":null,"c":2}}',
  '{"values":{"a":1,"b":{"c":2}}}',
  '{"values":{"a":1,"":2}}',
  '{"values":{"a/b":1,"c":2}}',
  '{"values":{"a\\u0062":1}}',
  '{"values":{"ab":1}}',
  '{"values":{"a\\"b":1}}',
  '{"values":{"a\\\\b":1}}',
  '{"values":{"a":1,"ab":2,"abc":3}}',
  '{"values":{"abc":1,"ab":2,"a":3}}',
  '{"values":{"é":1,"\\u00e9":2}}',
  '{"values":{"\\ud83d\\ude00":1,"😀":2}}',
  '{"values":{"\\ud800":1}}',
  '{"values":{"\ufffd":1}}',
  '{"values":{"a":1}',
  '{"values":{"a":1}]',
  '[{"values":{"a":1}]',
  '[{"values":{"a":1}}}',
  '{"values":{"a":1,}}',
  '{"values":{"a" :\t1 ,\n"b": 2 } }',
  '{"values":{"a":1},"ts":1700000000123}',
  '[{"values":{"a":1},"ts":1700000000123},{"values":{"b":1}},{"value":7,"ts":"x"}]',
  '{"value":1,"unit":"\u0001"}',
  '{"value":1,"unit":"a\nb"}',
  '{"value":1,"unit":"\\x"}',
  '{"value":1,"unit":"}"}',
  '{"value":1,"unit":"}',
  '{"value":1,"unit":"°C","other":"日本 😀 \ufffd"}',
  '{"value":1,"a":tru}',
  '{"value":1,"a":true1}',
  '{"value":1,"a":nulll}',
  '{"value":1,"a":01}',
  '{"value":1,"a":-}',
  '{"value":1,"a":}',
  '{"value":1,"a"}',
  '{"value":1,"a":1e999}',
  '{"value":1,"a":[[[[]]]]}',
  '{"value":1,"a":[[[[[]]]]]}',
  '{"value":1,"a":[1,]}',
  '{"value":1,"a":[,1]}',
  '{"value":1,"a":[1 2]}',
  '{"value":1,"a":[1}',
  '{"value":1,"a":{"b":1]}',
  '{"value":1,"a":{"b"}}',
  '{"value":1,"a":{"b":1,}}',
  '{"value":1,"a":{1:1}}',
  '{"value":1,"a":{"b":1}',
  '{"value":1,"a":[1]',
  '{"a":{"value":2},"value":1}',
  '{"a":[{"value":2}]}',
  '{"a":{"\\u0076":2,"v":3},"v":1}',
];
const INVALID_UTF8: readonly string[] = [
  ..."\x80 \xbf \xc0\x80 \xc1\xbf \xc2 \xc2\xc2 \xe0\x80\x80 \xe0\x9f\xbf \xed\xa0\x80 \xed\xbf\xbf \xef\xbf".split(
    " ",
  ),
  ..."\xf0\x80\x80\x80 \xf0\x8f\xbf\xbf \xf4\x90\x80\x80 \xf5\x80\x80\x80 \xff \xfe \xe2\x82 \xf0\x9f\x98".split(" "),
  ..."\xc2\x80 \xdf\xbf \xe0\xa0\x80 \xed\x9f\xbf \xee\x80\x80 \xef\xbf\xbd \xf0\x90\x80\x80 \xf4\x8f\xbf\xbf".split(
    " ",
  ),
];
const AROUND: readonly string[] = ["", "}", "]", "}]", "1", ',{"value":1}]', '"', " ", '":1}', "5e3}"];

const buffers = (texts: readonly string[]): Buffer[] => texts.map((text) => Buffer.from(text));

corpus("on numbers of every kind, as values, times, members passed over and keyed values", () => {
  for (const unit of UNITS) {
    agree(buffers(NUMBERS.map((number) => `{"ts":1700000000123,"value":${number}}`)), { unit });
    agree(buffers([...TIMES, ...NUMBERS].map((time) => `{"ts":${time},"value":1}`)), { unit });
    agree(buffers(TIMES.map((time) => `{"values":{"a":1,"b":2},"time":${time} }`)), { unit });
  }
  agree(buffers(NUMBERS.map((number) => `{"value":1,"other":${number}}`)));
  agree(buffers(NUMBERS.map((number) => `{"values":{"a":${number},"b":${number}\n}}`)));
  agree(buffers([...NUMBERS, ...TIMES]));
});

corpus("on payloads that look like readings and aren't, whatever bytes stand around them", () => {
  for (const around of AROUND) agree(buffers(NASTY), { around });
  for (const seriesMax of [0, 1, 2]) agree(buffers(NASTY), { seriesMax });
});

corpus("on UTF-8 at its limits and beyond, in texts, keys and names", () => {
  const payloads = INVALID_UTF8.flatMap((text) => [
    `{"value":1,"unit":"${text}"}`,
    `{"value":1,"${text}":1}`,
    `{"values":{"a${text}":1}}`,
    `{"value":1,"unit":"${text}`,
    `{"value":1${text}}`,
  ]);
  agree(payloads.map((text) => Buffer.from(text, "latin1")));
});

corpus("on every prefix of a message, and on every byte of it changed", () => {
  for (const text of [
    '[{"ts":1700000000123,"value":23.5,"unit":"°C"},{"t":"2026-11-23T10:28:20.125+01:00","values":{"a":-1.5e3,"bc":0}}]',
    ' { "timestamp" : 1700000000 , "values" : { "temp" : 1.25 , "rpm" : 1200 } , "ok" : false } ',
  ]) {
    const whole = Buffer.from(text);
    agree(Array.from(whole, (_, length) => whole.subarray(0, length)));
    for (const byte of Buffer.from('\0\t "+-.,0:19E[]\\e{}\x7f\xc2\xff', "latin1")) {
      agree([whole, ...Array.from(whole, (_, at) => whole.map((old, i) => (i === at ? byte : old)) as Buffer)]);
    }
  }
});

corpus("on depth, and on messages of very many readings", () => {
  const deep = (open: string, close: string, count: number): string => open.repeat(count) + close.repeat(count);
  agree(
    buffers([
      "[".repeat(100_000),
      deep("[", "]", 100_000),
      `{"value":1,"a":${deep("[", "]", 50_000)}}`,
      `{"values":${'{"a":'.repeat(20_000)}1${"}".repeat(20_001)}`,
      `[${'{"v":1},'.repeat(20_000)}{"v":2}]`,
      `{"values":{${Array.from({ length: 300 }, (_, i) => `"k${i}":${i}`).join(",")}}}`,
    ]),
  );
});

const spaces = fc.oneof(
  { weight: 100, arbitrary: fc.constantFrom("", "", "", "", " ", "\n\t", "\r") },
  { weight: 1, arbitrary: fc.constantFrom("\u00a0", "\0", "\f") },
);
const mostly = <T>(usually: fc.Arbitrary<T>, rarely: fc.Arbitrary<T>): fc.Arbitrary<T> =>
  fc.oneof({ weight: 15, arbitrary: usually }, { weight: 1, arbitrary: rarely });
const numberText = mostly(
  fc.oneof(
    fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e6, max: 1e6 }).map(String),
    fc.tuple(fc.integer({ min: -2e9, max: 2e9 }), fc.nat(12)).map(([n, d]) => (n / 1e3).toFixed(d)),
    fc.tuple(fc.bigInt(0n, 10n ** 20n), fc.nat(20)).map(([n, d]) =>
      String(n)
        .replace(new RegExp(`(\\d{1,${d + 1}})$`), ".$1")
        .replace(/^\./, "0."),
    ),
    fc.tuple(fc.bigInt(-(10n ** 19n), 10n ** 19n), fc.integer({ min: -60, max: 60 })).map(([m, e]) => `${m}e${e}`),
  ),
  fc.constantFrom(...NUMBERS),
);
const timeText = mostly(
  fc.oneof(
    fc.integer({ min: 1, max: 4e12 }).map(String),
    fc.bigInt(-(10n ** 19n), 10n ** 19n).map(String),
    fc.date({ noInvalidDate: true, min: new Date(-6e13), max: new Date(2.6e14) }).map((date) => JSON.stringify(date)),
  ),
  fc.constantFrom(...TIMES),
);
const otherText = fc.oneof(
  fc.constantFrom("true", "false", "null", '"x"', '"°C"', '"\\n"', "{}", "[ 1 ]"),
  numberText,
  fc.json({ maxDepth: 5 }),
);
const spaced = (parts: readonly string[], gaps: readonly string[]): string =>
  parts.map((part, i) => part + (gaps[i % gaps.length] ?? "")).join("");
const gaps = fc.array(spaces, { maxLength: 5 });
const commas = (list: readonly string[][]): string[] => list.flatMap((parts, i) => (i === 0 ? parts : [",", ...parts]));
const keyed = fc.tuple(
  mostly(fc.constantFrom("a", "b", "ab", "temp", "rpm", "é"), fc.constantFrom("0", "7", "__proto__", "x/y")),
  numberText,
);
const values = mostly(
  fc.uniqueArray(keyed, { maxLength: 5, selector: ([key]) => key }),
  fc.array(keyed, { maxLength: 5 }),
).map((list) => ["{", ...commas(list.map(([key, number]) => [`"${key}"`, ":", number])), "}"]);
type Member = [name: string, parts: string[]];
const time = fc.tuple(
  fc.constantFrom("ts", "timestamp", "time", "t"),
  timeText.map((text) => [text]),
);
const value = fc.oneof(
  fc.tuple(
    fc.constantFrom("value", "v"),
    numberText.map((text) => [text]),
  ),
  fc.tuple(fc.constant("values"), values),
);
const other = fc.tuple(
  fc.constantFrom("unit", "tss", "valu", "", "__proto__", "\\u0074s", "°"),
  otherText.map((text) => [text]),
);
const usual: fc.Arbitrary<Member[]> = fc
  .tuple(fc.option(time), value, fc.option(other, { freq: 2 }), fc.nat(2))
  .map(([one, two, three, turn]) => {
    const list: Member[] = [one, two, three].filter((item) => item !== null);
    return [...list.slice(turn), ...list.slice(0, turn)];
  });
const reading = mostly(usual, fc.array(fc.oneof(time, value, other), { maxLength: 4 })).map((list) => [
  "{",
  ...commas(list.map(([name, parts]) => [`"${name}"`, ":", ...parts])),
  "}",
]);
const message = fc
  .tuple(
    fc.oneof(
      reading,
      fc.array(reading, { maxLength: 4 }).map((list) => ["[", ...commas(list), "]"]),
    ),
    gaps,
  )
  .map(([parts, between]) => Buffer.from(spaced(parts, between)));
const mutated = fc
  .tuple(message, fc.array(fc.tuple(fc.nat(), fc.nat(3), fc.nat(255)), { minLength: 1, maxLength: 3 }))
  .map(([bytes, changes]) => changes.reduce(mutate, bytes));
const soup = fc
  .array(
    fc.constantFrom(...'{|}|[|]|,|:|"|"ts"|"value"|"values"|"a"|1|-|.5|e3|17|1700000000123| |\\|null'.split("|")),
    { maxLength: 20 },
  )
  .map((tokens) => Buffer.from(tokens.join("")));
const noise = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes));

function mutate(bytes: Buffer, [where, how, byte]: [number, number, number]): Buffer {
  const at = bytes.length === 0 ? 0 : where % bytes.length;
  const head = bytes.subarray(0, at);
  if (how === 0) return head;
  const tail = bytes.subarray(how === 1 ? at : at + 1);
  return Buffer.concat(how === 3 ? [head, tail] : [head, Buffer.of(byte), tail]);
}

corpus("on messages of which the scanner takes many", () => {
  const taken = fc.sample(message, { numRuns: 1000, seed: 1 }).filter((bytes) => isScanned(bytes)).length;
  assert.ok(taken > 350 && taken < 900, `${taken} of 1000`);
});

corpus(
  "on any bytes: the same series, readings and refusals in the same order",
  () => {
    const payload = fc.oneof(
      { weight: 4, arbitrary: message },
      { weight: 3, arbitrary: mutated },
      { weight: 2, arbitrary: soup },
      { weight: 1, arbitrary: noise },
    );
    const options = fc.record({
      unit: fc.constantFrom(...UNITS),
      seriesMax: fc.constantFrom(Infinity, 2),
      around: fc.constantFrom(...AROUND),
    });
    fc.assert(
      fc.property(fc.array(payload, { minLength: 1, maxLength: 6 }), options, (payloads, given) =>
        agree(payloads, given),
      ),
      { numRuns: 3000 },
    );
  },
  { timeoutMs: 120_000 },
);
