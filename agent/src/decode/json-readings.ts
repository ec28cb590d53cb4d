import { isUtf8 } from "node:buffer";
import { VALUE_ABS_MAX } from "@weir/shared/model/reading";
import type { RejectReason } from "../sources/source.ts";
import type { DecodeSink } from "./decoder.ts";
import { timeToMs } from "./time.ts";
import { routeKeySeries, routeSeries, type TopicRoute } from "./topic-route.ts";

/**
 * Readings in JSON (RFC 8259, UTF-8, no byte order mark):
 *
 *   message  = number | reading | "[" reading *( "," reading ) "]"
 *   reading  = { [time,] "value": number }  |  { [time,] "values": { metric: number, … } }
 *   time     = "ts": number | text          or its aliases "timestamp", "time", "t", the first of them that is there
 *
 * "v" stands for "value"; a reading may have both "value" and "values"; other members are passed over. Of a member that
 * comes twice the last one counts. null is a number that is not finite; booleans and texts are no numbers, also where
 * the text spells one, for a device that quotes its numbers may as well send "n/a".
 */

/**
 * Decodes one JSON message. Readings are taken or refused one by one; where nothing of it has the shape of a reading
 * the message is refused once. bytes: lent for the call.
 */
export function decodeJson(
  route: TopicRoute,
  bytes: Buffer,
  start: number,
  end: number,
  receivedAtMs: number,
  sink: DecodeSink,
): void {
  let message: unknown;
  try {
    const text = bytes.toString("utf8", start, end);
    // toString replaces what is not UTF-8; two metrics must not become one by that.
    if (text.includes("\ufffd") && !isUtf8(bytes.subarray(start, end))) return sink.reject("json_malformed");
    message = JSON.parse(text);
  } catch {
    return sink.reject("json_malformed");
  }
  if (Array.isArray(message)) decodeArray(route, message, receivedAtMs, sink);
  else if (!isObject(message)) pushKeyless(route, receivedAtMs, message, true, sink);
  else if (!decodeReading(route, message, receivedAtMs, sink)) sink.reject("json_shape");
}

type JsonObject = Readonly<Record<string, unknown>>;

/** One level only: a list in a list is no reading, so depth cannot hurt. */
function decodeArray(route: TopicRoute, items: readonly unknown[], receivedAtMs: number, sink: DecodeSink): void {
  let misshapen = 0;
  for (const item of items) {
    if (!isObject(item) || !decodeReading(route, item, receivedAtMs, sink)) misshapen++;
  }
  // A message without any reading is refused once, or it would weigh by the number of its commas.
  const refusals = misshapen === items.length ? 1 : misshapen;
  for (let i = 0; i < refusals; i++) sink.reject("json_shape");
}

/** Takes or refuses the readings of one object; false where it has none: that is for the caller to refuse. */
function decodeReading(route: TopicRoute, item: JsonObject, receivedAtMs: number, sink: DecodeSink): boolean {
  const value = firstOf(item["value"], item["v"]);
  const values = item["values"];
  const hasValues = isObject(values) && hasMembers(values);
  if (value === undefined && !hasValues) return false;

  const time = firstOf(item["ts"], item["timestamp"], item["time"], item["t"]);
  const stamped = time === undefined;
  const tsMs = stamped ? receivedAtMs : timeToMs(time, route.rules.mapping.timeUnit);
  if (value !== undefined) pushKeyless(route, tsMs, value, stamped, sink);
  if (hasValues) {
    for (const key of Object.keys(values)) pushKeyed(route, key, tsMs, values[key], stamped, sink);
  }
  return true;
}

function pushKeyless(route: TopicRoute, tsMs: number, value: unknown, stamped: boolean, sink: DecodeSink): void {
  const reason = refusalOf(tsMs, value);
  if (reason !== null) return sink.reject(reason);
  const series = routeSeries(route, sink);
  if (typeof series === "string") sink.reject(series);
  else sink.push(series, tsMs, (value as number) + 0, stamped);
}

function pushKeyed(
  route: TopicRoute,
  key: string,
  tsMs: number,
  value: unknown,
  stamped: boolean,
  sink: DecodeSink,
): void {
  const reason = refusalOf(tsMs, value);
  if (reason !== null) return sink.reject(reason);
  const series = routeKeySeries(route, key, sink);
  if (typeof series === "string") sink.reject(series);
  else sink.push(series, tsMs, (value as number) + 0, stamped);
}

/** Why a reading is refused before its series is looked at (garbage must not register a series); null: it is not. */
function refusalOf(tsMs: number, value: unknown): RejectReason | null {
  if (tsMs !== tsMs) return "time_malformed";
  if (typeof value !== "number") return value === null ? "not_finite" : "number_malformed";
  return refusalOfNumber(value);
}

/** Why a number cannot be a reading; null where it can. */
export function refusalOfNumber(value: number): RejectReason | null {
  if (!Number.isFinite(value)) return "not_finite";
  return Math.abs(value) > VALUE_ABS_MAX ? "value_out_of_range" : null;
}

/** The first that is there. Not `??`: a null is there, and is for its reader to refuse. */
function firstOf(a: unknown, b: unknown, c?: unknown, d?: unknown): unknown {
  if (a !== undefined) return a;
  if (b !== undefined) return b;
  return c !== undefined ? c : d;
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function hasMembers(object: JsonObject): boolean {
  for (const _ in object) return true;
  return false;
}
