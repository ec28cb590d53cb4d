import cron from "node-cron";
import { errorMessage } from "@weir/shared/errors";
import type { Calendar } from "@weir/shared/operators/calendar";
import type { ReportStore } from "../stores/reports.ts";

export interface ReportJobsOptions {
  /** Local time of day, HH:MM. */
  readonly at: string;
  readonly reviseIntervalMs: number;
  readonly now: () => number;
  readonly log: (line: string) => void;
  /** A report or a revision was issued. summary: what the revision changed, in words; null: it is the first. */
  readonly issued: (day: string, revision: number, summary: string | null) => void;
}

export interface ReportJobs {
  /** Issues a day's report, or its revision, when its content is new; says so to whoever is to know. */
  issue(day: string): void;
  close(): Promise<void>;
}

/** A night's turn that the program missed, busy or suspended, is made up for when it is at most this late, ms. */
const LATE_MS_MAX = 23 * 3_600_000;

/**
 * Issues the reports of past days every night in the plant's time zone, makes up at the start for nights it missed,
 * and revises issued reports whose days late data has changed.
 */
export function createReportJobs(reports: ReportStore, calendar: Calendar, options: ReportJobsOptions): ReportJobs {
  const issue = (day: string): void => {
    const issued = reports.issue(day, options.now());
    if (!issued) return;
    const { report, summary } = issued;
    const what = summary === null ? `${report.devices.length} devices` : summary;
    options.log(`Issued the report of ${day}, revision ${report.revision}: ${what}.`);
    options.issued(day, report.revision, summary);
  };
  const run = (onlyRevisions: boolean): void => {
    try {
      const issued = new Set(reports.issuedRevisions().map(({ day }) => day));
      for (const day of reports.due(calendar.dayOf(options.now()))) {
        if (!onlyRevisions || issued.has(day)) issue(day);
      }
    } catch (error) {
      options.log(`Cannot issue reports: ${errorMessage(error)}. They are tried again at the next turn.`);
    }
  };
  const [hour = "0", minute = "0"] = options.at.split(":");
  const task = cron.schedule(`${Number(minute)} ${Number(hour)} * * *`, () => run(false), {
    timezone: calendar.timezone,
    missedExecutionTolerance: LATE_MS_MAX,
  });
  const revising = setInterval(() => run(true), options.reviseIntervalMs);
  run(false);
  return {
    issue,
    async close() {
      clearInterval(revising);
      await task.destroy();
    },
  };
}
