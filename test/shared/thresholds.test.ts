import type { Band, ThresholdVersion } from "@weir/shared/model/thresholds";
import { ThresholdHistory } from "@weir/shared/operators/thresholds";
import { compileVersion } from "@weir/shared/rules/resolve-band";
import fc from "fast-check";
import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";
import { band, version } from "./thresholds-support.ts";

const test = suite("threshold versions");

const KEY = { site: "hall", device: "pump-1", metric: "temp" };
const HOUR_MS = 3_600_000;

test("the version in force is the latest begun, ties to the higher number, in whatever order they arrived", () => {
  const anyVersions = fc.uniqueArray(fc.tuple(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 0, max: 5 })), {
    maxLength: 8,
    selector: ([number]) => number,
  });
  fc.assert(
    fc.property(anyVersions, fc.integer({ min: -10, max: 60 }), (drawn, tsMs) => {
      const history = new ThresholdHistory();
      const versions = drawn.map(([number, from]) =>
        version(number, from * 10, { rules: [["*", band({ warningHigh: number })]] }),
      );
      for (const one of versions) assert.ok(history.add(one));
      const begun = versions.filter((one) => one.effectiveFromMs <= tsMs);
      const expected = begun.reduce<ThresholdVersion | undefined>((best, one) => {
        const later = !best || one.effectiveFromMs > best.effectiveFromMs;
        return later || (one.effectiveFromMs === best.effectiveFromMs && one.version > best.version) ? one : best;
      }, undefined);
      const found = history.inForce(KEY, tsMs);
      assert.is(found.version, expected?.version ?? 0);
      assert.is(found.band?.warningHigh, expected?.version);
      assert.ok(found.fromMs <= tsMs && tsMs < found.untilMs);
      // It stays in force over the whole stretch it names, and not a millisecond longer.
      assert.is(history.inForce(KEY, Math.max(found.fromMs, -1e6)).version, found.version);
      if (found.untilMs < Infinity) {
        assert.is(history.inForce(KEY, found.untilMs - 1).version, found.version);
        assert.is.not(history.inForce(KEY, found.untilMs).version, found.version);
      }
      assert.is(history.versions().length, versions.length);
    }),
    { numRuns: 400 },
  );
});

test("a number is immutable: the first version of it stays", () => {
  const history = new ThresholdHistory();
  assert.ok(history.add(version(1, 0, { rules: [["*", band({ warningHigh: 1 })]] })));
  assert.not(history.add(version(1, 0, { rules: [["*", band({ warningHigh: 2 })]] })));
  assert.is(history.inForce(KEY, 5).band?.warningHigh, 1);
  assert.is(history.get(1)?.rules[0]?.band.warningHigh, 1);
  assert.is(history.get(2), undefined);
  assert.is(history.lookup(1, KEY)?.band.warningHigh, 1);
  assert.is(history.lookup(2, KEY), undefined);
});

test("before the first version nothing judges, and its start ends that", () => {
  const history = new ThresholdHistory();
  assert.equal(history.inForce(KEY, 5), { fromMs: -Infinity, untilMs: Infinity, version: 0, band: undefined });
  history.add(version(3, 1000, {}));
  assert.equal(history.inForce(KEY, 999), { fromMs: -Infinity, untilMs: 1000, version: 0, band: undefined });
  assert.equal(history.inForce(KEY, 1000), { fromMs: 1000, untilMs: Infinity, version: 3, band: undefined });
});

/** A version whose bands say their hour of the week. */
function hourly(timezone: string): ThresholdVersion {
  const hours: Band[] = Array.from({ length: 168 }, (_, hour) => band({ warningHigh: hour }));
  const series = [{ ...KEY, band: band({ warningHigh: -1 }), hourOfWeek: hours }];
  return { ...version(1, 0, {}), timezone, series };
}

test("bands by hour of week change with the plant's local hour, half hours included", () => {
  for (const [zone, aroundMs] of [
    ["Europe/Berlin", Date.parse("2026-10-25T01:00:00Z")],
    ["Asia/Kolkata", Date.parse("2026-10-25T01:00:00Z")],
    ["Australia/Lord_Howe", Date.parse("2026-10-04T02:00:00+10:30")],
    ["Australia/Lord_Howe", Date.parse("2026-04-05T02:00:00+11:00")],
  ] as const) {
    const history = new ThresholdHistory();
    history.add(hourly(zone));
    const hour = new Intl.DateTimeFormat("en-GB", {
      timeZone: zone,
      hour: "2-digit",
      hourCycle: "h23",
      weekday: "short",
    });
    const days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    const expected = (tsMs: number): number => {
      const parts = Object.fromEntries(hour.formatToParts(tsMs).map(({ type, value }) => [type, value]));
      return days.indexOf(parts.weekday ?? "") * 24 + Number(parts.hour);
    };
    for (let tsMs = aroundMs - 4 * HOUR_MS; tsMs < aroundMs + 4 * HOUR_MS; tsMs += 7 * 60_000) {
      const found = history.inForce(KEY, tsMs);
      assert.is(found.band?.warningHigh, expected(tsMs), `${zone} ${new Date(tsMs).toISOString()}`);
      // A fold keeps the band for the whole stretch: it must be right at both ends of it.
      assert.ok(found.fromMs <= tsMs && tsMs < found.untilMs);
      assert.is(expected(found.fromMs), expected(tsMs), `${zone} from ${new Date(found.fromMs).toISOString()}`);
      assert.is(expected(found.untilMs - 1), expected(tsMs), `${zone} until ${new Date(found.untilMs).toISOString()}`);
    }
  }
});

test("an hour's stretch begins no earlier than its version, and ends where the next one begins", () => {
  const history = new ThresholdHistory();
  history.add(hourly("UTC"));
  history.add(version(2, 90 * 60_000, {}));
  const found = history.inForce(KEY, 80 * 60_000);
  assert.equal([found.fromMs, found.untilMs, found.version], [HOUR_MS, 90 * 60_000, 1]);
  const late = new ThresholdHistory();
  late.add({ ...hourly("UTC"), effectiveFromMs: 30 * 60_000 });
  assert.equal([late.inForce(KEY, 40 * 60_000).fromMs, late.inForce(KEY, 20 * 60_000).version], [30 * 60_000, 0]);
});

test("an exact entry wins over rules, a later rule over an earlier one", () => {
  const lookup = compileVersion({
    ...version(1, 0, {
      rules: [
        ["*", band({ warningHigh: 1 })],
        ["temp", band({ warningHigh: 2 })],
      ],
    }),
    series: [{ ...KEY, band: band({ warningHigh: 3 }), baseline: { p05: 1, p50: 2, p95: 3 } }],
  });
  assert.is(lookup(KEY)?.band.warningHigh, 3);
  assert.equal(lookup(KEY)?.baseline, { p05: 1, p50: 2, p95: 3 });
  assert.is(lookup({ ...KEY, device: "pump-2" })?.band.warningHigh, 2);
  assert.is(lookup({ ...KEY, metric: "flow" })?.band.warningHigh, 1);
  assert.is(
    compileVersion(version(1, 0, { rules: [["temp", band({})]] }))({ ...KEY, metric: "temperature" }),
    undefined,
  );
});

/** Matching by the definition, one character at a time. */
function matches(pattern: string, name: string): boolean {
  if (pattern === "") return name === "";
  if (pattern[0] !== "*") return pattern[0] === name[0] && matches(pattern.slice(1), name.slice(1));
  return matches(pattern.slice(1), name) || (name !== "" && matches(pattern, name.slice(1)));
}

const globbed = (pattern: string, metric: string): boolean =>
  compileVersion(version(1, 0, { rules: [[pattern, band({})]] }))({ ...KEY, metric }) !== undefined;

test("patterns match by their definition", () => {
  const pattern = fc.array(fc.constantFrom("*", "a", "b"), { maxLength: 7 }).map((parts) => parts.join(""));
  const name = fc.array(fc.constantFrom("a", "b"), { maxLength: 9 }).map((parts) => parts.join(""));
  fc.assert(
    fc.property(pattern, name, (p, n) => assert.is(globbed(p, n), matches(p, n), `${p} on ${n}`)),
    { numRuns: 3000 },
  );
});

test("in patterns everything but * means itself", () => {
  for (const special of [".", "a+b", "(x)", "[0]", "a|b", "^", "$", "\\d", "{2}", "a?"]) {
    assert.ok(globbed(special, special));
    assert.not(globbed(special, "a"));
    assert.ok(globbed(`${special}*`, `${special}!`));
  }
  assert.ok(globbed("*b", "a\u2028b"), "a line separator is a character like others");
});

test(
  "a pattern of many stars takes no time over a long name",
  () => {
    const started = process.hrtime.bigint();
    assert.not(globbed(`${"*a".repeat(40)}*b`, "a".repeat(128)));
    assert.ok(Number(process.hrtime.bigint() - started) < 1e9);
  },
  { timeoutMs: 5_000 },
);
