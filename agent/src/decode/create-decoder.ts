import type { Decoder, DecodeSink, TopicMapping } from "./decoder.ts";
import { decodeJson, refusalOfNumber } from "./json-readings.ts";
import { isSpace, parseDecimal } from "./number-text.ts";
import { createTopicRouter, routeSeries, TOPICS_REMEMBERED_MAX, type TopicRoute } from "./topic-route.ts";

/** Bytes of a payload, at most, unless the options say otherwise. */
export const PAYLOAD_BYTES_MAX_DEFAULT: number = 256 * 1024;

export interface DecoderOptions {
  /** Payloads above this many bytes are refused unread; default PAYLOAD_BYTES_MAX_DEFAULT. */
  readonly payloadBytesMax?: number;
  /** Topics whose way is remembered, at most; default TOPICS_REMEMBERED_MAX. */
  readonly topicsRememberedMax?: number;
}

/**
 * Makes the decoder of an agent: topic by mapping (the first that matches), payload by the mapping's format.
 *
 * It remembers, for each topic, the series index that the sink has given, so one decoder serves one sink. Every message
 * ends in at least one push or reject. Throws CodedError BAD_TEMPLATE for a mapping that cannot work.
 */
export function createDecoder(mappings: readonly TopicMapping[], options: DecoderOptions = {}): Decoder {
  const payloadBytesMax = options.payloadBytesMax ?? PAYLOAD_BYTES_MAX_DEFAULT;
  const router = createTopicRouter(mappings, options.topicsRememberedMax ?? TOPICS_REMEMBERED_MAX);

  return (topic, payload, receivedAtMs, sink) => {
    const route = router(topic);
    if (typeof route === "string") return sink.reject(route);
    if (payload.length === 0) return sink.reject("payload_empty");
    if (payload.length > payloadBytesMax) return sink.reject("payload_too_large");
    if (isJson(route.mapping.format, payload)) decodeJson(route, asBuffer(payload), receivedAtMs, sink);
    else decodeNumber(route, payload, receivedAtMs, sink);
  };
}

/** A plain number such as 23.5, white space around it allowed; it brings no time, so it is stamped. */
function decodeNumber(route: TopicRoute, payload: Uint8Array, receivedAtMs: number, sink: DecodeSink): void {
  const value = parseDecimal(payload, 0, payload.length);
  if (value !== value) return sink.reject("number_malformed");
  const reason = refusalOfNumber(value);
  if (reason !== null) return sink.reject(reason);
  const series = routeSeries(route, sink);
  if (typeof series === "string") sink.reject(series);
  else sink.push(series, receivedAtMs, value + 0, true);
}

/** `auto` goes by the first byte that is not white space: { or [ begins JSON, anything else a plain number. */
function isJson(format: TopicMapping["format"], payload: Uint8Array): boolean {
  if (format !== "auto") return format === "json";
  let at = 0;
  while (at < payload.length && isSpace(payload[at]!)) at++;
  return payload[at] === 0x7b || payload[at] === 0x5b;
}

/** The same bytes as a Buffer, without copying. */
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
