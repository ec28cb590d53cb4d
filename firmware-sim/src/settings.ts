import type { Problem, Values } from "@weir/shared/config/settings";
import { isSeriesNamePart } from "@weir/shared/model/reading";
import { FAULT_KINDS, meanIntervalMinMs } from "./faults.ts";
import type { FaultKind } from "./faults.ts";
import { countSeries } from "./fleet.ts";
import { hasMetric, templateProblem } from "./topic.ts";

/** Every setting of weir-sim. */
export const simSettings = {
  "mqtt.url": {
    type: "string",
    default: "mqtt://127.0.0.1:1883",
    pattern: "^(mqtts?|tcp|ssl|wss?)://[^/]+",
    hint: "write it as mqtt://HOST:PORT, or mqtts:// for TLS",
    doc: "Where to connect: mqtt://HOST:PORT, or mqtts:// for TLS.",
  },
  "mqtt.username": { type: "string", default: "", doc: "User name; empty: none is sent." },
  "mqtt.password": { type: "string", default: "", secret: true, doc: "Password; empty: none is sent." },
  "mqtt.ca_file": { type: "string", default: "", doc: "PEM file of the authorities to trust; empty: those of Node." },
  "mqtt.cert_file": { type: "string", default: "", doc: "PEM file of the client certificate; empty: none." },
  "mqtt.key_file": { type: "string", default: "", doc: "PEM file of the client certificate's key; empty: none." },
  "mqtt.protocol": { type: "int", default: 4, min: 4, max: 5, doc: "MQTT version: 4 is 3.1.1, 5 is 5." },
  "mqtt.qos": { type: "int", default: 1, min: 0, max: 2, doc: "Quality of service of every message." },
  "mqtt.connections": {
    type: "int",
    default: 1,
    min: 1,
    max: 10_000,
    doc: "Connections; every device keeps to one of them, so its messages stay in order.",
  },
  "mqtt.inflight_max": {
    type: "int",
    default: 5000,
    min: 1,
    max: 30_000,
    doc: "QoS 1 and 2: messages of one connection sent and not yet acknowledged, at most; a smaller limit of the server wins.",
  },
  "mqtt.buffer_bytes_max": {
    type: "bytes",
    default: "1MiB",
    min: "1KiB",
    max: "1GiB",
    doc: "Bytes of one connection waiting for the network, at most; the fleet slows down beyond it.",
  },
  "mqtt.connect_timeout": {
    type: "duration",
    default: "60s",
    min: 0,
    max: "365d",
    doc: "How long to try for the first connection before giving up; 0: for ever.",
  },
  "mqtt.ack_timeout": {
    type: "duration",
    default: "10s",
    min: 0,
    max: "24h",
    doc: "How long to wait at the end for acknowledgements that are missing.",
  },
  "fleet.site": { type: "string", default: "plant-1", doc: "Name of the site." },
  "fleet.devices": { type: "int", default: 12, min: 1, max: 200_000, doc: "Devices of the fleet." },
  "fleet.rate": {
    type: "number",
    default: 0,
    min: 0,
    max: 10_000_000,
    doc: "Readings a second over the whole fleet; 0: one a second of every metric.",
  },
  "fleet.seed": { type: "int", default: 1, min: 0, max: 4_294_967_295, doc: "The same seed gives the same readings." },
  "fleet.readings_per_message": {
    type: "int",
    default: 1,
    min: 1,
    max: 8192,
    doc: "Readings of one device packed into one message, as a JSON array.",
  },
  "fleet.topic": {
    type: "string",
    default: "sensors/{site}/{device}/{metric}",
    doc: "Topic; without {metric} one message holds all metrics of a device.",
  },
  "fleet.payload": {
    type: "enum",
    values: ["json", "number"],
    default: "json",
    doc: "json: time and value; number: the bare value, which the receiver stamps.",
  },
  "fleet.duration": {
    type: "duration",
    default: "0s",
    min: 0,
    max: "365d",
    doc: "Stop after this long; 0: when told to.",
  },
  "fleet.count": {
    type: "int",
    default: 0,
    min: 0,
    max: 9_007_199_254_740_991,
    doc: "Stop after this many readings, duplicates not counted; 0: no limit.",
  },
  "fleet.duplicate": { type: "number", default: 0, min: 0, max: 1, doc: "Share of messages sent twice." },
  "fleet.jitter": {
    type: "duration",
    default: "0ms",
    min: 0,
    max: "1h",
    doc: "Event times wander back by up to this much, less than one interval: no two readings of a series swap.",
  },
  "fleet.out_of_order": {
    type: "number",
    default: 0,
    min: 0,
    max: 1,
    doc: "Share of messages held back to arrive late.",
  },
  "fleet.out_of_order_by": {
    type: "duration",
    default: "5s",
    min: 1,
    max: "24h",
    doc: "Messages held back arrive late by up to this much.",
  },
  "fleet.behind_max": {
    type: "duration",
    default: "10m",
    min: 1_000,
    max: "365d",
    doc: "Readings overdue by more than this, because the receiver is slow or away, are skipped and counted.",
  },
  "faults.enabled": { type: "boolean", default: true, doc: "Devices have faults." },
  "faults.mean_interval": {
    type: "duration",
    default: "10m",
    min: 1_000,
    max: "365d",
    doc: "Mean time from one fault of a device to its next.",
  },
  "faults.kinds": {
    type: "strings",
    default: ["spike", "drift", "stuck", "dropout"],
    doc: "Kinds of fault, of: spike, drift, stuck, dropout.",
  },
  "faults.first_after": {
    type: "duration",
    default: "15s",
    min: 0,
    max: "365d",
    doc: "One device has its first fault this long after the start, none has one before; 0: as they come.",
  },
  "truth.file": {
    type: "string",
    default: "",
    doc: "File to which every injected fault is appended as a line of JSON; empty: none.",
  },
} as const;

/** Names of settings and environment variables begin with this. */
export const simEnvPrefix = "WEIR_SIM_";

/** The settings of weir-sim as loaded: durations in milliseconds, sizes in bytes. */
export type SimSettings = Values<typeof simSettings>;

/** Readings a second of one series, at most: below it, no two readings of a series share a millisecond. */
export const SERIES_RATE_MAX = 500;

/** How often each series of the fleet reports, in milliseconds (not rounded). */
export function intervalMs(settings: SimSettings): number {
  const rate = settings["fleet.rate"];
  return rate === 0 ? 1000 : (countSeries(settings["fleet.devices"]) * 1000) / rate;
}

/** What is wrong with the fleet's settings taken together; each alone has been checked. */
export function fleetProblems(settings: SimSettings): Problem[] {
  const problems = [...topicProblems(settings)];
  const add = (key: string, message: string): void =>
    void problems.push({ where: "settings", message: `${key} ${message}` });

  const series = countSeries(settings["fleet.devices"]);
  const interval = intervalMs(settings);
  if (interval < 1000 / SERIES_RATE_MAX) {
    const rateMax = series * SERIES_RATE_MAX;
    add(
      "fleet.rate",
      `must be at most ${rateMax}: ${series} series of ${SERIES_RATE_MAX} readings/s; raise fleet.devices`,
    );
  }
  if (!settings["fleet.topic"].includes("{device}"))
    add("fleet.topic", "needs {device}, or devices could not be told apart");
  if (settings["fleet.payload"] === "number" && settings["fleet.readings_per_message"] > 1) {
    add("fleet.readings_per_message", "must be 1 where fleet.payload is number");
  }
  if (settings["faults.enabled"]) {
    for (const kind of settings["faults.kinds"]) {
      if (!(FAULT_KINDS as readonly string[]).includes(kind)) {
        add("faults.kinds", `holds ${JSON.stringify(kind)}; known are ${FAULT_KINDS.join(", ")}`);
      }
    }
    if (settings["faults.kinds"].length === 0)
      add("faults.kinds", "is empty; use faults.enabled = false for no faults");
    const minMs = meanIntervalMinMs(interval);
    if (settings["faults.mean_interval"] < minMs) {
      add(
        "faults.mean_interval",
        `must be at least ${minMs}ms for series that report every ${Math.round(interval)} ms`,
      );
    }
  }
  return problems;
}

/** What is wrong with the settings that a replay uses too: names, topic, and connection. */
export function topicProblems(settings: SimSettings): Problem[] {
  const problems: Problem[] = [];
  const add = (key: string, message: string): void =>
    void problems.push({ where: "settings", message: `${key} ${message}` });
  const template = settings["fleet.topic"];
  const problem = templateProblem(template);
  if (problem !== undefined) add("fleet.topic", problem);
  if (settings["fleet.payload"] === "number" && !hasMetric(template)) {
    add("fleet.payload", "number needs {metric} in fleet.topic: a number is one metric's");
  }
  if (!isSeriesNamePart(settings["fleet.site"]))
    add("fleet.site", "must be 1 to 128 characters without / + # or controls");
  if ((settings["mqtt.cert_file"] === "") !== (settings["mqtt.key_file"] === "")) {
    add("mqtt.cert_file", "and mqtt.key_file go together: give both or neither");
  }
  return problems;
}

/** The kinds of fault that are on, known ones only. */
export function faultKinds(settings: SimSettings): FaultKind[] {
  return FAULT_KINDS.filter((kind) => settings["faults.kinds"].includes(kind));
}
