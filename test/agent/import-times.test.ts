import * as assert from "uvu/assert";
import { numberOf, whyNoNumber } from "@weir/agent/import/numbers";
import type { TimeUnit } from "@weir/agent/import/times";
import { createTimeReader } from "@weir/agent/import/times";
import { suite } from "../support/suite.ts";

const test = suite("times and numbers of an import");

const MS = Date.UTC(2026, 2, 14, 12, 30, 15, 250);

function read(field: unknown, timezone?: string, unit: TimeUnit = "auto"): number {
  return createTimeReader(unit, timezone).fromField(field);
}

test("numbers in any unit, as numbers, as texts and as whole numbers of 64 bits", () => {
  for (const field of [MS, String(MS), BigInt(MS), MS / 1000, `${MS / 1000}`, ` ${MS} `, BigInt(MS) * 1_000_000n]) {
    assert.is(read(field), MS, String(field));
  }
  assert.is(read(1_000, undefined, "s"), 1_000_000);
  assert.is(read("1000", undefined, "ms"), 1000);
});

test("ISO 8601 with an offset needs no time zone, one without needs it", () => {
  assert.is(read("2026-03-14T12:30:15.250Z"), MS);
  assert.is(read("2026-03-14 13:30:15.250+01:00"), MS);
  assert.is(read("2026-03-14 13:30:15.250+01:00", "Asia/Tokyo"), MS);
  const reader = createTimeReader("auto", undefined);
  assert.ok(Number.isNaN(reader.fromField("2026-03-14 12:30:15")));
  assert.is(reader.whyNot("2026-03-14 12:30:15"), "time_without_zone");
  assert.is(reader.whyNot("14.03.2026 12:30"), "time_malformed");
  assert.is(createTimeReader("auto", "UTC").whyNot("2026-13-14 12:30:15"), "time_malformed");
});

test("local times by their zone, changes of clocks included", () => {
  assert.is(read("2026-03-14 12:30:15.250", "UTC"), MS);
  assert.is(read("2026-03-14T13:30:15.250", "Europe/Berlin"), MS);
  assert.is(read("2026-07-14T14:00", "Europe/Berlin"), Date.UTC(2026, 6, 14, 12));
  assert.is(read("2026-03-14T18:00", "Asia/Kolkata"), Date.UTC(2026, 2, 14, 12, 30));
  // Set forward from 2 to 3: 2:30 was left out.
  assert.is(read("2026-03-29 01:59", "Europe/Berlin"), Date.UTC(2026, 2, 29, 0, 59));
  assert.is(read("2026-03-29 02:30", "Europe/Berlin"), Date.UTC(2026, 2, 29, 1, 30));
  assert.is(read("2026-03-29 03:00", "Europe/Berlin"), Date.UTC(2026, 2, 29, 1, 0));
  // Set back from 3 to 2: 2:30 came twice, the first is taken.
  assert.is(read("2026-10-25 02:30", "Europe/Berlin"), Date.UTC(2026, 9, 25, 0, 30));
  assert.is(read("2026-10-25 03:00", "Europe/Berlin"), Date.UTC(2026, 9, 25, 2, 0));
  // By half an hour.
  assert.is(read("2026-04-05 02:00", "Australia/Lord_Howe"), Date.UTC(2026, 3, 4, 15, 30));
  assert.throws(() => createTimeReader("auto", "Mars/Olympus"), /Unknown time zone Mars\/Olympus/);
});

test("what is no time", () => {
  for (const field of ["", "yesterday", null, undefined, true, {}, "2026-02-30T00:00:00Z", "1e400"]) {
    assert.ok(Number.isNaN(read(field, "UTC")), JSON.stringify(field));
  }
});

test("numbers as numbers, as decimals in a text, and nothing else", () => {
  for (const [field, number] of [
    ["12.5", 12.5],
    [" -3e2 ", -300],
    ["+.5", 0.5],
    ["0", 0],
    [7n, 7],
    [2.5, 2.5],
  ] as const) {
    assert.is(numberOf(field), number);
  }
  for (const [field, why] of [
    ["", "missing"],
    ["  ", "missing"],
    [null, "missing"],
    [undefined, "missing"],
    ["NaN", "not_finite"],
    ["-inf", "not_finite"],
    ["null", "not_finite"],
    ["1e999", "not_finite"],
    [NaN, "not_finite"],
    [Infinity, "not_finite"],
    ["0x1F", "number_malformed"],
    [" 0b1", "number_malformed"],
    ["1,5", "number_malformed"],
    ["n/a", "number_malformed"],
    [true, "number_malformed"],
    [new Date(0), "number_malformed"],
  ] as const) {
    assert.ok(Number.isNaN(numberOf(field)), String(field));
    assert.is(whyNoNumber(field), why, String(field));
  }
});
