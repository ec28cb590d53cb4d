import type { SeriesKey } from "../model/reading.ts";
import type { Band, ThresholdVersion } from "../model/thresholds.ts";
import type { VersionLookup } from "../rules/resolve-band.ts";
import { compileVersion } from "../rules/resolve-band.ts";
import type { Calendar } from "./calendar.ts";
import { createCalendar, hourEnd } from "./calendar.ts";

/** The band that judges a series during a stretch of event time; band undefined: nothing does. */
export interface InForce {
  readonly fromMs: number;
  readonly untilMs: number;
  /** 0 where no version is in force yet. */
  readonly version: number;
  readonly band: Band | undefined;
}

interface Compiled {
  readonly version: ThresholdVersion;
  readonly lookup: VersionLookup;
  readonly calendar: Calendar;
  /** The local hour that was asked for last: when an hour begins, all series ask for the same one. */
  hour: { readonly fromMs: number; readonly untilMs: number; readonly ofWeek: number };
}

const NO_HOUR = { fromMs: 0, untilMs: 0, ofWeek: 0 };

/**
 * The threshold versions known so far, and which of them is in force when.
 *
 * A version judges event times from its effectiveFromMs until the next version's, ordered by (effectiveFromMs,
 * version), whatever the order they arrived in.
 */
export class ThresholdHistory {
  readonly #byNumber = new Map<number, Compiled>();
  #ordered: Compiled[] = [];

  /** Adds a version; false when it was known already. Versions are immutable: the first of a number stays. */
  add(version: ThresholdVersion): boolean {
    if (this.#byNumber.has(version.version)) return false;
    const compiled = {
      version,
      lookup: compileVersion(version),
      calendar: createCalendar(version.timezone),
      hour: NO_HOUR,
    };
    this.#byNumber.set(version.version, compiled);
    this.#ordered = [...this.#ordered, compiled].toSorted(
      (a, b) => a.version.effectiveFromMs - b.version.effectiveFromMs || a.version.version - b.version.version,
    );
    return true;
  }

  get(version: number): ThresholdVersion | undefined {
    return this.#byNumber.get(version)?.version;
  }

  /** All versions in the order they come into force. */
  versions(): readonly ThresholdVersion[] {
    return this.#ordered.map(({ version }) => version);
  }

  /** What judges a reading of `key` at tsMs, and the stretch around tsMs in which that stays so. */
  inForce(key: SeriesKey, tsMs: number): InForce {
    let next = 0;
    while (next < this.#ordered.length && this.#ordered[next]!.version.effectiveFromMs <= tsMs) next++;
    const untilMs = this.#ordered[next]?.version.effectiveFromMs ?? Infinity;
    const current = this.#ordered[next - 1];
    if (!current) return { fromMs: -Infinity, untilMs, version: 0, band: undefined };
    const fromMs = current.version.effectiveFromMs;
    const number = current.version.version;
    const thresholds = current.lookup(key);
    if (!thresholds?.hourOfWeek) return { fromMs, untilMs, version: number, band: thresholds?.band };
    const hour = hourAt(current, tsMs);
    return {
      fromMs: Math.max(fromMs, hour.fromMs),
      untilMs: Math.min(untilMs, hour.untilMs),
      version: number,
      band: thresholds.hourOfWeek[hour.ofWeek] ?? thresholds.band,
    };
  }

  /** Of some versions, the number of the one that came into force last; undefined where none is known. */
  lastInForce(versions: readonly number[]): number | undefined {
    return this.#ordered.findLast(({ version }) => versions.includes(version.version))?.version.version;
  }

  /** What a version says of a series: its band and baseline; undefined when it says nothing. */
  lookup(version: number, key: SeriesKey): ReturnType<VersionLookup> {
    return this.#byNumber.get(version)?.lookup(key);
  }
}

function hourAt(compiled: Compiled, tsMs: number): Compiled["hour"] {
  const { calendar, hour } = compiled;
  if (tsMs >= hour.fromMs && tsMs < hour.untilMs) return hour;
  const fromMs = calendar.hourStart(tsMs);
  compiled.hour = { fromMs, untilMs: hourEnd(calendar, fromMs), ofWeek: calendar.hourOfWeek(tsMs) };
  return compiled.hour;
}
