import type { Alert, AlertView as StoredAlert } from "@weir/shared/model/alert";
import type { Calendar } from "@weir/shared/operators/calendar";
import { HOUR_MS, hourEnd } from "@weir/shared/operators/calendar";
import type { Partial } from "@weir/shared/operators/partial";
import { applyToWindow, mergeIntoHour } from "@weir/shared/operators/rollup";
import type { Frame, Lane, TickFrame } from "@weir/shared/wire/messages";
import { decodeWindows } from "@weir/shared/wire/partial-codec";
import { clockMsOf, firstReadingMs } from "./agents.ts";
import { AheadAlerts } from "./ahead-alerts.ts";
import { alertById } from "./alerts.ts";
import { SqlCellStore } from "./cells.ts";
import type { SqlDatabase } from "./database.ts";
import { markDays, markDayWithReadings } from "./day-marks.ts";

/** Who sent a frame. */
export interface FrameOrigin {
  readonly agent: string;
  readonly incarnation: string;
}

/** What applying frames changed, for watchers. */
export interface FrameChanges {
  readonly alerts: StoredAlert[];
  /** Agents of whom a tick was applied. */
  readonly ticked: Set<string>;
  /** Series that have new data, by `site/device`. */
  readonly devices: Map<string, { site: string; device: string; metrics: Set<string>; lastTsMs: number }>;
}

/** Nothing changed yet. */
export function createFrameChanges(): FrameChanges {
  return { alerts: [], ticked: new Set(), devices: new Map() };
}

interface SeriesRow {
  readonly id: number;
  readonly site: string;
  readonly device: string;
  readonly metric: string;
}

/** What is known of a series' readings, read before the first partial of a frame and written after the last. */
interface SeriesState {
  readonly series: SeriesRow;
  /** Windows are kept from here on. */
  readonly windowsFromMs: number;
  readonly firstTsMsBefore: number | null;
  firstTsMs: number;
  lastTsMs: number;
  lastValue: number;
  grown: number;
  /** Newest time in the frame's partials; -Infinity: none was applied. */
  newestTsMs: number;
  /** Start of the hour that was unmerged last, for this frame. */
  unmergedHourMs: number;
}

interface SeriesOwner {
  readonly agent: string;
  readonly firstTsMs: number | null;
  readonly lastTsMs: number | null;
}

interface SeriesStateRow {
  readonly firstTsMs: number | null;
  readonly lastTsMs: number | null;
  readonly lastValue: number | null;
  readonly windowsFromMs: number | null;
}

/** Where a window lies in the plant's time. */
interface Place {
  readonly hourMs: number;
  readonly hourEndMs: number;
  readonly day: string;
}

const SERIES_AGENT = `SELECT agent, first_ts_ms AS firstTsMs, last_ts_ms AS lastTsMs FROM series
  WHERE site = ? AND device = ? AND metric = ?`;
const SERIES_STATE = `SELECT first_ts_ms AS firstTsMs, last_ts_ms AS lastTsMs, last_value AS lastValue,
  windows_from_ms AS windowsFromMs FROM series WHERE id = ?`;
const WRITE_SERIES_STATE =
  "UPDATE series SET first_ts_ms = ?, last_ts_ms = ?, last_value = ?, readings = readings + ? WHERE id = ?";

/** One row a day, agent and reason, however many ticks tell of it. */
const ADD_LOSS = `INSERT INTO losses VALUES (@dayMs, @agent, @part, @reason, @count)
  ON CONFLICT DO UPDATE SET count = count + excluded.count`;

/** How long after its end an hour is merged, ms: agents send the rest of its windows within about a minute. */
const HOUR_SETTLES_MS = 300_000;

/** Windows merged into hours at a tick, at most. */
const WINDOWS_MERGED_A_TICK = 512;

/** Places of windows that are remembered, at most. */
const PLACES_MAX = 1024;

/** Series by agent index that are remembered, at most, before the memory is begun anew. */
const SERIES_REMEMBERED_MAX = 500_000;

/**
 * Applies frames of agents to the store, each once: the cursor moves in the same transaction. The order of a lane is
 * that of the agent's log, so what is stored is a fold over it.
 */
export class FrameStore {
  readonly #db: SqlDatabase;
  readonly #cells: SqlCellStore;
  readonly #calendar: Calendar;
  readonly #queueForInflux: boolean;
  /** By agent and incarnation, then by the agent's index. */
  readonly #seriesOf = new Map<string, Map<number, SeriesRow>>();
  #seriesRemembered = 0;
  #lateReplacements = 0;
  readonly #places = new Map<number, Place>();
  /** See applyAhead. */
  readonly #ahead: AheadAlerts;

  constructor(db: SqlDatabase, calendar: Calendar, options: { readonly queueForInflux: boolean }) {
    this.#db = db;
    this.#cells = new SqlCellStore(db);
    this.#calendar = calendar;
    this.#queueForInflux = options.queueForInflux;
    this.#ahead = new AheadAlerts(db);
  }

  /** Windows that agents judged anew after they had been deleted here, since the start. */
  get lateReplacements(): number {
    return this.#lateReplacements;
  }

  /** The newest frame of a lane that is applied, 0 before the first. */
  appliedSeq(origin: FrameOrigin, lane: Lane): number {
    const sql = "SELECT seq FROM cursors WHERE agent = ? AND incarnation = ? AND lane = ?";
    return this.#db.get<{ seq: number }>(sql, origin.agent, origin.incarnation, lane)?.seq ?? 0;
  }

  /** Applies a frame unless it has been; call within a transaction. nowMs: the clock, for when alerts changed. */
  apply(origin: FrameOrigin, lane: Lane, seq: number, frame: Frame, nowMs: number, changes: FrameChanges): void {
    if (seq <= this.appliedSeq(origin, lane)) return;
    switch (frame.kind) {
      case "series":
        this.name(origin, frame.series);
        break;
      case "partials":
        this.#applyPartials(origin, frame.windows, frame.replace, changes);
        break;
      case "alerts": {
        for (const alert of frame.alerts) {
          const aheadSeq = this.#ahead.seq(origin, alert.id);
          // What a newer frame says of it is applied already.
          if (aheadSeq > seq) continue;
          if (aheadSeq > 0) this.#ahead.forget(origin, alert.id);
          this.#applyAlert(origin.agent, alert, nowMs, changes);
        }
        break;
      }
      case "tick":
        this.#applyTick(origin.agent, frame);
        changes.ticked.add(origin.agent);
        break;
    }
    this.#db.run("REPLACE INTO cursors VALUES (?, ?, ?, ?)", origin.agent, origin.incarnation, lane, seq);
  }

  /**
   * Applies a frame of alerts before its turn, when older ones of its lane are still to come: the cursor stays, and the
   * frame comes again. Until then older frames don't change its alerts. Call within a transaction.
   */
  applyAhead(origin: FrameOrigin, seq: number, frame: Frame, nowMs: number, changes: FrameChanges): void {
    if (frame.kind !== "alerts" || seq <= this.appliedSeq(origin, "alerts")) return;
    let room = this.#ahead.room(origin);
    for (const alert of frame.alerts) {
      // A watcher of more than that many waits for their turn.
      if (room <= 0 || this.#ahead.seq(origin, alert.id) >= seq) continue;
      this.#ahead.remember(origin, alert.id, seq);
      room--;
      this.#applyAlert(origin.agent, alert, nowMs, changes);
    }
  }

  /** Series of an agent that are named here: it sends the names of the others before its frames. */
  seriesKnown(origin: FrameOrigin): number {
    const sql = "SELECT count(*) AS count FROM agent_series WHERE agent = ? AND incarnation = ?";
    return this.#db.get<{ count: number }>(sql, origin.agent, origin.incarnation)?.count ?? 0;
  }

  /** Takes names of series indexes; call within a transaction. */
  name(origin: FrameOrigin, names: ReadonlyArray<readonly [number, string, string, string]>): void {
    const taken = { fromMs: Infinity, toMs: -Infinity };
    for (const [index, site, device, metric] of names) this.#name(origin, index, site, device, metric, taken);
    // The lineage of days that have readings of these series names another agent from now on, and that agent's clock
    // decides which of the days are over.
    if (taken.fromMs <= taken.toMs) this.#changeDays(taken.fromMs, taken.toMs);
  }

  /** taken: is widened by the time from which on, and up to which, the series had readings of another agent. */
  #name(
    origin: FrameOrigin,
    index: number,
    site: string,
    device: string,
    metric: string,
    taken: { fromMs: number; toMs: number },
  ): void {
    const { agent, incarnation } = origin;
    const known = this.#db.get<SeriesOwner>(SERIES_AGENT, site, device, metric);
    if (known && known.agent !== agent && known.firstTsMs !== null) {
      taken.fromMs = Math.min(taken.fromMs, known.firstTsMs);
      taken.toMs = Math.max(taken.toMs, known.lastTsMs ?? known.firstTsMs);
    }
    // What is remembered of the index may come from a transaction that was taken back.
    this.#seriesOf.get(`${agent}/${incarnation}`)?.delete(index);
    this.#db.run(
      `INSERT INTO series (agent, site, device, metric) VALUES (?, ?, ?, ?)
       ON CONFLICT (site, device, metric) DO UPDATE SET agent = excluded.agent`,
      agent,
      site,
      device,
      metric,
    );
    const sql = "SELECT id FROM series WHERE site = ? AND device = ? AND metric = ?";
    const { id } = this.#db.get<{ id: number }>(sql, site, device, metric)!;
    this.#db.run("REPLACE INTO agent_series VALUES (?, ?, ?, ?)", agent, incarnation, index, id);
  }

  #remembered(origin: FrameOrigin): Map<number, SeriesRow> {
    if (this.#seriesRemembered >= SERIES_REMEMBERED_MAX) {
      this.#seriesOf.clear();
      this.#seriesRemembered = 0;
    }
    const name = `${origin.agent}/${origin.incarnation}`;
    let remembered = this.#seriesOf.get(name);
    if (!remembered) this.#seriesOf.set(name, (remembered = new Map()));
    return remembered;
  }

  #series(origin: FrameOrigin, remembered: Map<number, SeriesRow>, index: number): SeriesRow {
    let row = remembered.get(index);
    if (row) return row;
    const sql = `SELECT id, site, device, metric FROM agent_series JOIN series ON series.id = agent_series.series
      WHERE agent_series.agent = ? AND incarnation = ? AND idx = ?`;
    row = this.#db.get<SeriesRow>(sql, origin.agent, origin.incarnation, index);
    // A lane is in order, so the name came before; an index without one is a broken agent, not a lost reading.
    if (!row) throw new Error(`Agent ${origin.agent} sent a partial of series ${index}, which it has not named.`);
    remembered.set(index, row);
    this.#seriesRemembered++;
    return row;
  }

  #applyPartials(origin: FrameOrigin, windows: Uint8Array, replace: boolean, changes: FrameChanges): void {
    const partials = decodeWindows(windows);
    const remembered = this.#remembered(origin);
    const states = new Map<number, SeriesState>();
    const days = new Set<string>();
    let newestTsMs = -Infinity;
    for (const { series: index, windowStartMs, partial } of partials) {
      const series = this.#series(origin, remembered, index);
      let state = states.get(series.id);
      if (!state) states.set(series.id, (state = this.#readState(series)));
      const place = this.#placeOf(windowStartMs);
      if (this.#applyPartial(state, place, windowStartMs, partial, replace)) days.add(place.day);
    }
    for (const state of states.values()) {
      if (state.newestTsMs === -Infinity) continue;
      this.#writeState(state);
      noteSeries(changes, state.series, state.newestTsMs);
      newestTsMs = Math.max(newestTsMs, state.newestTsMs);
    }
    for (const day of days) {
      markDayWithReadings(this.#db, day);
      this.#db.run("DELETE FROM day_health WHERE day = ?", day);
    }
    if (newestTsMs === -Infinity) return;
    // Each window came in a partial of its own at least, so as many merged as came keeps up.
    this.#mergeHours(newestTsMs, partials.length);
  }

  /** False when the partial came too late for anything. */
  #applyPartial(state: SeriesState, place: Place, windowStartMs: number, partial: Partial, replace: boolean): boolean {
    const { id } = state.series;
    const isKept = windowStartMs >= state.windowsFromMs;
    // An hour whose windows are gone cannot be taken apart: what a re-fold says of it comes too late.
    if (!isKept && replace) {
      this.#lateReplacements++;
      return false;
    }
    if (isKept) {
      const expectNew = state.lastTsMs < windowStartMs;
      state.grown += applyToWindow(this.#cells, id, windowStartMs, partial, replace, expectNew);
      if (place.hourMs !== state.unmergedHourMs) this.#cells.unmergeHour(id, place.hourMs, place.hourEndMs);
      state.unmergedHourMs = place.hourMs;
    } else {
      state.grown += partial.count;
      mergeIntoHour(this.#cells, this.#calendar, id, windowStartMs, partial);
    }
    state.newestTsMs = Math.max(state.newestTsMs, partial.lastTsMs);
    state.firstTsMs = Math.min(state.firstTsMs, partial.firstTsMs);
    if (partial.lastTsMs >= state.lastTsMs) {
      state.lastTsMs = partial.lastTsMs;
      state.lastValue = partial.lastValue;
    }
    if (this.#queueForInflux && isKept) {
      const sql = "INSERT INTO influx_queue VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET generation = generation + 1";
      this.#db.run(sql, id, windowStartMs);
    }
    return true;
  }

  #placeOf(windowStartMs: number): Place {
    let place = this.#places.get(windowStartMs);
    if (place) return place;
    const hourMs = this.#calendar.hourStart(windowStartMs);
    place = { hourMs, hourEndMs: hourEnd(this.#calendar, hourMs), day: this.#calendar.dayOf(windowStartMs) };
    if (this.#places.size >= PLACES_MAX) this.#places.clear();
    this.#places.set(windowStartMs, place);
    return place;
  }

  /** Merges hours that were over when the clock, of readings or of an agent, stood at nowMs. */
  #mergeHours(nowMs: number, windowsMax: number): void {
    this.#cells.mergeHours(nowMs - HOUR_MS - HOUR_SETTLES_MS, windowsMax);
  }

  #readState(series: SeriesRow): SeriesState {
    const row = this.#db.get<SeriesStateRow>(SERIES_STATE, series.id)!;
    return {
      series,
      windowsFromMs: row.windowsFromMs ?? -Infinity,
      firstTsMsBefore: row.firstTsMs,
      firstTsMs: row.firstTsMs ?? Infinity,
      lastTsMs: row.lastTsMs ?? -Infinity,
      lastValue: row.lastValue ?? 0,
      grown: 0,
      newestTsMs: -Infinity,
      unmergedHourMs: NaN,
    };
  }

  #writeState(state: SeriesState): void {
    const { series, firstTsMsBefore, firstTsMs, lastTsMs, lastValue, grown } = state;
    // A series is expected from its first reading on: an earlier one makes the day of the former first expect more.
    if (firstTsMsBefore !== null && firstTsMs < firstTsMsBefore) this.#changeDays(firstTsMs, firstTsMsBefore);
    this.#db.run(WRITE_SERIES_STATE, firstTsMs, lastTsMs, lastValue, grown, series.id);
  }

  /** Marks the days from that of one time to that of another, both included: their reports may have changed. */
  #changeDays(fromMs: number, toMs: number): void {
    const [from, to] = [this.#calendar.dayOf(fromMs), this.#calendar.dayOf(toMs)];
    markDays(this.#db, from, to);
    this.#db.run("DELETE FROM day_health WHERE day >= ? AND day <= ?", from, to);
  }

  #applyAlert(agent: string, alert: Alert, nowMs: number, changes: FrameChanges): void {
    if (alert.state === "withdrawn") {
      this.#db.run("UPDATE alerts SET state = 'withdrawn', updated_ms = ? WHERE id = ?", nowMs, alert.id);
    } else {
      this.#db.run(
        `INSERT INTO alerts VALUES (@id, @agent, @site, @device, @metric, @kind, @severity, @state, @startedAtMs,
           @endedAtMs, @value, @low, @high, @thresholdVersion, @breaches, @nowMs, NULL, NULL)
         ON CONFLICT (id) DO UPDATE SET agent = excluded.agent, severity = excluded.severity, state = excluded.state,
           ended_ms = excluded.ended_ms, value = excluded.value, low = excluded.low, high = excluded.high,
           threshold_version = excluded.threshold_version, breaches = excluded.breaches, updated_ms = excluded.updated_ms`,
        { ...alert, agent, nowMs },
      );
    }
    const day = this.#calendar.dayOf(alert.startedAtMs);
    markDays(this.#db, day, day);
    const view = alertById(this.#db, alert.id);
    if (view) changes.alerts.push(view);
  }

  #applyTick(agent: string, tick: TickFrame): void {
    const before = clockMsOf(this.#db, agent);
    this.#db.run("UPDATE agents SET clock_ms = max(clock_ms, ?) WHERE agent = ?", tick.nowMs, agent);
    const day = this.#calendar.dayOf(tick.nowMs);
    const dayMs = this.#calendar.dayRange(day).startMs;
    for (const part of ["rejected", "dropped"] as const) {
      for (const [reason, count] of Object.entries(tick[part])) {
        this.#db.run(ADD_LOSS, { dayMs, agent, part, reason, count });
        markDays(this.#db, day, day);
      }
    }
    this.#mergeHours(tick.nowMs, WINDOWS_MERGED_A_TICK);
    // The clock moves what is expected of the days it has come through, from the first with a reading of its series on.
    const fromMs = Math.min(tick.nowMs, before || firstReadingMs(this.#db, agent));
    if (tick.nowMs > before) this.#changeDays(fromMs, tick.nowMs);
  }
}

function noteSeries(changes: FrameChanges, series: SeriesRow, lastTsMs: number): void {
  const name = `${series.site}/${series.device}`;
  const known = changes.devices.get(name);
  if (known) {
    known.metrics.add(series.metric);
    known.lastTsMs = Math.max(known.lastTsMs, lastTsMs);
  } else {
    const { site, device, metric } = series;
    changes.devices.set(name, { site, device, metrics: new Set([metric]), lastTsMs });
  }
}
