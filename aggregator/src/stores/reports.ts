import type { Completeness, DailyReport } from "@weir/shared/model/report";
import type { Calendar } from "@weir/shared/operators/calendar";
import type { ThresholdHistory } from "@weir/shared/operators/thresholds";
import type { ReportListing, ReportRevision, ReportRevisions } from "../queries.ts";
import type { ReportChanges } from "../report-changes.ts";
import type { SqlDatabase } from "./database.ts";
import type { DayClaim } from "./day-marks.ts";
import { claimDay, isUnchangedSince, OWN_CHANGED, settleDay, trendBegin, trendEnd } from "./day-marks.ts";
import type { DayHealth, MadeReport, NewRevision, StoredBody } from "./report-making.ts";
import { dayHealths, issuedBytes, makeReport, newRevision, storedBytes } from "./report-making.ts";

/** Revisions of a day in one answer, at most, the newest; of older ones nothing is kept but what settings say. */
export const REVISIONS_LISTED_MAX = 30;

/** Days whose health is kept, at most, the newest: each can be computed again. */
const HEALTH_DAYS_MAX = 400;

/** A report that was issued, with what it changed against the one before it, in words; null: it is the first. */
export interface IssuedReport {
  readonly report: DailyReport;
  readonly summary: string | null;
}

/** How much is kept; see the settings. */
export interface ReportStoreOptions {
  /** Bodies of the newest revisions of a day, at least 1. */
  readonly revisionsMax: number;
}

/**
 * Keeps, issues and revises daily reports.
 *
 * Who makes a report claims its day, makes it from a snapshot taken after that, and hands it over to be issued. It is
 * issued as the state of its snapshot; the day stays due where anything has changed it since the claim.
 */
export class ReportStore {
  readonly #db: SqlDatabase;
  readonly #thresholds: ThresholdHistory;
  readonly #calendar: Calendar;
  readonly #revisionsMax: number;
  #claims = 0;
  #dropped = 0;
  /** Of the newest report. */
  #newest:
    | { readonly day: string; readonly revision: number; readonly health: ReadonlyMap<string, number> }
    | undefined;

  constructor(
    db: SqlDatabase,
    thresholds: ThresholdHistory,
    calendar: Calendar,
    { revisionsMax }: ReportStoreOptions = { revisionsMax: 10 },
  ) {
    this.#db = db;
    this.#thresholds = thresholds;
    this.#calendar = calendar;
    this.#revisionsMax = revisionsMax;
  }

  /** Bodies of superseded revisions dropped since the start. */
  get droppedRevisions(): number {
    return this.#dropped;
  }

  /** As makeReport, on this connection. */
  make(day: string, options: { readonly batch: boolean }): MadeReport | undefined {
    return makeReport(this.#db, this.#thresholds, this.#calendar, day, options);
  }

  /** Claims a day, makes its report and issues it, all on this connection; undefined when nothing is new. */
  issue(day: string, nowMs: number): IssuedReport | undefined {
    return this.#db.transaction(() => {
      const claim = this.claim(day);
      const made = this.make(day, { batch: false });
      const revision = made && newRevision(made, nowMs);
      if (!this.keep(claim, revision) || !made) return undefined;
      for (const health of dayHealths(made)) this.keepHealth(claim, health);
      return { report: made.report, summary: revision?.summary ?? null };
    });
  }

  /** For who will make the report of a day from a snapshot taken after this. */
  claim(day: string): DayClaim {
    this.#claims++;
    return claimDay(this.#db, day, this.#claims);
  }

  /**
   * Issues what was made under a claim, undefined where nothing is new. True when it is issued. Where another revision
   * was issued meanwhile nothing is done, and the day stays due.
   */
  keep(claim: DayClaim, revision: NewRevision | undefined): boolean {
    return this.#db.transaction(() => {
      if (revision && revision.revision !== this.#newestRevision(claim.day) + 1) return false;
      if (revision) this.#insert(revision);
      settleDay(this.#db, claim);
      if (!revision || (this.#newest && this.#newest.day > revision.day)) return revision !== undefined;
      // Looked up by day and revision, so that it counts for nothing where the transaction is taken back.
      const pairs = JSON.parse(new TextDecoder().decode(revision.health)) as Array<[string, number]>;
      this.#newest = { day: revision.day, revision: revision.revision, health: new Map(pairs) };
      return true;
    });
  }

  /**
   * Keeps a day's health made known under a claim, unless something has changed the day since, or may have: a mark could
   * have come and gone under another claim.
   */
  keepHealth(claim: DayClaim, { day, body }: DayHealth): void {
    this.#db.transaction(() => {
      if (claim.number !== this.#claims || !isUnchangedSince(this.#db, day, claim)) return;
      this.#db.run("REPLACE INTO day_health VALUES (?, CAST(? AS TEXT))", day, body);
      const sql = "DELETE FROM day_health WHERE day < (SELECT day FROM day_health ORDER BY day DESC LIMIT 1 OFFSET ?)";
      this.#db.run(sql, HEALTH_DAYS_MAX - 1);
    });
  }

  #insert({ issuedAtMs: nowMs, summary: _summary, health: _health, ...rest }: NewRevision): void {
    const { day, revision } = rest;
    this.#db.run(INSERT_REPORT, { ...rest, nowMs });
    const dropped = "UPDATE reports SET body = '' WHERE day = ? AND revision <= ? AND body <> ''";
    this.#dropped += this.#db.run(dropped, day, revision - this.#revisionsMax);
    const rowsMax = Math.max(this.#revisionsMax, REVISIONS_LISTED_MAX + 1);
    this.#db.run("DELETE FROM reports WHERE day = ? AND revision <= ?", day, revision - rowsMax);
  }

  /** The newest revisions of a day, newest first, with what each changed; undefined for a day without readings. */
  revisions(day: string): ReportRevisions | undefined {
    if (!this.#db.get("SELECT 1 FROM days WHERE day = ?", day)) return undefined;
    type Row = { revision: number; issuedAtMs: number; completeness: string; changes: string | null };
    // One more than is told: the completeness before the last of them.
    const sql = `SELECT revision, issued_ms AS issuedAtMs, completeness, changes FROM reports
      WHERE day = ? ORDER BY revision DESC LIMIT ?`;
    const rows = this.#db.all<Row>(sql, day, REVISIONS_LISTED_MAX + 1);
    const completeness = rows.map((row) => JSON.parse(row.completeness) as Completeness);
    const revisions = rows.slice(0, REVISIONS_LISTED_MAX).map((row, index): ReportRevision => ({
      revision: row.revision,
      issuedAtMs: row.issuedAtMs,
      completenessBefore: completeness[index + 1] ?? null,
      completeness: completeness[index]!,
      changes: row.changes === null ? null : (JSON.parse(row.changes) as ReportChanges),
    }));
    return { day, total: rows[0]?.revision ?? 0, revisions };
  }

  /** True when a report of the day was ever issued. */
  isIssued(day: string): boolean {
    return this.#newestRevision(day) > 0;
  }

  /** True when a day has a reading. */
  hasReadings(day: string): boolean {
    return this.#db.get("SELECT 1 FROM days WHERE day = ?", day) !== undefined;
  }

  /** True when a day's report may not be what was issued last: its data, or health in its trend, has changed. */
  isDue(day: string): boolean {
    const sql = `SELECT 1 FROM days WHERE day >= @first AND day <= @day AND
      (${OWN_CHANGED} OR (day = @day AND changed <> 0)) LIMIT 1`;
    return this.#db.get(sql, { first: trendBegin(day), day }) !== undefined;
  }

  /** The bytes of an issued revision, the newest by default; empty: they are no longer kept; undefined: there is none. */
  issuedBody(day: string, revision: number = this.#newestRevision(day)): Uint8Array | undefined {
    const sql = "SELECT body FROM reports WHERE day = ? AND revision = ?";
    const row = this.#db.get<{ body: StoredBody }>(sql, day, revision);
    if (row) return storedBytes(row.body);
    return revision >= 1 && revision < this.#newestRevision(day) ? new Uint8Array(0) : undefined;
  }

  /** Days before `today` that have readings and were never issued, or changed since they were; oldest first. */
  due(today: string): string[] {
    type Marked = { readonly day: string; readonly isOwn: 0 | 1 };
    const sql = `SELECT day, ${OWN_CHANGED} AS isOwn FROM days WHERE changed <> 0 AND day < ? ORDER BY day`;
    const changed = this.#db.all<Marked>(sql, today);
    const due = new Set(changed.map(({ day }) => day));
    // A day's health is in the trend of the days that follow.
    for (const { day, isOwn } of changed) {
      if (isOwn === 0) continue;
      const following = "SELECT DISTINCT day FROM reports WHERE day > ? AND day <= ?";
      for (const row of this.#db.all<{ day: string }>(following, day, trendEnd(day))) due.add(row.day);
    }
    return [...due].toSorted();
  }

  /** Newest revision of each issued day: for agents, whose replays carry it. */
  issuedRevisions(): Array<{ readonly day: string; readonly revision: number }> {
    return this.#db.all("SELECT day, max(revision) AS revision FROM reports GROUP BY day ORDER BY day");
  }

  /** Days with readings, newest first. */
  list(): ReportListing[] {
    const days = this.#db.all<Listed>(LIST_DAYS);
    return days.map(({ day, revision, issuedAtMs, devices, worstHealth, changes }) => ({
      day,
      revision: revision ?? 0,
      issuedAtMs,
      devices: devices ?? this.#devicesOn(day),
      worstHealth,
      changeSummary: changes,
    }));
  }

  /** Health of every device in the newest issued report, by `site/device`. */
  newestHealth(): ReadonlyMap<string, number> {
    const sql = "SELECT day, revision FROM reports ORDER BY day DESC, revision DESC LIMIT 1";
    const newest = this.#db.get<{ day: string; revision: number }>(sql);
    if (!newest) return new Map();
    const { day, revision } = newest;
    if (this.#newest?.day !== day || this.#newest.revision !== revision) {
      const { devices } = JSON.parse(issuedBytes(this.#db, day)!.bytes) as DailyReport;
      const pairs = devices.map(({ site, device, health }) => [`${site}/${device}`, health] as const);
      this.#newest = { day, revision, health: new Map(pairs) };
    }
    return this.#newest.health;
  }

  /** Devices with a reading on a day. */
  #devicesOn(day: string): number {
    const { startMs, endMs } = this.#calendar.dayRange(day);
    // Of most series the first or the newest reading tells; only of the others the hours are looked up.
    const sql = `SELECT count(*) AS count FROM (SELECT DISTINCT site, device FROM series WHERE
      (last_ts_ms >= @startMs AND last_ts_ms < @endMs) OR (first_ts_ms >= @startMs AND first_ts_ms < @endMs) OR
      (first_ts_ms < @startMs AND last_ts_ms >= @endMs AND (
        EXISTS (SELECT 1 FROM hours WHERE series = series.id AND start_ms >= @startMs AND start_ms < @endMs) OR
        EXISTS (SELECT 1 FROM hours_unmerged WHERE series = series.id AND start_ms >= @startMs AND start_ms < @endMs)
      )))`;
    return this.#db.get<{ count: number }>(sql, { startMs, endMs })?.count ?? 0;
  }

  /** 0: none was issued. */
  #newestRevision(day: string): number {
    const sql = "SELECT max(revision) AS revision FROM reports WHERE day = ?";
    return this.#db.get<{ revision: number | null }>(sql, day)?.revision ?? 0;
  }
}

interface Listed {
  readonly day: string;
  readonly revision: number | null;
  readonly issuedAtMs: number | null;
  readonly devices: number | null;
  readonly worstHealth: number | null;
  readonly changes: string | null;
}

/** The newest revision of each day; the bodies, which are long, are not read. */
const LIST_DAYS = `SELECT days.day, revision, issued_ms AS issuedAtMs, devices, worst_health AS worstHealth,
    json_extract(changes, '$.summary') AS changes
  FROM days LEFT JOIN reports ON reports.day = days.day
    AND revision = (SELECT max(revision) FROM reports AS newest WHERE newest.day = days.day)
  ORDER BY days.day DESC`;

const INSERT_REPORT = `INSERT INTO reports (day, revision, issued_ms, devices, worst_health, completeness, changes, body)
  VALUES (@day, @revision, @nowMs, @devices, @worstHealth, @completeness, @changes, @body)`;
