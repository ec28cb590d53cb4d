import type { DailyReport } from "@weir/shared/model/report";

const HEADER = [
  "day",
  "timezone",
  "revision",
  "site",
  "device",
  "metric",
  "count",
  "min",
  "max",
  "mean",
  "p50",
  "p99",
  "breaches",
  "drift",
  "health",
  "availability",
  "readings",
  "expectedReadings",
  "alerts",
  "completeness",
];

/** A report as CSV (RFC 4180): a header, then a row a device and metric, with the device's own columns repeated. */
export function reportCsv(report: DailyReport): string {
  const rows: string[] = [HEADER.join(",")];
  for (const device of report.devices) {
    for (const metric of device.metrics) {
      const { count, min, max, mean, p50, p99, breaches, drift } = metric;
      const { health, availability, readings, expectedReadings, alerts } = device;
      const fields = [
        report.day,
        report.timezone,
        report.revision,
        device.site,
        device.device,
        metric.metric,
        count,
        min,
        max,
        mean,
        p50,
        p99,
        breaches,
        drift,
        health,
        availability,
        readings,
        expectedReadings,
        alerts,
        report.completeness.ratio,
      ];
      rows.push(fields.map(csvField).join(","));
    }
  }
  return `${rows.join("\r\n")}\r\n`;
}

/**
 * One field. Names come from devices, and a spreadsheet runs a text that begins like a formula, so such a text is led
 * by an apostrophe (OWASP, CSV injection). Null is an empty field.
 */
export function csvField(value: string | number | null): string {
  if (value === null) return "";
  if (typeof value === "number") return String(value);
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
