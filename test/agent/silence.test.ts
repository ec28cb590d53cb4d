import { pageRow, restorePage } from "@weir/agent/pipeline/pages";
import type { PastEpisode } from "@weir/agent/pipeline/refold";
import { RefoldJob } from "@weir/agent/pipeline/refold";
import { widest } from "@weir/agent/pipeline/refolder";
import type { Alert } from "@weir/shared/model/alert";
import type { Block, SeriesKey } from "@weir/shared/model/reading";
import type { Emissions, RefoldRequest } from "@weir/shared/operators/series-fold";
import { createEmissions, SeriesFold } from "@weir/shared/operators/series-fold";
import { ThresholdHistory } from "@weir/shared/operators/thresholds";
import type { ClockTick } from "@weir/shared/operators/watched";
import { SET_BACK_MS, WATCH_GAP_MS, WATCH_GAP_MS_MAX, WatchedTime } from "@weir/shared/operators/watched";
import fc from "fast-check";
import * as assert from "uvu/assert";
import { band, version } from "../shared/thresholds-support.ts";
import { suite } from "../support/suite.ts";

const test = suite("silence, live", { timeoutMs: 120_000 });

const WINDOW_MS = 60_000;
const SERIES = 2;
const keyOf = (series: number): SeriesKey => ({ site: "s", device: "d", metric: `m${series}` });

/** Times in seconds. A band from a time on: silent after so many seconds; 0: silence is not judged. */
type Step =
  | { readonly kind: "reading"; readonly series: number; readonly at: number; readonly isNext: boolean }
  | { readonly kind: "tick"; readonly step: number; readonly watching: boolean }
  | { readonly kind: "version"; readonly from: number; readonly limit: number }
  | { readonly kind: "turn" | "restart" };

const limitArb = fc.constantFrom(0, 3, 20, 60, 200);

const stepArb: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      kind: fc.constant("reading" as const),
      series: fc.nat({ max: SERIES - 1 }),
      at: fc.oneof(
        fc.integer({ min: 0, max: 900 }),
        fc.integer({ min: 0, max: 60 }),
        fc.integer({ min: 3900, max: 4900 }),
      ),
      isNext: fc.boolean(),
    }),
  },
  {
    weight: 10,
    arbitrary: fc.record({
      kind: fc.constant("tick" as const),
      step: fc.oneof(
        { weight: 6, arbitrary: fc.integer({ min: 1, max: 60 }) },
        fc.constantFrom(-150, -20, 0, 170, 250),
        fc.constantFrom(-4000, 4000),
      ),
      watching: fc.integer({ min: 0, max: 9 }).map((draw) => draw > 0),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("version" as const),
      from: fc.integer({ min: -10, max: 900 }),
      limit: limitArb,
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom("turn" as const, "turn" as const, "restart" as const) }) },
);

/** The core of an agent in memory: what the log holds, the fold at its head, and what was told and stored of it. */
class Agent {
  readonly thresholds = new ThresholdHistory();
  readonly versions: Array<{ readonly from: number; readonly limit: number }> = [];
  readonly ticks: ClockTick[] = [];
  readonly readings: Array<Set<number>> = Array.from({ length: SERIES }, () => new Set<number>());
  readonly alerts = new Map<string, Alert>();
  wholeFromMs = -Infinity;
  readonly #rows = new Map<string, PastEpisode & { readonly series: number }>();
  #fold = new SeriesFold(keyOf, this.thresholds, { windowMs: WINDOW_MS });
  readonly #requests = new Map<number, RefoldRequest>();
  #job: RefoldJob | undefined;
  #now = 0;
  /** Series that were folded again. */
  refolds = 0;

  take(step: Step): void {
    const out = createEmissions();
    if (step.kind === "reading") {
      const position = this.#fold.positionMs(step.series) / 1000;
      this.read(step.series, step.isNext && position >= 0 ? position + 1 + (step.at % 90) : step.at);
    } else if (step.kind === "tick") this.tick({ nowMs: (this.#now + step.step) * 1000, watching: step.watching });
    else if (step.kind === "version") {
      const silence = step.limit === 0 ? 0 : step.limit / 10;
      const one = band({ intervalMs: 10_000, silenceIntervals: silence });
      this.versions.push(step);
      this.#fold.applyThresholds(version(this.versions.length, step.from * 1000, { rules: [["*", one]] }), out);
      this.#emit(out);
    } else if (step.kind === "turn") this.#turn();
    else this.#restart();
  }

  read(series: number, ...seconds: readonly number[]): void {
    for (const second of seconds) {
      if (this.readings[series]!.has(second)) continue;
      this.readings[series]!.add(second);
      const out = createEmissions();
      const block = blockOf([[series, second * 1000]]);
      this.#fold.applyBlock(block, out);
      this.#job?.applyWanted(block);
      this.#emit(out);
    }
  }

  tick(tick: ClockTick): void {
    this.#now = tick.nowMs / 1000;
    const out = createEmissions();
    const silent = this.#fold.applyTick(tick, out);
    this.ticks.push({ ...tick, silent });
    this.#emit(out);
  }

  /** Runs the re-folds that wait. */
  refold(): void {
    while (this.#job || this.#requests.size > 0) this.#turn();
  }

  /** Begins a re-fold, or ends the one that was begun. */
  #turn(): void {
    const job = this.#job;
    if (job) {
      this.#job = undefined;
      const result = job.finish();
      for (const { series, fromMs } of result.dropEpisodes) {
        for (const [name, row] of this.#rows) {
          if (row.series === series && row.startedMs >= fromMs) this.#rows.delete(name);
        }
      }
      this.#emit({ ...result, refolds: [...result.refolds] });
    } else if (this.#requests.size > 0) {
      this.refolds += this.#requests.size;
      const context = { source: this, live: this.#fold, thresholds: this.thresholds, keyOf, windowMs: WINDOW_MS };
      this.#job = new RefoldJob([...this.#requests.values()], context);
      this.#requests.clear();
      for (const [series, fromMs] of this.#job.wanted) {
        const seconds = [...this.readings[series]!].filter((second) => second * 1000 >= fromMs);
        const rows = seconds.toSorted((a, b) => a - b).map((second) => [series, second * 1000] as const);
        if (rows.length > 0) this.#job.apply(blockOf(rows));
      }
    }
  }

  /** Forgets readings before a time: those of the log. */
  trim(second: number): void {
    this.wholeFromMs = second * 1000;
    for (const seconds of this.readings) for (const one of seconds) if (one < second) seconds.delete(one);
  }

  /** As after a checkpoint. A re-fold under way begins anew. */
  #restart(): void {
    for (const request of this.#job?.requests ?? []) this.#emit({ ...createEmissions(), refolds: [request] });
    this.#job = undefined;
    const rows = Array.from({ length: this.#fold.pages }, (_, page) => {
      const { positions, ...row } = pageRow(this.#fold, page, 0);
      return { ...(JSON.parse(JSON.stringify(row)) as typeof row), positions };
    });
    const watched = new WatchedTime();
    for (const tick of this.ticks) watched.add(tick);
    this.#fold = new SeriesFold(keyOf, this.thresholds, { windowMs: WINDOW_MS, watched });
    for (const row of rows) restorePage(this.#fold, row);
  }

  #emit({ alerts, closed, refolds }: Emissions): void {
    for (const alert of alerts) this.alerts.set(alert.id, alert);
    for (const { series, kind, startedAtMs, lastTsMs, gapMs, fired } of closed) {
      const row = { kind, startedMs: startedAtMs, lastMs: lastTsMs, gapMs, fired: Number(fired) };
      this.#rows.set(`${series} ${startedAtMs}`, { series, ...row });
    }
    for (const request of refolds) {
      const known = this.#requests.get(request.series);
      this.#requests.set(request.series, known ? widest(known, request) : request);
    }
  }

  episodesFrom(series: number, fromMs: number): PastEpisode[] {
    return [...this.#rows.values()].filter((row) => row.series === series && row.lastMs + row.gapMs >= fromMs);
  }

  /** Alerts that stand: what of, from, to, limit, version, value. */
  standing(): string[] {
    return [...this.alerts.values()]
      .filter(({ state }) => state !== "withdrawn")
      .map(({ metric, startedAtMs, endedAtMs, high, thresholdVersion, value }) =>
        [metric, startedAtMs, endedAtMs, high, thresholdVersion, value].join(" "),
      )
      .toSorted((a, b) => (a < b ? -1 : 1));
  }

  /** The same by the rule, from the sets of readings, ticks and versions alone, second by second. */
  byRule(): string[] {
    const isWatched = watchedSeconds(this.ticks);
    const order = this.versions
      .map((one, i) => ({ ...one, number: i + 1 }))
      .toSorted((a, b) => a.from - b.from || a.number - b.number);
    const found: string[] = [];
    for (let series = 0; series < SERIES; series++) {
      const seconds = [...this.readings[series]!].toSorted((a, b) => a - b);
      seconds.forEach((from, i) => {
        const to = seconds[i + 1];
        const inForce = order.findLast((one) => one.from <= from);
        if (!inForce || inForce.limit === 0) return;
        const { limit, number } = inForce;
        const watched = isWatched.filter((second) => second > from && (to === undefined || second <= to)).length;
        if (watched < limit) return;
        const end = to === undefined ? "" : to * 1000;
        found.push([`m${series}`, from * 1000, end, limit, number, to === undefined ? limit : to - from].join(" "));
      });
    }
    return found.toSorted((a, b) => (a < b ? -1 : 1));
  }
}

function blockOf(rows: ReadonlyArray<readonly [series: number, tsMs: number]>): Block {
  return {
    count: rows.length,
    series: Uint32Array.from(rows, ([series]) => series),
    tsMs: Float64Array.from(rows, ([, tsMs]) => tsMs),
    value: new Float64Array(rows.length),
    stamped: new Uint8Array(rows.length),
  };
}

/** Each second, by its end, that lies between two ticks close enough, and beyond all before or where a clock was set back to. */
function watchedSeconds(ticks: readonly ClockTick[]): number[] {
  const seconds = new Set<number>();
  let before = 0;
  let through = -Infinity;
  ticks.forEach(({ nowMs, watching = true }, i) => {
    const last = ticks[i - 1];
    const step = last ? nowMs - last.nowMs : 0;
    if (nowMs < through * 1000 - SET_BACK_MS) through = nowMs / 1000;
    else if (last && watching && step > 0 && step <= Math.min(WATCH_GAP_MS_MAX, Math.max(WATCH_GAP_MS, 2 * before))) {
      for (let second = last.nowMs / 1000 + 1; second * 1000 <= nowMs; second++)
        if (second > through) seconds.add(second);
      through = Math.max(through, nowMs / 1000);
    }
    before = watching ? step : 0;
  });
  return [...seconds];
}

/** So much is watched in the end that whatever is silent has been for long. */
function finish(agent: Agent): void {
  agent.refold();
  for (let second = 5000; second <= 5600; second += 100) agent.tick({ nowMs: second * 1000 });
  agent.refold();
  agent.tick({ nowMs: 5_700_000 });
  agent.refold();
}

test("a version that makes limits shorter within a gap holds for readings that come into it later", () => {
  const agent = new Agent();
  agent.take({ kind: "version", from: -5, limit: 200 });
  for (let second = 0; second <= 300; second += 20) agent.tick({ nowMs: second * 1000 });
  agent.read(0, 0, 150);
  agent.tick({ nowMs: 301_000 });
  agent.take({ kind: "version", from: 70, limit: 20 });
  agent.refold();
  agent.tick({ nowMs: 302_000 });
  const before = agent.refolds;
  agent.read(0, 80, 151);
  finish(agent);
  assert.is(agent.refolds, before + 1);
  assert.equal(agent.standing(), ["m0 151000  20 2 20", "m0 80000 150000 20 2 70"]);
  assert.equal(agent.standing(), agent.byRule());
});

test("a late reading into what a running re-fold has found and forgotten asks for another one", () => {
  const agent = new Agent();
  agent.take({ kind: "version", from: -5, limit: 200 });
  for (let second = 0; second <= 700; second += 20) agent.tick({ nowMs: second * 1000 });
  agent.read(0, 0, 100, 200, 300, 400, 500, 600);
  agent.take({ kind: "version", from: -1, limit: 20 });
  agent.take({ kind: "turn" });
  agent.read(0, 50);
  agent.take({ kind: "turn" });
  finish(agent);
  assert.equal(agent.standing(), agent.byRule());
  assert.is(agent.standing().length, 8);
});

test("a running re-fold judges by a version that came while it ran", () => {
  const agent = new Agent();
  agent.read(0, 0, 10);
  agent.take({ kind: "version", from: 0, limit: 0 });
  agent.take({ kind: "turn" });
  agent.read(0, 20);
  agent.take({ kind: "version", from: 50, limit: 20 });
  for (let second = 0; second <= 100; second += 20) agent.tick({ nowMs: second * 1000 });
  agent.read(0, 60, 90);
  agent.take({ kind: "turn" });
  agent.tick({ nowMs: 110_000 });
  assert.equal(agent.standing(), ["m0 60000 90000 20 2 30"]);
});

test("where the log was trimmed, silences that reach into what is left stay as they were", () => {
  const agent = new Agent();
  agent.take({ kind: "version", from: -5, limit: 20 });
  for (let second = 0; second <= 400; second += 20) agent.tick({ nowMs: second * 1000 });
  agent.read(0, 0, 100, 130, 200, 210);
  agent.tick({ nowMs: 401_000 });
  const silences = ["m0 0 100000 20 1 100", "m0 100000 130000 20 1 30", "m0 130000 200000 20 1 70"];
  assert.equal(agent.standing(), silences);
  agent.trim(110);
  agent.take({ kind: "version", from: -1, limit: 60 });
  agent.refold();
  agent.tick({ nowMs: 402_000 });
  assert.equal(agent.standing(), [...silences.slice(0, 2), "m0 130000 200000 60 2 70"]);
});

test("silences are those that the rule finds, in whatever order readings, ticks, versions, re-folds and restarts come", () => {
  let silences = 0;
  fc.assert(
    fc.property(limitArb, fc.array(stepArb, { minLength: 5, maxLength: 120, size: "max" }), (limit, steps) => {
      const agent = new Agent();
      agent.take({ kind: "version", from: -5, limit });
      for (const step of steps) agent.take(step);
      finish(agent);
      assert.equal(agent.standing(), agent.byRule());
      silences += agent.standing().length;
    }),
    { numRuns: Number(process.env["WEIR_PROPERTY_RUNS"] ?? 200) },
  );
  assert.ok(silences > 400, `${silences} silences`);
});
