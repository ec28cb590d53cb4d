import type { BandRule, ThresholdVersion } from "@weir/shared/model/thresholds";
import type { DailyReport } from "@weir/shared/model/report";
import type { Calendar } from "@weir/shared/operators/calendar";
import { ThresholdHistory } from "@weir/shared/operators/thresholds";
import { reportCsv } from "../http/report-csv.ts";
import { reportPage } from "../http/report-html.ts";
import { trainDraft } from "../jobs/train.ts";
import type { ReportFormat, ReportRevision } from "../queries.ts";
import type { ReportChanges } from "../report-changes.ts";
import { SqlDatabase } from "../stores/database.ts";
import type { DayHealth, MadeReport, NewRevision } from "../stores/report-making.ts";
import { dayHealths, newRevision } from "../stores/report-making.ts";
import { ReportStore } from "../stores/reports.ts";
import { ThresholdStore } from "../stores/thresholds.ts";

/** Work on history that takes long: it reads, and what is to be written is handed back. */
export type BatchJob = ReportJob | TrainJob;

/** A day's report. */
export interface ReportJob {
  readonly kind: "report";
  readonly day: string;
  /** The clock, for when the revision is issued. */
  readonly nowMs: number;
  /** Makes it by the live path, to be issued where it is new. */
  readonly issue: boolean;
  /** What is to be answered; null: nothing. issued: as it was issued, or will be with this job. */
  readonly answer: { readonly path: "issued" | "live" | "batch"; readonly format: ReportFormat } | null;
}

/** A draft from the last days of each series. */
export interface TrainJob {
  readonly kind: "train";
  readonly days: number;
  readonly note: string;
  readonly nowMs: number;
}

/** What a job came to. Memory that is large is handed over, not copied. */
export type BatchDone = ReportDone | TrainDone;

/** Of a report. revision: to be issued; undefined: nothing is new. answer: UTF-8; undefined: none was wanted, or the day has no readings. */
export interface ReportDone {
  readonly kind: "report";
  readonly revision: NewRevision | undefined;
  readonly health: readonly DayHealth[];
  readonly answer: Uint8Array | undefined;
}

/** Of training. body: the version as JSON, UTF-8. */
export interface TrainDone {
  readonly kind: "train";
  readonly draft: Omit<ThresholdVersion, "rules" | "series">;
  readonly rules: number;
  readonly series: number;
  readonly body: Uint8Array;
}

/** Does jobs, one after the other, each on one snapshot. */
export interface BatchRunner {
  run(job: BatchJob): BatchDone;
  close(): void;
}

const utf8 = new TextEncoder();

/**
 * Opens a connection of its own that only reads. A job's one transaction sees all that was committed before it began and
 * nothing that comes later, and holds up no writer. Throws CodedErrors of the store.
 */
export function openBatchRunner(path: string, calendar: Calendar): BatchRunner {
  const db = new SqlDatabase(path, { readonly: true });
  const history = new ThresholdHistory();
  const thresholds = new ThresholdStore(db);
  const reports = new ReportStore(db, history, calendar);
  const train = ({ days, note, nowMs }: TrainJob): TrainDone => {
    const rules: readonly BandRule[] = thresholds.newestRules();
    const draft = trainDraft(db, rules, { days, note, nowMs, timezone: calendar.timezone });
    const version = { ...draft, version: thresholds.nextVersion() };
    const { rules: _rules, series, ...head } = version;
    return {
      kind: "train",
      draft: head,
      rules: rules.length,
      series: series.length,
      body: utf8.encode(JSON.stringify(version)),
    };
  };
  return {
    run(job) {
      return db.transaction(() => {
        for (const version of thresholds.publishedAfter(history.versions())) history.add(version);
        return job.kind === "train" ? train(job) : reportDone(reports, job);
      });
    },
    close: () => db.close(),
  };
}

function reportDone(reports: ReportStore, { day, nowMs, issue, answer }: ReportJob): ReportDone {
  const needsLive = issue || answer?.path === "live";
  const live = needsLive ? reports.make(day, { batch: false }) : undefined;
  const revision = issue && live ? newRevision(live, nowMs) : undefined;
  const batch = answer?.path === "batch" ? reports.make(day, { batch: true }) : undefined;
  return {
    kind: "report",
    revision,
    health: live ? dayHealths(live) : [],
    answer: answer ? answerOf(reports, day, answer.format, batch ?? live, revision) : undefined,
  };
}

function answerOf(
  reports: ReportStore,
  day: string,
  format: ReportFormat,
  made: MadeReport | undefined,
  revision: NewRevision | undefined,
): Uint8Array | undefined {
  const text = made?.bytes ?? decoded(reports.issuedBody(day));
  if (text === undefined) return undefined;
  if (format === "json") return utf8.encode(text);
  const report = made?.report ?? (JSON.parse(text) as DailyReport);
  if (format === "csv") return utf8.encode(reportCsv(report));
  return utf8.encode(reportPage(report, revisionsWith(reports, day, revision)));
}

function decoded(bytes: Uint8Array | undefined): string | undefined {
  return bytes && new TextDecoder().decode(bytes);
}

/** Revisions of a day, newest first, with one that is yet to be issued. */
function revisionsWith(reports: ReportStore, day: string, revision: NewRevision | undefined): ReportRevision[] {
  const known = reports.revisions(day)?.revisions ?? [];
  if (!revision) return [...known];
  const { completeness, changes, issuedAtMs } = revision;
  const added: ReportRevision = {
    revision: revision.revision,
    issuedAtMs,
    completenessBefore: known[0]?.completeness ?? null,
    completeness: JSON.parse(completeness) as ReportRevision["completeness"],
    changes: changes === null ? null : (JSON.parse(changes) as ReportChanges),
  };
  return [added, ...known];
}
