import { readFileSync } from "node:fs";
import { join } from "node:path";
import { CodedError, errorMessage } from "@weir/shared/errors";
import type { Values } from "@weir/shared/config/settings";
import type { BandRule } from "@weir/shared/model/thresholds";
import { createCalendar } from "@weir/shared/operators/calendar";
import { ThresholdHistory } from "@weir/shared/operators/thresholds";
import { parseBandRules } from "@weir/shared/rules/parse-rules";
import { createBatchQueue } from "./batch/queue.ts";
import { startBatchThread } from "./batch/thread.ts";
import { isLoopbackHost } from "./http/origin.ts";
import { createHttpServer } from "./http/server.ts";
import { createReportJobs } from "./jobs/reports.ts";
import { createRetentionJob } from "./jobs/retention.ts";
import { createLiveEvents } from "./live-events.ts";
import { renderMetrics } from "./metrics.ts";
import { createSqlQueries } from "./queries-sqlite.ts";
import type { aggregatorSettings } from "./settings.ts";
import { AgentStore } from "./stores/agents.ts";
import { countFiring } from "./stores/alerts.ts";
import { SqlDatabase } from "./stores/database.ts";
import { FrameStore } from "./stores/frames.ts";
import type { InfluxWriter } from "./stores/influx.ts";
import { createInfluxWriter } from "./stores/influx.ts";
import { ReportStore } from "./stores/reports.ts";
import { ThresholdStore } from "./stores/thresholds.ts";
import { createUplinkServer } from "./uplink-server.ts";

/** Waits at the end for InfluxDB to take what is queued, at most, ms. */
const INFLUX_DRAIN_MS = 3_000;

export interface RunningAggregator {
  /** Where the dashboard is, such as http://127.0.0.1:8080. */
  readonly address: string;
  close(): Promise<void>;
}

/**
 * The composition root: store, sinks, jobs and, last, the sockets that feed them. log: a line for a person.
 * Throws CodedErrors of the parts, such as BAD_TIMEZONE, PASSWORD_REQUIRED or LISTEN_FAILED.
 */
export async function runAggregator(
  settings: Values<typeof aggregatorSettings>,
  log: (line: string) => void,
): Promise<RunningAggregator> {
  const now = Date.now;
  const calendar = createCalendar(settings["plant.timezone"]);
  if (!isLoopbackHost(settings["http.host"]) && settings["uplink.token"] === "") {
    const message = `Refusing to take agents on ${settings["http.host"]} without a token: set uplink.token here and at the agents.`;
    throw new CodedError("TOKEN_REQUIRED", message);
  }
  const initialRules = readInitialRules(settings["thresholds.initial_file"]);
  const file = join(settings["data.dir"], "aggregator.db");
  const db = new SqlDatabase(file, { readonly: false });
  const events = createLiveEvents();
  const agents = new AgentStore(db);
  const thresholds = new ThresholdStore(db);
  if (initialRules) publishInitial(thresholds, initialRules, calendar.timezone, now());
  const history = new ThresholdHistory();
  for (const version of thresholds.published()) history.add(version);
  const reports = new ReportStore(db, history, calendar, { revisionsMax: settings["reports.revisions_max"] });
  const batch = createBatchQueue(() => startBatchThread(file, calendar.timezone), log);
  const influx = settings["influx.url"] === "" ? undefined : openInflux(db, settings, log);
  const frames = new FrameStore(db, calendar, { queueForInflux: influx !== undefined });
  const uplink = createUplinkServer(db, frames, agents, thresholds, events, {
    token: settings["uplink.token"],
    timezone: calendar.timezone,
    now,
    log,
    issuedRevisions: () => reports.issuedRevisions(),
  });
  const queries = createSqlQueries(db, agents, reports, batch, thresholds, history, events, {
    thresholdLeadMs: settings["thresholds.lead"],
    now,
    presence: uplink,
    broadcast: (version) => uplink.broadcast(version),
    metrics: () => metrics(),
    answerReport: (day, asked) => jobs.answer(day, asked),
  });
  const metrics = (): string => {
    const count = (sql: string): number => db.get<{ count: number }>(sql)?.count ?? 0;
    const written = influx?.counters();
    const alerts = countFiring(db, uplink.caughtUp());
    const counters = {
      frames: uplink.counters().frames,
      frameFailures: uplink.counters().failures,
      alertsFiring: alerts.firing,
      alertsInhibited: alerts.inhibited,
      series: count("SELECT count(*) AS count FROM series"),
      summarisedReadings: count("SELECT coalesce(sum(readings), 0) AS count FROM series"),
      lateReplacements: frames.lateReplacements,
      influxPending: influx?.pending() ?? 0,
      influxPoints: written?.points ?? 0,
      influxFailures: written?.failures ?? 0,
      revisionsDropped: reports.droppedRevisions,
      batch: batch.counters(),
    };
    return renderMetrics(counters, queries.agents());
  };
  const retention = createRetentionJob(db, calendar, settings["store.windows_age_max"], now, log);
  // Read once from a report that may be long, and before anybody waits for it.
  reports.newestHealth();
  const jobs = createReportJobs(reports, batch, calendar, {
    at: settings["reports.at"],
    reviseIntervalMs: settings["reports.revise_interval"],
    now,
    log,
    issued: (day, revision, summary) => uplink.reportIssued(day, revision, summary),
  });
  const closeParts = async (): Promise<void> => {
    await jobs.close();
    await batch.close();
    retention.close();
    await influx?.close(INFLUX_DRAIN_MS);
    db.close();
  };
  try {
    const http = await createHttpServer(queries, {
      host: settings["http.host"],
      port: settings["http.port"],
      password: settings["http.password"],
      allowedHosts: settings["http.allowed_hosts"],
      log,
    });
    http.onUpgrade("/uplink", (request, socket, head) => uplink.upgrade(request, socket, head));
    return {
      address: http.address,
      async close() {
        // Agents keep what is not acknowledged, so the sockets go first.
        await uplink.close();
        await http.close();
        await closeParts();
      },
    };
  } catch (error) {
    await uplink.close();
    await closeParts();
    throw error;
  }
}

function openInflux(
  db: SqlDatabase,
  settings: Values<typeof aggregatorSettings>,
  log: (line: string) => void,
): InfluxWriter {
  const options = {
    url: settings["influx.url"],
    database: settings["influx.database"],
    username: settings["influx.username"],
    password: settings["influx.password"],
  };
  return createInfluxWriter(db, options, log);
}

function readInitialRules(file: string): readonly BandRule[] | undefined {
  if (file === "") return undefined;
  try {
    return parseBandRules(JSON.parse(readFileSync(file, "utf8")));
  } catch (error) {
    const message = `Cannot take ${file} as thresholds.initial_file: ${errorMessage(error)}`;
    throw new CodedError("BAD_RULES", message, { cause: error });
  }
}

/** Rules become version 1 where there is no version yet; in force for all of history. */
function publishInitial(thresholds: ThresholdStore, rules: readonly BandRule[], timezone: string, nowMs: number): void {
  if (thresholds.list().length > 0) return;
  const draft = { effectiveFromMs: 0, createdAtMs: nowMs, timezone, note: "Initial rules", rules, series: [] };
  thresholds.publish(thresholds.addDraft(draft).version, 0);
}
