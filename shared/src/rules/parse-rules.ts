import { CodedError } from "../errors.ts";
import type { Band, BandRule } from "../model/thresholds.ts";
import { GAP_MS_DEFAULT } from "../model/thresholds.ts";

const LIMITS = ["warningLow", "warningHigh", "criticalLow", "criticalHigh"] as const;
const DURATIONS = ["forMs", "gapMs", "intervalMs"] as const;
const SILENCE = "silenceIntervals";

/**
 * Rules from a file a person wrote: `{"rules": [{"match": {"site", "device", "metric"}, "band": {…}}]}`. Absent matches
 * are `*`; absent limits are none; forMs is 0, gapMs five minutes, intervalMs unknown when absent;
 * so is silenceIntervals, for which null stands as well.
 *
 * Throws CodedError BAD_RULES naming every problem and where it is.
 */
export function parseBandRules(json: unknown): BandRule[] {
  const problems: string[] = [];
  const list = isRecord(json) ? json.rules : undefined;
  if (!Array.isArray(list))
    throw new CodedError("BAD_RULES", 'rules are written {"rules": [{"match": {}, "band": {}}]}.');
  const rules = list.map((rule: unknown, index) => parseRule(rule, `rules[${index}]`, problems));
  if (problems.length > 0) throw new CodedError("BAD_RULES", problems.join("; "));
  return rules;
}

function parseRule(rule: unknown, where: string, problems: string[]): BandRule {
  const record = isRecord(rule) ? rule : {};
  if (!isRecord(rule)) problems.push(`${where} is not an object`);
  const match = isRecord(record.match) ? record.match : {};
  // A misspelt match would make the rule one for every series.
  if (record.match !== undefined && !isRecord(record.match)) problems.push(`${where}.match is not an object`);
  reportUnknown(record, ["match", "band"], where, problems);
  reportUnknown(match, ["site", "device", "metric"], `${where}.match`, problems);
  const pattern = (name: "site" | "device" | "metric"): string => {
    const text = match[name] ?? "*";
    if (typeof text === "string" && text !== "") return text;
    problems.push(`${where}.match.${name} must be text such as "pump-*"`);
    return "*";
  };
  return {
    match: { site: pattern("site"), device: pattern("device"), metric: pattern("metric") },
    band: parseBand(record.band, `${where}.band`, problems),
  };
}

function parseBand(value: unknown, where: string, problems: string[]): Band {
  const record = isRecord(value) ? value : {};
  if (!isRecord(value)) problems.push(`${where} is missing`);
  reportUnknown(record, [...LIMITS, ...DURATIONS, SILENCE], where, problems);
  const limit = (name: (typeof LIMITS)[number]): number | null => {
    const number = record[name] ?? null;
    if (number === null || (typeof number === "number" && Number.isFinite(number))) return number;
    problems.push(`${where}.${name} must be a number or null`);
    return null;
  };
  const duration = <T>(name: (typeof DURATIONS)[number], absent: T): number | T => {
    const number = record[name] ?? null;
    if (number === null) return absent;
    if (typeof number === "number" && number >= 0 && Number.isFinite(number)) return number;
    problems.push(`${where}.${name} must be a number of milliseconds, 0 or more`);
    return absent;
  };
  const band = {
    warningLow: limit("warningLow"),
    warningHigh: limit("warningHigh"),
    criticalLow: limit("criticalLow"),
    criticalHigh: limit("criticalHigh"),
    forMs: duration("forMs", 0),
    gapMs: duration("gapMs", GAP_MS_DEFAULT),
    intervalMs: duration("intervalMs", null),
    ...parseSilence(record[SILENCE], `${where}.${SILENCE}`, problems),
  };
  for (const level of ["warning", "critical"] as const) {
    const { [`${level}Low` as const]: low, [`${level}High` as const]: high } = band;
    if ((low ?? -Infinity) > (high ?? Infinity)) {
      problems.push(`${where}: ${level}Low ${low} is above ${level}High ${high}`);
    }
  }
  return band;
}

/** Nothing where it is absent or null, so that a band says what was written. */
function parseSilence(value: unknown, where: string, problems: string[]): Pick<Band, typeof SILENCE> {
  if (value === undefined || value === null) return {};
  if (typeof value === "number" && value >= 0 && Number.isFinite(value)) return { [SILENCE]: value };
  problems.push(`${where} must be a number of intervals, 0 or more`);
  return {};
}

function reportUnknown(
  record: Record<string, unknown>,
  known: readonly string[],
  where: string,
  problems: string[],
): void {
  for (const key of Object.keys(record)) if (!known.includes(key)) problems.push(`${where}.${key} is not known`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
