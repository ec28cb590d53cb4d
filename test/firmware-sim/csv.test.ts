import { ROW_CHARS_MAX, createCsvParser } from "@weir/firmware-sim/csv";
import type { CsvRow } from "@weir/firmware-sim/csv";
import { readHeader, readRow } from "@weir/firmware-sim/table";
import { parseTimeMs } from "@weir/firmware-sim/time";
import { CodedError } from "@weir/shared/errors";
import * as fc from "fast-check";
import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";

const test = suite("firmware-sim csv");

/** Parses a text cut into chunks of the given length. */
function parse(text: string, chunkChars: number = text.length || 1): CsvRow[] {
  const parser = createCsvParser();
  const rows: CsvRow[] = [];
  for (let at = 0; at < text.length; at += chunkChars) rows.push(...parser.push(text.slice(at, at + chunkChars)));
  return [...rows, ...parser.end()];
}

test("reads back any fields that were quoted, cut into any chunks, with either line end", () => {
  const anyField = fc.string({ unit: fc.constantFrom("a", " ", ",", '"', "\n", "\r\n", "é"), maxLength: 8 });
  const anyRows = fc.array(fc.array(anyField, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(anyRows, fc.integer({ min: 1, max: 20 }), fc.constantFrom("\n", "\r\n"), (table, chunkChars, eol) => {
      const text = table.map((fields) => fields.map((field) => `"${field.replaceAll('"', '""')}"`).join(",")).join(eol);
      const rows = parse(text, chunkChars);
      assert.equal(
        rows.map((row) => ("fields" in row ? row.fields : row.problem)),
        table,
      );
    }),
    { numRuns: 500 },
  );
});

test("reads plain fields, empty ones too, skips a byte order mark and empty lines, and numbers lines", () => {
  assert.equal(parse('\uFEFFa,b\r\n\r\n1,\n,2\n"x\ny",3\n4,5'), [
    { line: 1, fields: ["a", "b"] },
    { line: 3, fields: ["1", ""] },
    { line: 4, fields: ["", "2"] },
    { line: 5, fields: ["x\ny", "3"] },
    { line: 7, fields: ["4", "5"] },
  ]);
});

test("a quote that is never closed costs its line only", () => {
  assert.equal(parse('a,b\n1,"2\n3,4\n', 3), [
    { line: 1, fields: ["a", "b"] },
    { line: 2, problem: "a quote is not closed" },
    { line: 3, fields: ["3", "4"] },
  ]);
  const [row] = parse('1,2"3"\n');
  assert.is(row && "problem" in row && row.problem, "a quote in the middle of field 2");
});

test("a row longer than the bound is given up, and the next one read", () => {
  const rows = parse(`a,b\n${"x".repeat(3 * ROW_CHARS_MAX)},1\n3,4\n`, 10_000);
  assert.is(rows.length, 3);
  assert.ok("problem" in rows[1]! && rows[1].problem.startsWith("longer than"));
  assert.equal(rows[2], { line: 3, fields: ["3", "4"] });
  const quoted = parse(`a,b\n1,"${"x\n".repeat(ROW_CHARS_MAX)}`, 10_000);
  assert.ok("problem" in quoted[1]!);
});

test("times are ISO 8601, plain dates and times as UTC, and seconds or milliseconds since 1970", () => {
  const noonMs = Date.UTC(2014, 6, 1, 12, 30, 15);
  const texts = [
    "2014-07-01 12:30:15",
    "2014-07-01T12:30:15Z",
    "2014-07-01T14:30:15+02:00",
    "2014-07-01T10:00:15-0230",
  ];
  for (const text of [...texts, String(noonMs), String(noonMs / 1000)]) assert.is(parseTimeMs(text), noonMs, text);
  assert.is(parseTimeMs("2014-07-01 12:30:15.123456"), noonMs + 123);
  assert.is(parseTimeMs("2014-07-01 12:30"), noonMs - 15_000);
  assert.is(parseTimeMs("2014-07-01"), Date.UTC(2014, 6, 1));
  assert.is(parseTimeMs("1404217815.5"), noonMs + 500);
  for (const bad of [
    "",
    "yesterday",
    "2014-02-30",
    "2014-13-01",
    "2014-07-01 25:00:00",
    "1e9",
    "1404217815000000000",
    "07/01/2014",
  ]) {
    assert.is(parseTimeMs(bad), undefined, bad);
  }
});

function header(text: string, metric?: string): ReturnType<typeof readHeader> {
  return readHeader({ line: 1, fields: text.split(",") }, metric);
}

test("a header names the time and the metrics", () => {
  assert.equal(header("timestamp,value"), { timeColumn: 0, columns: 2, metrics: [{ column: 1, name: "value" }] });
  assert.equal(header("timestamp,cpu").metrics, [{ column: 1, name: "value" }]);
  assert.equal(header("timestamp,cpu", "cpu_load").metrics, [{ column: 1, name: "cpu_load" }]);
  assert.equal(header("temp,Time,rpm"), {
    timeColumn: 1,
    columns: 3,
    metrics: [
      { column: 0, name: "temp" },
      { column: 2, name: "rpm" },
    ],
  });
  assert.equal(header("t,temp,rpm", "rpm").metrics, [{ column: 2, name: "rpm" }]);
});

test("a header that cannot be used says why", () => {
  const cases: Array<[string, string | undefined, RegExp]> = [
    ["2014-07-01,5", undefined, /first line is data/],
    ["timestamp", undefined, /no value column/],
    ["timestamp,a,b", "c", /no column c; columns are a, b/],
    ["timestamp,a,a", undefined, /two columns are named a/],
    ["timestamp,a/b,c", undefined, /a\/b/],
  ];
  for (const [text, metric, message] of cases) {
    assert.throws(
      () => header(text, metric),
      (error: unknown) => error instanceof CodedError && error.code === "CSV_HEADER" && message.test(error.message),
      text,
    );
  }
});

test("a row is its readings, or what is wrong with it", () => {
  const shape = header("timestamp,a,b");
  const read = (text: string): unknown => readRow({ line: 2, fields: text.split(",") }, shape);
  assert.equal(read("10,1.5,-0"), { tsMs: 10_000, values: [1.5, 0] });
  assert.equal(read("10,,2e3"), { tsMs: 10_000, values: [undefined, 2000] });
  assert.is(read("10,,"), "no values");
  assert.is(read("10,1"), "2 fields where the header has 3");
  assert.is(read("noon,1,2"), '"noon" is not a time');
  assert.is(read("10,1,n/a"), 'b is "n/a", not a number');
  assert.is(read("10,1,Infinity"), 'b is "Infinity", not a number');
});
