import { DEVICE_KINDS } from "./catalog.ts";
import type { DeviceKind } from "./catalog.ts";
import { createFaultPlan, firstFaultDevice } from "./faults.ts";
import type { Fault, FaultOptions, FaultPlan } from "./faults.ts";
import { createSignal, faultyValue, healthyValue } from "./signals.ts";
import type { Signal } from "./signals.ts";

/** One simulated device. faults: undefined in a fleet without faults. */
export interface Device {
  readonly name: string;
  readonly kind: DeviceKind;
  readonly signals: readonly Signal[];
  readonly faults: FaultPlan | undefined;
}

/**
 * The devices of a fleet: the kinds in turn, numbered within their kind (pump-01, motor-01, …, pump-02). A device's
 * signals depend on the seed and its name only, so a larger fleet holds the smaller one unchanged.
 */
export function createDevices(seed: number, count: number, faults: FaultOptions | undefined): Device[] {
  const first = firstFaultDevice(seed, count);
  return Array.from({ length: count }, (_, index) => {
    const kind = DEVICE_KINDS[index % DEVICE_KINDS.length] as DeviceKind;
    const number = Math.floor(index / DEVICE_KINDS.length) + 1;
    const name = `${kind.name}-${String(number).padStart(2, "0")}`;
    return {
      name,
      kind,
      signals: kind.metrics.map((metric) => createSignal(seed, name, metric, kind.serviceDays)),
      faults: faults && createFaultPlan(seed, name, kind.metrics.length, index === first, faults),
    };
  });
}

/** Series of a fleet of this many devices: one for each metric of each device. */
export function countSeries(deviceCount: number): number {
  const perRound = DEVICE_KINDS.reduce((sum, kind) => sum + kind.metrics.length, 0);
  let count = Math.floor(deviceCount / DEVICE_KINDS.length) * perRound;
  for (let i = 0; i < deviceCount % DEVICE_KINDS.length; i++) count += DEVICE_KINDS[i]?.metrics.length ?? 0;
  return count;
}

/**
 * What a device's metric reads at tsMs under `fault` (the device's, or undefined), to 3 decimals; undefined: silence.
 * metric: index into the device's signals.
 */
export function readingAt(device: Device, metric: number, tsMs: number, fault: Fault | undefined): number | undefined {
  const signal = device.signals[metric] as Signal;
  const concerned = fault !== undefined && (fault.metric === -1 || fault.metric === metric);
  return concerned ? faultyValue(signal, fault, tsMs) : healthyValue(signal, tsMs);
}
