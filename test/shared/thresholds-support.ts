import type { Band, ThresholdVersion } from "@weir/shared/model/thresholds";

/** A band with no limits but the given ones, a gap of 100 ms and no `for`. */
export function band(limits: Partial<Band>): Band {
  const none = { warningLow: null, warningHigh: null, criticalLow: null, criticalHigh: null, intervalMs: null };
  return { ...none, forMs: 0, gapMs: 100, ...limits };
}

/** A version in UTC; rules: patterns of metrics and their bands. */
export function version(
  number: number,
  effectiveFromMs: number,
  { rules = [] }: { readonly rules?: ReadonlyArray<readonly [metric: string, band: Band]> },
): ThresholdVersion {
  return {
    version: number,
    effectiveFromMs,
    createdAtMs: 0,
    timezone: "UTC",
    note: "",
    rules: rules.map(([metric, one]) => ({ match: { site: "*", device: "*", metric }, band: one })),
    series: [],
  };
}
