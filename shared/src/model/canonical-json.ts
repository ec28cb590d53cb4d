import { CodedError } from "../errors.ts";

/**
 * Canonical JSON: object keys sorted by UTF-16 code unit, no white space, numbers in ECMAScript's shortest round-trip
 * form (as RFC 8785, JSON Canonicalization Scheme). Two equal values have equal bytes.
 *
 * Throws CodedError NOT_CANONICAL for NaN, infinities, undefined, functions and other values JSON cannot hold.
 */
export function canonicalJson(value: unknown): string {
  if (value === null || typeof value === "boolean" || typeof value === "string") return JSON.stringify(value);
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw new CodedError("NOT_CANONICAL", `JSON has no form for ${value}`);
    return JSON.stringify(value);
  }
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (typeof value === "object") {
    const record = value as Record<string, unknown>;
    const members = Object.keys(record)
      .toSorted()
      .map((key) => `${JSON.stringify(key)}:${canonicalJson(record[key])}`);
    return `{${members.join(",")}}`;
  }
  throw new CodedError("NOT_CANONICAL", `JSON has no form for a ${typeof value}`);
}
