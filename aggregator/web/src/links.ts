/** Addresses of the dashboard's pages. */
export function deviceHref(site: string, device: string): string {
  return `#/devices/${encodeURIComponent(site)}/${encodeURIComponent(device)}`;
}

/** A day's report. */
export function reportHref(day: string): string {
  return `#/reports/${encodeURIComponent(day)}`;
}

/** A threshold version. */
export function thresholdHref(version: number): string {
  return `#/thresholds/${version}`;
}
