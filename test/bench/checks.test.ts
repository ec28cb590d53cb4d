import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";
import { checkLedger, countsOf, NO_COUNTS } from "./ledger.ts";
import { medianOf, quantile } from "./result.ts";
import type { SoakSample } from "./soak-checks.ts";
import { checkFlat } from "./soak-checks.ts";
import { renderResults } from "./table.ts";

const test = suite("the bench's checks");

const strict = { mayLose: false };

test("a ledger that balances has no problems", () => {
  assert.equal(checkLedger(100, { ...NO_COUNTS, stored: 100 }, strict), []);
});

test("a ledger fails for what is missing, too much, dropped, refused, or said to be known already", () => {
  const problems = (counts: Partial<typeof NO_COUNTS>): string =>
    checkLedger(100, { ...NO_COUNTS, ...counts }, strict).join();
  assert.match(problems({ stored: 99 }), /^1 of 100 readings are lost$/);
  assert.match(problems({ stored: 101 }), /^1 readings more/);
  assert.match(problems({ stored: 99, dropped: 1 }), /^1 of 100 readings were dropped$/);
  assert.match(problems({ stored: 99, rejected: 1 }), /rejected/);
  assert.match(problems({ stored: 99, duplicates: 1 }), /duplicates/);
});

test("where loss is allowed it is no problem, but a wrong count still is", () => {
  assert.equal(checkLedger(100, { ...NO_COUNTS, stored: 50, dropped: 10 }, { mayLose: true }), []);
  assert.is(checkLedger(100, { ...NO_COUNTS, stored: 101 }, { mayLose: true }).length, 1);
});

test("the agent's reasons are summed by what they mean", () => {
  const rows = [
    { reason: "received", count: 14 },
    { reason: "stored", count: 5 },
    { reason: "duplicate", count: 4 },
    { reason: "rejected.time_ahead", count: 2 },
    { reason: "rejected.json_shape", count: 1 },
    { reason: "dropped.overload", count: 2 },
    { reason: "lost.outbox_full", count: 9 },
  ];
  assert.equal(countsOf(rows), { stored: 5, duplicates: 4, rejected: 3, dropped: 2 });
});

function samplesOf(count: number, of: (index: number) => Partial<SoakSample>): SoakSample[] {
  const steady = { rssMib: 200, aggregatorRssMib: 150, cpuPercent: 50, ackP50Ms: 20, ackP99Ms: 40 };
  return Array.from({ length: count }, (_, i) => ({
    ...steady,
    seconds: i * 5,
    counts: NO_COUNTS,
    stored: 0,
    ...of(i),
  }));
}

test("a saw-tooth of memory, growth while it warms up, and single stalls are flat", () => {
  const samples = samplesOf(100, (i) => ({
    rssMib: (i < 15 ? 100 : 200) + (i % 7) * 10,
    ackP99Ms: i % 20 === 0 ? 900 : 40 + (i % 3),
  }));
  assert.equal(checkFlat(samples), []);
});

test("memory that grows all the time, of the agent or the aggregator, is not flat", () => {
  assert.match(checkFlat(samplesOf(100, (i) => ({ rssMib: 200 + i * 2 }))).join(), /agent's memory/);
  assert.match(checkFlat(samplesOf(100, (i) => ({ aggregatorRssMib: 150 + i * 2 }))).join(), /aggregator's memory/);
});

test("latency that grows is not flat, and too few samples are no proof", () => {
  assert.match(checkFlat(samplesOf(100, (i) => ({ ackP99Ms: 40 + i * 2 }))).join(), /latency/);
  assert.match(checkFlat(samplesOf(3, () => ({}))).join(), /too few/);
});

test("of several rounds the median is shown, without those that broke off, whose problems are", () => {
  const base = { scenario: "a", target: "weir", kind: "agent" as const, sent: 1, ledger: NO_COUNTS, problems: [] };
  const round = (value: number) => ({ ...base, figures: { value } });
  const median = medianOf([{ ...base, figures: {}, problems: ["broke off"] }, round(1), round(9), round(2)]);
  assert.equal(median.figures, { value: 2 });
  assert.equal(median.problems, ["broke off"]);
});

test("quantiles are by nearest rank", () => {
  const values = Array.from({ length: 1000 }, (_, i) => 1000 - i);
  assert.equal(
    [0.5, 0.99, 0.999, 1].map((share) => quantile(values, share)),
    [500, 990, 999, 1000],
  );
});

test("the table has a ratio to the first target, and says FAIL", () => {
  const base = { scenario: "size", kind: "agent" as const, sent: 1, ledger: NO_COUNTS };
  const text = renderResults([
    { ...base, target: "old", figures: { bytes: 12 }, problems: [] },
    { ...base, target: "new", figures: { bytes: 3 }, problems: ["lost"] },
  ]);
  assert.match(text, /size +bytes +old +12 +ok\n/);
  assert.match(text, /size +bytes +new +3 +0\.25 +FAIL/);
});
