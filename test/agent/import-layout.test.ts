import * as assert from "uvu/assert";
import type { Layout, LayoutOptions } from "@weir/agent/import/layout";
import { columnsOf, describeLayout, findLayout } from "@weir/agent/import/layout";
import type { Table } from "@weir/agent/import/table";
import { suite } from "../support/suite.ts";

const test = suite("the layout of a table");

function table(names: string): Table {
  return {
    format: "CSV",
    columns: names.split(",").map((name) => ({ name })),
    first: undefined,
    chunks: () => {
      throw new Error("nobody reads");
    },
  };
}

function layoutOf(names: string, options: LayoutOptions = {}): Layout {
  return findLayout("file.csv", table(names), options);
}

function problemOf(names: string, options: LayoutOptions = {}): string {
  try {
    layoutOf(names, options);
  } catch (error) {
    assert.is((error as { code?: string }).code, "BAD_IMPORT");
    return (error as Error).message;
  }
  throw new Error("it was understood");
}

test("a reading a row: columns by name, whatever their order and case", () => {
  assert.equal(layoutOf("Value,metric,Device,SITE,Timestamp,note"), {
    shape: "long",
    time: 4,
    site: { column: 3 },
    device: { column: 2 },
    metric: { column: 1 },
    value: 0,
  });
});

test("names that no column says are given, or are those of topics without them", () => {
  assert.equal(layoutOf("timestamp,value", { site: "hall", device: "pump", metric: "flow" }), {
    shape: "long",
    time: 0,
    site: { name: "hall" },
    device: { name: "pump" },
    metric: { name: "flow" },
    value: 1,
  });
  const bare = layoutOf("timestamp,value", { device: "pump" });
  assert.equal(bare.site, { name: "default" });
  assert.equal(bare.shape === "long" && bare.metric, { name: "value" });
});

test("a column a metric: all that are left, or those that are chosen, by other names where wished", () => {
  assert.equal(layoutOf("time,device,temp,flow,", {}), {
    shape: "wide",
    time: 0,
    site: { name: "default" },
    device: { column: 1 },
    metrics: [
      { column: 2, name: "temp" },
      { column: 3, name: "flow" },
    ],
  });
  const chosen = layoutOf("when,m/s,value,x", { device: "fan", time: "when", columns: "m/s=speed, value" });
  assert.equal(chosen.shape === "wide" && chosen.metrics, [
    { column: 1, name: "speed" },
    { column: 2, name: "value" },
  ]);
  assert.equal(columnsOf(chosen), [0, 1, 2]);
});

test("says what it has understood, and what it passes over", () => {
  const wide = table("time,device,temp,flow,note");
  const text = describeLayout(wide, findLayout("f", wide, { columns: "temp,flow=q" }));
  assert.is(
    text,
    'CSV, a column a metric: time from column "time", site "default", device column "device", metrics "temp", "q"; passed over: "note".',
  );
  const long = table("time,device,value,temp");
  assert.match(
    describeLayout(long, findLayout("f", long, {})),
    /a reading a row: .*metric "value".*passed over: "temp"/,
  );
});

test("what it cannot understand is refused with the columns that there are", () => {
  const columns = /Its columns are "a", "b"\.$/;
  for (const [options, problem] of [
    [{}, /No column of times.*--time COLUMN/],
    [{ time: "c" }, /--time names a column "c" that is not there/],
    [{ time: "a" }, /No column device.*--device NAME/],
    [{ time: "a", device: "x/y" }, /--device "x\/y" is no name/],
    [{ time: "a", device: "d", metric: "m" }, /--metric is for a table with a column value/],
    [{ time: "a", device: "d", columns: "z" }, /--columns names a column "z"/],
    [{ time: "a", device: "d", columns: "a" }, /--columns names "a", which is no metric/],
    [{ time: "a", device: "d", columns: "b=x+y" }, /"x\+y" has no name for a metric/],
  ] as const) {
    const text = problemOf("a,b", options);
    assert.match(text, problem);
    assert.match(text, columns);
  }
  assert.match(problemOf("time,device,value", { device: "d" }), /It has a column device: leave out --device/);
  assert.match(problemOf("time,m/s", { device: "d" }), /name it by --columns "m\/s=METRIC"/);
  assert.match(problemOf("time,x,x", { device: "d" }), /Two columns would be metric "x"/);
  assert.match(problemOf("time", { device: "d" }), /No column of values/);
  assert.match(problemOf("2026-01-01T00:00:00Z,21.5", { device: "d" }), /the first row must name columns/);
});
