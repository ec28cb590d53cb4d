/** Addresses of the dashboard's pages. */
export function deviceHref(site: string, device: string): string {
  return `#/devices/${encodeURIComponent(site)}/${encodeURIComponent(device)}`;
}

export function reportHref(day: string): string {
  return `#/reports/${encodeURIComponent(day)}`;
}

export function thresholdHref(version: number): string {
  return `#/thresholds/${version}`;
}
