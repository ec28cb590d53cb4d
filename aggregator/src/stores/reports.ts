import { canonicalJson } from "@weir/shared/model/canonical-json";
import type { Completeness, DailyReport } from "@weir/shared/model/report";
import type { Calendar } from "@weir/shared/operators/calendar";
import { dailyReport } from "@weir/shared/operators/report";
import type { ThresholdHistory } from "@weir/shared/operators/thresholds";
import { TREND_DAYS } from "@weir/shared/operators/health";
import { DAY_MS } from "@weir/shared/operators/calendar";
import type { ReportAnswer, ReportListing, ReportRevision, ReportRevisions } from "../queries.ts";
import type { ReportChanges } from "../report-changes.ts";
import { reportChanges } from "../report-changes.ts";
import type { SqlDatabase } from "./database.ts";
import { SqlReportSource } from "./report-source.ts";

/** Revisions of a day in one answer, at most, the newest. */
export const REVISIONS_LISTED_MAX = 30;

/** A report that was issued, with what it changed against the one before it, in words; null: it is the first. */
export interface IssuedReport {
  readonly report: DailyReport;
  readonly summary: string | null;
}

/** Makes, issues and revises daily reports. */
export class ReportStore {
  readonly #db: SqlDatabase;
  readonly #thresholds: ThresholdHistory;
  readonly #calendar: Calendar;

  constructor(db: SqlDatabase, thresholds: ThresholdHistory, calendar: Calendar) {
    this.#db = db;
    this.#thresholds = thresholds;
    this.#calendar = calendar;
  }

  /**
   * The report of a day from what is stored now; undefined without readings. batch: everything merged anew from the
   * windows. Its revision is that of the issued report with the same content, the next one where the content has
   * changed, and 1 where none was issued.
   */
  make(day: string, options: { readonly batch: boolean }): ReportAnswer | undefined {
    const source = new SqlReportSource(this.#db, this.#thresholds, this.#calendar, options);
    const issued = this.#issued(day);
    const report = dailyReport(source, day, issued?.revision ?? 1);
    if (!report) return undefined;
    const bytes = canonicalJson(report);
    if (!issued || bytes === issued.bytes) return { report, bytes };
    const revised = { ...report, revision: issued.revision + 1 };
    return { report: revised, bytes: canonicalJson(revised) };
  }

  /**
   * Issues a day's report, or a revision where its content has changed, and keeps what the revision changed;
   * undefined when nothing is new. nowMs: the clock.
   */
  issue(day: string, nowMs: number): IssuedReport | undefined {
    return this.#db.transaction(() => {
      const answer = this.make(day, { batch: false });
      const wasChanged = this.#db.run("UPDATE days SET changed = 0 WHERE day = ? AND changed = 1", day) > 0;
      const before = this.#issued(day);
      if (!answer || before?.bytes === answer.bytes) return undefined;
      const { report, bytes } = answer;
      // Its health is in the trends of days that follow, which nobody looks at on its account from here on.
      if (wasChanged) this.#db.run(CHANGE_ISSUED_DAYS, day, trendEnd(day));
      const changes = before ? reportChanges(JSON.parse(before.bytes) as DailyReport, report) : null;
      this.#db.run(INSERT_REPORT, {
        day,
        revision: report.revision,
        nowMs,
        devices: report.devices.length,
        worstHealth: Math.min(...report.devices.map(({ health }) => health)),
        completeness: JSON.stringify(report.completeness),
        changes: changes && JSON.stringify(changes),
        bytes,
      });
      return { report, summary: changes?.summary ?? null };
    });
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
    return this.#issued(day) !== undefined;
  }

  /** Days before `today` that have readings and were never issued, or changed since they were; oldest first. */
  due(today: string): string[] {
    const changed = this.#db.all<{ day: string }>(
      "SELECT day FROM days WHERE changed = 1 AND day < ? ORDER BY day",
      today,
    );
    const due = new Set(changed.map(({ day }) => day));
    // A day's health is in the trend of the days that follow.
    for (const { day } of changed) {
      const sql = "SELECT DISTINCT day FROM reports WHERE day > ? AND day <= ?";
      for (const row of this.#db.all<{ day: string }>(sql, day, trendEnd(day))) due.add(row.day);
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
  newestHealth(): Map<string, number> {
    const row = this.#db.get<{ body: string }>("SELECT body FROM reports ORDER BY day DESC, revision DESC LIMIT 1");
    const report = row && (JSON.parse(row.body) as DailyReport);
    return new Map(report?.devices.map(({ site, device, health }) => [`${site}/${device}`, health]) ?? []);
  }

  /** Devices with a reading on a day. */
  #devicesOn(day: string): number {
    const { startMs, endMs } = this.#calendar.dayRange(day);
    const sql = `SELECT count(DISTINCT site || '/' || device) AS count FROM series WHERE EXISTS (
      SELECT 1 FROM cells WHERE series = series.id AND level = 1 AND start_ms >= ? AND start_ms < ?)`;
    return this.#db.get<{ count: number }>(sql, startMs, endMs)?.count ?? 0;
  }

  #issued(day: string): { readonly revision: number; readonly bytes: string } | undefined {
    return this.#db.get(
      "SELECT revision, body AS bytes FROM reports WHERE day = ? ORDER BY revision DESC LIMIT 1",
      day,
    );
  }
}

/** The last day whose trend looks back on this one. */
function trendEnd(day: string): string {
  return new Date(Date.parse(`${day}T00:00:00Z`) + (TREND_DAYS - 1) * DAY_MS).toISOString().slice(0, 10);
}

const CHANGE_ISSUED_DAYS = `UPDATE days SET changed = 1
  WHERE day > ? AND day <= ? AND changed = 0 AND day IN (SELECT day FROM reports)`;

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
  VALUES (@day, @revision, @nowMs, @devices, @worstHealth, @completeness, @changes, @bytes)`;
