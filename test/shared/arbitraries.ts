import { VALUE_ABS_MAX } from "@weir/shared/model/reading";
import type { Partial } from "@weir/shared/operators/partial";
import type { WindowPartial } from "@weir/shared/operators/windows";
import {
  JUDGED_CRITICAL,
  JUDGED_HIGH,
  JUDGED_IN_BAND,
  JUDGED_LOW,
  WindowAccumulator,
} from "@weir/shared/operators/windows";
import fc from "fast-check";

/** Any value that a reading may have: sensors' decimals, all magnitudes, denormals, ties between two doubles. */
export const anyValue: fc.Arbitrary<number> = fc
  .oneof(
    fc.integer({ min: -50_000, max: 50_000 }).map((thousandths) => thousandths / 1000),
    fc.double({ min: -VALUE_ABS_MAX, max: VALUE_ABS_MAX, noNaN: true }),
    fc
      .tuple(fc.integer({ min: -3, max: 3 }), fc.integer({ min: -1074, max: 958 }))
      .map(([factor, exponent]) => factor * 2 ** exponent),
    // Steps of 53 binary places: the sums of such values lie half-way between two doubles, or almost.
    fc
      .tuple(fc.constantFrom(1, -1, 1 + 2 ** -52, -1 - 2 ** -52), fc.integer({ min: -4, max: 4 }))
      .map(([factor, step]) => factor * 2 ** (53 * step)),
    fc.constantFrom(0, 5e-324, -5e-324, VALUE_ABS_MAX, -VALUE_ABS_MAX),
  )
  // Readings are never -0.
  .map((value) => value + 0);

/** Values of which some cancel out. */
export const anyValues: fc.Arbitrary<number[]> = fc
  .tuple(fc.array(anyValue, { minLength: 1, maxLength: 60 }), fc.nat(60))
  .map(([values, cancelled]) => [...values, ...values.slice(0, cancelled).map((value) => 0 - value)]);

/** One reading as a window takes it. */
export interface JudgedReading {
  readonly series: number;
  readonly tsMs: number;
  readonly value: number;
  readonly stamped: number;
  readonly judged: number;
  readonly version: number;
}

export const anyReading: fc.Arbitrary<JudgedReading> = fc.record({
  series: fc.oneof(fc.nat(2), fc.constant(5000)),
  tsMs: fc.integer({ min: -90_000, max: 240_000 }),
  value: anyValue,
  stamped: fc.nat(1),
  judged: fc.constantFrom(
    JUDGED_IN_BAND,
    JUDGED_LOW,
    JUDGED_HIGH,
    JUDGED_LOW | JUDGED_CRITICAL,
    JUDGED_HIGH | JUDGED_CRITICAL,
  ),
  version: fc.nat(3),
});

export const WINDOW_MS = 60_000;

export function addAll(windows: WindowAccumulator, readings: readonly JudgedReading[]): void {
  for (const { series, tsMs, value, stamped, judged, version } of readings) {
    windows.add(series, tsMs, value, stamped, judged, version);
  }
}

/** The window partials of readings, drained once. */
export function windowsOf(readings: readonly JudgedReading[], windowMs: number = WINDOW_MS): WindowPartial[] {
  const windows = new WindowAccumulator(windowMs);
  addAll(windows, readings);
  return windows.drain();
}

/** The partial of plain readings of one series. */
export function partialOf(
  readings: ReadonlyArray<Pick<JudgedReading, "tsMs" | "value"> & globalThis.Partial<JudgedReading>>,
): Partial {
  const judged = readings.map((one) => ({ series: 0, stamped: 0, judged: JUDGED_IN_BAND, version: 0, ...one }));
  const windows = windowsOf(judged, 1e15);
  if (windows.length !== 1) throw new Error(`${windows.length} windows of ${readings.length} readings`);
  return windows[0]!.partial;
}

/** Evenly spaced readings of one value. */
export function steady(
  fromMs: number,
  count: number,
  stepMs: number,
  value: number,
): Array<{ tsMs: number; value: number }> {
  return Array.from({ length: count }, (_, i) => ({ tsMs: fromMs + i * stepMs, value }));
}
