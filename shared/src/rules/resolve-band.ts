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
      ({ site, device, metric }) => site(key.site) && device(key.device) && metric(key.metric),
    );
    return rule && { band: rule.band, hourOfWeek: undefined, baseline: undefined };
  };
}

/** A test of names: `*` matches any run of characters, everything else itself. Linear, whatever the pattern. */
function glob(pattern: string): (name: string) => boolean {
  const [head = "", ...parts] = pattern.split("*");
  const tail = parts.pop();
  if (tail === undefined) return (name) => name === head;
  return (name) => {
    if (!name.startsWith(head) || !name.endsWith(tail)) return false;
    let from = head.length;
    for (const part of parts) {
      const at = name.indexOf(part, from);
      if (at < 0) return false;
      from = at + part.length;
    }
    return from + tail.length <= name.length;
  };
}
