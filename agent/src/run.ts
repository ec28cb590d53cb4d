import { availableParallelism } from "node:os";
import { setFlagsFromString } from "node:v8";
import { CodedError } from "@weir/shared/errors";
import type { Alert } from "@weir/shared/model/alert";
import { openClock } from "./clock.ts";
import type { CoreEvents } from "./core-host.ts";
import { openCoreHost } from "./core-host.ts";
import { startCoreThread } from "./core-thread.ts";
import { createDecoder } from "./decode/create-decoder.ts";
import { topicMappings } from "./decode/topic-mappings.ts";
import { Intake } from "./pipeline/intake.ts";
import { coreOptions, intakeOptions } from "./pipeline-options.ts";
import type { AgentSections, AgentSettings } from "./settings.ts";
import { agentName } from "./settings.ts";
import { Gather } from "./sources/gather.ts";
import { createSources } from "./sources/create-sources.ts";
import type { LocalPublisher } from "./sources/source.ts";
import { isDamage } from "./store/damage.ts";
import { lockDataFolder } from "./store/lock.ts";

/** Waits at the end for a disk that does not take the last batch, at most, ms. */
const DRAIN_MS = 5_000;

/** A data file that is damaged so soon after another ends the agent also where it would begin anew, ms. */
const FRESH_AGAIN_MS = 60_000;

/** How often the clock is followed, and the sources are looked at, ms. */
const POLL_MS = 250;

export interface RunningAgent {
  /** What a person may want to know: where devices connect, where alerts go. */
  readonly notes: readonly string[];
  /** Rejects when the agent cannot go on. */
  readonly failed: Promise<never>;
  close(): Promise<void>;
}

/** What runs from a start to the end, or to a data file that is found to be damaged. */
interface Parts {
  readonly notes: readonly string[];
  /** Drains and closes, source first. */
  close(): Promise<void>;
  /** Ends at once what has no core any more: nothing that was not committed is acknowledged. */
  abandon(): Promise<void>;
}

/**
 * The composition root: core, intake and, last, the sources that feed them; closed the other way round. When the data
 * file is found to be damaged, it has been set aside by then, and all parts are closed without acknowledging anything;
 * as data.on_corrupt says they are started anew, or the agent has failed. log: a line for a person. Throws CodedErrors
 * of the parts.
 */
export async function runAgent(
  settings: AgentSettings,
  sections: AgentSections,
  log: (line: string) => void,
): Promise<RunningAgent> {
  checkSettings(settings, sections);
  // What is young is small and dies at once; left to itself the engine would take 32 MiB for it, and keep them.
  setFlagsFromString("--semi-space-growth-factor=1");
  const unlock = lockDataFolder(settings["data.dir"]);
  let fail: (error: Error) => void = () => {};
  const failed = new Promise<never>((_, reject) => (fail = reject));
  failed.catch(() => {});
  let problem: Error | undefined;
  let isClosing = false;
  let freshMs = -Infinity;
  let turn: Promise<void> = Promise.resolve();
  let parts: Promise<Parts>;

  const goOn = async (error: Error): Promise<void> => {
    problem = error;
    await (await parts).abandon();
    const isFresh = isDamage(error) && settings["data.on_corrupt"] === "fresh";
    if (isClosing || !isFresh) return fail(error);
    const ranMs = performance.now() - freshMs;
    if (ranMs < FRESH_AGAIN_MS) {
      const message = `${error.message} That was ${Math.round(ranMs / 1000)} s after the file before it: the agent ends, for the disk may be failing.`;
      return fail((problem = new CodedError("DATA_FILE_DAMAGED", message, { cause: error })));
    }
    log(error.message);
    freshMs = performance.now();
    problem = undefined;
    parts = start();
    for (const note of (await parts).notes) log(note);
  };
  /** The parts that failed may still be starting, or be about to be closed. */
  const inTurn = async (error: Error): Promise<void> => {
    await turn;
    try {
      await goOn(error);
    } catch (thrown) {
      fail(thrown as Error);
    }
  };
  const start = (): Promise<Parts> =>
    startParts(settings, sections, log, (error) => {
      turn = inTurn(error);
    });

  parts = start();
  try {
    const { notes } = await parts;
    return {
      notes,
      failed,
      async close() {
        isClosing = true;
        await turn;
        await (await parts).close();
        await turn;
        unlock();
        if (problem) throw problem;
      },
    };
  } catch (error) {
    unlock();
    throw error;
  }
}

async function startParts(
  settings: AgentSettings,
  sections: AgentSections,
  log: (line: string) => void,
  failed: (error: Error) => void,
): Promise<Parts> {
  const mappings = topicMappings(sections);
  const decode = createDecoder(mappings, { payloadBytesMax: settings["listen.payload_bytes_max"] });
  // The core is there before its feeders; until then nobody waits for commits.
  let intake: Intake | undefined;
  let local: LocalPublisher | undefined;
  const events: CoreEvents = {
    committed: (columns) => intake?.committed(columns),
    alerts: (alerts) => {
      if (local) publishAlerts(local, alerts);
    },
    log,
    failed,
  };
  // Only a thread of its own may sleep while sockets gather.
  const gather = threads(settings) > 1 ? new Gather() : null;
  const host = gather ? await startCoreThread(settings, events, gather) : openCoreHost(settings, events);
  // The core has a clock of its own, which tells of steps; asked often, the two agree.
  const clock = openClock();
  let isWatching: boolean | undefined;
  let polling: NodeJS.Timeout | undefined;
  try {
    intake = new Intake(decode, host.names, intakeOptions(settings), clock, (batch) => host.commit(batch));
    const templates = mappings.map(({ template }) => template);
    const built = createSources(intake, settings, sections, templates, agentName(settings), gather);
    const { sources } = built;
    local = built.local;
    intake.serve(sources);
    try {
      for (const source of sources) await source.start();
    } catch (error) {
      for (const source of sources) await source.close();
      throw error;
    }
    const poll = (): void => {
      clock.now();
      const areUp = sources.every((source) => source.status().connected);
      if (areUp !== isWatching) host.watching((isWatching = areUp));
    };
    poll();
    polling = setInterval(poll, POLL_MS);
    return {
      notes: built.notes(),
      async close() {
        clearInterval(polling);
        for (const source of sources) source.stop();
        await drain(intake!);
        for (const source of sources) await source.close();
        intake!.close();
        await host.close();
      },
      async abandon() {
        clearInterval(polling);
        for (const source of sources) source.stop();
        await host.abandon();
        intake!.close();
        for (const source of sources) await source.close();
      },
    };
  } catch (error) {
    clearInterval(polling);
    intake?.close();
    await host.close();
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
  // Before anything is opened.
  coreOptions(settings);
}

/** One: sockets, operators and disk take turns; two: the core has a thread of its own. */
function threads(settings: AgentSettings): number {
  const wanted = settings["ingest.threads"];
  if (wanted !== "auto") return Number(wanted);
  return availableParallelism() > 1 ? 2 : 1;
}

/** Has what was accepted committed, which acknowledges it. */
async function drain(intake: Intake): Promise<void> {
  const deadlineMs = performance.now() + DRAIN_MS;
  intake.commit();
  while (!intake.isIdle && performance.now() < deadlineMs) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    intake.commit();
  }
}

/** Local alerts for an operator panel or a stack light: weir/alerts/{site}/{device}/{metric}, JSON. */
function publishAlerts(local: LocalPublisher, alerts: readonly Alert[]): void {
  for (const alert of alerts) {
    local.publishLocal(`weir/alerts/${alert.site}/${alert.device}/${alert.metric}`, JSON.stringify(alert));
  }
}
