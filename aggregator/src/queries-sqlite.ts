import { CodedError } from "@weir/shared/errors";
import type { BandRule, ThresholdVersion } from "@weir/shared/model/thresholds";
import type { ThresholdHistory } from "@weir/shared/operators/thresholds";
import { trainDraft } from "./jobs/train.ts";
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
  readonly timezone: string;
  readonly thresholdLeadMs: number;
  readonly now: () => number;
  readonly presence: Presence;
  readonly broadcast: (version: ThresholdVersion) => void;
  readonly metrics: () => string;
  /** Issues a revision of a day's report where its content has changed. */
  readonly issue: (day: string) => void;
}

/** Answers the API's questions from SQLite. */
export function createSqlQueries(
  db: SqlDatabase,
  agents: AgentStore,
  reports: ReportStore,
  thresholds: ThresholdStore,
  history: ThresholdHistory,
  events: LiveEvents,
  options: SqlQueriesOptions,
): Queries {
  const listing = (version: number): ThresholdListing => {
    const found = thresholds.list().find((one) => one.version === version);
    if (!found) throw new CodedError("UNKNOWN_VERSION", `There is no threshold version ${version}.`);
    return found;
  };
  const { presence } = options;
  const deviceStates = (): DeviceStates => ({
    health: reports.newestHealth(),
    firing: firingByDevice(db, presence.caughtUp()),
    quarantines: agents.quarantines(),
  });
  const newestRules = (): readonly BandRule[] => thresholds.published().at(-1)?.rules ?? [];
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
    report(day, { recompute }) {
      // Who asks for an issued report whose day has changed since gets the revision, and so does everybody else.
      if (reports.isIssued(day)) options.issue(day);
      return reports.make(day, { batch: recompute });
    },
    revisions: (day) => reports.revisions(day),
    thresholds: () => thresholds.list(),
    threshold: (version) => thresholds.get(version),
    train({ days, note }) {
      const { timezone } = options;
      const draft = trainDraft(db, newestRules(), { days, note, nowMs: options.now(), timezone });
      return listing(thresholds.addDraft(draft).version);
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
