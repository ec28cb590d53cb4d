import { faultKinds, intervalMs } from "./settings.ts";
import type { SimSettings } from "./settings.ts";
import type { FaultOptions } from "./faults.ts";
import { createDevices } from "./fleet.ts";
import { createLateQueue } from "./late-queue.ts";
import { countChannels, createMessageMaker } from "./messages.ts";
import { createPacer } from "./pacing.ts";
import type { Pacer, SendOutcome } from "./pacing.ts";
import type { PayloadFormat } from "./payload.ts";
import { uniform } from "./random.ts";
import type { Room } from "./room.ts";
import { createSchedule } from "./schedule.ts";
import type { Schedule } from "./schedule.ts";
import type { Sender } from "./sender.ts";
import { seconds, summarize } from "./summary.ts";
import type { Summary } from "./summary.ts";
import { hasMetric } from "./topic.ts";
import { createTruthLog } from "./truth.ts";
import type { TruthLog } from "./truth.ts";

/** What a run stands on; the composition root makes these. */
export interface RunWorld {
  readonly sender: Sender;
  readonly room: Room;
  /** The wall clock: milliseconds since 1970. Event times come from it. */
  readonly nowMs: () => number;
  /** A status line for a person. */
  readonly log: (line: string) => void;
  /** Aborted when the run is to drain and end. */
  readonly stop: AbortSignal;
}

/** Messages offered in one turn of the event loop, at most: more would keep the sockets waiting. */
const MESSAGES_PER_TICK_MAX = 1_000;
const TICK_MS = 10;
/** Messages held back at once, at most, in memory as two numbers each; beyond it messages go out in order. */
const LATE_MESSAGES_MAX = 200_000;
const STATUS_EVERY_MS = 5_000;

/** What random numbers of a message are for. */
const LATE = 101;
const LATE_BY = 102;
const TWICE = 103;

interface Counts {
  /** Readings made, whether sent or still held back: what fleet.count limits. */
  made: number;
  readings: number;
  duplicates: number;
  lateFull: number;
}

/**
 * Runs the fleet until its duration or count is reached or it is stopped, then drains. The sender must be connected.
 * Throws CodedError TRUTH_FILE.
 */
export async function runFleet(settings: SimSettings, world: RunWorld): Promise<Summary> {
  const { sender, nowMs } = world;
  const startMs = nowMs();
  const interval = intervalMs(settings);
  const devices = createDevices(
    settings["fleet.seed"],
    settings["fleet.devices"],
    faultOptions(settings, startMs, interval),
  );
  const rowReadings = hasMetric(settings["fleet.topic"]) ? 1 : (devices[0]?.signals.length ?? 1);
  const schedule = createSchedule({
    channels: countChannels(devices, settings["fleet.topic"]),
    intervalMs: interval,
    rowsPerMessage: Math.ceil(settings["fleet.readings_per_message"] / rowReadings),
  });
  const truth = createTruthLog(settings["truth.file"], settings["fleet.site"], devices);
  const counts: Counts = { made: 0, readings: 0, duplicates: 0, lateFull: 0 };
  const maker = createMessageMaker(devices, {
    site: settings["fleet.site"],
    topic: settings["fleet.topic"],
    payload: settings["fleet.payload"] as PayloadFormat,
    seed: settings["fleet.seed"],
    jitterMs: settings["fleet.jitter"],
  });
  const output = createOutput(settings, schedule, maker, sender, truth, counts);
  const endMs = settings["fleet.duration"] > 0 ? startMs + settings["fleet.duration"] : Infinity;
  const pacer = createPacer(schedule, startMs, output.offer, {
    endMs,
    messagesPerTickMax: MESSAGES_PER_TICK_MAX,
    behindMsMax: settings["fleet.behind_max"],
  });

  const status = startStatus(world, pacer, truth, () => counts.readings);
  await drive(world, pacer, output.release, endMs);
  const drainUntilMs = nowMs() + settings["mqtt.ack_timeout"];
  const unsent = await releaseAll(world, output, drainUntilMs);
  const missing = await sender.drain(Math.max(1, drainUntilMs - nowMs()));
  clearInterval(status);
  truth.close();

  return summarize(sender.counts(), settings["mqtt.qos"], missing, {
    readings: counts.readings,
    duplicates: counts.duplicates,
    durationMs: nowMs() - startMs,
    details: {
      faults: truth.total,
      slowdowns: pacer.slowdowns,
      skipped: pacer.skipped,
      unsent,
      lateFull: counts.lateFull,
    },
  });
}

function faultOptions(settings: SimSettings, startMs: number, interval: number): FaultOptions | undefined {
  if (!settings["faults.enabled"]) return undefined;
  return {
    meanIntervalMs: Math.round(settings["faults.mean_interval"]),
    kinds: faultKinds(settings),
    runStartMs: startMs,
    firstAfterMs: Math.round(settings["faults.first_after"]),
    intervalMs: interval,
  };
}

interface Output {
  /** Takes the next message of the schedule: sends it, or holds it back to arrive late. */
  readonly offer: (n: number, nowMs: number) => SendOutcome;
  /** Sends what was held back and is due; false: the receiver is behind. */
  readonly release: (nowMs: number) => boolean;
  readonly held: () => number;
}

function createOutput(
  settings: SimSettings,
  schedule: Schedule,
  maker: ReturnType<typeof createMessageMaker>,
  sender: Sender,
  truth: TruthLog,
  counts: Counts,
): Output {
  const seed = settings["fleet.seed"];
  const countMax = settings["fleet.count"] || Infinity;
  const lateShare = settings["fleet.out_of_order"];
  const twiceShare = settings["fleet.duplicate"];
  const late = createLateQueue(LATE_MESSAGES_MAX);
  const connectionOf = (n: number): number => maker.deviceOf(schedule.channelOf(n));

  const send = (n: number, message: NonNullable<ReturnType<typeof maker.make>>): void => {
    sender.send(connectionOf(n), message.topic, message.payload);
    counts.readings += message.readings;
    if (twiceShare > 0 && uniform(seed, n, TWICE) < twiceShare) {
      sender.send(connectionOf(n), message.topic, message.payload);
      counts.duplicates++;
    }
  };

  return {
    offer(n) {
      if (counts.made >= countMax) return "over";
      if (sender.full(connectionOf(n))) return "full";
      const left = countMax - counts.made;
      const message = maker.make(schedule, n, left, truth.seen);
      if (!message) return "sent";
      counts.made += message.readings;
      // The message that fleet.count cuts short cannot be made again from its number alone, so it goes at once.
      if (lateShare > 0 && message.readings < left && uniform(seed, n, LATE) < lateShare) {
        const dueMs = schedule.dueMs(n) + uniform(seed, n, LATE_BY) * settings["fleet.out_of_order_by"];
        if (late.hold(n, dueMs)) return "sent";
        counts.lateFull++;
      }
      send(n, message);
      return "sent";
    },
    release(nowMs) {
      for (let n = late.due(nowMs); n !== undefined; n = late.due(nowMs)) {
        if (sender.full(connectionOf(n))) return false;
        const message = maker.make(schedule, n, Infinity);
        late.drop();
        if (message) send(n, message);
      }
      return true;
    },
    held: () => late.size,
  };
}

/** Ticks until the pacer is over, endMs has come or the run is stopped. */
async function drive(world: RunWorld, pacer: Pacer, release: Output["release"], endMs: number): Promise<void> {
  while (!world.stop.aborted) {
    const nowMs = world.nowMs();
    const released = release(nowMs);
    const outcome = pacer.tick(nowMs);
    if (outcome === "over" || nowMs >= endMs) return;
    if (outcome === "more") await new Promise((resolve) => setImmediate(resolve));
    else if (outcome === "full" || !released) await world.room.wait(TICK_MS);
    else await new Promise((resolve) => setTimeout(resolve, TICK_MS));
  }
}

/** Sends all that is held back, in the order it would have gone; resolves with how many found no room in time. */
async function releaseAll(world: RunWorld, output: Output, untilMs: number): Promise<number> {
  while (!output.release(Infinity) && world.nowMs() < untilMs) await world.room.wait(TICK_MS);
  return output.held();
}

function startStatus(world: RunWorld, pacer: Pacer, truth: TruthLog, readings: () => number): NodeJS.Timeout {
  let beforeMs = world.nowMs();
  let before = 0;
  const timer = setInterval(() => {
    const nowMs = world.nowMs();
    const { messages, acknowledged, inflight } = world.sender.counts();
    const rate = Math.round(((messages - before) * 1000) / Math.max(1, nowMs - beforeMs));
    const behind = pacer.behindMs >= 1000 ? `, behind by ${seconds(pacer.behindMs)}` : "";
    world.log(
      `sent ${messages} (${rate}/s), acknowledged ${acknowledged}, in flight ${inflight}, readings ${readings()}, ` +
        `faults active ${truth.active(nowMs)}, slowdowns ${pacer.slowdowns}${behind}`,
    );
    before = messages;
    beforeMs = nowMs;
  }, STATUS_EVERY_MS);
  timer.unref();
  return timer;
}
