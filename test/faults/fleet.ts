import type { Random } from "../support/random.ts";
import type { KeptReading } from "./agent-side.ts";

/** A message as a device publishes it. */
export interface FleetMessage {
  readonly topic: string;
  readonly payload: string;
}

/** What devices of a run publish, each in its order; and what has to come of it. */
export interface Fleet {
  readonly devices: ReadonlyArray<{ readonly name: string; readonly messages: readonly FleetMessage[] }>;
  /** Each distinct reading that is to be stored. */
  readonly readings: readonly KeptReading[];
  /** Messages and readings that are to be refused. */
  readonly refusals: number;
}

const START_MS = Date.parse("2026-02-03T18:00:00Z");
const SITE = "hall";
const DAY_MS = 86_400_000;
/** Beyond any clock of a machine that runs this. */
const AHEAD_MS = Date.parse("2200-01-01T00:00:00Z");

/** Devices whose readings cross midnight; some of it late by hours, twice, out of order, ahead of every clock, or no reading. */
export function drawFleet(random: Random, isQuick: boolean): Fleet {
  const readings = new Map<string, KeptReading>();
  const all = { refusals: 0 };
  const devices = Array.from({ length: 3 }, (_, index) => {
    const device = `d${index}`;
    const count = isQuick ? 150 : random.between(250, 600);
    const stepMs = random.pick([15_000, 40_000, 97_000]);
    const latest = Array.from({ length: count }, (__, i): KeptReading => {
      const metric = i % 3 === 0 ? "flow" : "temp";
      const value = Math.round((20 + 6 * Math.sin((i + index * 40) / 12) + random.next()) * 1000) / 1000;
      return { site: SITE, device, metric, tsMs: START_MS + i * stepMs + index, value, stamped: false };
    });
    for (const reading of latest) readings.set(`${device}/${reading.metric} ${reading.tsMs} ${reading.value}`, reading);
    return { name: device, messages: messagesOf(random, device, latest, all) };
  });
  return { devices, readings: [...readings.values()], refusals: all.refusals };
}

function messagesOf(
  random: Random,
  device: string,
  readings: readonly KeptReading[],
  all: { refusals: number },
): FleetMessage[] {
  const awayFrom = random.between(0, readings.length);
  const awayUntil = awayFrom + (random.chance(0.6) ? random.between(0, readings.length / 3) : 0);
  const messages: FleetMessage[] = [];
  const late: KeptReading[] = [];
  readings.forEach((reading, i) => {
    if (i >= awayFrom && i < awayUntil) {
      late.push(reading);
      return;
    }
    messages.push(single(reading));
    // Said twice, soon or hours later.
    if (random.chance(0.06)) messages.push(messages[random.between(0, messages.length - 1)]!);
    if (random.chance(0.01)) {
      all.refusals++;
      messages.push(single({ ...reading, tsMs: AHEAD_MS + (reading.tsMs % DAY_MS) }));
    }
    if (random.chance(0.01)) {
      all.refusals++;
      messages.push({ topic: `sensors/${SITE}/${device}/temp`, payload: "neither number nor JSON" });
    }
    // The network swaps neighbours.
    if (random.chance(0.1) && messages.length > 1) messages.push(...messages.splice(-2).toReversed());
  });
  const backAt = random.between(0, messages.length);
  const batch = random.chance(0.5) ? random.shuffled(late) : late;
  const lists: FleetMessage[] = [];
  for (const metric of ["temp", "flow"]) {
    const mine = batch.filter((reading) => reading.metric === metric);
    for (let from = 0; from < mine.length; from += 25) {
      const items = mine.slice(from, from + 25).map(({ tsMs, value }) => ({ ts: tsMs, value }));
      lists.push({ topic: `sensors/${SITE}/${device}/${metric}`, payload: JSON.stringify(items) });
    }
  }
  messages.splice(backAt, 0, ...lists);
  return messages;
}

function single({ site, device, metric, tsMs, value }: KeptReading): FleetMessage {
  return { topic: `sensors/${site}/${device}/${metric}`, payload: JSON.stringify({ ts: tsMs, value }) };
}
