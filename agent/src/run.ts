import { hostname } from "node:os";
import { join } from "node:path";
import { CodedError } from "@weir/shared/errors";
import type { Alert } from "@weir/shared/model/alert";
import { createDecoder } from "./decode/create-decoder.ts";
import { topicMappings } from "./decode/topic-mappings.ts";
import { Pipeline } from "./pipeline/pipeline.ts";
import type { AgentSections, AgentSettings } from "./settings.ts";
import type { CreatedSources } from "./sources/create-sources.ts";
import { createSources } from "./sources/create-sources.ts";
import type { LocalPublisher } from "./sources/source.ts";
import { lockDataFolder } from "./store/lock.ts";
import { Store } from "./store/store.ts";
import type { Uplink } from "./uplink.ts";
import { createUplink } from "./uplink.ts";
import { SOFTWARE_VERSION } from "./version.ts";

/** Waits at the end for the aggregator to acknowledge the outbox, at most, ms; what is left waits in the data file. */
const UPLINK_DRAIN_MS = 5_000;

const QUARTER_HOUR_MS = 900_000;

/** The agent's name: as set, else the host's. */
export function agentName(settings: AgentSettings): string {
  return settings["agent.id"] || hostname();
}

/** The agent's one file. */
export function dataFile(settings: AgentSettings): string {
  return join(settings["data.dir"], "agent.db");
}

export interface RunningAgent {
  /** What a person may want to know: where devices connect, where alerts go. */
  readonly notes: readonly string[];
  close(): Promise<void>;
}

/**
 * The composition root: store, pipeline, uplink and, last, the sources that feed them; closed the other way round.
 * log: a line for a person. Throws CodedErrors of the parts.
 */
export async function runAgent(
  settings: AgentSettings,
  sections: AgentSections,
  log: (line: string) => void,
): Promise<RunningAgent> {
  const now = Date.now;
  if (!settings["listen.enabled"] && sections.broker.length === 0) {
    throw new CodedError(
      "BAD_SETTING",
      "Nothing to take readings from: set listen.enabled, or add a [[broker]] section.",
    );
  }
  if (QUARTER_HOUR_MS % settings["window.length"] !== 0) {
    // Hours of every time zone begin on a quarter, and a window must lie within one hour.
    throw new CodedError(
      "BAD_SETTING",
      `window.length is ${settings["window.length"]} ms; it must divide a quarter of an hour.`,
    );
  }
  const unlock = lockDataFolder(settings["data.dir"]);
  const store = new Store(dataFile(settings), { readonly: false });
  const mappings = topicMappings(sections);
  const decode = createDecoder(mappings, { payloadBytesMax: settings["listen.payload_bytes_max"] });
  // The pipeline is there before its sources; until then nobody waits for commits.
  let built: CreatedSources = { sources: [], local: undefined, notes: () => [] };
  let uplink: Uplink | undefined;
  const pipeline = new Pipeline(store, decode, pipelineOptions(settings), {
    now,
    committed() {
      for (const source of built.sources) source.committed();
      uplink?.wake();
    },
    alerts: (alerts) => {
      if (built.local) publishAlerts(built.local, alerts);
    },
    warn: log,
  });
  store.setMeta("agent", agentName(settings));
  if (settings["uplink.url"] !== "") {
    uplink = openUplink(settings, store, pipeline, log);
  }
  built = createSources(
    pipeline,
    settings,
    sections,
    mappings.map(({ template }) => template),
    agentName(settings),
  );
  const { sources } = built;
  try {
    for (const source of sources) await source.start();
  } catch (error) {
    for (const source of sources) await source.close();
    await uplink?.close(0);
    store.close();
    unlock();
    throw error;
  }
  const checkpoints = setInterval(() => pipeline.checkpoint(), settings["checkpoint.interval"]);
  const ticks = setInterval(() => pipeline.tick(), settings["tick.interval"]);
  pipeline.tick();
  return {
    notes: built.notes(),
    async close() {
      clearInterval(checkpoints);
      clearInterval(ticks);
      for (const source of sources) source.stop();
      // The last checkpoint commits what was accepted, which acknowledges it, and sends the last windows.
      pipeline.close();
      for (const source of sources) await source.close();
      await uplink?.close(UPLINK_DRAIN_MS);
      store.close();
      unlock();
    },
  };
}

function openUplink(settings: AgentSettings, store: Store, pipeline: Pipeline, log: (line: string) => void): Uplink {
  return createUplink(
    store,
    {
      thresholds: (version) => pipeline.addThresholds(version),
      thresholdVersions: () => pipeline.thresholdVersions,
      timezone: (timezone) => store.setMeta("timezone", timezone),
      reportIssued: (day, revision) => store.setMeta(`report ${day}`, revision),
      seriesNames: (fromIndex) => pipeline.seriesNames(fromIndex),
      status: () => {
        const { received: _, ...ledger } = pipeline.ledger;
        return { series: pipeline.series, readings: pipeline.readings, ledger };
      },
      log,
    },
    Math.random,
    {
      url: settings["uplink.url"],
      token: settings["uplink.token"],
      agent: agentName(settings),
      incarnation: store.incarnation,
      software: SOFTWARE_VERSION,
      windowBytes: settings["uplink.window_bytes"],
    },
  );
}

function pipelineOptions(settings: AgentSettings): ConstructorParameters<typeof Pipeline>[2] {
  return {
    commitIntervalMs: settings["ingest.commit_interval"],
    windowMs: settings["window.length"],
    seriesMax: settings["ingest.series_max"],
    aheadMaxMs: settings["time.ahead_max"],
    floorMs: Date.parse(settings["time.floor"]),
    deadLetterPayloadBytesMax: settings["dead_letters.payload_bytes_max"],
    deadLetterCountMax: settings["dead_letters.count_max"],
    outboxBytesMax: settings["outbox.bytes_max"],
    logBytesMax: settings["log.bytes_max"],
    logAgeMaxMs: settings["log.age_max"],
  };
}

/** Local alerts for an operator panel or a stack light: weir/alerts/{site}/{device}/{metric}, JSON. */
function publishAlerts(local: LocalPublisher, alerts: readonly Alert[]): void {
  for (const alert of alerts) {
    local.publishLocal(`weir/alerts/${alert.site}/${alert.device}/${alert.metric}`, JSON.stringify(alert));
  }
}
