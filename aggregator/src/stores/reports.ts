import { canonicalJson } from "@weir/shared/model/canonical-json";
import type { DailyReport } from "@weir/shared/model/report";
import type { Calendar } from "@weir/shared/operators/calendar";
import { dailyReport } from "@weir/shared/operators/report";
import type { ThresholdHistory } from "@weir/shared/operators/thresholds";
import { TREND_DAYS } from "@weir/shared/operators/health";
import { DAY_MS } from "@weir/shared/operators/calendar";
import type { ReportAnswer, ReportListing } from "../queries.ts";
import type { SqlDatabase } from "./database.ts";
import { SqlReportSource } from "./report-source.ts";

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
   * Issues a day's report, or a revision where its content has changed; undefined when nothing is new.
   * nowMs: the clock.
   */
  issue(day: string, nowMs: number): DailyReport | undefined {
    return this.#db.transaction(() => {
      const answer = this.make(day, { batch: false });
      this.#db.run("UPDATE days SET changed = 0 WHERE day = ?", day);
      if (!answer || this.#issued(day)?.bytes === answer.bytes) return undefined;
      this.#db.run("INSERT INTO reports VALUES (?, ?, ?, ?)", day, answer.report.revision, nowMs, answer.bytes);
      return answer.report;
    });
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
      const until = new Date(Date.parse(`${day}T00:00:00Z`) + (TREND_DAYS - 1) * DAY_MS).toISOString().slice(0, 10);
      const sql = "SELECT DISTINCT day FROM reports WHERE day > ? AND day <= ?";
      for (const row of this.#db.all<{ day: string }>(sql, day, until)) due.add(row.day);
    }
    return [...due].toSorted();
  }

  /** Newest revision of each issued day: for agents, whose replays carry it. */
  issuedRevisions(): Array<{ readonly day: string; readonly revision: number }> {
    return this.#db.all("SELECT day, max(revision) AS revision FROM reports GROUP BY day ORDER BY day");
  }

  /** Days with readings, newest first. */
  list(): ReportListing[] {
    const days = this.#db.all<{ day: string }>("SELECT day FROM days ORDER BY day DESC");
    return days.map(({ day }) => {
      const issued = this.#issued(day);
      const report = issued && (JSON.parse(issued.bytes) as DailyReport);
      return {
        day,
        revision: issued?.revision ?? 0,
        issuedAtMs: issued?.issuedMs ?? null,
        devices: report ? report.devices.length : this.#devicesOn(day),
        worstHealth: report ? Math.min(...report.devices.map(({ health }) => health)) : null,
      };
    });
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

  #issued(day: string): { readonly revision: number; readonly bytes: string; readonly issuedMs: number } | undefined {
    const sql =
      "SELECT revision, body AS bytes, issued_ms AS issuedMs FROM reports WHERE day = ? ORDER BY revision DESC LIMIT 1";
    return this.#db.get(sql, day);
  }
}
