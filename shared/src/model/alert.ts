import type { SeriesKey } from "./reading.ts";

/** What an alert is about. `high` and `low`: readings above or below the band. `silence`: readings that did not come. */
export type AlertKind = "high" | "low" | "silence";

/** How bad: readings outside the warning limits, or outside the critical ones. */
export type Severity = "warning" | "critical";

/**
 * firing: the episode goes on. resolved: a later reading of the series came, and no breach within the gap. withdrawn: late
 * data took it back.
 */
export type AlertState = "firing" | "resolved" | "withdrawn";

/**
 * An episode of breaches of one series and kind, none further from the one before than its band's gap, as agents ship it
 * and the API shows it.
 *
 * id is deterministic (alertId), so the same episode sent twice is one alert. Times are event times in milliseconds.
 * value is the worst reading; low, high and thresholdVersion are the warning limits and version that judged it (null:
 * no such limit). breaches counts readings outside the limits, warning or critical. endedAtMs is the last breach, null
 * while firing.
 *
 * A silence starts at the last reading before it and ends at the next one. value is its length in seconds, while firing
 * the length at which it fired; high is that length as well, low null, breaches 0; thresholdVersion is the one in force
 * when it started.
 */
export interface Alert extends SeriesKey {
  readonly id: string;
  readonly kind: AlertKind;
  readonly severity: Severity;
  readonly state: AlertState;
  readonly startedAtMs: number;
  readonly endedAtMs: number | null;
  readonly value: number;
  readonly low: number | null;
  readonly high: number | null;
  readonly thresholdVersion: number;
  readonly breaches: number;
}

/** An alert with what people did about it: who acknowledged it and when (ms), null where nobody has. */
export interface AlertView extends Alert {
  readonly agent: string;
  readonly ackedBy: string | null;
  readonly ackedAtMs: number | null;
}

/** The deterministic id of an episode: same series, kind and start, same id, wherever it is computed. */
export function alertId(key: SeriesKey, kind: AlertKind, startedAtMs: number): string {
  return `${key.site}/${key.device}/${key.metric}/${kind}/${startedAtMs}`;
}
