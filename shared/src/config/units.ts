const DURATION_UNITS_MS: ReadonlyArray<readonly [string, number]> = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1_000],
  ["ms", 1],
];

const BYTE_UNITS: ReadonlyArray<readonly [string, number]> = [
  ["TiB", 2 ** 40],
  ["GiB", 2 ** 30],
  ["MiB", 2 ** 20],
  ["KiB", 2 ** 10],
  ["B", 1],
];

function parseWithUnits(raw: unknown, units: ReadonlyArray<readonly [string, number]>): number | undefined {
  if (typeof raw === "number") return Number.isFinite(raw) ? raw : undefined;
  if (typeof raw !== "string") return undefined;
  const match = /^\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*$/.exec(raw);
  if (!match) return undefined;
  const factor = match[2] === "" ? 1 : units.find(([unit]) => unit === match[2])?.[1];
  return factor === undefined ? undefined : Number(match[1]) * factor;
}

function formatWithUnits(value: number, units: ReadonlyArray<readonly [string, number]>): string {
  for (const [unit, factor] of units) {
    if (value >= factor && Number.isInteger(value / factor)) return `${value / factor}${unit}`;
  }
  return `${value}${units.at(-1)?.[0] ?? ""}`;
}

/** "250ms", "10s", "5m", "24h", "30d" or a number of milliseconds, in milliseconds; undefined when it is neither. */
export function parseDuration(raw: unknown): number | undefined {
  return parseWithUnits(raw, DURATION_UNITS_MS);
}

/** Milliseconds in the largest unit that divides them: 300000 is "5m". */
export function formatDuration(durationMs: number): string {
  return formatWithUnits(durationMs, DURATION_UNITS_MS);
}

/** "64KiB", "512MiB", "2GiB" or a number of bytes, in bytes; undefined when it is neither. */
export function parseBytes(raw: unknown): number | undefined {
  return parseWithUnits(raw, BYTE_UNITS);
}

/** Bytes in the largest binary unit that divides them: 65536 is "64KiB". */
export function formatBytes(bytes: number): string {
  return formatWithUnits(bytes, BYTE_UNITS);
}
