const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

const clockFormat = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
const dayClockFormat = new Intl.DateTimeFormat(undefined, {
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
  hourCycle: "h23",
});
const fullFormat = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

/** A reading, to at most five significant digits: more are noise to a reader. */
export function value(reading: number): string {
  const magnitude = Math.abs(reading);
  if (magnitude !== 0 && (magnitude >= 1e7 || magnitude < 1e-4)) return reading.toExponential(2);
  return String(Number(reading.toPrecision(5)));
}

/** A whole number with separators. */
export function count(whole: number): string {
  return whole.toLocaleString("en-US");
}

/** A share, 0 to 1, rounded down so that only the whole reads as 100 %. */
export function percent(share: number): string {
  return `${(Math.floor(share * 1000) / 10).toFixed(1)} %`;
}

/** The time of day for today, with the day for others. */
export function time(tsMs: number, nowMs: number): string {
  return Math.abs(nowMs - tsMs) < 12 * HOUR_MS ? clockFormat.format(tsMs) : dayClockFormat.format(tsMs);
}

/** A time in full, for titles. */
export function fullTime(tsMs: number): string {
  return fullFormat.format(tsMs);
}

/** A length of time in its largest unit, and the next one where that one is small. */
export function duration(lengthMs: number): string {
  const ms = Math.max(0, lengthMs);
  if (ms < MINUTE_MS) return `${Math.floor(ms / SECOND_MS)} s`;
  if (ms < HOUR_MS) return `${Math.floor(ms / MINUTE_MS)} min`;
  const restMinutes = Math.floor((ms % HOUR_MS) / MINUTE_MS);
  if (ms < 10 * HOUR_MS && restMinutes > 0) return `${Math.floor(ms / HOUR_MS)} h ${restMinutes} min`;
  if (ms < 2 * DAY_MS) return `${Math.floor(ms / HOUR_MS)} h`;
  return `${Math.floor(ms / DAY_MS)} d`;
}

/** How long ago, in words. */
export function ago(tsMs: number, nowMs: number): string {
  const ageMs = nowMs - tsMs;
  return ageMs < 5 * SECOND_MS ? "just now" : `${duration(ageMs)} ago`;
}

/** Names such as bearing_temperature, as people write them. */
export function words(name: string): string {
  return name.replaceAll("_", " ");
}
