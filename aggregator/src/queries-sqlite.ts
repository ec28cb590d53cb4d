import { CodedError } from "@weir/shared/errors";
import type { TrainDone } from "./batch/jobs.ts";
import type { BatchQueue } from "./batch/queue.ts";
import type { ThresholdVersion } from "@weir/shared/model/thresholds";
import type { ThresholdHistory } from "@weir/shared/operators/thresholds";
import type { ReportJobs } from "./jobs/reports.ts";
import type { LiveEvents } from "./live-events.ts";
import type { Queries, ThresholdListing } from "./queries.ts";
import type { AgentStore, Presence } from "./stores/agents.ts";
import { acknowledgeAlert, alertView, findAlerts, firingByDevice } from "./stores/alerts.ts";
import type { SqlDatabase } from "./stores/database.ts";
import type { DeviceStates } from "./stores/devices.ts";
import { deviceDetail, listDevices } from "./stores/devices.ts";
import type { ReportStore } from "./stores/reports.ts";
import { seriesColumns } from "./stores/series-columns.ts";
import type { ThresholdStore } from "./stores/thresholds.ts";

export interface SqlQueriesOptions {
  readonly thresholdLeadMs: number;
  readonly now: () => number;
  readonly presence: Presence;
  readonly broadcast: (version: ThresholdVersion) => void;
  readonly metrics: () => string;
  /** See ReportJobs. */
  readonly answerReport: ReportJobs["answer"];
}

/** Answers the API's questions from SQLite. */
export function createSqlQueries(
  db: SqlDatabase,
  agents: AgentStore,
  reports: ReportStore,
  batch: BatchQueue,
  thresholds: ThresholdStore,
  history: ThresholdHistory,
  events: LiveEvents,
  options: SqlQueriesOptions,
): Queries {
  const listing = (version: number): ThresholdListing => {
    const found = thresholds.listing(version);
    if (!found) throw new CodedError("UNKNOWN_VERSION", `There is no threshold version ${version}.`);
    return found;
  };
  const { presence } = options;
  let trainings = 0;
  const deviceStates = (): DeviceStates => ({
    health: reports.newestHealth(),
    firing: firingByDevice(db, presence.caughtUp()),
    quarantines: agents.quarantines(),
  });
  return {
    agents: () => agents.list(presence),
    devices: () => listDevices(db, deviceStates()),
    device: (site, device) => deviceDetail(db, deviceStates(), site, device),
    series: (site, device, metric, range) => seriesColumns(db, history, { site, device, metric }, range),
    alerts(filter) {
      const caughtUp = presence.caughtUp();
      return findAlerts(db, filter, caughtUp).map((alert) => alertView(alert, caughtUp));
    },
    acknowledge(id, by) {
      const acknowledged = acknowledgeAlert(db, id, by, options.now());
      if (!acknowledged) return undefined;
      const alert = alertView(acknowledged, presence.caughtUp());
      events.publish({ type: "alert", alert });
      return alert;
    },
    reportDays: () => reports.list(),
    report: options.answerReport,
    revision: (day, revision) => reports.issuedBody(day, revision),
    revisions: (day) => reports.revisions(day),
    thresholds: () => thresholds.list(),
    threshold: (version) => thresholds.get(version),
    async train({ days, note }) {
      const begin = () => ({ kind: "train", days, note, nowMs: options.now() }) as const;
      const draft = await batch.run({
        // Each training asked for is a draft of its own.
        name: `train ${++trainings}`,
        begin,
        finish(done) {
          const { draft: made, body } = done as TrainDone;
          if (thresholds.addDraftBody(made, body)) return made;
          throw new CodedError("CONFLICT", `A threshold version ${made.version} was made meanwhile; train again.`);
        },
      });
      return listing(draft.version);
    },
    publish(version, { effectiveFromMs }) {
      const published = thresholds.publish(version, effectiveFromMs ?? options.now() + options.thresholdLeadMs);
      if (history.add(published)) options.broadcast(published);
      return listing(version);
    },
    ready: () => db.get("SELECT 1 AS one") !== undefined,
    metrics: options.metrics,
    subscribe: (listener) => events.subscribe(listener),
  };
}
