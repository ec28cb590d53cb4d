import type { Alert, AlertKind, AlertState, Severity } from "../model/alert.ts";
import { alertId } from "../model/alert.ts";
import type { SeriesKey } from "../model/reading.ts";
import type { Band } from "../model/thresholds.ts";

/**
 * An episode: breaches of one series and kind, each no further from the one before than that one's gap. A pure function
 * of the set of breaches. Plain data, so that it can be stored and sent.
 */
export interface Episode {
  readonly series: number;
  readonly kind: AlertKind;
  readonly startedAtMs: number;
  lastTsMs: number;
  breaches: number;
  severity: Severity;
  /** The worst reading: furthest out, ties by time; and what judged it. */
  worstValue: number;
  worstTsMs: number;
  low: number | null;
  high: number | null;
  thresholdVersion: number;
  /** Of the band that judged the first breach. */
  readonly forMs: number;
  /** Of the band that judged the latest breach. */
  gapMs: number;
  /** The longest gap of its bands so far. */
  gapMaxMs: number;
  /** Breaches have spanned forMs: it is an alert. */
  fired: boolean;
  /** Changed since it was last emitted. */
  dirty: boolean;
}

/** One breach, as judged. */
export interface Breach {
  readonly series: number;
  readonly kind: AlertKind;
  readonly tsMs: number;
  readonly value: number;
  readonly critical: boolean;
  readonly version: number;
  readonly band: Band;
}

/** A new episode of its first breach. */
export function startEpisode(breach: Breach): Episode {
  return {
    series: breach.series,
    kind: breach.kind,
    startedAtMs: breach.tsMs,
    lastTsMs: breach.tsMs,
    breaches: 1,
    severity: breach.critical ? "critical" : "warning",
    worstValue: breach.value,
    worstTsMs: breach.tsMs,
    low: breach.band.warningLow,
    high: breach.band.warningHigh,
    thresholdVersion: breach.version,
    forMs: breach.band.forMs,
    gapMs: breach.band.gapMs,
    gapMaxMs: breach.band.gapMs,
    fired: breach.band.forMs === 0,
    dirty: true,
  };
}

/**
 * True when a breach that came late lies within the episode and cannot split it: its gap is no shorter than that of
 * whichever breach precedes it, or reaches to the end.
 */
export function holdsLateBreach(episode: Episode, { tsMs, band }: Breach): boolean {
  if (tsMs < episode.startedAtMs || tsMs > episode.lastTsMs) return false;
  return band.gapMs >= episode.gapMaxMs || tsMs + band.gapMs >= episode.lastTsMs;
}

/**
 * Adds a breach that belongs to the episode: it lies within it, or follows within its gap. Returns true when people
 * should hear of it at once: it fired, or became critical.
 */
export function extendEpisode(episode: Episode, breach: Breach): boolean {
  episode.breaches++;
  episode.dirty = true;
  if (breach.tsMs >= episode.lastTsMs) {
    episode.lastTsMs = breach.tsMs;
    episode.gapMs = breach.band.gapMs;
  }
  episode.gapMaxMs = Math.max(episode.gapMaxMs, breach.band.gapMs);
  const further = breach.kind === "high" ? breach.value > episode.worstValue : breach.value < episode.worstValue;
  if (further || (breach.value === episode.worstValue && breach.tsMs < episode.worstTsMs)) {
    episode.worstValue = breach.value;
    episode.worstTsMs = breach.tsMs;
    episode.low = breach.band.warningLow;
    episode.high = breach.band.warningHigh;
    episode.thresholdVersion = breach.version;
  }
  const escalates = breach.critical && episode.severity === "warning";
  if (escalates) episode.severity = "critical";
  const fires = !episode.fired && episode.lastTsMs - episode.startedAtMs >= episode.forMs;
  if (fires) episode.fired = true;
  return episode.fired && (fires || escalates);
}

/** The alert that an episode is. state: firing while it is open. */
export function alertOf(episode: Omit<Episode, "gapMaxMs">, key: SeriesKey, state: AlertState): Alert {
  return {
    id: alertId(key, episode.kind, episode.startedAtMs),
    site: key.site,
    device: key.device,
    metric: key.metric,
    kind: episode.kind,
    severity: episode.severity,
    state,
    startedAtMs: episode.startedAtMs,
    endedAtMs: state === "firing" ? null : episode.lastTsMs,
    value: episode.worstValue,
    low: episode.low,
    high: episode.high,
    thresholdVersion: episode.thresholdVersion,
    breaches: episode.breaches,
  };
}

/** What is left to say of an alert that late data took back: which one it was. */
export function withdrawnAlert(key: SeriesKey, kind: AlertKind, startedAtMs: number): Alert {
  const nothing = { startedAtMs, lastTsMs: startedAtMs, breaches: 0, worstValue: 0, worstTsMs: startedAtMs };
  const judged = { severity: "warning", low: null, high: null, thresholdVersion: 0, forMs: 0, gapMs: 0 } as const;
  return alertOf({ series: 0, kind, ...nothing, ...judged, fired: true, dirty: false }, key, "withdrawn");
}
