import { closeSync, openSync, writeSync } from "node:fs";
import { CodedError, errorMessage } from "@weir/shared/errors";
import type { Fault, FaultKind } from "./faults.ts";
import type { Device } from "./fleet.ts";

/**
 * A line of the ground truth: the fault holds for event times startMs ≤ t < endMs. metric is `*` where the whole device
 * is concerned. A line is written when the fault first shows; endMs may lie after the end of the run.
 */
export interface TruthLine {
  readonly site: string;
  readonly device: string;
  readonly metric: string;
  readonly kind: FaultKind;
  readonly startMs: number;
  readonly endMs: number;
}

/** Counts the faults of a run and, where a file is named, writes each down once. */
export interface TruthLog {
  /** A reading, or a silence, of this device shows this fault. Faults of a device come in order of time. */
  readonly seen: (device: number, fault: Fault) => void;
  readonly total: number;
  /** Faults seen that still hold at nowMs. */
  active(nowMs: number): number;
  close(): void;
}

/**
 * The ground truth of a fleet at a site, appended to `file` as JSON lines; file "": only counted.
 * Throws CodedError TRUTH_FILE when the file cannot be written.
 */
export function createTruthLog(file: string, site: string, devices: readonly Device[]): TruthLog {
  const descriptor = file === "" ? undefined : guard(file, () => openSync(file, "a"));
  const lastStartMs = new Float64Array(devices.length).fill(-Infinity);
  const lastEndMs = new Float64Array(devices.length).fill(-Infinity);
  let total = 0;

  return {
    seen(index, fault) {
      if (fault.startMs <= (lastStartMs[index] as number)) return;
      lastStartMs[index] = fault.startMs;
      lastEndMs[index] = fault.endMs;
      total++;
      if (descriptor === undefined) return;
      const device = devices[index] as Device;
      const metric = fault.metric < 0 ? "*" : (device.signals[fault.metric]?.metric.name ?? "*");
      const { kind, startMs, endMs } = fault;
      const line: TruthLine = { site, device: device.name, metric, kind, startMs, endMs };
      guard(file, () => writeSync(descriptor, `${JSON.stringify(line)}\n`));
    },
    get total() {
      return total;
    },
    active: (nowMs) => lastEndMs.reduce((count, endMs) => (endMs > nowMs ? count + 1 : count), 0),
    close() {
      if (descriptor !== undefined) closeSync(descriptor);
    },
  };
}

function guard<T>(file: string, action: () => T): T {
  try {
    return action();
  } catch (cause) {
    throw new CodedError("TRUTH_FILE", `Cannot write truth.file ${file}: ${errorMessage(cause)}.`, { cause });
  }
}
