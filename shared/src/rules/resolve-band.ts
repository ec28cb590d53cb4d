import type { SeriesKey } from "../model/reading.ts";
import type { Band, Baseline, SeriesBand, ThresholdVersion } from "../model/thresholds.ts";

/** What one version says of one series. */
export interface SeriesThresholds {
  readonly band: Band;
  readonly hourOfWeek: readonly Band[] | undefined;
  readonly baseline: Baseline | undefined;
}

/** Looks series up in one version. */
export type VersionLookup = (key: SeriesKey) => SeriesThresholds | undefined;

/**
 * Compiles a version for look-ups: an exact entry wins over the last matching rule; undefined where neither is.
 */
export function compileVersion(version: ThresholdVersion): VersionLookup {
  const exact = new Map<string, SeriesBand>();
  for (const entry of version.series) exact.set(`${entry.site}/${entry.device}/${entry.metric}`, entry);
  const rules = version.rules.map(({ match, band }) => ({
    site: glob(match.site),
    device: glob(match.device),
    metric: glob(match.metric),
    band,
  }));
  return (key) => {
    const entry = exact.get(`${key.site}/${key.device}/${key.metric}`);
    if (entry) return { band: entry.band, hourOfWeek: entry.hourOfWeek, baseline: entry.baseline };
    const rule = rules.findLast(
      ({ site, device, metric }) => site.test(key.site) && device.test(key.device) && metric.test(key.metric),
    );
    return rule && { band: rule.band, hourOfWeek: undefined, baseline: undefined };
  };
}

/** `*` matches any run of characters, everything else itself. */
function glob(pattern: string): RegExp {
  const source = pattern
    .split("*")
    .map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&"))
    .join(".*");
  return new RegExp(`^${source}$`, "u");
}
