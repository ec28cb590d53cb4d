import { hashCounter, hashText, uniform } from "./random.ts";

/** Every kind of fault, in the order that the first fault of a run prefers. See faultyValue for what each does. */
export const FAULT_KINDS = ["spike", "drift", "stuck", "dropout"] as const;

/** One of FAULT_KINDS. */
export type FaultKind = (typeof FAULT_KINDS)[number];

/**
 * One fault of one device. It holds for event times startMs ≤ t < endMs, both whole milliseconds. metric: index into
 * the device's metrics; -1: all of them (dropout). up: towards the high limit, where the metric has both.
 */
export interface Fault {
  readonly kind: FaultKind;
  readonly metric: number;
  readonly startMs: number;
  readonly endMs: number;
  readonly up: boolean;
}

export interface FaultOptions {
  /** Mean time from one fault of a device to its next, in milliseconds. */
  readonly meanIntervalMs: number;
  readonly kinds: readonly FaultKind[];
  /** When the run starts: no fault begins before firstAfterMs later. */
  readonly runStartMs: number;
  /** One device, drawn from the seed, has a fault exactly this long after the start; 0: none is placed so. */
  readonly firstAfterMs: number;
  /** How often a series reports: no fault is shorter than INTERVALS_MIN of these, so that each shows in the data. */
  readonly intervalMs: number;
}

/** Shortest and longest length of each kind, in milliseconds. */
const LENGTHS_MS: Readonly<Record<FaultKind, readonly [min: number, max: number]>> = {
  spike: [3_000, 15_000],
  stuck: [60_000, 300_000],
  drift: [120_000, 600_000],
  dropout: [20_000, 120_000],
};
const INTERVALS_MIN = 4;
/** A fault takes at most this share of the mean interval, so a device is healthy for most of the time. */
const SHARE_MAX = 0.5;

/** The shortest mean interval for which every fault can be INTERVALS_MIN intervals long. */
export function meanIntervalMinMs(intervalMs: number): number {
  return Math.ceil((INTERVALS_MIN * intervalMs) / SHARE_MAX);
}

/** What random numbers of one device and slot are for. */
const KIND = 11;
const METRIC = 12;
const LENGTH = 13;
const START = 14;
const UP = 15;
const FIRST = 16;

/** The faults of one device: which holds at a given event time. */
export interface FaultPlan {
  /** The fault that holds at tsMs, the same object for all of its times in a row; undefined where the device is healthy. */
  at(tsMs: number): Fault | undefined;
}

/**
 * The faults of a device with metricCount ≥ 1 metrics, as a pure function of seed, device and options: time is cut into
 * slots of the mean interval, each slot holds one fault at a random place. first: this device has the run's first fault.
 */
export function createFaultPlan(
  seed: number,
  device: string,
  metricCount: number,
  first: boolean,
  options: FaultOptions,
): FaultPlan {
  const own = hashCounter(seed, hashText(device), KIND);
  const quietUntilMs = options.runStartMs + options.firstAfterMs;
  const firstFault =
    first && options.firstAfterMs > 0 ? placeFirst(own, metricCount, options, quietUntilMs) : undefined;
  // Only a memory of the last answer: slots are asked for many times in a row.
  let slot = Number.NaN;
  let slotFault: Fault | undefined;
  return {
    at(tsMs) {
      if (firstFault && holds(firstFault, tsMs)) return firstFault;
      const asked = Math.floor(tsMs / options.meanIntervalMs);
      if (asked !== slot) {
        slot = asked;
        slotFault = placeInSlot(own, metricCount, slot, options);
        if (slotFault.startMs < quietUntilMs || (firstFault && overlaps(slotFault, firstFault))) slotFault = undefined;
      }
      return slotFault && holds(slotFault, tsMs) ? slotFault : undefined;
    },
  };
}

/** Which of deviceCount devices has the run's first fault. */
export function firstFaultDevice(seed: number, deviceCount: number): number {
  return hashCounter(seed, 0, FIRST) % deviceCount;
}

function placeInSlot(own: number, metricCount: number, slot: number, options: FaultOptions): Fault {
  const kind = options.kinds[hashCounter(own, slot, KIND) % options.kinds.length] ?? "spike";
  const lengthMs = drawLength(own, slot, kind, options);
  const slotMs = slot * options.meanIntervalMs;
  const startMs = slotMs + Math.floor(uniform(own, slot, START) * (options.meanIntervalMs - lengthMs));
  return draw(own, slot, kind, metricCount, startMs, lengthMs);
}

function placeFirst(own: number, metricCount: number, options: FaultOptions, startMs: number): Fault {
  const kind = FAULT_KINDS.find((candidate) => options.kinds.includes(candidate)) ?? "spike";
  return draw(own, startMs, kind, metricCount, startMs, drawLength(own, startMs, kind, options));
}

function draw(
  own: number,
  counter: number,
  kind: FaultKind,
  metricCount: number,
  startMs: number,
  lengthMs: number,
): Fault {
  const metric = kind === "dropout" ? -1 : hashCounter(own, counter, METRIC) % metricCount;
  return { kind, metric, startMs, endMs: startMs + lengthMs, up: uniform(own, counter, UP) < 0.5 };
}

function drawLength(own: number, counter: number, kind: FaultKind, options: FaultOptions): number {
  const [min, max] = LENGTHS_MS[kind];
  const drawn = min + uniform(own, counter, LENGTH) * (max - min);
  const atLeast = Math.max(drawn, INTERVALS_MIN * options.intervalMs);
  return Math.ceil(Math.min(atLeast, SHARE_MAX * options.meanIntervalMs));
}

function holds(fault: Fault, tsMs: number): boolean {
  return tsMs >= fault.startMs && tsMs < fault.endMs;
}

function overlaps(a: Fault, b: Fault): boolean {
  return a.startMs < b.endMs && b.startMs < a.endMs;
}
