import type { Fault } from "./faults.ts";
import { readingAt } from "./fleet.ts";
import type { Device } from "./fleet.ts";
import { joinRows, valueRow, valuesRow } from "./payload.ts";
import type { PayloadFormat } from "./payload.ts";
import { uniform } from "./random.ts";
import type { Schedule } from "./schedule.ts";
import { fillTopic, hasMetric } from "./topic.ts";

/** One message, ready to be published. */
export interface FleetMessage {
  readonly topic: string;
  readonly payload: string;
  /** Readings in it, at least 1. */
  readonly readings: number;
}

export interface MessageOptions {
  readonly site: string;
  readonly topic: string;
  readonly payload: PayloadFormat;
  readonly seed: number;
  /** Event times wander back by up to this much, in milliseconds. */
  readonly jitterMs: number;
}

/** A topic of the fleet. metric: index into the device's signals; -1: all of them share the message. */
interface Channel {
  readonly device: number;
  readonly metric: number;
  readonly topic: string;
}

export interface MessageMaker {
  readonly channels: number;
  /** Index of the device that a channel belongs to. */
  deviceOf(channel: number): number;
  /**
   * Message n of the schedule, with readingsMax ≥ 1 readings at most; undefined: the device is silent for all of it.
   * onFault, where given, is called for each fault that any of its readings (or silences) shows.
   */
  make(schedule: Schedule, n: number, readingsMax: number, onFault?: FaultSeen): FleetMessage | undefined;
}

/** device: index into the fleet. */
export type FaultSeen = (device: number, fault: Fault) => void;

/** What the random number of a message's jitter is for; rows count on from here. */
const JITTER = 1000;

/** How many messages a round of the fleet has: one for each channel. */
export function countChannels(devices: readonly Device[], topic: string): number {
  return hasMetric(topic) ? devices.reduce((sum, device) => sum + device.signals.length, 0) : devices.length;
}

/** Turns numbers of a schedule into messages: a pure function of the devices and options. */
export function createMessageMaker(devices: readonly Device[], options: MessageOptions): MessageMaker {
  const channels = devices.flatMap((device, index) => channelsOf(device, index, options));
  const names = devices.map((device) => device.signals.map((signal) => signal.metric.name));

  const tsOf = (schedule: Schedule, n: number, row: number): number => {
    // One millisecond's distance is left after rounding, so that no two readings of a series share a time.
    const jitterMs = Math.min(options.jitterMs, Math.max(0, schedule.intervalMs - 2));
    const back = jitterMs > 0 ? jitterMs * uniform(options.seed, n, JITTER + row) : 0;
    return Math.floor(schedule.rowMs(n, row) - back);
  };

  const faultOf = (channel: Channel, tsMs: number, onFault: FaultSeen | undefined): Fault | undefined => {
    const fault = (devices[channel.device] as Device).faults?.at(tsMs);
    if (fault && onFault && (fault.metric === -1 || channel.metric === -1 || fault.metric === channel.metric)) {
      onFault(channel.device, fault);
    }
    return fault;
  };

  return {
    channels: channels.length,
    deviceOf: (channel) => (channels[channel] as Channel).device,
    make(schedule, n, readingsMax, onFault) {
      const channel = channels[schedule.channelOf(n)] as Channel;
      const device = devices[channel.device] as Device;
      const rows: string[] = [];
      let readings = 0;
      for (let row = 0; row < schedule.rowsPerMessage && readings < readingsMax; row++) {
        const tsMs = tsOf(schedule, n, row);
        const fault = faultOf(channel, tsMs, onFault);
        if (channel.metric >= 0) {
          const value = readingAt(device, channel.metric, tsMs, fault);
          if (value === undefined) continue;
          rows.push(options.payload === "number" ? String(value) : valueRow(tsMs, value));
          readings++;
        } else if (fault?.kind !== "dropout") {
          const all = device.signals.map((_, metric) => readingAt(device, metric, tsMs, fault) as number);
          const values = all.slice(0, readingsMax - readings);
          rows.push(valuesRow(tsMs, (names[channel.device] as string[]).slice(0, values.length), values));
          readings += values.length;
        }
      }
      return rows.length === 0 ? undefined : { topic: channel.topic, payload: joinRows(rows), readings };
    },
  };
}

function channelsOf(device: Device, index: number, { site, topic }: MessageOptions): Channel[] {
  if (!hasMetric(topic)) return [{ device: index, metric: -1, topic: fillTopic(topic, site, device.name, "") }];
  return device.signals.map((signal, metric) => ({
    device: index,
    metric,
    topic: fillTopic(topic, site, device.name, signal.metric.name),
  }));
}
