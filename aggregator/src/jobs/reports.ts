import cron from "node-cron";
import { errorMessage } from "@weir/shared/errors";
import type { Calendar } from "@weir/shared/operators/calendar";
import type { ReportDone, ReportJob } from "../batch/jobs.ts";
import type { BatchQueue, BatchTask } from "../batch/queue.ts";
import type { ReportFormat } from "../queries.ts";
import type { DayClaim } from "../stores/day-marks.ts";
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
  /**
   * The report of a day in UTF-8; undefined without readings. Who asks for an issued report whose day has changed since
   * gets the revision, and so does everybody else. recompute: by the batch path, from the snapshot of which the revision
   * is issued as well. Rejects with CodedErrors of the queue.
   */
  answer(
    day: string,
    options: { readonly recompute: boolean; readonly format: ReportFormat },
  ): Promise<Uint8Array | undefined>;
  /** Resolves when no round is under way. */
  readonly settled: Promise<void>;
  close(): Promise<void>;
}

/** A night's turn that the program missed, busy or suspended, is made up for when it is at most this late, ms. */
const LATE_MS_MAX = 23 * 3_600_000;

/** Whose days a round is for: those that were ever issued or could not be, or all. */
type Round = "revisions" | "all";

/**
 * Issues the reports of past days every night in the plant's time zone, makes up at the start for nights it missed,
 * and revises issued reports whose days late data has changed. The batch queue makes them; one day of a round at a time
 * waits there, so that requests have their turn between.
 */
export function createReportJobs(
  reports: ReportStore,
  batch: BatchQueue,
  calendar: Calendar,
  options: ReportJobsOptions,
): ReportJobs {
  let isClosed = false;
  let wanted: Round | undefined;
  let active: Promise<void> | undefined;
  let restUntilMs = 0;
  const task = (name: string, plan: () => JobPlan): BatchTask<Uint8Array | undefined> => {
    return reportTask(reports, name, plan, options);
  };
  /** Days of a round that could not be made, with why. Each turn tries them, not only the night's. */
  const failures = new Map<string, string>();
  const issue = async (day: string): Promise<void> => {
    const plan = (): JobPlan => ({ day, issue: true, answer: null });
    try {
      await batch.run(task(`issue ${day}`, plan), { isUrgent: true });
      failures.delete(day);
    } catch (error) {
      const why = errorMessage(error);
      if (isClosed || failures.get(day) === why) return;
      failures.set(day, why);
      options.log(`Cannot issue the report of ${day}: ${why}. It is tried again at the next turn.`);
    }
  };
  const round = async (which: Round): Promise<void> => {
    const issued = new Set(reports.issuedRevisions().map(({ day }) => day));
    for (const day of reports.due(calendar.dayOf(options.now()))) {
      if (isClosed) return;
      if (which === "all" || issued.has(day) || failures.has(day)) await issue(day);
    }
  };
  const rounds = async (): Promise<void> => {
    for (let which = wanted; which && !isClosed; which = wanted) {
      wanted = undefined;
      const startMs = performance.now();
      try {
        await round(which);
      } catch (error) {
        if (!isClosed) {
          options.log(`Cannot issue reports: ${errorMessage(error)}. They are tried again at the next turn.`);
        }
      }
      // However much late data comes, half of the time is for others.
      restUntilMs = 2 * performance.now() - startMs;
    }
    active = undefined;
  };
  const begin = (which: Round): void => {
    if (which === "revisions" && performance.now() < restUntilMs) return;
    if (wanted !== "all") wanted = which;
    active ??= rounds();
  };
  const [hour = "0", minute = "0"] = options.at.split(":");
  const nightly = cron.schedule(`${Number(minute)} ${Number(hour)} * * *`, () => begin("all"), {
    timezone: calendar.timezone,
    missedExecutionTolerance: LATE_MS_MAX,
  });
  const revising = setInterval(() => begin("revisions"), options.reviseIntervalMs);
  begin("all");
  return {
    async answer(day, { recompute, format }) {
      if (!reports.hasReadings(day)) return undefined;
      const plan = (): JobPlan => {
        const isIssued = reports.isIssued(day);
        const isDue = isIssued && reports.isDue(day);
        const path = recompute ? "batch" : isIssued ? "issued" : "live";
        return { day, issue: isIssued && (isDue || recompute), answer: { path, format } };
      };
      const { issue: isToIssue, answer } = plan();
      if (!isToIssue && answer?.path === "issued" && format === "json") return reports.issuedBody(day);
      return batch.run(task(`answer ${day} ${String(recompute)} ${format}`, plan));
    },
    get settled() {
      return active ?? Promise.resolve();
    },
    async close() {
      isClosed = true;
      clearInterval(revising);
      await nightly.destroy();
    },
  };
}

type JobPlan = Pick<ReportJob, "day" | "issue" | "answer">;

/** The job of a plan that is made when its turn has come, and what is to be issued and kept of what it comes to. */
function reportTask(
  reports: ReportStore,
  name: string,
  planOf: () => JobPlan,
  { now, log, issued }: ReportJobsOptions,
): BatchTask<Uint8Array | undefined> {
  let plan: JobPlan;
  let claim: DayClaim | undefined;
  return {
    name,
    begin() {
      plan = planOf();
      const isMade = plan.issue || plan.answer?.path === "live";
      claim = isMade ? reports.claim(plan.day) : undefined;
      return { kind: "report", nowMs: now(), ...plan };
    },
    async finish(done) {
      const { revision, health, answer } = done as ReportDone;
      if (claim && plan.issue && reports.keep(claim, revision) && revision) {
        const { day, summary, devices } = revision;
        log(`Issued the report of ${day}, revision ${revision.revision}: ${summary ?? `${devices} devices`}.`);
        issued(day, revision.revision, summary);
      }
      for (const kept of claim ? health : []) {
        // Each may be long; what comes meanwhile has its turn between.
        await new Promise((resolve) => setImmediate(resolve));
        reports.keepHealth(claim!, kept);
      }
      return answer;
    },
  };
}
