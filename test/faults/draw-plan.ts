import type { Band, ThresholdVersion } from "@weir/shared/model/thresholds";
import { PAGE_SERIES } from "@weir/shared/operators/columns";
import { Random } from "../support/random.ts";
import type { Happening, Plan, PlannedDevice, PlannedReading, Step } from "./plan.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** Days on which clocks are put forward or back, and one on which they are not. */
const DAYS = ["2026-03-14", "2026-03-29", "2026-10-25"];
const TIMEZONES = ["UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York"];
const METRICS = ["temp", "flow", "rpm"];

/** Happenings by the true time at which they come, ms. */
interface Timed {
  readonly atMs: number;
  readonly what: Happening;
}

/** A stretch of true time in which a clock is off by so much, or a device is away. */
interface Stretch {
  readonly fromMs: number;
  readonly untilMs: number;
  readonly offsetMs: number;
}

/** A run of a small fleet with everything that can happen to it; the same for the same seed. */
export function drawPlan(seed: number): Plan {
  const random = new Random(seed);
  const startMs = Date.parse(`${random.pick(DAYS)}T00:00:00Z`) + random.between(-6, 23) * HOUR_MS;
  const spanMs = random.pick([10 * MINUTE_MS, 2 * HOUR_MS, 9 * HOUR_MS, 30 * HOUR_MS, 5 * DAY_MS]);
  const endMs = startMs + spanMs;
  const timezone = random.pick(TIMEZONES);
  const devices = drawDevices(random);
  const versions = drawVersions(random, timezone, startMs, spanMs);
  const timed: Timed[] = [];
  const readingsEach = random.between(8, 90);
  devices.forEach((device, index) => drawMessages(random, device, index, readingsEach, startMs, spanMs, timed));
  if (random.chance(0.03)) drawManySeries(random, devices, startMs, spanMs, timed);
  drawVersionTimes(random, versions, startMs, spanMs, timed);
  drawFaults(random, devices.length, startMs, spanMs, timed);
  if (random.chance(0.6)) drawClockTicks(random, startMs, spanMs, timed);
  const gateway = random.chance(0.35) ? [drawStretch(random, startMs, spanMs, [-3, -1, 0.5, 30, 80])] : [];
  const outboxBytesMax = random.pick([2 ** 30, 2 ** 30, 4000, 500]);
  const steps = timed
    .toSorted((a, b) => a.atMs - b.atMs)
    .map(({ atMs, what }): Step => ({ ...what, nowMs: Math.floor(atMs + offsetAt(gateway, atMs)) }));
  return {
    seed,
    timezone,
    batchReadingsMax: random.pick([8, 64, 8192]),
    windowMs: random.pick([MINUTE_MS, MINUTE_MS, 15 * MINUTE_MS]),
    compactsSoon: random.chance(0.6),
    stopwatchMs: random.pick([0.001, 3, 10]),
    outboxBytesMax,
    devices,
    versions,
    steps,
    endMs: Math.max(endMs + DAY_MS, ...steps.map(({ nowMs }) => nowMs)),
  };
}

function drawDevices(random: Random): PlannedDevice[] {
  return Array.from({ length: random.between(1, 4) }, (_, i) => ({
    site: random.pick(["hall", "yard"]),
    device: `d${i}`,
    metrics: METRICS.slice(0, random.between(1, 2)),
    source: random.chance(0.5) ? "listen" : "broker",
    qos: random.chance(0.15) ? 0 : 1,
  }));
}

function drawVersions(random: Random, timezone: string, startMs: number, spanMs: number): ThresholdVersion[] {
  return Array.from({ length: random.between(1, 4) }, (_, i) => {
    const rules = [{ match: { site: "*", device: "*", metric: "*" }, band: drawBand(random) }];
    if (random.chance(0.4)) rules.push({ match: { site: "*", device: "*", metric: "flow" }, band: drawBand(random) });
    return {
      version: i + 1,
      // The first of them mostly judges from the beginning; the rest begin anywhere, before their numbers or after.
      effectiveFromMs: i === 0 && random.chance(0.7) ? 0 : startMs + Math.floor((random.next() * 1.2 - 0.1) * spanMs),
      createdAtMs: 0,
      timezone,
      note: "",
      rules,
      series: [],
    };
  });
}

function drawBand(random: Random): Band {
  const high = random.between(4, 20);
  return {
    warningLow: random.chance(0.7) ? -high : null,
    warningHigh: high,
    criticalLow: null,
    criticalHigh: random.chance(0.5) ? high * 1.5 : null,
    forMs: random.pick([0, 0, 30_000, 10 * MINUTE_MS]),
    gapMs: random.pick([10_000, 5 * MINUTE_MS, 2 * HOUR_MS]),
    intervalMs: random.pick([null, 10_000, MINUTE_MS]),
    ...random.pick([{}, { silenceIntervals: 2 }, { silenceIntervals: 20 }, { silenceIntervals: null }]),
  };
}

function drawStretch(random: Random, startMs: number, spanMs: number, offsetHours: readonly number[]): Stretch {
  const fromMs = startMs + random.next() * spanMs;
  return {
    fromMs,
    untilMs: fromMs + random.next() * random.next() * spanMs,
    offsetMs: random.pick(offsetHours) * HOUR_MS,
  };
}

function offsetAt(stretches: readonly Stretch[], atMs: number): number {
  return stretches.find(({ fromMs, untilMs }) => atMs >= fromMs && atMs < untilMs)?.offsetMs ?? 0;
}

/** One device: it measures at its pace, by its clock, and sends as its network lets it. */
function drawMessages(
  random: Random,
  device: PlannedDevice,
  index: number,
  count: number,
  startMs: number,
  spanMs: number,
  timed: Timed[],
): void {
  const clock = random.chance(0.4) ? [drawStretch(random, startMs, spanMs, [-3, -0.02, 0.01, 1, 50])] : [];
  const away = random.chance(0.5) ? [drawStretch(random, startMs, spanMs, [0])] : [];
  const latenessMs = random.pick([500, 20_000, 10 * MINUTE_MS, HOUR_MS]);
  const wobble = random.pick([3, 12, 30]);
  const kept: PlannedReading[] = [];
  const send = (atMs: number, form: "single" | "list" | "stamped" | "garbage", readings: PlannedReading[]): void => {
    const what = { kind: "send", device: index, form, readings } as const;
    timed.push({ atMs, what });
    // Sent again, by a device that missed the acknowledgement or by a network that likes to repeat itself.
    if (random.chance(0.1)) timed.push({ atMs: atMs + random.next() ** 4 * spanMs, what });
  };
  for (let i = 0; i < count; i++) {
    const trueMs = startMs + ((i + random.next() * 0.3) / count) * spanMs;
    const tsMs = Math.floor(trueMs + offsetAt(clock, trueMs));
    const readings = device.metrics.map((metric) => ({ metric, tsMs, value: drawValue(random, wobble, i) }));
    if (away.some(({ fromMs, untilMs }) => trueMs >= fromMs && trueMs < untilMs)) {
      kept.push(...readings);
      continue;
    }
    const atMs = trueMs + random.next() ** 6 * latenessMs;
    if (random.chance(0.02)) send(atMs, "garbage", []);
    if (random.chance(0.03)) send(atMs, "stamped", readings.slice(0, 1));
    else if (random.chance(0.2)) send(atMs, "list", readings);
    else for (const reading of readings) send(atMs, "single", [reading]);
  }
  const order = random.chance(0.5) ? kept : random.shuffled(kept);
  const backMs = Math.max(startMs, ...away.map(({ untilMs }) => untilMs)) + random.next() ** 3 * spanMs * 0.3;
  for (let from = 0; from < order.length; from += 16) send(backMs + from, "list", order.slice(from, from + 16));
}

/** One message with almost as many series as a page of state holds, so that those that follow lie on two pages. */
function drawManySeries(
  random: Random,
  devices: readonly PlannedDevice[],
  startMs: number,
  spanMs: number,
  timed: Timed[],
): void {
  const tsMs = startMs - 1;
  const count = PAGE_SERIES - random.between(1, 3);
  const readings = Array.from({ length: count }, (_, i) => ({ metric: `m${i}`, tsMs, value: i % 10 }));
  const device = random.between(0, devices.length - 1);
  timed.push({ atMs: tsMs, what: { kind: "send", device, form: "list", readings } });
  // A turn of the checkpoint takes one page; what is started again then finds the pages at different places of the log.
  for (let i = 0; i < 6; i++) {
    const turnMs = startMs + random.next() * spanMs;
    timed.push({ atMs: turnMs, what: { kind: "turn" } });
    if (random.chance(0.6)) timed.push({ atMs: turnMs + 1, what: { kind: "kill", resend: true } });
  }
}

/** Around 0, with waves that leave the bands, and now and then a value that makes sums inexact. */
function drawValue(random: Random, wobble: number, i: number): number {
  const value = wobble * Math.sin(i / 5) + random.between(-30, 30) / 10;
  return random.chance(0.2) ? value + 0 : Math.round(value * 10) / 10 + 0;
}

/** Versions arrive in time, late, out of order, or twice. */
function drawVersionTimes(
  random: Random,
  versions: readonly ThresholdVersion[],
  startMs: number,
  spanMs: number,
  timed: Timed[],
): void {
  versions.forEach((_, version) => {
    const publishedMs = random.chance(0.4) ? startMs - 1 : startMs + random.next() * spanMs;
    timed.push({ atMs: publishedMs, what: { kind: "publish", version } });
    for (let i = random.between(1, 2); i > 0; i--) {
      timed.push({ atMs: publishedMs + random.next() ** 3 * spanMs, what: { kind: "deliver", version } });
    }
  });
}

/** What the programs do by themselves, and what is done to them. */
function drawFaults(random: Random, devices: number, startMs: number, spanMs: number, timed: Timed[]): void {
  const add = (often: number, draw: () => Happening): void => {
    for (let i = random.between(0, often); i > 0; i--) {
      timed.push({ atMs: startMs + random.next() * 1.1 * spanMs, what: draw() });
    }
  };
  const day = (): string => {
    const ms = startMs + random.between(-1, Math.ceil(spanMs / DAY_MS)) * DAY_MS;
    return new Date(ms).toISOString().slice(0, 10);
  };
  add(random.pick([40, 40, 150]), () => ({ kind: "commit" }));
  add(8, () => ({ kind: "tick", watching: random.chance(0.8) }));
  add(random.pick([12, 80, 400]), () => ({ kind: "turn" }));
  add(6, () => ({ kind: "checkpoint" }));
  add(2, () => ({ kind: "compact" }));
  add(8, () => ({ kind: "resend", device: random.between(0, devices - 1), shuffle: drawShuffle(random) }));
  add(4, () => ({ kind: "kill", resend: random.chance(0.5) }));
  add(6, () => ({ kind: "killIn", transactions: random.between(1, 4), at: random.pick(["before", "after"]) }));
  add(15, () => ({
    kind: "ship",
    lanes: random.pick([["alerts", "data"], ["data", "alerts"], ["alerts"]]),
    frames: random.pick([1, 3, 1000]),
    group: random.pick([1, 4, 64]),
    lostAcks: random.chance(0.3),
    fromOldest: random.chance(0.3),
  }));
  add(2, () => ({ kind: "killAggregator" }));
  add(5, () => ({
    kind: "killAggregatorIn",
    transactions: random.between(1, 4),
    at: random.pick(["before", "after"]),
  }));
  add(6, () => ({ kind: "issue", day: day() }));
  for (let i = random.pick([0, 0, 1, 2]); i > 0; i--) {
    const atMs = startMs + random.next() * spanMs;
    const state = random.chance(0.5) ? "refuses" : random.between(0, 6);
    timed.push({ atMs, what: { kind: "disk", state } });
    timed.push({ atMs: atMs + random.next() ** 2 * spanMs, what: { kind: "disk", state: "free" } });
  }
}

/** A stretch of regular clock ticks: only what lies between ticks that are close to each other counts as watched. */
function drawClockTicks(random: Random, startMs: number, spanMs: number, timed: Timed[]): void {
  const everyMs = Math.min(150_000, Math.max(20_000, spanMs / 100));
  let atMs = startMs + random.next() * 0.5 * spanMs;
  for (let i = random.between(10, 100); i > 0; i--) {
    timed.push({ atMs, what: { kind: "tick", watching: random.chance(0.97) } });
    atMs += everyMs * (0.9 + random.next() * 0.2);
  }
}

function drawShuffle(random: Random): number | null {
  return random.chance(0.3) ? random.between(1, 1_000_000) : null;
}
