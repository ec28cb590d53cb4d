import * as assert from "uvu/assert";
import fc from "fast-check";
import type { CsvRow } from "@weir/agent/import/csv-rows";
import { CsvRows, delimiterOf } from "@weir/agent/import/csv-rows";
import { suite } from "../support/suite.ts";

const test = suite("rows of CSV");

/** The rows of texts that arrive one after another. */
function rowsOf(pieces: readonly string[], delimiter = ","): CsvRow[] {
  const rows = new CsvRows(delimiter);
  return [...pieces.flatMap((piece) => rows.push(piece)), ...rows.end()];
}

test("plain rows, with line ends of both kinds, a byte order mark, empty lines and no line end at the end", () => {
  assert.equal(rowsOf(["\uFEFFa,b\r\n1,2\n\n  \r\n3,\n,4"]), [
    ["a", "b"],
    ["1", "2"],
    ["3", ""],
    ["", "4"],
  ]);
  assert.equal(rowsOf([""]), []);
});

test("quotes hold delimiters, line ends and doubled quotes", () => {
  assert.equal(rowsOf(['"a,1","b ""c""","d\ne"\r\nx,y,z\n"last"']), [
    ["a,1", 'b "c"', "d\ne"],
    ["x", "y", "z"],
    ["last"],
  ]);
});

test("a quote in the middle of a field is a character, and takes no other row with it", () => {
  assert.equal(rowsOf(['1,3" pipe,2\n4,5,6\n7,8" pipe,9\n']), [
    ["1", '3" pipe', "2"],
    ["4", "5", "6"],
    ["7", '8" pipe', "9"],
  ]);
});

test("a quote that is never closed costs its own line", () => {
  assert.equal(rowsOf(['1,"open\n2,3\n4,5\n']), ['1,"open', ["2", "3"], ["4", "5"]]);
  const long = `1,"open\n${"2,3\n".repeat(400_000)}`;
  const [bad, ...rows] = rowsOf(long.match(/[^]{1,100000}/g)!);
  assert.is(bad, '1,"open');
  assert.is(rows.length, 400_000);
});

test("a line without an end is given up, and memory with it", () => {
  const endless = Array.from({ length: 40 }, () => "x".repeat(100_000));
  const rows = rowsOf([...endless, "\n1,2\n"]);
  assert.is(rows.length, 2);
  assert.is(typeof rows[0], "string");
  assert.ok((rows[0] as string).length < 10_000);
  assert.equal(rows[1], ["1", "2"]);
});

test("rows do not depend on where the text was cut", () => {
  const text = fc
    .array(fc.constantFrom("a", "b7", ",", ",", '"', '""', "\n", "\r\n", " ", "é"), { maxLength: 120 })
    .map((parts) => parts.join(""));
  fc.assert(
    fc.property(text, fc.array(fc.nat(200), { maxLength: 8 }), (whole, cuts) => {
      const places = [0, ...cuts.map((cut) => Math.min(cut, whole.length)).toSorted((a, b) => a - b), whole.length];
      const pieces = places.slice(1).map((to, i) => whole.slice(places[i], to));
      assert.equal(rowsOf(pieces), rowsOf([whole]));
    }),
    { numRuns: 2000 },
  );
});

test("what is written by the book is read back", () => {
  const field = fc
    .array(fc.constantFrom("a", "1", ",", '"', "\n", "ü", " "), { maxLength: 6 })
    .map((parts) => parts.join(""));
  const quoted = (text: string): string => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  fc.assert(
    fc.property(fc.array(fc.array(field, { minLength: 2, maxLength: 4 }), { maxLength: 8 }), (table) => {
      // A line of nothing but white space is no row.
      const rows = table.filter((row) => row.join(",").trim() !== "");
      assert.equal(rowsOf([rows.map((row) => `${row.map(quoted).join(",")}\n`).join("")]), rows);
    }),
    { numRuns: 2000 },
  );
});

test("tells the delimiter by the first line, outside quotes", () => {
  assert.is(delimiterOf("a,b,c\n1;2;3;4;5"), ",");
  assert.is(delimiterOf("time;value\n"), ";");
  assert.is(delimiterOf("time\tvalue"), "\t");
  assert.is(delimiterOf('"a;b;c;d",e\n'), ",");
  assert.is(delimiterOf("alone"), ",");
});
