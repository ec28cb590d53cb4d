import * as assert from "uvu/assert";
import fc from "fast-check";
import { decodeBlock, encodeBlock } from "@weir/agent/store/block-codec";
import { CodedError } from "@weir/shared/errors";
import type { Block } from "@weir/shared/model/reading";
import { suite } from "../support/suite.ts";

const test = suite("block codec");

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

const rowArb = fc.record({
  series: fc.oneof(fc.integer({ min: 0, max: 50 }), fc.constantFrom(0, 1_048_575, 2 ** 32 - 1)),
  tsMs: fc.oneof(fc.integer({ min: 1_700_000_000_000, max: 1_700_000_100_000 }), fc.constantFrom(0, -1, 4e15, -62e12)),
  value: fc.double({ noNaN: true, noDefaultInfinity: true }),
  stamped: fc.constantFrom(0, 1),
});

test("gives back every block bit for bit, whichever of its readings are stamped", () => {
  const rowsArb = fc.oneof(
    fc.array(rowArb, { maxLength: 60 }),
    fc.array(
      rowArb.map((row) => ({ ...row, stamped: 1 })),
      { maxLength: 10 },
    ),
    fc.array(
      rowArb.map((row) => ({ ...row, stamped: 0 })),
      { maxLength: 10 },
    ),
  );
  fc.assert(
    fc.property(rowsArb, (rows) => {
      const block = blockOf(rows);
      assert.equal(decodeBlock(encodeBlock(block)), block);
    }),
    { numRuns: 300 },
  );
});

test("encodes only the first `count` rows of columns that are longer", () => {
  const rows = [1, 2, 3, 4].map((n) => ({ series: n, tsMs: n * 1000, value: n / 2, stamped: n % 2 }));
  const decoded = decodeBlock(encodeBlock({ ...blockOf(rows), count: 2 }));
  assert.equal(decoded, blockOf(rows.slice(0, 2)));
});

/** Decodes; true when that throws a CodedError, false when it gives a block, and fails for anything else. */
function refuses(bytes: Uint8Array): boolean {
  try {
    decodeBlock(bytes);
    return false;
  } catch (error) {
    if (error instanceof CodedError) return true;
    throw error;
  }
}

test("refuses every cut-off block and every block with something behind it", () => {
  fc.assert(
    fc.property(fc.array(rowArb, { minLength: 1, maxLength: 12 }), (rows) => {
      const bytes = encodeBlock(blockOf(rows));
      for (let length = 0; length < bytes.length; length++)
        assert.ok(refuses(bytes.subarray(0, length)), `cut to ${length}`);
      assert.ok(refuses(Uint8Array.from([...bytes, 0])), "one byte too many");
    }),
    { numRuns: 60 },
  );
});

test("answers any bytes with a block or a CodedError, and never with a huge allocation", () => {
  const damageArb = fc.record({
    rows: fc.array(rowArb, { minLength: 1, maxLength: 8 }),
    at: fc.nat(),
    to: fc.integer({ min: 0, max: 255 }),
  });
  fc.assert(
    fc.property(damageArb, ({ rows, at, to }) => {
      const bytes = encodeBlock(blockOf(rows));
      bytes[at % bytes.length] = to;
      refuses(bytes);
    }),
    { numRuns: 2000 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => void refuses(bytes)),
    { numRuns: 2000 },
  );
  // A count of 2^49 or so with nothing behind it.
  assert.ok(refuses(Uint8Array.of(1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f)));
  assert.ok(refuses(Uint8Array.of(1, 0xff, 0xff, 0xff, 0x7f)));
});

test("refuses a format it does not know, and says which", () => {
  const bytes = encodeBlock(blockOf([{ series: 1, tsMs: 2, value: 3, stamped: 0 }]));
  bytes[0] = 9;
  assert.throws(
    () => decodeBlock(bytes),
    (error: CodedError) => error.code === "BAD_BLOCK" && /format 9/.test(error.message),
  );
});
