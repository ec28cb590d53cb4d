import type { Alert } from "@weir/shared/model/alert";
import type { SeriesKey } from "@weir/shared/model/reading";
import type { Batch, ReadingColumns } from "./pipeline/batch.ts";
import { Core } from "./pipeline/core.ts";
import type { CoreOptions } from "./pipeline/core.ts";
import type { AgentSettings } from "./settings.ts";
import { agentName, dataFile } from "./settings.ts";
import { Store } from "./store/store.ts";
import type { Uplink } from "./uplink.ts";
import { createUplink } from "./uplink.ts";
import { SOFTWARE_VERSION } from "./version.ts";

/** Waits at the end for the aggregator to acknowledge the outbox, at most, ms; what is left waits in the data file. */
const UPLINK_DRAIN_MS = 5_000;
/** Turns of the checkpoint in one of its intervals, at least, and the longest rest between two, ms. */
const CHECKPOINT_TURNS = 4;
const CHECKPOINT_TURN_MS_MAX = 50;

/** What the core tells those who feed it. */
export interface CoreEvents {
  /** The batch handed over last is durable. columns: lent with it. */
  readonly committed: (columns: ReadingColumns) => void;
  /** Alerts that are now durable. */
  readonly alerts: (alerts: readonly Alert[]) => void;
  /** A line for a person. */
  readonly log: (line: string) => void;
}

/** The core with all that it needs, on this thread or another. */
export interface CoreHost {
  /** Names of the series that the data file held at the start, by index. */
  readonly names: readonly SeriesKey[];
  /** Commits a batch; committed() follows when it is durable. One at a time. */
  commit(batch: Batch): void;
  /** Checkpoints, sends what can still be sent, closes the data file. */
  close(): Promise<void>;
}

/** Opens data file, core and uplink on this thread. Throws CodedErrors of the store. */
export function openCoreHost(settings: AgentSettings, events: CoreEvents): CoreHost {
  const store = new Store(dataFile(settings), { readonly: false });
  let uplink: Uplink | undefined;
  const core = new Core(store, coreOptions(settings), {
    now: Date.now,
    committed: events.committed,
    emitted: () => uplink?.wake(),
    alerts: events.alerts,
    warn: events.log,
  });
  store.setMeta("agent", agentName(settings));
  if (settings["uplink.url"] !== "") uplink = openUplink(settings, store, core, events.log);
  const turnMs = Math.min(CHECKPOINT_TURN_MS_MAX, settings["checkpoint.interval"] / CHECKPOINT_TURNS);
  const checkpoints = setInterval(() => core.checkpointTurn(), turnMs);
  const ticks = setInterval(() => core.tick(), settings["tick.interval"]);
  core.tick();
  return {
    names: core.names,
    commit: (batch) => core.commit(batch),
    async close() {
      clearInterval(checkpoints);
      clearInterval(ticks);
      core.close();
      await uplink?.close(UPLINK_DRAIN_MS);
      store.close();
    },
  };
}

function openUplink(settings: AgentSettings, store: Store, core: Core, log: (line: string) => void): Uplink {
  return createUplink(
    store,
    {
      thresholds: (version) => core.addThresholds(version),
      thresholdVersions: () => core.thresholdVersions,
      timezone: (timezone) => store.setMeta("timezone", timezone),
      reportIssued: (day, revision) => store.setMeta(`report ${day}`, revision),
      seriesNames: (fromIndex) =>
        core.names
          .slice(fromIndex)
          .map(({ site, device, metric }, index) => [fromIndex + index, site, device, metric] as const),
      status: () => {
        const { received: _, ...ledger } = core.ledger;
        const { gauges } = core;
        return { series: core.names.length, readings: core.readings, ledger, gauges, quarantined: [] };
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

function coreOptions(settings: AgentSettings): CoreOptions {
  return {
    windowMs: settings["window.length"],
    checkpointIntervalMs: settings["checkpoint.interval"],
    deadLetterCountMax: settings["dead_letters.count_max"],
    outboxBytesMax: settings["outbox.bytes_max"],
    logBytesMax: settings["log.bytes_max"],
    logAgeMaxMs: settings["log.age_max"],
  };
}
