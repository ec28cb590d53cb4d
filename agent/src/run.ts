import { availableParallelism } from "node:os";
import { setFlagsFromString } from "node:v8";
import { CodedError } from "@weir/shared/errors";
import type { Alert } from "@weir/shared/model/alert";
import type { CoreEvents, CoreHost } from "./core-host.ts";
import { openCoreHost } from "./core-host.ts";
import { startCoreThread } from "./core-thread.ts";
import { createDecoder } from "./decode/create-decoder.ts";
import { topicMappings } from "./decode/topic-mappings.ts";
import type { IntakeOptions } from "./pipeline/intake.ts";
import { Intake } from "./pipeline/intake.ts";
import type { AgentSections, AgentSettings } from "./settings.ts";
import { agentName } from "./settings.ts";
import { Gather } from "./sources/gather.ts";
import { createSources } from "./sources/create-sources.ts";
import type { LocalPublisher } from "./sources/source.ts";
import { lockDataFolder } from "./store/lock.ts";

/** Waits at the end for a disk that does not take the last batch, at most, ms. */
const DRAIN_MS = 5_000;

const QUARTER_HOUR_MS = 900_000;

export interface RunningAgent {
  /** What a person may want to know: where devices connect, where alerts go. */
  readonly notes: readonly string[];
  /** Rejects when the agent cannot go on. */
  readonly failed: Promise<never>;
  close(): Promise<void>;
}

/**
 * The composition root: core, intake and, last, the sources that feed them; closed the other way round.
 * log: a line for a person. Throws CodedErrors of the parts.
 */
export async function runAgent(
  settings: AgentSettings,
  sections: AgentSections,
  log: (line: string) => void,
): Promise<RunningAgent> {
  checkSettings(settings, sections);
  // What is young is small and dies at once; left to itself the engine would take 32 MiB for it, and keep them.
  setFlagsFromString("--semi-space-growth-factor=1");
  const mappings = topicMappings(sections);
  const decode = createDecoder(mappings, { payloadBytesMax: settings["listen.payload_bytes_max"] });
  const unlock = lockDataFolder(settings["data.dir"]);
  let fail: (error: Error) => void = () => {};
  const failed = new Promise<never>((_, reject) => (fail = reject));
  failed.catch(() => {});
  // The core is there before its feeders; until then nobody waits for commits.
  let intake: Intake | undefined;
  let local: LocalPublisher | undefined;
  const events: CoreEvents = {
    committed: (columns) => intake?.committed(columns),
    alerts: (alerts) => {
      if (local) publishAlerts(local, alerts);
    },
    log,
  };
  // Only a thread of its own may sleep while sockets gather.
  const gather = threads(settings) > 1 ? new Gather() : null;
  let core: CoreHost | undefined;
  try {
    const host = gather ? await startCoreThread(settings, events, gather, fail) : openCoreHost(settings, events);
    core = host;
    const clock = { now: Date.now };
    intake = new Intake(decode, host.names, intakeOptions(settings), clock, (batch) => host.commit(batch));
    const templates = mappings.map(({ template }) => template);
    const built = createSources(intake, settings, sections, templates, agentName(settings), gather);
    local = built.local;
    intake.serve(built.sources);
    try {
      for (const source of built.sources) await source.start();
    } catch (error) {
      for (const source of built.sources) await source.close();
      throw error;
    }
    return {
      notes: built.notes(),
      failed,
      async close() {
        for (const source of built.sources) source.stop();
        await drain(intake!);
        for (const source of built.sources) await source.close();
        intake!.close();
        await host.close();
        unlock();
      },
    };
  } catch (error) {
    intake?.close();
    await core?.close();
    unlock();
    throw error;
  }
}

function checkSettings(settings: AgentSettings, sections: AgentSections): void {
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
}

/** One: sockets, operators and disk take turns; two: the core has a thread of its own. */
function threads(settings: AgentSettings): number {
  const wanted = settings["ingest.threads"];
  if (wanted !== "auto") return Number(wanted);
  return availableParallelism() > 1 ? 2 : 1;
}

/** Has what was accepted committed, which acknowledges it. */
async function drain(intake: Intake): Promise<void> {
  const deadlineMs = Date.now() + DRAIN_MS;
  intake.commit();
  while (!intake.isIdle && Date.now() < deadlineMs) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    intake.commit();
  }
}

function intakeOptions(settings: AgentSettings): IntakeOptions {
  return {
    commitIntervalMs: settings["ingest.commit_interval"],
    seriesMax: settings["ingest.series_max"],
    batchReadingsMax: settings["ingest.batch_readings_max"],
    shedAfterMs: settings["ingest.shed_after"],
    aheadMaxMs: settings["time.ahead_max"],
    floorMs: Date.parse(settings["time.floor"]),
    deadLetterPayloadBytesMax: settings["dead_letters.payload_bytes_max"],
  };
}

/** Local alerts for an operator panel or a stack light: weir/alerts/{site}/{device}/{metric}, JSON. */
function publishAlerts(local: LocalPublisher, alerts: readonly Alert[]): void {
  for (const alert of alerts) {
    local.publishLocal(`weir/alerts/${alert.site}/${alert.device}/${alert.metric}`, JSON.stringify(alert));
  }
}
