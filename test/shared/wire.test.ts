import { CodedError } from "@weir/shared/errors";
import type { Partial } from "@weir/shared/operators/partial";
import { mergeAll, mergePartials } from "@weir/shared/operators/partial";
import { ByteReader, ByteWriter } from "@weir/shared/wire/bytes";
import type { AgentMessage, AggregatorMessage, Frame } from "@weir/shared/wire/messages";
import {
  decodeAgentMessage,
  decodeAggregatorMessage,
  decodeFrame,
  encodeFrame,
  encodeMessage,
  WIRE_VERSION,
} from "@weir/shared/wire/messages";
import { decodePartial, decodeWindows, encodePartial, encodeWindows } from "@weir/shared/wire/partial-codec";
import fc from "fast-check";
import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";
import { anyReading, anyValues, partialOf, windowsOf } from "./arbitraries.ts";
import { version } from "./thresholds-support.ts";

const test = suite("wire", { timeoutMs: 10_000 });

/** The code of the CodedError that `body` throws; undefined: it returns. Anything else thrown fails the test. */
function codeOf(body: () => unknown): string | undefined {
  try {
    body();
  } catch (error) {
    if (error instanceof CodedError) return error.code;
    throw error;
  }
  return undefined;
}

/** Random numbers from 0 to 1 (Marsaglia 2003). */
function xorshift(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

const anyPartial: fc.Arbitrary<Partial> = fc
  .tuple(fc.constantFrom(100_000, 1.8e12, -300_000), fc.array(anyReading, { maxLength: 40 }), anyValues)
  .map(([fromMs, readings, values]) =>
    partialOf([
      ...readings.map((one) => ({ ...one, series: 0, tsMs: fromMs + one.tsMs })),
      ...values.map((value, i) => ({ tsMs: fromMs + i, value })),
    ]),
  );

test("numbers come back as written, at every size", () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("varint" as const), value: fc.maxSafeNat() }),
    fc.record({ kind: fc.constant("zigzag" as const), value: fc.integer({ min: -(2 ** 52) + 1, max: 2 ** 52 - 1 }) }),
    fc.record({ kind: fc.constant("float64" as const), value: fc.double() }),
    fc.record({ kind: fc.constant("uint8" as const), value: fc.nat(255) }),
  );
  fc.assert(
    fc.property(fc.array(step), fc.uint8Array(), fc.nat(20), (steps, tail, capacityBytes) => {
      const writer = new ByteWriter(capacityBytes);
      for (const { kind, value } of steps) writer[kind](value);
      writer.bytes(tail);
      const bytes = writer.toBytes();
      assert.is(bytes.length, writer.length);
      // A reader may be given a view into a longer buffer.
      const padded = new Uint8Array(bytes.length + 6);
      padded.set(bytes, 3);
      const reader = new ByteReader(padded.subarray(3, 3 + bytes.length));
      for (const { kind, value } of steps) assert.ok(Object.is(reader[kind](), value), `${kind} ${value}`);
      assert.equal([...reader.bytes(tail.length)], [...tail]);
      assert.ok(reader.done);
      assert.is(
        codeOf(() => reader.uint8()),
        "TRUNCATED",
      );
      assert.is(
        codeOf(() => reader.varint()),
        "TRUNCATED",
      );
      assert.is(
        codeOf(() => reader.float64()),
        "TRUNCATED",
      );
      assert.is(
        codeOf(() => reader.bytes(1)),
        "TRUNCATED",
      );
    }),
    { numRuns: 300 },
  );
  for (const value of [0, 127, 128, 2 ** 32, 2 ** 49 - 1, 2 ** 49, Number.MAX_SAFE_INTEGER]) {
    const writer = new ByteWriter(0);
    writer.varint(value);
    assert.is(writer.length, Math.max(1, Math.ceil(value.toString(2).length / 7)));
    assert.is(new ByteReader(writer.toBytes()).varint(), value);
  }
});

test("numbers longer than any that is written are refused", () => {
  for (const bytes of [
    Array.from({ length: 20 }, () => 0xff),
    [...Array.from({ length: 8 }, () => 0x80), 1],
    [...Array.from({ length: 7 }, () => 0xff), 0x7f],
  ]) {
    assert.is(
      codeOf(() => new ByteReader(Uint8Array.from(bytes)).varint()),
      "TRUNCATED",
    );
  }
});

test("partials come back as they were, and encode to the same bytes again", () => {
  fc.assert(
    fc.property(anyPartial, (partial) => {
      const bytes = encodePartial(partial);
      assert.equal(decodePartial(bytes), partial);
      assert.equal(encodePartial(decodePartial(bytes)), bytes);
    }),
    { numRuns: 400 },
  );
});

test("sums whose parts are as near as canonical ones can be come back as well", () => {
  // The part below is half a unit in the last place of the odd part above, rounded from a little less.
  for (const values of [
    [1 + 2 ** -52, 2 ** -53, -(2 ** -110)],
    [-1 - 2 ** -52, -(2 ** -53), 2 ** -110],
    [1, -(2 ** -54), 2 ** -111],
  ]) {
    const partial = partialOf(values.map((value, i) => ({ tsMs: i, value })));
    assert.ok(partial.sum.length > 1);
    assert.equal(decodePartial(encodePartial(partial)), partial);
  }
});

test("windows come back as they were", () => {
  fc.assert(
    fc.property(fc.array(anyReading, { maxLength: 60 }), (readings) => {
      const windows = windowsOf(readings);
      assert.equal(decodeWindows(encodeWindows(windows)), windows);
    }),
    { numRuns: 200 },
  );
  assert.equal(decodeWindows(new Uint8Array(0)), []);
});

test("sketches of every kind come back: coarse ones, crowded ones, with outliers, of millions of readings", () => {
  const spread = partialOf(Array.from({ length: 700 }, (_, i) => ({ tsMs: i, value: 1.013 ** i })));
  assert.ok(spread.sketch.shift > 8);
  const crowded = partialOf(Array.from({ length: 700 }, (_, i) => ({ tsMs: i, value: (i % 5) / 1000 + 20 })));
  const near = Array.from({ length: 60 }, (_, i) => 20 + (i % 30) / 100);
  const outlier = partialOf([-1e9, ...near, 1e280].map((value, i) => ({ tsMs: i, value })));
  const many = {
    ...crowded,
    count: 0,
    sketch: { ...crowded.sketch, counts: crowded.sketch.counts.map(() => 2 ** 40) },
  };
  many.count = many.sketch.counts.length * 2 ** 40;
  for (const partial of [spread, crowded, outlier, many]) {
    assert.equal(decodePartial(encodePartial(partial)), partial);
  }
  // The code of the gap to an outlier does not make those of the others long.
  assert.ok(encodePartial(outlier).length < 95, `${encodePartial(outlier).length} bytes`);
});

test("a partial is the same bytes however its readings came together", () => {
  fc.assert(
    fc.property(fc.array(anyReading, { minLength: 2, maxLength: 40 }), fc.nat(), (readings, draw) => {
      const ofOneSeries = readings.map((one) => ({ ...one, series: 0, tsMs: one.tsMs + 100_000 }));
      const cut = 1 + (draw % (readings.length - 1));
      const merged = mergeAll([ofOneSeries.slice(cut), ofOneSeries.slice(0, cut)].map(partialOf));
      assert.equal(encodePartial(merged!), encodePartial(partialOf(ofOneSeries)));
    }),
    { numRuns: 200 },
  );
});

test("windows of noisy decimals take few bytes", () => {
  const random = xorshift(7);
  // Sums of twelve, less six: near a normal distribution.
  const noise = (): number => Array.from({ length: 12 }, random).reduce((a, b) => a + b, -6);
  for (const [readings, bytesMax] of [
    [10, 34],
    [30, 50],
    [60, 66],
  ] as const) {
    const windows = Array.from({ length: 100 }, (_, series) => ({
      series,
      windowStartMs: 1_760_000_040_000,
      partial: partialOf(
        Array.from({ length: readings }, (__, i) => ({
          tsMs: 1_760_000_040_000 + series * 7 + i * 1000,
          value: Math.round((20 + 0.5 * noise()) * 1000) / 1000,
          version: 4,
        })),
      ),
    }));
    const bytesEach = encodeWindows(windows).length / windows.length;
    assert.ok(bytesEach < bytesMax, `${bytesEach} bytes for ${readings} readings`);
  }
});

test("a partial cut short or followed by more is refused", () => {
  fc.assert(
    fc.property(anyPartial, fc.nat(), (partial, draw) => {
      const bytes = encodePartial(partial);
      assert.is(
        codeOf(() => decodePartial(bytes.subarray(0, draw % bytes.length))),
        "TRUNCATED",
      );
      assert.is(
        codeOf(() => decodePartial(Uint8Array.from([...bytes, draw % 256]))),
        "BAD_PARTIAL",
      );
      const windows = encodeWindows([{ series: 1, windowStartMs: 0, partial }]);
      for (const cut of [windows.subarray(0, 1 + (draw % (windows.length - 1))), Uint8Array.from([...windows, 1])]) {
        const code = codeOf(() => decodeWindows(cut));
        assert.ok(cut.length === 1 ? code === undefined : code === "TRUNCATED", `${cut.length} bytes: ${code}`);
      }
    }),
    { numRuns: 200 },
  );
});

test("a partial of another format is refused with both versions named", () => {
  const bytes = encodePartial(partialOf([{ tsMs: 1, value: 2 }]));
  bytes[0] = 9;
  assert.throws(
    () => decodePartial(bytes),
    (error: CodedError) => error.code === "BAD_PARTIAL" && /format 9.*reads 2/.test(error.message),
  );
});

test("flipped bytes are refused, or give a partial that the operators can work with", () => {
  fc.assert(
    fc.property(
      anyPartial,
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 }),
      (partial, flips) => {
        const bytes = encodePartial(partial);
        for (const [at, byte] of flips) bytes[at % bytes.length] = byte;
        let decoded: Partial;
        try {
          decoded = decodePartial(bytes);
        } catch (error) {
          assert.ok(error instanceof CodedError && ["TRUNCATED", "BAD_PARTIAL"].includes(error.code), String(error));
          return;
        }
        const merged = mergePartials(decoded, partial);
        assert.equal(decodePartial(encodePartial(merged)), merged);
        assert.equal(mergeAll([partial, decoded]), merged);
      },
    ),
    { numRuns: 3000 },
  );
});

test("any bytes at all are decoded or refused with a code, in no time", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      for (const decode of [decodePartial, decodeWindows]) {
        const code = codeOf(() => decode(Uint8Array.from([2, ...bytes])));
        assert.ok(code === undefined || code === "TRUNCATED" || code === "BAD_PARTIAL");
      }
      for (const decode of [decodeFrame, decodeAgentMessage, decodeAggregatorMessage]) {
        assert.is(
          codeOf(() => decode(bytes)),
          "BAD_MESSAGE",
        );
      }
    }),
    { numRuns: 2000 },
  );
});

/** A partial's bytes up to where a list begins, then a length that is a lie. */
function lyingPartial(list: "readings" | "sum" | "versions" | "buckets" | "varints", length: number): Uint8Array {
  const writer = new ByteWriter();
  // A partial of integers with threshold versions.
  for (const byte of [2, 0x40]) writer.uint8(byte);
  writer.varint(list === "readings" ? length : 1);
  for (const value of [0, 0, 0, 0, 0, 0]) writer.varint(value);
  writer.varint(list === "sum" ? length : 0);
  if (list !== "sum") {
    writer.varint(list === "versions" ? length : 0);
    if (list === "readings") writer.uint8(0x00);
    if (list === "buckets") writer.uint8(0x10);
    if (list === "varints") writer.uint8(0x20);
    if (list === "buckets" || list === "varints") writer.varint(length);
  }
  writer.bytes(new Uint8Array(64).fill(1));
  return writer.toBytes();
}

test("a length that is a lie allocates nothing", () => {
  for (const list of ["readings", "sum", "versions", "buckets", "varints"] as const) {
    for (const length of [1025, 30_000_000, 2 ** 31, 2 ** 32, Number.MAX_SAFE_INTEGER]) {
      const before = process.memoryUsage();
      const code = codeOf(() => decodePartial(lyingPartial(list, length)));
      const after = process.memoryUsage();
      assert.ok(code === "TRUNCATED" || code === "BAD_PARTIAL", `${list} ${length}: ${code}`);
      const grownBytes = after.heapTotal + after.arrayBuffers - before.heapTotal - before.arrayBuffers;
      assert.ok(grownBytes < 32 * 2 ** 20, `${list} ${length}: ${grownBytes} bytes`);
    }
  }
  // CBOR: a map, a list, bytes and text of 2^32 and more.
  for (const major of [0x5b, 0x7b, 0x9b, 0xbb]) {
    for (const top of [0, 0x1f, 0xff]) {
      const bytes = Uint8Array.from([major, 0, top, 0, 1, 0, 0, 0, 0, 1, 2, 3]);
      assert.is(
        codeOf(() => decodeFrame(bytes)),
        "BAD_MESSAGE",
      );
    }
  }
  assert.is(
    codeOf(() => decodeFrame(new Uint8Array(1_000_000).fill(0x81))),
    "BAD_MESSAGE",
    "lists within lists without end",
  );
});

test("sums that arithmetic could not end with are refused", () => {
  const partial = partialOf([{ tsMs: 1, value: 2 }]);
  for (const sum of [[NaN], [Infinity], [1.7e308], [2, 2], [2, -2], [0], [2, NaN], [2 ** -52, 1]]) {
    assert.is(
      codeOf(() => decodePartial(encodePartial({ ...partial, sum }))),
      "BAD_PARTIAL",
      String(sum),
    );
  }
});

test("partials that contradict themselves are refused", () => {
  const partial = partialOf([1, 2, 3].map((value) => ({ tsMs: value, value })));
  const { sketch } = partial;
  const [bucket = 0] = sketch.buckets;
  const wrong: ReadonlyArray<globalThis.Partial<Partial>> = [
    { count: 4 },
    { stamped: 4 },
    { low: 2, high: 2 },
    { critical: 4 },
    { min: NaN },
    { max: Infinity },
    { min: 4 },
    { min: -1 / 3, firstValue: -0 },
    { firstTsMs: -(2 ** 52) },
    { firstValue: 9 },
    { lastValue: NaN },
    { versions: [2, 1] },
    { versions: [1, 1] },
    { sketch: { ...sketch, shift: 7 } },
    { sketch: { ...sketch, shift: 32 } },
    { sketch: { ...sketch, counts: [3, 0, 0] } },
    { sketch: { ...sketch, counts: [1, 1, 2] } },
    { sketch: { shift: 8, buckets: [bucket, bucket], counts: [1, 2] } },
    { sketch: { shift: 8, buckets: [bucket, bucket - 1], counts: [1, 2] } },
    { sketch: { shift: 8, buckets: [2 ** 40], counts: [3] } },
    {
      count: 513,
      sketch: {
        shift: 8,
        buckets: Array.from({ length: 513 }, (_, i) => i),
        counts: Array.from({ length: 513 }, () => 1),
      },
    },
  ];
  for (const change of wrong) {
    assert.is(
      codeOf(() => decodePartial(encodePartial({ ...partial, ...change }))),
      "BAD_PARTIAL",
      JSON.stringify(change),
    );
  }
});

const anyCounts = fc
  .dictionary(fc.string({ minLength: 1, maxLength: 12 }), fc.maxSafeNat(), { maxKeys: 4 })
  .map((counts) => ({ ...counts }));
const anyNames = fc.array(fc.tuple(fc.nat(250_000), fc.string(), fc.string(), fc.string()), { maxLength: 5 });
const anySeq = fc.maxSafeNat();
const lane = fc.constantFrom("alerts" as const, "data" as const);
const anyAlert = fc.record(
  {
    id: fc.string(),
    site: fc.string(),
    device: fc.string(),
    metric: fc.string(),
    kind: fc.constantFrom("high" as const, "low" as const),
    severity: fc.constantFrom("warning" as const, "critical" as const),
    state: fc.constantFrom("firing" as const, "resolved" as const, "withdrawn" as const),
    startedAtMs: anySeq,
    endedAtMs: fc.option(anySeq),
    value: fc.double({ noNaN: true, noDefaultInfinity: true }),
    low: fc.option(fc.double({ noNaN: true, noDefaultInfinity: true })),
    high: fc.constant(null),
    thresholdVersion: fc.nat(),
    breaches: fc.nat(),
  },
  { noNullPrototype: true },
);

test("frames come back as they were", () => {
  const anyFrame: fc.Arbitrary<Frame> = fc.oneof(
    fc.record(
      { kind: fc.constant("alerts" as const), alerts: fc.array(anyAlert, { maxLength: 4 }) },
      { noNullPrototype: true },
    ),
    fc.record({ kind: fc.constant("series" as const), series: anyNames }, { noNullPrototype: true }),
    fc.record(
      { kind: fc.constant("partials" as const), replace: fc.boolean(), windows: fc.uint8Array() },
      { noNullPrototype: true },
    ),
    fc.record(
      { kind: fc.constant("tick" as const), nowMs: anySeq, rejected: anyCounts, dropped: anyCounts },
      { noNullPrototype: true },
    ),
  );
  fc.assert(
    fc.property(anyFrame, (frame) => {
      const bytes = encodeFrame(frame);
      const decoded = decodeFrame(bytes);
      assert.equal(comparable(decoded), comparable(frame));
      assert.equal([...encodeFrame(decoded)], [...bytes]);
    }),
    { numRuns: 300 },
  );
});

/** The decoder hands out Buffers for bytes; their contents are what counts. */
function comparable(frame: Frame): unknown {
  return frame.kind === "partials" ? { ...frame, windows: [...frame.windows] } : frame;
}

test("messages come back as they were", () => {
  const ledger = { stored: 1, duplicates: 2, rejected: { FUTURE: 3 }, dropped: {} };
  const fromAgent: AgentMessage[] = [
    {
      type: "hello",
      wire: WIRE_VERSION,
      agent: "gate-1",
      incarnation: "x",
      software: "1.2.3",
      thresholdVersions: [1, 5],
    },
    { type: "names", series: [[0, "s", "d", "m"]] },
    { type: "frame", lane: "alerts", seq: 2 ** 40, frame: Uint8Array.from([1, 2, 255]) },
    { type: "thresholdsStored", version: 4 },
    { type: "status", series: 2, readings: 3, gauges: {}, quarantined: [], ledger },
  ];
  const fromAggregator: AggregatorMessage[] = [
    { type: "welcome", wire: WIRE_VERSION, timezone: "UTC", applied: { alerts: 4, data: 0 }, seriesKnown: 9 },
    { type: "ack", lane: "data", seq: 7 },
    { type: "thresholds", version: version(3, 1.5e12, { rules: [] }) },
    { type: "report", day: "2026-03-14", revision: 1 },
    { type: "refused", code: "WIRE_VERSION", message: "no" },
  ];
  for (const message of fromAgent) {
    assert.equal(decodeAgentMessage(encodeMessage(message)), message);
    assert.is(
      codeOf(() => decodeAggregatorMessage(encodeMessage(message))),
      "BAD_MESSAGE",
      message.type,
    );
    assert.is(
      codeOf(() => decodeFrame(encodeMessage(message))),
      "BAD_MESSAGE",
      message.type,
    );
  }
  for (const message of fromAggregator) {
    assert.equal(decodeAggregatorMessage(encodeMessage(message)), message);
    assert.is(
      codeOf(() => decodeAgentMessage(encodeMessage(message))),
      "BAD_MESSAGE",
      message.type,
    );
  }
  fc.assert(
    fc.property(lane, anySeq, (one, seq) => {
      const message: AggregatorMessage = { type: "ack", lane: one, seq };
      assert.equal(decodeAggregatorMessage(encodeMessage(message)), message);
    }),
    { numRuns: 50 },
  );
});

test("messages cut short, or followed by more, are refused", () => {
  const bytes = encodeMessage({ type: "thresholds", version: version(3, 5, { rules: [] }) });
  for (let length = 0; length < bytes.length; length++) {
    assert.is(
      codeOf(() => decodeAggregatorMessage(bytes.subarray(0, length))),
      "BAD_MESSAGE",
      String(length),
    );
  }
  assert.is(
    codeOf(() => decodeAggregatorMessage(Uint8Array.from([...bytes, 0]))),
    "BAD_MESSAGE",
  );
});
