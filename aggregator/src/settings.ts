/** Prefix of the aggregator's environment variables. */
export const aggregatorEnvPrefix = "WEIR_AGGREGATOR_";

/** Settings of the aggregator: type, default, bounds and meaning in one place. */
export const aggregatorSettings = {
  "http.host": {
    type: "string",
    default: "127.0.0.1",
    doc: "Address the API, the dashboard and the uplink listen on. Beyond loopback http.password and uplink.token are needed.",
  },
  "http.port": { type: "int", default: 8080, min: 0, max: 65535, doc: "Port of the above; 0: any free one." },
  "http.password": {
    type: "string",
    default: "",
    secret: true,
    doc: "Password of dashboard and API, with any user name; that name stands on acknowledgements.",
  },
  "http.allowed_hosts": {
    type: "strings",
    default: [],
    doc: "Names beside loopback under which browsers reach the dashboard, such as behind a proxy.",
  },
  "data.dir": {
    type: "string",
    default: "./weir-data/aggregator",
    doc: "Folder of the aggregator's one SQLite file, aggregator.db.",
  },
  "uplink.token": {
    type: "string",
    default: "",
    secret: true,
    doc: "Token that agents must bring; empty: none is asked.",
  },
  "plant.timezone": {
    type: "string",
    default: "UTC",
    doc: "The plant's time zone, an IANA name: its days are the reports' days.",
  },
  "reports.at": {
    type: "string",
    default: "00:15",
    pattern: "^([01]\\d|2[0-3]):[0-5]\\d$",
    hint: "write HH:MM",
    doc: "Local time at which the reports of past days are issued.",
  },
  "reports.revise_interval": {
    type: "duration",
    default: "30s",
    min: "1s",
    max: "1d",
    doc: "How often days that late data has changed are looked at and their reports revised.",
  },
  "reports.revisions_max": {
    type: "int",
    default: 10,
    min: 1,
    max: 1000,
    doc: "Revisions of a day's report of which the whole is kept, the newest; what the 30 newest changed stays as well.",
  },
  "thresholds.initial_file": {
    type: "string",
    default: "",
    doc: 'JSON file {"rules":[…]} that becomes threshold version 1 where there is none yet; see docs/thresholds.md.',
  },
  "thresholds.lead": {
    type: "duration",
    default: "5s",
    min: 0,
    max: "7d",
    doc: "How far ahead of now a published version comes into force, so that agents have it by then.",
  },
  "store.windows_age_max": {
    type: "duration",
    default: "35d",
    min: "1d",
    max: "3650d",
    doc: "How far back from a series' newest reading, or from now where that is ahead, its window summaries are kept; hours are kept for good.",
  },
  "influx.url": {
    type: "string",
    default: "",
    pattern: "^(https?://[^/]+)?$",
    hint: "write http://HOST:PORT",
    doc: "InfluxDB 1.x that window summaries are written to; empty: none.",
  },
  "influx.database": { type: "string", default: "weir", doc: "Database there; made when missing." },
  "influx.username": { type: "string", default: "", doc: "User name there." },
  "influx.password": { type: "string", default: "", secret: true, doc: "Password there." },
} as const;
