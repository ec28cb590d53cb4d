import * as assert from "uvu/assert";
import fc from "fast-check";
import type { DailyReport } from "@weir/shared/model/report";
import type { Band, BandRule, SeriesBand, ThresholdVersion } from "@weir/shared/model/thresholds";
import { COMPACTOR_DEFAULTS } from "@weir/agent/pipeline/compactor";
import { LogReplay } from "@weir/agent/replay";
import { createCalendar } from "@weir/shared/operators/calendar";
import { memoryFolder } from "../support/memory-folder.ts";
import type { Plant } from "../support/plant.ts";
import { createPlant } from "../support/plant.ts";
import { suite } from "../support/suite.ts";
import type { Given, GivenReading, GivenTick, PlainAlert } from "./oracle.ts";
import { dayOf, expectedAlerts, reportProblems } from "./oracle.ts";

const RUNS = Number(process.env["WEIR_PROPERTY_RUNS"] ?? 25);
/** For the runs, and for making one that fails shorter. */
const TIME_LIMIT_MS = 60_000 + RUNS * 500;

const test = suite("oracle", { timeoutMs: TIME_LIMIT_MS + 30_000 });

const AGENT = "agent-1";
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** Readings further ahead of the agent's clock are refused. */
const AHEAD_MAX_MS = MINUTE_MS;
const VALUE_ABS_MAX = 2 ** 960;

/** Where clocks change or days begin: what is drawn lies around there. */
const PLACES: ReadonlyArray<{ readonly timezone: string; readonly at: string }> = [
  { timezone: "UTC", at: "2026-03-14T00:00:00Z" },
  // Days of 23 and of 25 hours.
  { timezone: "Europe/Berlin", at: "2026-03-29T01:00:00Z" },
  { timezone: "Europe/Berlin", at: "2026-10-25T01:00:00Z" },
  // Half an hour: hours of 30 and of 90 minutes, as clocks show them.
  { timezone: "Australia/Lord_Howe", at: "2026-10-03T15:30:00Z" },
  { timezone: "Australia/Lord_Howe", at: "2026-04-04T15:00:00Z" },
  // A day that begins at 01:00, one that has midnight twice, one whose last hour comes twice.
  { timezone: "America/Havana", at: "2026-03-08T05:00:00Z" },
  { timezone: "America/Havana", at: "2026-11-01T05:00:00Z" },
  { timezone: "Africa/Cairo", at: "2026-10-29T21:00:00Z" },
  { timezone: "Asia/Kolkata", at: "2026-03-13T18:30:00Z" },
  { timezone: "Asia/Kathmandu", at: "2026-03-13T18:15:00Z" },
  { timezone: "America/St_Johns", at: "2026-03-08T05:30:00Z" },
];

const SERIES = ["hall/pump.1/temp", "hall/pump-1/temp", "hall/pump-1/flow", "yard/fan/rpm"].map((name) => {
  const [site = "", device = "", metric = ""] = name.split("/");
  return { site, device, metric };
});

/** A reading and how it is sent. */
interface Sent extends GivenReading {
  /** How far ahead of the agent's clock it is; null: long ago. */
  readonly aheadMs: number | null;
}

type Step =
  | { readonly kind: "reading"; readonly reading: Sent }
  | { readonly kind: "publish"; readonly version: ThresholdVersion }
  | { readonly kind: "tick"; readonly nowMs: number; readonly watching: boolean }
  | { readonly kind: "commit" | "checkpoint" | "compact" | "restart" | "ship" | "shipUnacknowledged" | "check" };

interface Plan {
  readonly timezone: string;
  readonly atMs: number;
  readonly windowMs: number;
  readonly steps: readonly Step[];
}

// What is drawn. Times are ms from the place's, limits and values of few kinds, so that they meet.

/** A grid of 5 s, which gaps and silences are multiples of; hours and quarters; and the milliseconds beside them. */
const offsetArb: fc.Arbitrary<number> = fc
  .tuple(
    fc.oneof(
      { weight: 12, arbitrary: fc.integer({ min: -12, max: 80 }).map((n) => n * 5_000) },
      { weight: 6, arbitrary: fc.integer({ min: -60, max: 700 }).map((n) => n * 5_000) },
      { weight: 3, arbitrary: fc.integer({ min: -12, max: 110 }).map((n) => n * 15 * MINUTE_MS) },
      { weight: 1, arbitrary: fc.integer({ min: -3 * 1440, max: 3 * 1440 }).map((n) => n * MINUTE_MS) },
    ),
    fc.constantFrom(0, 0, 0, 0, -1, 1),
  )
  .map(([offsetMs, besideMs]) => offsetMs + besideMs);

const LIMITS = {
  warningLow: [null, -1, -2],
  warningHigh: [null, 0, 1, 2, 3.5],
  criticalLow: [null, -4, -1.5],
  criticalHigh: [null, 1, 3, 5],
} as const;

const valueArb: fc.Arbitrary<number> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom(
      ...Object.values(LIMITS)
        .flat()
        .filter((limit) => limit !== null),
    ),
  },
  { weight: 2, arbitrary: fc.constantFrom(1 + 2 ** -52, 1 - 2 ** -53, -1 - 2 ** -52, 3.5 - 2 ** -51, 5 + 2 ** -50) },
  { weight: 4, arbitrary: fc.integer({ min: -12, max: 12 }).map((half) => half / 2) },
  { weight: 2, arbitrary: fc.double({ min: -6, max: 6, noNaN: true }) },
  { weight: 1, arbitrary: fc.constantFrom(0.1, 0.2, 0.3, 1e16, -1e16, 1e100) },
  { weight: 1, arbitrary: fc.constantFrom(-0, 0, 5e-324, -5e-324, 1e-310, -2.2e-308, 1e-200) },
  { weight: 1, arbitrary: fc.constantFrom(VALUE_ABS_MAX, -VALUE_ABS_MAX, VALUE_ABS_MAX * (1 + 2 ** -52), -1e308) },
);

/** Places among all steps. */
const LAST_TURN = 10_000;
const turnArb = fc.nat(LAST_TURN);

const readingArb = fc.record({
  series: fc.constantFrom(...SERIES),
  offsetMs: offsetArb,
  value: valueArb,
  how: fc.oneof(
    { weight: 12, arbitrary: fc.constant("timed" as const) },
    fc.constantFrom("stamped" as const, AHEAD_MAX_MS, AHEAD_MAX_MS + 1),
  ),
  turns: fc.oneof(
    { weight: 5, arbitrary: fc.tuple(turnArb) },
    { weight: 1, arbitrary: fc.array(turnArb, { minLength: 2, maxLength: 3 }) },
  ),
});

const bandArb: fc.Arbitrary<Band> = fc
  .record({
    warningLow: fc.constantFrom(...LIMITS.warningLow),
    warningHigh: fc.constantFrom(...LIMITS.warningHigh),
    criticalLow: fc.constantFrom(...LIMITS.criticalLow),
    criticalHigh: fc.constantFrom(...LIMITS.criticalHigh),
    forMs: fc.constantFrom(0, 0, 0, 1, 30_000, 600_000),
    gapMs: fc.constantFrom(0, 5_000, 10_000, 10_000.5, 60_000, 600_000, 7_200_000),
    intervalMs: fc.constantFrom(null, 1_500, 5_000, 60_000, 300_000),
    silence: fc.constantFrom(undefined, null, 0, 0.5, 1 / 3, 2, 12),
  })
  .map(({ silence, ...band }) => ({ ...band, ...(silence === undefined ? {} : { silenceIntervals: silence }) }));

const ruleArb: fc.Arbitrary<BandRule> = fc.record({
  match: fc.record({
    site: fc.constantFrom("*", "*", "*", "hall", "h*l"),
    device: fc.constantFrom("*", "*", "*", "pump.1", "pump-*", "*.*", "p*p*1"),
    metric: fc.constantFrom("*", "*", "*", "temp", "*m*"),
  }),
  band: bandArb,
});

const seriesBandArb: fc.Arbitrary<SeriesBand> = fc
  .record({
    series: fc.constantFrom(...SERIES),
    band: bandArb,
    hours: fc.option(fc.tuple(bandArb, bandArb, bandArb)),
    baseline: fc.option(fc.constantFrom({ p05: -2, p50: 0, p95: 2 }, { p05: 1, p50: 1, p95: 1 })),
  })
  .map(({ series, band, hours, baseline }) => ({
    ...series,
    band,
    // Each hour has another band than the hours beside it.
    ...(hours ? { hourOfWeek: Array.from({ length: 168 }, (_, hour) => hours[hour % 3]!) } : {}),
    ...(baseline ? { baseline } : {}),
  }));

const versionArb = fc.record({
  offsetMs: fc.oneof({ weight: 2, arbitrary: offsetArb }, fc.constant(-4 * DAY_MS)),
  sameAsBefore: fc.integer({ min: 0, max: 3 }).map((draw) => draw === 0),
  timezone: fc.constantFrom(...new Set(PLACES.map(({ timezone }) => timezone))),
  rules: fc.array(ruleArb, { minLength: 1, maxLength: 3, size: "max" }),
  series: fc.uniqueArray(seriesBandArb, { maxLength: 3, selector: ({ device, metric }) => `${device}/${metric}` }),
  turns: fc.array(turnArb, { minLength: 1, maxLength: 2 }),
});

/** A clock that mostly goes on in steps that count as watched, and at times jumps or is set. */
const tickArb = fc.record({
  stepMs: fc.oneof(
    { weight: 8, arbitrary: fc.integer({ min: 1, max: 36 }).map((n) => n * 5_000) },
    fc.constantFrom(
      180_001,
      600_000,
      1_200_000,
      1_200_001,
      4_000_000,
      -300_000,
      -3_000_000,
      -3_600_000,
      -7_200_000,
      -20_000_000,
      0,
    ),
  ),
  /** Instead, so many times the step before, and so many ms. */
  longer: fc.option(fc.tuple(fc.constantFrom(1, 2, 2, 2.5), fc.constantFrom(0, 1)), { freq: 6 }),
  watching: fc.integer({ min: 0, max: 9 }).map((draw) => draw > 0),
});

const faultArb = fc.record({
  kind: fc.constantFrom("commit", "checkpoint", "compact", "restart", "restart", "ship", "shipUnacknowledged", "check"),
  turn: turnArb,
});

const planArb: fc.Arbitrary<Plan> = fc
  .record({
    place: fc.constantFrom(...PLACES),
    windowMs: fc.constantFrom(1_000, MINUTE_MS, 15 * MINUTE_MS),
    readings: fc.array(readingArb, { minLength: 1, maxLength: 150, size: "max" }),
    order: fc.constantFrom("in order", "some late", "any"),
    isSmall: fc.boolean(),
    areVersionsFirst: fc.boolean(),
    versions: fc.array(versionArb, { minLength: 1, maxLength: 4, size: "max" }),
    ticks: fc.array(tickArb, { minLength: 5, maxLength: 60, size: "max" }),
    faults: fc.array(faultArb, { maxLength: 30, size: "max" }),
  })
  .map(({ place, windowMs, order, isSmall, areVersionsFirst, ...drawn }) => {
    const atMs = Date.parse(place.at);
    const steps: Turn[] = [];
    const readings = (isSmall ? drawn.readings.map(smaller) : drawn.readings).toSorted(byOffset);
    for (const [i, { series, offsetMs, value, how, turns }] of readings.entries()) {
      const [turn = 0, ...again] = turns;
      const ownTurn = (i * LAST_TURN) / readings.length;
      const lateBy = order === "in order" || turn % 4 > 0 ? 0 : turn % 3_000;
      const sent = [order === "any" ? turn : ownTurn + lateBy, ...again];
      const aheadMs = typeof how === "number" ? how : null;
      const reading = { ...series, tsMs: atMs + offsetMs, value, stamped: how === "stamped", aheadMs };
      for (const at of sent) steps.push({ turn: at, step: { kind: "reading", reading } });
    }
    let effectiveFromMs = atMs;
    for (const [i, version] of drawn.versions.entries()) {
      const { offsetMs, sameAsBefore, turns, ...rest } = isSmall ? smallerVersion(version) : version;
      if (!sameAsBefore) effectiveFromMs = atMs + offsetMs;
      const published = { ...rest, version: i + 1, effectiveFromMs, createdAtMs: 0, note: "" };
      for (const turn of areVersionsFirst ? [-1] : turns) {
        steps.push({ turn, step: { kind: "publish", version: published } });
      }
    }
    let nowMs = atMs - 400_000;
    let beforeMs = 100_000;
    for (const [i, { stepMs, longer, watching }] of drawn.ticks.entries()) {
      beforeMs = longer && beforeMs > 0 && beforeMs < 20 * MINUTE_MS ? longer[0] * beforeMs + longer[1] : stepMs;
      nowMs += beforeMs;
      const turn = ((i + 1) * LAST_TURN) / (drawn.ticks.length + 1);
      steps.push({ turn, step: { kind: "tick", nowMs, watching } });
    }
    for (const { kind, turn } of drawn.faults) steps.push({ turn, step: { kind } });
    const inTurn = steps.toSorted((a, b) => a.turn - b.turn).map(({ step }) => step);
    return { timezone: place.timezone, atMs, windowMs, steps: inTurn };
  });

interface Turn {
  readonly turn: number;
  readonly step: Step;
}

interface AtOffset {
  readonly offsetMs: number;
}

function byOffset(a: AtOffset, b: AtOffset): number {
  return a.offsetMs - b.offsetMs;
}

/** One of many series, of each of which there are some breaches within a minute: so that no other hides what goes wrong. */
function smaller<T extends AtOffset & { readonly value: number }>(reading: T, index: number): T {
  const series = { site: "hall", device: `pump.${index % 25}`, metric: "temp" };
  return { ...reading, series, value: Math.abs(reading.value), offsetMs: reading.offsetMs % MINUTE_MS };
}

function smallerVersion<T extends AtOffset & Pick<ThresholdVersion, "rules" | "series">>(version: T): T {
  const rules = version.rules.map(({ match, band }) => ({ match, band: { ...band, warningHigh: 0 } }));
  return { ...version, rules, offsetMs: version.offsetMs % MINUTE_MS };
}

// How a plan is carried out.

/** Compaction has something to do with so few readings. */
const COMPACTS_SOON = { cutReadings: 20, cutAfterMs: 1_000, mergeReadings: 60, mergeAgainMs: 0, settleMs: 0 };

/** A plant, and beside it what it has been given. */
class Run {
  readonly plant: Plant;
  readonly #plan: Plan;
  readonly #readings: GivenReading[] = [];
  readonly #versions = new Map<number, ThresholdVersion>();
  readonly #ticks: GivenTick[] = [];
  /** Not committed, so not acknowledged: the device or the broker sends it again. */
  #uncommitted: Sent[] = [];
  #rejected: Record<string, number> = {};
  #isNewProcess = true;

  constructor(plan: Plan, folder: string) {
    this.#plan = plan;
    const nowMs = plan.atMs + 10 * DAY_MS;
    const pipeline = { windowMs: plan.windowMs, compaction: { ...COMPACTOR_DEFAULTS, ...COMPACTS_SOON } };
    this.plant = createPlant(folder, { timezone: plan.timezone, nowMs, pipeline });
  }

  get given(): Given {
    const { timezone } = this.#plan;
    const versions = [...this.#versions.values()];
    return { timezone, agent: AGENT, readings: this.#readings, versions, ticks: this.#ticks };
  }

  take(step: Step): void {
    const { plant } = this;
    switch (step.kind) {
      case "reading":
        this.#send(step.reading);
        return;
      case "restart":
        plant.restart();
        this.#isNewProcess = true;
        for (const again of this.#uncommitted.splice(0)) this.#send(again);
        return;
      case "ship":
      case "shipUnacknowledged":
        plant.ship({ lostAcks: step.kind !== "ship" });
        return;
      case "check":
        this.check();
        return;
      case "publish":
        plant.publish(step.version);
        this.#versions.set(step.version.version, step.version);
        break;
      case "tick":
        plant.tick(step.nowMs, step.watching);
        break;
      default:
        plant.pipeline[step.kind]();
    }
    this.#committed();
    if (step.kind === "tick") {
      this.#ticks.push({ ...step, watching: step.watching && !this.#isNewProcess, rejected: this.#rejected });
      this.#isNewProcess = false;
      this.#rejected = {};
    }
  }

  /** Of silences nothing is sure before the clock has gone on; all else is. */
  check(): void {
    for (const kind of ["checkpoint", "ship"] as const) this.take({ kind });
    const isSure = ({ kind }: PlainAlert): boolean => kind !== "silence";
    checkReports(this, undefined);
    checkAlerts("alerts", this.plant.alerts().filter(isSure), expectedAlerts(this.given).filter(isSure));
  }

  /** After the clock has gone on. */
  checkAll(): void {
    for (const kind of ["checkpoint", "ship"] as const) this.take({ kind });
    const alerts = expectedAlerts(this.given);
    checkReports(this, alerts);
    checkAlerts("alerts", this.plant.alerts(), alerts);
    checkAlerts("replayed alerts", this.plant.replayedAlerts(), alerts);
    this.#checkPartOfLog(alerts);
  }

  /** A replay that begins within the log, a device at a time, knows alerts that begin later by more than any gap. */
  #checkPartOfLog(alerts: readonly PlainAlert[]): void {
    const { atMs, timezone } = this.#plan;
    const bands = [...this.#versions.values()].flatMap(({ rules, series }) => [
      ...rules.map(({ band }) => band),
      ...series.flatMap(({ band, hourOfWeek = [] }) => [band, ...hourOfWeek]),
    ]);
    const sureMs = atMs + Math.max(0, ...bands.map(({ gapMs }) => gapMs));
    const isSure = ({ startedAtMs, state }: PlainAlert): boolean => startedAtMs > sureMs && state !== "withdrawn";
    const replay = new LogReplay(this.plant.store, createCalendar(timezone), AGENT, { fromMs: atMs });
    const replayed = replay.groups(1).flatMap((group) => [...replay.fold(group).alerts()]);
    checkAlerts("alerts of part of the log", replayed.filter(isSure), alerts.filter(isSure));
  }

  #send(reading: Sent): void {
    const { plant } = this;
    const { site, device, metric, tsMs, value, stamped, aheadMs } = reading;
    const text = Object.is(value, -0) ? "-0.0" : String(value);
    const laterMs = plant.nowMs;
    if (stamped) plant.nowMs = tsMs;
    else if (aheadMs !== null) plant.nowMs = tsMs - aheadMs;
    plant.sendText(`s/${site}/${device}/${metric}`, stamped ? `{"value":${text}}` : `{"ts":${tsMs},"value":${text}}`);
    plant.nowMs = laterMs;
    this.#uncommitted.push(reading);
  }

  #committed(): void {
    for (const reading of this.#uncommitted.splice(0)) {
      const reason = refusal(reading);
      if (reason !== null) this.#rejected[reason] = (this.#rejected[reason] ?? 0) + 1;
      // -0 is 0.
      else this.#readings.push({ ...reading, value: reading.value + 0 });
    }
  }
}

function refusal({ value, aheadMs }: Sent): string | null {
  if (Math.abs(value) > VALUE_ABS_MAX) return "value_out_of_range";
  return (aheadMs ?? 0) > AHEAD_MAX_MS ? "time_ahead" : null;
}

/** Steps of a clock that is believed to have been watched from the second on, for longer than any silence drawn. */
const LAST_SECONDS = [0, 170, 510, 1190, 2390, 3590, 4790];

function play(plan: Plan): void {
  const folder = memoryFolder();
  const run = new Run(plan, folder.path);
  for (const step of plan.steps) run.take(step);
  run.check();
  const lastMs = plan.atMs + 60 * DAY_MS;
  for (const second of LAST_SECONDS) run.take({ kind: "tick", nowMs: lastMs + second * 1000, watching: true });
  run.checkAll();
  run.plant.close();
  folder.remove();
}

function checkReports({ plant, given }: Run, alerts: readonly PlainAlert[] | undefined): void {
  const days = new Set(given.readings.map(({ tsMs }) => dayOf(given.timezone, tsMs)));
  const reports = new Map<string, DailyReport>();
  for (const day of days) {
    const live = plant.liveReport(day);
    if (live !== undefined) reports.set(day, JSON.parse(live) as DailyReport);
    if (!alerts) continue;
    const { batch, replay } = plant.reports(day);
    assert.is(batch, live);
    assert.is(replay, live);
  }
  const healthOf = (day: string, site: string, device: string): number | undefined =>
    reports.get(day)?.devices.find((one) => one.site === site && one.device === device)?.health;
  for (const day of days) {
    const problems = reportProblems(given, day, reports.get(day), alerts, healthOf);
    if (problems.length > 0) throw new Error(`The report of ${day}:\n${problems.join("\n")}`);
  }
}

function checkAlerts(what: string, got: readonly PlainAlert[], expected: readonly PlainAlert[]): void {
  const line = ({ site, device, metric, kind, severity, state, startedAtMs, ...rest }: PlainAlert): string => {
    const { endedAtMs, value, low, high, thresholdVersion, breaches } = rest;
    const said = { severity, state, endedAtMs, value, low, high, thresholdVersion, breaches };
    return `${site}/${device}/${metric} ${kind} ${startedAtMs} ${JSON.stringify(said)}`;
  };
  const [is, ought] = [new Set(got.map(line)), new Set(expected.map(line))];
  const problems = [
    ...[...is].filter((one) => !ought.has(one)).map((one) => `not expected: ${one}`),
    ...[...ought].filter((one) => !is.has(one)).map((one) => `missing: ${one}`),
    ...(is.size === got.length ? [] : ["some twice"]),
  ];
  if (problems.length > 0) throw new Error(`The ${what}:\n${problems.join("\n")}`);
}

test("reports and alerts are what is written of them, whatever happens on the way", () => {
  fc.assert(fc.property(planArb, play), {
    numRuns: RUNS,
    interruptAfterTimeLimit: TIME_LIMIT_MS,
    markInterruptAsFailure: true,
  });
});
