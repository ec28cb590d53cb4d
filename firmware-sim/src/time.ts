const PATTERN =
  /^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?\s?(Z|[+-]\d{2}:?\d{2})?)?$/i;

/** Numbers below are seconds, from it on milliseconds: 1973 in milliseconds, 5138 in seconds. */
const EPOCH_MS_MIN = 1e11;
/** From here on a number would be microseconds or finer, which this reader does not take. */
const EPOCH_MS_MAX = 1e14;

/**
 * A time in milliseconds since 1970: ISO 8601, `YYYY-MM-DD HH:MM:SS`, `YYYY-MM-DD` (UTC where no offset is given), or
 * seconds or milliseconds since 1970, told apart by size. Fractions are cut to whole milliseconds. undefined: neither.
 */
export function parseTimeMs(text: string): number | undefined {
  const trimmed = text.trim();
  if (/^-?\d+(\.\d+)?$/.test(trimmed)) {
    const number = Number(trimmed);
    if (Math.abs(number) >= EPOCH_MS_MAX) return undefined;
    return Math.floor(Math.abs(number) < EPOCH_MS_MIN ? number * 1000 : number);
  }
  const match = PATTERN.exec(trimmed);
  if (!match) return undefined;
  const [, year, month, day, hour, minute, second, fraction, zone] = match;
  const fields = [year, month, day, hour, minute, second].map((part) => Number(part ?? 0));
  const [y = 0, mo = 0, d = 0, h = 0, mi = 0, s = 0] = fields;
  const ms = Number((fraction ?? "").slice(0, 3).padEnd(3, "0"));
  const utcMs = Date.UTC(y, mo - 1, d, h, mi, s, ms);
  // Date.UTC carries over: the 30th of February is the 1st or 2nd of March, which nobody wrote.
  const date = new Date(utcMs);
  const carried = date.getUTCMonth() !== mo - 1 || date.getUTCDate() !== d || h > 23 || mi > 59 || s > 59;
  return carried ? undefined : utcMs - offsetMs(zone);
}

function offsetMs(zone: string | undefined): number {
  if (zone === undefined || zone.toUpperCase() === "Z") return 0;
  const digits = zone.replace(":", "");
  const minutes = Number(digits.slice(1, 3)) * 60 + Number(digits.slice(3, 5));
  return (digits.startsWith("-") ? -1 : 1) * minutes * 60_000;
}
