import type { Decoder, DecodeSink, TopicMapping } from "./decoder.ts";
import { decodeJson, refusalOfNumber } from "./json-readings.ts";
import { scanJson } from "./json-scan.ts";
import { isSpace, parseDecimal } from "./number-text.ts";
import { createTopicRouter, routeSeries, type TopicRoute } from "./topic-route.ts";

/** Bytes of a payload, at most, unless the options say otherwise. */
export const PAYLOAD_BYTES_MAX_DEFAULT: number = 256 * 1024;

export interface DecoderOptions {
  /** Payloads above this many bytes are refused unread; default PAYLOAD_BYTES_MAX_DEFAULT. */
  readonly payloadBytesMax?: number;
}

/**
 * Makes the decoder of an agent: topic by mapping (the first that matches), payload by the mapping's format.
 *
 * It keeps, at each Topic, its route and the series that the sink has given, so one decoder serves one sink. Every
 * message ends in at least one push or reject. Throws CodedError BAD_TEMPLATE for a mapping that cannot work.
 */
export function createDecoder(mappings: readonly TopicMapping[], options: DecoderOptions = {}): Decoder {
  const payloadBytesMax = options.payloadBytesMax ?? PAYLOAD_BYTES_MAX_DEFAULT;
  const routeOf = createTopicRouter(mappings);

  return (topic, bytes, start, end, receivedAtMs, sink) => {
    const route = (topic.route ??= routeOf(topic.name));
    if (typeof route === "string") return sink.reject(route);
    if (start >= end) return sink.reject("payload_empty");
    if (end - start > payloadBytesMax) return sink.reject("payload_too_large");
    if (isJson(route.rules.mapping.format, bytes, start, end)) {
      const done = scanJson(route, bytes, start, end, receivedAtMs, sink);
      if (!done) decodeJson(route, bytes, start, end, receivedAtMs, sink);
    } else decodeNumber(route, bytes, start, end, receivedAtMs, sink);
  };
}

/** A plain number such as 23.5, white space around it allowed; it brings no time, so it is stamped. */
function decodeNumber(
  route: TopicRoute,
  bytes: Buffer,
  start: number,
  end: number,
  receivedAtMs: number,
  sink: DecodeSink,
): void {
  const value = parseDecimal(bytes, start, end);
  if (value !== value) return sink.reject("number_malformed");
  const reason = refusalOfNumber(value);
  if (reason !== null) return sink.reject(reason);
  const series = routeSeries(route, sink);
  if (typeof series === "string") sink.reject(series);
  else sink.push(series, receivedAtMs, value + 0, true);
}

/** `auto` goes by the first byte that is not white space: { or [ begins JSON, anything else a plain number. */
function isJson(format: TopicMapping["format"], bytes: Buffer, start: number, end: number): boolean {
  if (format !== "auto") return format === "json";
  let at = start;
  while (at < end && isSpace(bytes[at]!)) at++;
  return at < end && (bytes[at] === 0x7b || bytes[at] === 0x5b);
}
