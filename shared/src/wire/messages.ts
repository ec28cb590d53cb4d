import { decode, encode } from "cborg";
import { CodedError } from "../errors.ts";
import type { Alert } from "../model/alert.ts";
import type { ThresholdVersion } from "../model/thresholds.ts";

/**
 * What agent and aggregator say to each other: one CBOR map (RFC 8949) in each binary WebSocket message. See
 * docs/format/uplink.md.
 *
 * Agent: hello, then frames, statuses and acks of thresholds. Aggregator: welcome, then cumulative acks, threshold
 * versions, and the revisions of reports it has issued. Frames of a lane are numbered from 1 without gaps, in the
 * order of the agent's log; the aggregator applies each once, so that what it holds is a fold over them.
 */

/** Raised when a message changes in a way the other side cannot ignore; both sides refuse what they don't know. */
export const WIRE_VERSION = 3;

/** The longest message either side takes, bytes: a threshold version for a large fleet fits. */
export const MESSAGE_BYTES_MAX: number = 64 * 2 ** 20;

/** Alerts go first; a long backlog of partials holds none of them up. */
export type Lane = "alerts" | "data";

/** Both lanes, the more urgent first. */
export const LANES: readonly Lane[] = ["alerts", "data"];

/** One row of the outbox. */
export type Frame =
  | { readonly kind: "alerts"; readonly alerts: readonly Alert[] }
  /** Names of series indexes, before their first partial. */
  | { readonly kind: "series"; readonly series: ReadonlyArray<readonly [number, string, string, string]> }
  /** windows: see partial-codec. replace: these hold all of their windows' readings. */
  | { readonly kind: "partials"; readonly replace: boolean; readonly windows: Uint8Array }
  | TickFrame;

/** A clock tick of the log with what was refused and lost since the one before, by reason. */
export interface TickFrame {
  readonly kind: "tick";
  readonly nowMs: number;
  readonly rejected: Readonly<Record<string, number>>;
  readonly dropped: Readonly<Record<string, number>>;
  /** Of the log's entry alone: see ClockTick. */
  readonly watching?: boolean;
  readonly silent?: ReadonlyArray<readonly [series: number, startedAtMs: number]>;
}

/** The agent's ledger since it was installed, for the fleet view. */
export interface LedgerTotals {
  readonly stored: number;
  readonly duplicates: number;
  readonly rejected: Readonly<Record<string, number>>;
  readonly dropped: Readonly<Record<string, number>>;
}

/** A device whose clock runs ahead of its gateway's, and whose readings are refused until it doesn't. Times are the gateway's, ms. */
export interface QuarantinedDevice {
  readonly site: string;
  readonly device: string;
  readonly sinceMs: number;
  /** Of the reading refused last: when it came, and how far ahead of the gateway's clock its time was. */
  readonly lastMs: number;
  readonly aheadMs: number;
  /** Refused since sinceMs. */
  readonly readings: number;
}

/** What an agent says of itself at times, for the fleet view and metrics. */
export interface AgentStatus {
  readonly series: number;
  /** Stored since the start of the process. */
  readonly readings: number;
  readonly ledger: LedgerTotals;
  /** Numbers of its inner life by name, such as `refolds_total`; shown as metrics `weir_agent_NAME`. */
  readonly gauges: Readonly<Record<string, number>>;
  /** Now in quarantine, those with the newest readings first; at most QUARANTINED_SHOWN. */
  readonly quarantined: readonly QuarantinedDevice[];
}

/** Devices in quarantine that a status names, at most. */
export const QUARANTINED_SHOWN = 100;

export type AgentMessage =
  | {
      readonly type: "hello";
      readonly wire: number;
      readonly agent: string;
      /** Made with the agent's data file: a new file counts its frames from 1 again. */
      readonly incarnation: string;
      readonly software: string;
      readonly thresholdVersions: readonly number[];
    }
  /** Names that the aggregator said it lacks, before the first frame. */
  | { readonly type: "names"; readonly series: ReadonlyArray<readonly [number, string, string, string]> }
  | { readonly type: "frame"; readonly lane: Lane; readonly seq: number; readonly frame: Uint8Array }
  /** A frame of alerts that comes again at its turn, behind a backlog: to be shown at once. It is not acknowledged. */
  | { readonly type: "ahead"; readonly seq: number; readonly frame: Uint8Array }
  | { readonly type: "thresholdsStored"; readonly version: number }
  | ({ readonly type: "status" } & AgentStatus);

export type AggregatorMessage =
  | {
      readonly type: "welcome";
      readonly wire: number;
      readonly timezone: string;
      /** The newest frame of each lane that is committed here. */
      readonly applied: Readonly<Record<Lane, number>>;
      /** Series indexes of this agent that are named here: 0 to seriesKnown - 1. */
      readonly seriesKnown: number;
    }
  | { readonly type: "ack"; readonly lane: Lane; readonly seq: number }
  | { readonly type: "thresholds"; readonly version: ThresholdVersion }
  | { readonly type: "report"; readonly day: string; readonly revision: number }
  /** The connection ends for a reason that trying again at once won't mend. */
  | { readonly type: "refused"; readonly code: string; readonly message: string };

/** A message as the bytes of one WebSocket message. */
export function encodeMessage(message: AgentMessage | AggregatorMessage): Uint8Array {
  return encode(message);
}

/** Throws CodedError BAD_MESSAGE for anything that is not one of the agent's messages. */
export function decodeAgentMessage(bytes: Uint8Array): AgentMessage {
  return decodeTyped<AgentMessage>(bytes, ["hello", "names", "frame", "ahead", "thresholdsStored", "status"]);
}

/** Throws CodedError BAD_MESSAGE for anything that is not one of the aggregator's messages. */
export function decodeAggregatorMessage(bytes: Uint8Array): AggregatorMessage {
  return decodeTyped<AggregatorMessage>(bytes, ["welcome", "ack", "thresholds", "report", "refused"]);
}

/** A frame as the bytes that the outbox keeps and a frame message carries. */
export function encodeFrame(frame: Frame): Uint8Array {
  return encode(frame);
}

/** Throws CodedError BAD_MESSAGE for anything that is not a frame. */
export function decodeFrame(bytes: Uint8Array): Frame {
  return decodeTyped<Frame>(bytes, ["alerts", "series", "partials", "tick"], "kind");
}

function decodeTyped<T>(bytes: Uint8Array, types: readonly string[], tag = "type"): T {
  let value: unknown;
  try {
    value = decode(bytes);
  } catch (error) {
    throw new CodedError("BAD_MESSAGE", `A message of ${bytes.length} bytes on the uplink is not CBOR.`, {
      cause: error,
    });
  }
  const type = typeof value === "object" && value !== null ? (value as Record<string, unknown>)[tag] : undefined;
  if (typeof type !== "string" || !types.includes(type)) {
    throw new CodedError(
      "BAD_MESSAGE",
      `A message on the uplink has ${tag} ${String(type)}; known: ${types.join(", ")}.`,
    );
  }
  return value as T;
}
