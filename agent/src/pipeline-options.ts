import { CodedError } from "@weir/shared/errors";
import type { CoreOptions } from "./pipeline/core.ts";
import type { IntakeOptions } from "./pipeline/intake.ts";
import type { AgentSettings } from "./settings.ts";

const QUARTER_HOUR_MS = 900_000;

/** Bounds and lengths of the core. Throws CodedError BAD_SETTING. */
export function coreOptions(settings: AgentSettings): CoreOptions {
  const windowMs = settings["window.length"];
  if (QUARTER_HOUR_MS % windowMs !== 0) {
    // Hours of every time zone begin on a quarter, and a window must lie within one hour.
    throw new CodedError("BAD_SETTING", `window.length is ${windowMs} ms; it must divide a quarter of an hour.`);
  }
  return {
    windowMs,
    checkpointIntervalMs: settings["checkpoint.interval"],
    deadLetterCountMax: settings["dead_letters.count_max"],
    outboxBytesMax: settings["outbox.bytes_max"],
    logBytesMax: settings["log.bytes_max"],
    logAgeMaxMs: settings["log.age_max"],
  };
}

/** Bounds and lengths of the intake. */
export function intakeOptions(settings: AgentSettings): IntakeOptions {
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
