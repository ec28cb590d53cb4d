import { hostname } from "node:os";
import { join } from "node:path";
import type { Sections, Values } from "@weir/shared/config/settings";

/** Prefix of the agent's environment variables. */
export const agentEnvPrefix = "WEIR_AGENT_";

/** Settings of the agent: type, default, bounds and meaning in one place. */
export const agentSettings = {
  "agent.id": {
    type: "string",
    default: "",
    pattern: "^[A-Za-z0-9_.-]{0,64}$",
    hint: "use up to 64 letters, digits, dots, dashes and underscores",
    doc: "Name of this agent at the aggregator; empty: the host name.",
  },
  "data.dir": { type: "string", default: "./weir-data/agent", doc: "Folder of the agent's one SQLite file, agent.db." },
  "data.on_corrupt": {
    type: "enum",
    default: "exit",
    values: ["exit", "fresh"],
    doc: "A damaged data file is set aside and a new one takes its place; then exit ends the program (code 1; the next start goes on with the new file), fresh goes on at once.",
  },
  "data.corrupt_files_max": {
    type: "int",
    default: 2,
    min: 1,
    max: 100,
    doc: "Damaged data files kept beside the data file as agent.db.corrupt-TIME, each as large as it was; the oldest are deleted.",
  },
  "listen.enabled": { type: "boolean", default: true, doc: "Open the agent's own MQTT endpoint." },
  "listen.host": { type: "string", default: "127.0.0.1", doc: "Address the MQTT endpoint listens on." },
  "listen.port": { type: "int", default: 1883, min: 0, max: 65535, doc: "Port of the MQTT endpoint; 0: any free one." },
  "listen.anonymous": {
    type: "boolean",
    default: true,
    doc: "Let devices connect without a user name; when false, listen.password_file says who may.",
  },
  "listen.password_file": {
    type: "string",
    default: "",
    doc: "File of `user:scrypt$salt$hash` lines; empty: no user is known.",
  },
  "listen.tls_cert": { type: "string", default: "", doc: "PEM certificate of the MQTT endpoint; with listen.tls_key." },
  "listen.tls_key": { type: "string", default: "", doc: "PEM key of the MQTT endpoint; with listen.tls_cert." },
  "listen.tls_ca": {
    type: "string",
    default: "",
    doc: "PEM authorities; devices must then show a certificate of theirs.",
  },
  "listen.connections_max": {
    type: "int",
    default: 10_000,
    min: 1,
    max: 1_000_000,
    doc: "Connections at once, at most.",
  },
  "listen.payload_bytes_max": {
    type: "bytes",
    default: "256KiB",
    min: "64B",
    max: "16MiB",
    doc: "Longest payload that is decoded; longer ones are refused and counted.",
  },
  "ingest.commit_interval": {
    type: "duration",
    default: "20ms",
    min: 0,
    max: "10s",
    doc: "Longest rest of the disk between group commits, and so the wait of a PUBACK; an idle disk commits at once.",
  },
  "ingest.threads": {
    type: "enum",
    default: "auto",
    values: ["auto", "1", "2"],
    doc: "Threads: 2 gives the disk and the operators one of their own, beside the sockets'; 1 has them take turns; auto goes by the cores.",
  },
  "ingest.batch_readings_max": {
    type: "int",
    default: 65_536,
    min: 256,
    max: 1_048_576,
    doc: "Readings of one group commit, at most; two such batches (22 bytes a reading) are all that is held between socket and disk. When both are full, sources stop reading.",
  },
  "ingest.shed_after": {
    type: "duration",
    default: "2s",
    min: 0,
    max: "1d",
    doc: "How long sources are held back before QoS 0 messages are dropped and counted (dropped.overload) rather than waited with; QoS 1 and 2 always wait.",
  },
  "ingest.series_max": { type: "int", default: 250_000, min: 1, max: 1_048_575, doc: "Series, at most." },
  "time.ahead_max": {
    type: "duration",
    default: "1m",
    min: 0,
    max: "365d",
    doc: "A reading whose time is further ahead of the gateway's clock is refused (time_ahead) and kept as a dead letter.",
  },
  "time.floor": {
    type: "string",
    default: "2000-01-01T00:00:00Z",
    pattern: "^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}Z$",
    hint: "write it as 2000-01-01T00:00:00Z",
    doc: "A reading from before this time comes from a clock that was never set: refused (time_before_floor), kept as a dead letter.",
  },
  "window.length": {
    type: "duration",
    default: "1m",
    min: "1s",
    max: "15m",
    doc: "Length of a window of event time; must divide a quarter of an hour.",
  },
  "checkpoint.interval": {
    type: "duration",
    default: "10s",
    min: "100ms",
    max: "10m",
    doc: "How often state is checkpointed and window partials are sent.",
  },
  "tick.interval": {
    type: "duration",
    default: "10s",
    min: "100ms",
    max: "10m",
    doc: "How often the clock and the losses are entered in the log.",
  },
  "log.bytes_max": {
    type: "bytes",
    default: "8GiB",
    min: "1MiB",
    max: "64TiB",
    doc: "Size of the log's entries, at most; the oldest go first.",
  },
  "log.age_max": {
    type: "duration",
    default: "35d",
    min: "1m",
    max: "3650d",
    doc: "Age of the log's entries by receive time, at most.",
  },
  "outbox.bytes_max": {
    type: "bytes",
    default: "512MiB",
    min: "1MiB",
    max: "1TiB",
    doc: "Size of what waits for the aggregator, at most; then the oldest window partials go, no alerts, and are made again from the log once there is room.",
  },
  "dead_letters.count_max": {
    type: "int",
    default: 10_000,
    min: 0,
    max: 10_000_000,
    doc: "Refused messages kept for inspection, at most; the oldest go first.",
  },
  "dead_letters.payload_bytes_max": {
    type: "bytes",
    default: "4KiB",
    min: 0,
    max: "1MiB",
    doc: "Bytes kept of each refused payload.",
  },
  "uplink.url": {
    type: "string",
    default: "",
    pattern: "^(wss?://.+)?$",
    hint: "write ws://HOST:PORT/uplink or wss://…",
    doc: "The aggregator's uplink, such as ws://127.0.0.1:8080/uplink; empty: work alone.",
  },
  "uplink.token": { type: "string", default: "", secret: true, doc: "Token that the aggregator asks of agents." },
  "uplink.window_bytes": {
    type: "bytes",
    default: "1MiB",
    min: "1KiB",
    max: "64MiB",
    doc: "Frames sent and not yet acknowledged, at most.",
  },
} as const;

/** Repeated sections of the agent's file. */
export const agentSections = {
  broker: {
    url: {
      type: "string",
      default: "mqtt://127.0.0.1:1883",
      doc: "Broker to take readings from: mqtt:// or mqtts://.",
    },
    client_id: { type: "string", default: "", doc: "Client id of the session; empty: weir- and agent.id." },
    username: { type: "string", default: "", doc: "User name at the broker." },
    password: { type: "string", default: "", secret: true, doc: "Password at the broker." },
    qos: { type: "int", default: 1, min: 0, max: 1, doc: "Quality of service of the subscription." },
    protocol: { type: "enum", default: "5", values: ["4", "5"], doc: "MQTT version: 4 is 3.1.1." },
    receive_maximum: {
      type: "int",
      default: 65_535,
      min: 1,
      max: 65_535,
      doc: "Messages in flight, at most (MQTT 5).",
    },
    connections: { type: "int", default: 1, min: 1, max: 64, doc: "Connections; more than one needs shared_group." },
    shared_group: { type: "string", default: "", doc: "Name of a shared subscription; empty: not shared." },
    ca_file: { type: "string", default: "", doc: "PEM authorities of the broker's certificate." },
    cert_file: { type: "string", default: "", doc: "PEM certificate of this client." },
    key_file: { type: "string", default: "", doc: "PEM key of this client." },
  },
  topic: {
    template: { type: "string", default: "sensors/{site}/{device}/{metric}", doc: "How a topic becomes a series." },
    format: { type: "enum", default: "auto", values: ["auto", "number", "json"], doc: "What payloads are." },
    time_unit: {
      type: "enum",
      default: "auto",
      values: ["auto", "s", "ms", "us", "ns"],
      doc: "Unit of numeric times.",
    },
    site: { type: "string", default: "default", doc: "Site, where the template has none." },
    device: { type: "string", default: "", doc: "Device, where the template has none." },
    metric: { type: "string", default: "", doc: "Metric, where neither template nor payload has one." },
  },
} as const;

/** The agent's settings as loaded: durations in ms, sizes in bytes. */
export type AgentSettings = Values<typeof agentSettings>;

/** The repeated sections as loaded. */
export type AgentSections = Sections<typeof agentSections>;

/** The agent's name: as set, else the host's. */
export function agentName(settings: AgentSettings): string {
  return settings["agent.id"] || hostname();
}

/** The agent's one file. */
export function dataFile(settings: AgentSettings): string {
  return join(settings["data.dir"], "agent.db");
}
