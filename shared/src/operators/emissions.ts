import type { Alert } from "../model/alert.ts";
import type { Episode } from "./episodes.ts";

/** Ask to fold a series again, from fromMs (event time) on. */
export interface RefoldRequest {
  readonly series: number;
  readonly fromMs: number;
  /** The thresholds changed as well: window partials from fromMs on are to be replaced, not only episodes. */
  readonly replacePartials: boolean;
}

/** What a step of the fold emits. Callers own it and empty it. */
export interface Emissions {
  /** Alerts that began, became critical, ended, or (at a flush) went on. */
  readonly alerts: Alert[];
  /** Episodes that ended, fired or not; and silences as they now are, not fired where late data took them back. */
  readonly closed: Episode[];
  readonly refolds: RefoldRequest[];
}

/** Emissions with nothing in them, for a fold to fill. */
export function createEmissions(): Emissions {
  return { alerts: [], closed: [], refolds: [] };
}
