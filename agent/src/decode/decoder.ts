import type { RejectReason } from "../sources/source.ts";
import type { Topic } from "./topic.ts";

/** What a decoder writes to. One sink serves all messages of an agent. */
export interface DecodeSink {
  /** The dense index of a series, registering it at first sight; -1 when the dictionary is full or a name is bad. */
  resolve(site: string, device: string, metric: string): number;
  /** One reading. stamped: it brought no time, tsMs is the receive time. */
  push(series: number, tsMs: number, value: number, stamped: boolean): void;
  /** One reading, or the whole message where nothing of it could be read, is refused. */
  reject(reason: RejectReason): void;
}

/** How topics become series and payloads become readings: one [[topic]] section of the configuration. */
export interface TopicMapping {
  /** Such as `sensors/{site}/{device}/{metric}`; `+` skips a level; `#` at the end skips the rest. */
  readonly template: string;
  /** `auto`: a payload that begins with `{` or `[` is JSON, anything else a plain number. */
  readonly format: "auto" | "number" | "json";
  /** Unit of times in payloads; `auto` tells s, ms, µs and ns apart by magnitude. ISO 8601 texts are always taken. */
  readonly timeUnit: "auto" | "s" | "ms" | "us" | "ns";
  /** Used where the template has no such part. */
  readonly site: string;
  readonly device: string;
  readonly metric: string;
}

/**
 * Decodes one message, bytes[start, end). receivedAtMs: stands in for a time the payload does not bring. bytes: lent for
 * the call.
 */
export type Decoder = (
  topic: Topic,
  bytes: Buffer,
  start: number,
  end: number,
  receivedAtMs: number,
  sink: DecodeSink,
) => void;
