import { CodedError, assert as assertBug, errorMessage } from "@weir/shared/errors";
import { alertId } from "@weir/shared/model/alert";
import { canonicalJson } from "@weir/shared/model/canonical-json";
import { isSeriesNamePart, NAME_LENGTH_MAX, seriesName, VALUE_ABS_MAX } from "@weir/shared/model/reading";
import { addExact, roundSum } from "@weir/shared/operators/exact-sum";
import fc from "fast-check";
import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";

const test = suite("model");

test("canonical JSON is that of RFC 8785's examples", () => {
  const example = {
    // As the standard has it: more digits than a double holds.
    // oxlint-disable-next-line no-loss-of-precision
    numbers: [333333333.33333329, 1e30, 4.5, 2e-3, 0.000000000000000000000000001],
    string: "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
    literals: [null, true, false],
  };
  assert.is(
    canonicalJson(example),
    '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
  );
  const keys = {
    "\u20ac": "Euro Sign",
    "\r": "Carriage Return",
    "\ufb33": "Hebrew Letter Dalet With Dagesh",
    "1": "One",
    "\ud83d\ude00": "Emoji: Grinning Face",
    "\u0080": "Control",
    "\u00f6": "Latin Small Letter O With Diaeresis",
  };
  assert.equal(
    [...canonicalJson(keys).matchAll(/:"([^"]*)"/g)].map(([, value]) => value),
    [
      "Carriage Return",
      "One",
      "Control",
      "Latin Small Letter O With Diaeresis",
      "Euro Sign",
      "Emoji: Grinning Face",
      "Hebrew Letter Dalet With Dagesh",
    ],
  );
  assert.is(canonicalJson([-0, 5e-324, 1e21, 123456789012345680000]), "[0,5e-324,1e+21,123456789012345680000]");
});

test("canonical JSON reads back as the value, and does not depend on the order of keys", () => {
  // JSON has no -0; keys named __proto__ are no part of any model.
  const value = fc
    .jsonValue({ maxDepth: 4 })
    .filter((one) => !/-0|__proto__/.test(JSON.stringify(one)) && !hasMinusZero(one));
  fc.assert(
    fc.property(value, (one) => {
      const text = canonicalJson(one);
      assert.equal(JSON.parse(text), one);
      assert.is(canonicalJson(reversed(one)), text);
      assert.is(canonicalJson(JSON.parse(text)), text);
    }),
    { numRuns: 400 },
  );
});

function hasMinusZero(value: unknown): boolean {
  if (typeof value === "object" && value !== null) return Object.values(value).some(hasMinusZero);
  return Object.is(value, -0);
}

function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .toReversed()
      .map(([key, item]) => [key, reversed(item)]),
  );
}

test("canonical JSON refuses what JSON cannot hold, however deep", () => {
  for (const value of [NaN, Infinity, -Infinity, undefined, () => 1, Symbol("x"), 1n]) {
    for (const holder of [value, [value], { a: { b: value } }]) {
      try {
        canonicalJson(holder);
      } catch (error) {
        assert.ok(error instanceof CodedError);
        assert.is(error.code, "NOT_CANONICAL");
        continue;
      }
      assert.unreachable(String(value));
    }
  }
});

test("names of series are short and hold nothing that MQTT or an id would take for its own", () => {
  for (const name of ["a", "pump-1", "Ölpumpe", "温度", "a b", "*", "x".repeat(NAME_LENGTH_MAX)])
    assert.ok(isSeriesNamePart(name), name);
  for (const name of ["", "a/b", "+", "#", "a\u0000", "a\n", "\u001f", "\u007f", "x".repeat(NAME_LENGTH_MAX + 1)]) {
    assert.not(isSeriesNamePart(name), JSON.stringify(name));
  }
});

test("ids of alerts are their series, kind and start, and differ where those do", () => {
  const key = { site: "s", device: "d", metric: "m" };
  assert.is(seriesName(key), "s/d/m");
  assert.is(alertId(key, "high", 1_773_446_400_000), "s/d/m/high/1773446400000");
  const part = fc.string({ minLength: 1, maxLength: 4 }).filter(isSeriesNamePart);
  const parts = fc.tuple(part, part, part, fc.constantFrom("high" as const, "low" as const), fc.nat(20));
  const idOf = ([site, device, metric, kind, startedAtMs]: [string, string, string, "high" | "low", number]): string =>
    alertId({ site, device, metric }, kind, startedAtMs);
  fc.assert(
    fc.property(parts, parts, (a, b) => assert.is(idOf(a) === idOf(b), JSON.stringify(a) === JSON.stringify(b))),
    { numRuns: 300 },
  );
});

test("sums of the greatest readings stay finite", () => {
  const sum: number[] = [];
  for (let part = VALUE_ABS_MAX, i = 0; i <= 53; i++, part *= 2) addExact(sum, part);
  assert.is(roundSum(sum), VALUE_ABS_MAX * 2 ** 54);
  assert.ok(Number.isFinite(roundSum(sum)));
});

test("errors keep code, message and cause; a failed assertion says what was to hold", () => {
  const cause = new Error("disk");
  const error = new CodedError("LOG_FULL", "The log is full.", { cause });
  assert.equal(
    [error.code, error.message, error.name, error.cause],
    ["LOG_FULL", "The log is full.", "CodedError", cause],
  );
  assert.is(errorMessage(error), "The log is full.");
  assert.is(errorMessage("plain"), "plain");
  assertBug(true, "never");
  assert.throws(
    () => assertBug(false, "blocks ascend"),
    (thrown: CodedError) => thrown.code === "ASSERTION" && thrown.message === "blocks ascend",
  );
});
