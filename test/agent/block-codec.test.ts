import { crc32 } from "node:zlib";
import { BlockColumns, decodeBlock, decodeBlockInto, encodeBlock } from "@weir/agent/store/block-codec";
import { CodedError } from "@weir/shared/errors";
import type { Block } from "@weir/shared/model/reading";
import { VALUE_ABS_MAX } from "@weir/shared/model/reading";
import { ByteWriter } from "@weir/shared/wire/bytes";
import fc from "fast-check";
import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";

const test = suite("block codec");

const TS_ABS_MAX_MS = 8.64e15;

interface Row {
  readonly series: number;
  readonly tsMs: number;
  readonly value: number;
  readonly stamped: number;
}

function blockOf(rows: readonly Row[]): Block {
  return {
    count: rows.length,
    series: Uint32Array.from(rows, (row) => row.series),
    tsMs: Float64Array.from(rows, (row) => row.tsMs),
    value: Float64Array.from(rows, (row) => row.value),
    stamped: Uint8Array.from(rows, (row) => row.stamped),
  };
}

/** The first `count` rows, for comparing: columns may be longer, and a decoded block is an object of a class. */
function rowsOf({ count, series, tsMs, value, stamped }: Block): Block {
  return {
    count,
    series: series.slice(0, count),
    tsMs: tsMs.slice(0, count),
    value: value.slice(0, count),
    stamped: stamped.slice(0, count),
  };
}

function assertComesBack(block: Block): void {
  const expected = rowsOf(block);
  const decoded = decodeBlock(encodeBlock(block));
  assert.equal(rowsOf(decoded), expected);
  // Equality does not tell 0 and -0 apart, bits do.
  assert.equal(bitsOf(decoded.value, decoded.count), bitsOf(block.value, block.count));
}

function bitsOf(values: Float64Array, count: number): BigUint64Array {
  return new BigUint64Array(values.slice(0, count).buffer);
}

/** A block has values and times of one kind, or of several. */
const anyValueOf = fc
  .uniqueArray(
    fc.constantFrom<fc.Arbitrary<number>>(
      fc.integer({ min: -50_000, max: 50_000 }).map((thousandths) => thousandths / 1000),
      fc
        .tuple(fc.integer({ min: -1e9, max: 1e9 }), fc.integer({ min: 0, max: 10 }))
        .map(([whole, places]) => whole / 10 ** places),
      fc.integer({ min: -(2 ** 53), max: 2 ** 53 }),
      fc.float({ noNaN: true, noDefaultInfinity: true }),
      fc.double({ min: -VALUE_ABS_MAX, max: VALUE_ABS_MAX, noNaN: true }),
      fc.constantFrom(5e-324, -5e-324, 2 ** -1022, VALUE_ABS_MAX, -VALUE_ABS_MAX, 0, 1 / 3, 0.1 + 0.2),
      fc.constantFrom(2 ** 49, -(2 ** 49), 2 ** 49 + 1, 2 ** 49 / 1000, 2 ** 51 + 0.5),
      fc.constant(20.125),
    ),
    { minLength: 1, maxLength: 3 },
  )
  .map((kinds) => fc.oneof(...kinds).map((value) => value + 0));

const anyTimeOf = fc.constantFrom<fc.Arbitrary<number>>(
  fc.integer({ min: 1_700_000_000_000, max: 1_700_000_000_100 }),
  fc.integer({ min: 0, max: 500 }).map((minutes) => 1_700_000_000_123 + minutes * 60_000),
  fc.integer({ min: -TS_ABS_MAX_MS, max: TS_ABS_MAX_MS }),
  fc.oneof(fc.constantFrom(0, -1, TS_ABS_MAX_MS, -TS_ABS_MAX_MS, 2 ** 48, -(2 ** 48), 2 ** 48 + 1), fc.constant(5)),
  fc.constant(1_700_000_000_000),
);

const anySeries = fc.oneof(
  { weight: 4, arbitrary: fc.nat(20) },
  fc.constantFrom(0, 1_048_575, 2 ** 31, 2 ** 32 - 1),
  fc.nat(100_000),
);

const anyBlock = (rowsMax: number): fc.Arbitrary<Block> =>
  fc
    .tuple(anyValueOf, anyTimeOf, fc.constantFrom([0], [1], [0, 1]), fc.boolean())
    .chain(([value, tsMs, stamps, sorted]) =>
      fc
        .array(fc.record({ series: anySeries, tsMs, value, stamped: fc.constantFrom(...stamps) }), {
          maxLength: rowsMax,
          size: "max",
        })
        .map((rows) => blockOf(sorted ? rows.toSorted((a, b) => a.series - b.series) : rows)),
    );

test("gives back every block bit for bit, in its order, whichever of its readings are stamped", () => {
  fc.assert(fc.property(anyBlock(60), assertComesBack), { numRuns: 600 });
  fc.assert(fc.property(anyBlock(700), assertComesBack), { numRuns: 150 });
  assertComesBack(blockOf([]));
});

test("encodes only the first `count` rows of columns that are longer", () => {
  const rows = [1, 2, 3, 4].map((n) => ({ series: n, tsMs: n * 1000, value: n / 2, stamped: n % 2 }));
  assert.equal(rowsOf(decodeBlock(encodeBlock({ ...blockOf(rows), count: 2 }))), blockOf(rows.slice(0, 2)));
});

test("decodes into the same columns again and again, longer blocks and shorter ones", () => {
  const columns = new BlockColumns();
  fc.assert(
    fc.property(fc.array(anyBlock(300), { minLength: 1, maxLength: 4 }), (blocks) => {
      for (const block of blocks) {
        decodeBlockInto(encodeBlock(block), columns);
        assert.equal(rowsOf(columns), rowsOf(block));
      }
    }),
    { numRuns: 60 },
  );
  const { series, value } = columns;
  decodeBlockInto(encodeBlock(blockOf([])), columns);
  assert.ok(columns.count === 0 && columns.series === series && columns.value === value);
});

/** Bytes of a block whose last four were a checksum, with the right one again. */
function sealed(bytes: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(bytes);
  const end = copy.length - 4;
  new DataView(copy.buffer).setUint32(end, crc32(copy.subarray(0, end)), true);
  return copy;
}

/** A block of these bytes before the checksum. */
function sealedWith(bytes: Uint8Array): Uint8Array {
  return sealed(Uint8Array.from([...bytes, 0, 0, 0, 0]));
}

/** Decodes; undefined when that throws a CodedError of one of the two codes, and fails for any other error. */
function decodedOf(bytes: Uint8Array): Block | undefined {
  try {
    return decodeBlock(bytes);
  } catch (error) {
    if (error instanceof CodedError && ["BAD_BLOCK", "TRUNCATED"].includes(error.code)) return undefined;
    throw error;
  }
}

function assertIsBlock({ count, series, tsMs, value, stamped }: Block): void {
  assert.ok(series instanceof Uint32Array && series.length >= count);
  for (let i = 0; i < count; i++) {
    assert.ok(Number.isInteger(tsMs[i]) && Math.abs(tsMs[i]!) <= TS_ABS_MAX_MS, `time ${tsMs[i]}`);
    assert.ok(Math.abs(value[i]!) <= VALUE_ABS_MAX && !Object.is(value[i], -0), `value ${value[i]}`);
    assert.ok(stamped[i] === 0 || stamped[i] === 1);
  }
}

test("refuses every cut-off block and every block with something behind it", () => {
  fc.assert(
    fc.property(anyBlock(40), (block) => {
      const bytes = encodeBlock(block);
      const body = bytes.subarray(0, -4);
      for (let length = 0; length < body.length; length++)
        assert.is(decodedOf(sealedWith(body.subarray(0, length))), undefined, `cut to ${length}`);
      assert.is(decodedOf(sealedWith(Uint8Array.from([...body, 0]))), undefined, "one byte too many");
      assert.is(decodedOf(bytes.subarray(0, -1)), undefined, "cut within the checksum");
    }),
    { numRuns: 150 },
  );
});

test("refuses a block with any bit flipped, by its checksum", () => {
  fc.assert(
    fc.property(anyBlock(30), (block) => {
      const bytes = encodeBlock(block);
      for (let bit = 0; bit < bytes.length * 8; bit++) {
        bytes[bit >>> 3]! ^= 1 << (bit & 7);
        assert.is(decodedOf(bytes), undefined);
        bytes[bit >>> 3]! ^= 1 << (bit & 7);
      }
    }),
    { numRuns: 30 },
  );
});

test("answers any bit flipped before the checksum was made with an error or with readings that are possible", () => {
  fc.assert(
    fc.property(anyBlock(30), (block) => {
      const bytes = encodeBlock(block);
      for (let bit = 0; bit < bytes.length * 8; bit++) {
        bytes[bit >>> 3]! ^= 1 << (bit & 7);
        const decoded = decodedOf(sealed(bytes));
        if (decoded) assertIsBlock(decoded);
        bytes[bit >>> 3]! ^= 1 << (bit & 7);
      }
    }),
    { numRuns: 100 },
  );
});

test("answers any bytes with a block or a CodedError", () => {
  const answer = (bytes: Uint8Array): void => {
    const decoded = decodedOf(bytes);
    if (decoded) assertIsBlock(decoded);
  };
  const damages = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(anyBlock(20), damages, (block, changes) => {
      const bytes = encodeBlock(block);
      for (const [at, to] of changes) bytes[at % bytes.length] = to;
      answer(sealed(bytes));
    }),
    { numRuns: 2000 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => answer(sealedWith(Uint8Array.from([3, ...bytes])))),
    { numRuns: 2000 },
  );
});

test("makes no columns for a count that the bytes cannot hold", () => {
  for (const count of [300, 65_536, 2 ** 21, 2 ** 21 + 1, 2 ** 31, 2 ** 32, 2 ** 49, Number.MAX_SAFE_INTEGER]) {
    const writer = new ByteWriter();
    writer.uint8(3);
    writer.varint(count);
    writer.bytes(new Uint8Array(4));
    const columns = new BlockColumns();
    assert.throws(() => decodeBlockInto(sealedWith(writer.toBytes()), columns), /too few for its/);
    assert.is(columns.series.length, 0, `${count} readings`);
  }
  // As many bytes as a longer block than any would have at least.
  const long = new ByteWriter();
  long.uint8(3);
  long.varint(2 ** 21 + 1);
  long.bytes(new Uint8Array(100_000));
  const columns = new BlockColumns();
  assert.throws(() => decodeBlockInto(sealedWith(long.toBytes()), columns), /too few for its/);
  assert.is(columns.series.length, 0);
  // The most that may be claimed by a few bytes: 128 readings for each two of them.
  const equal = blockOf(Array.from({ length: 65_536 }, () => ({ series: 9, tsMs: 1, value: 1.5, stamped: 0 })));
  const bytes = encodeBlock(equal);
  assert.ok(bytes.length < 65_536 / 20, `${bytes.length} bytes`);
  assertComesBack(equal);
});

test("refuses a series below 0 or above 2^32 - 1", () => {
  const bytes = encodeBlock(blockOf([{ series: 0, tsMs: 0, value: 0, stamped: 0 }]));
  assert.equal(decodedOf(bytes)?.series, Uint32Array.of(0));
  // The fourth byte is the difference to -1, in zigzag: 1 here, and now 0 and -1.
  assert.is(bytes[3], 2);
  for (const difference of [0, 1]) {
    bytes[3] = difference;
    assert.is(decodedOf(sealed(bytes)), undefined);
  }
  const writer = new ByteWriter();
  writer.bytes(bytes.subarray(0, 3));
  writer.zigzag(2 ** 32 + 1);
  writer.bytes(bytes.subarray(4));
  assert.is(decodedOf(sealed(writer.toBytes())), undefined);
});

test("refuses a format it does not know, and says which", () => {
  const bytes = encodeBlock(blockOf([{ series: 1, tsMs: 2, value: 3, stamped: 0 }]));
  bytes[0] = 1;
  assert.throws(
    () => decodeBlock(bytes),
    (error: CodedError) => error.code === "BAD_BLOCK" && /format 1; this program reads 3/.test(error.message),
  );
});

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

const random = xorshift(11);
/** A level of its own for each series, and noise of deviation 0.5, to three decimals. */
function noisy(series: number): number {
  const level = ((series * 7919) % 1000) / 10;
  const noise = Array.from({ length: 12 }, random).reduce((a, b) => a + b, -6);
  return Math.round((level + 0.5 * noise) * 1000) / 1000 + 0;
}

const START_MS = 1_760_000_000_137;

/** `count` readings within `spanMs`: `series` gives that of a reading. Sorted by series, as the log has them. */
function sample(count: number, spanMs: number, series: (i: number) => number, value = noisy): Block {
  const rows = Array.from({ length: count }, (_, i) => ({
    series: series(i),
    tsMs: START_MS + Math.floor((i / count) * spanMs + random() * 15),
    value: 0,
    stamped: 0,
  }));
  const block = blockOf(rows.toSorted((a, b) => a.series - b.series));
  for (let i = 0; i < count; i++) block.value[i] = value(block.series[i]!);
  return block;
}

const bytesEach = (block: Block): number => encodeBlock(block).length / block.count;

test("noisy decimals take less than four bytes a reading, with many series and with few", () => {
  // 100,000 readings a second, committed every 20 ms: of 1,000 series, and of 100,000 in any order.
  const ofThousand = bytesEach(sample(2000, 20, (i) => i % 1000));
  assert.ok(ofThousand < 2.7, `1,000 series: ${ofThousand} bytes`);
  const ofMany = bytesEach(sample(2000, 20, () => Math.floor(random() * 100_000)));
  assert.ok(ofMany < 4, `100,000 series: ${ofMany} bytes`);
  const ofMost = bytesEach(sample(65_000, 650, () => Math.floor(random() * 100_000)));
  assert.ok(ofMost < 3.85, `most of 100,000 series: ${ofMost} bytes`);
  // A second from one reading to the next of a series, with jitter.
  const ofFew = bytesEach(sample(65_536, 8_192_000, (i) => i % 8));
  assert.ok(ofFew < 2.3, `8 series: ${ofFew} bytes`);
});

test("other numbers take no more bytes than they need", () => {
  const ofThousand = (value: (series: number) => number): number => bytesEach(sample(2000, 20, (i) => i % 1000, value));
  const sizes = {
    integers: ofThousand((series) => Math.round(noisy(series) * 10)),
    floats: ofThousand((series) => Math.fround(noisy(series) / 3)),
    doubles: ofThousand((series) => noisy(series) / 3),
    constants: ofThousand((series) => (series % 100) / 4),
    // One in ten is no decimal.
    exceptions: ofThousand((series) => (series % 10 === 0 ? noisy(series) / 3 : noisy(series))),
  };
  const most = { integers: 2, floats: 4.5, doubles: 8.2, constants: 1.6, exceptions: 4 };
  for (const [kind, bytes] of Object.entries(sizes)) {
    assert.ok(bytes < most[kind as keyof typeof most], `${kind}: ${bytes} bytes`);
  }
  const wholeSeconds = sample(2000, 1, (i) => i % 20);
  for (let i = 0; i < 2000; i++) wholeSeconds.tsMs[i] = 1_760_000_000_000 + Math.floor(random() * 60) * 1000;
  const seconds = bytesEach(wholeSeconds);
  assert.ok(seconds < 2.6, `whole seconds: ${seconds} bytes`);
});

test("what a damaged row holds in place of bytes is refused like any other block", () => {
  for (const body of [null, "text", 7]) {
    assert.throws(
      () => decodeBlock(body as unknown as Uint8Array),
      (error: CodedError) => error.code === "BAD_BLOCK",
    );
  }
});
