import type { Calendar } from "./calendar.ts";
import { hourEnd } from "./calendar.ts";
import type { Partial } from "./partial.ts";
import { mergeAll, mergePartials } from "./partial.ts";

/** window: as agents send them. hour: merged to the plant's local hours, from which days are made. */
export type CellLevel = "window" | "hour";

/** A partial at its place in time. */
export interface Cell {
  readonly startMs: number;
  readonly partial: Partial;
}

/**
 * Where cells are kept: SQLite in the aggregator, memory in a replay. Series indexes are the store's own.
 */
export interface CellStore {
  get(series: number, level: CellLevel, startMs: number): Partial | undefined;
  put(series: number, level: CellLevel, startMs: number, partial: Partial): void;
  /** Puts a cell where there is none; false, with nothing done, where there is one. */
  add(series: number, level: CellLevel, startMs: number, partial: Partial): boolean;
  /** Cells with fromMs ≤ startMs < toMs, ascending. */
  range(series: number, level: CellLevel, fromMs: number, toMs: number): readonly Cell[];
}

/**
 * Takes a window partial into its window alone. replace false: it holds readings that no partial before held, and
 * merges. replace true: it holds all of its window's readings, and takes the place of what is there. expectNew: most
 * likely there is none yet; saves a look. Returns by how many readings the window has grown.
 */
export function applyToWindow(
  store: CellStore,
  series: number,
  windowStartMs: number,
  partial: Partial,
  replace: boolean,
  expectNew: boolean,
): number {
  if (expectNew && store.add(series, "window", windowStartMs, partial)) return partial.count;
  const before = store.get(series, "window", windowStartMs);
  store.put(series, "window", windowStartMs, before && !replace ? mergePartials(before, partial) : partial);
  return before && replace ? partial.count - before.count : partial.count;
}

/** As applyToWindow, with the hour that holds the window kept up to date: after a replacement it is merged anew. */
export function applyWindowPartial(
  store: CellStore,
  calendar: Calendar,
  series: number,
  windowStartMs: number,
  partial: Partial,
  replace: boolean,
): number {
  const grown = applyToWindow(store, series, windowStartMs, partial, replace, false);
  if (replace) {
    const hourMs = calendar.hourStart(windowStartMs);
    store.put(series, "hour", hourMs, mergeHour(store, calendar, series, hourMs)!);
  } else mergeIntoHour(store, calendar, series, windowStartMs, partial);
  return grown;
}

/** Merges readings that no partial before held into the hour alone: where its windows are no longer kept. */
export function mergeIntoHour(
  store: CellStore,
  calendar: Calendar,
  series: number,
  windowStartMs: number,
  partial: Partial,
): void {
  const hourMs = calendar.hourStart(windowStartMs);
  const hour = store.get(series, "hour", hourMs);
  store.put(series, "hour", hourMs, hour ? mergePartials(hour, partial) : partial);
}

/** An hour merged from its windows; undefined where there are none. */
export function mergeHour(store: CellStore, calendar: Calendar, series: number, hourMs: number): Partial | undefined {
  const windows = store.range(series, "window", hourMs, hourEnd(calendar, hourMs));
  return mergeAll(windows.map(({ partial }) => partial));
}
