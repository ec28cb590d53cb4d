import { createHash } from "node:crypto";
import type { DailyReport, DeviceReport, MetricReport, Trend } from "@weir/shared/model/report";
import { HEALTH_CRITICAL } from "@weir/shared/operators/health";
import type { ReportRevision } from "../queries.ts";
import { Html, html } from "./html.ts";
import { revisionsPart } from "./revisions-html.ts";

/** Inline, so that a saved or mailed report keeps its looks; REPORT_CSP lets exactly this style in. */
const STYLE = `
:root{color-scheme:light dark;--line:#d9dde3;--muted:#5b6570;--bad:#b3261e;--warn:#8a5a00}
@media (prefers-color-scheme:dark){:root{--line:#343b44;--muted:#9aa5b1;--bad:#ff8a80;--warn:#f0b64a}}
*{box-sizing:border-box}
body{font:14px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0 0 .25rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}
.muted{color:var(--muted)}.bad{color:var(--bad);font-weight:600}.warn{color:var(--warn);font-weight:600}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .6rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th{font-weight:600;color:var(--muted)}th.name,td.name{text-align:left;white-space:normal;overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem;margin:1rem 0}dt{color:var(--muted)}dd{margin:0}
section{break-inside:avoid}
@media print{body{margin:0;max-width:none;font-size:11px}h2{margin-top:1rem}}
`;

/** Ours and constant; its hash is in REPORT_CSP, so it must not be escaped, and no space may come about it. */
const OWN_STYLE = new Html(`<style>${STYLE}</style>`);

/** Content-Security-Policy of the page: its own style, and nothing else at all. */
export const REPORT_CSP: string =
  `default-src 'none'; style-src 'sha256-${createHash("sha256").update(STYLE).digest("base64")}'; ` +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** Below this a health is worth a look. */
const HEALTH_WARNING = 70;

/**
 * A report as one page to read or print, whole in itself: no scripts, no other files. revisions: of its day, newest
 * first.
 */
export function reportPage(report: DailyReport, revisions: readonly ReportRevision[]): string {
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>Health report ${report.day} · Weir</title>
        ${OWN_STYLE}
      </head>
      <body>
        <h1>Health report, ${report.day}</h1>
        <p class="muted">${report.timezone} · revision ${report.revision} · ${report.devices.length} devices</p>
        ${summary(report)}
        <h2>Devices</h2>
        ${deviceTable(report.devices)} ${report.devices.map(deviceSection)} ${lineage(report)}
        ${revisionsPart(revisions)}
      </body>
    </html> `.text;
}

function summary({ completeness }: DailyReport): Html {
  return html`<dl>
    <dt>Completeness</dt>
    <dd>
      ${percent(completeness.ratio)} (${whole(completeness.readings)} of ${whole(completeness.expectedReadings)}
      readings expected)
    </dd>
    <dt>Stamped on receipt</dt>
    <dd>${whole(completeness.stampedReadings)} readings brought no time of their own</dd>
    <dt>Rejected</dt>
    <dd>${reasons(completeness.rejected)}</dd>
    <dt>Dropped</dt>
    <dd>${reasons(completeness.dropped)}</dd>
  </dl>`;
}

function deviceTable(devices: readonly DeviceReport[]): Html {
  if (devices.length === 0) return html`<p>No device has readings on this day.</p>`;
  return html`<div class="scroll">
    <table>
      <thead>
        <tr>
          <th class="name">Device</th>
          <th>Health</th>
          <th>Availability</th>
          <th>Alerts</th>
          <th>Breaches</th>
          <th>Readings</th>
          <th>Trend</th>
        </tr>
      </thead>
      <tbody>
        ${devices.map(
          (device) =>
            html`<tr>
              <td class="name">${device.site} / ${device.device}</td>
              <td class="${healthClass(device.health)}">${device.health.toFixed(1)}</td>
              <td>${percent(device.availability)}</td>
              <td>${whole(device.alerts)}</td>
              <td>${whole(device.breaches)}</td>
              <td>${whole(device.readings)}</td>
              <td>${trendText(device.trend)}</td>
            </tr> `,
        )}
      </tbody>
    </table>
  </div>`;
}

function deviceSection(device: DeviceReport): Html {
  const { availability, breaches, drift } = device.healthParts;
  return html`<section>
    <h2>${device.site} / ${device.device}</h2>
    <p>
      Health <strong class="${healthClass(device.health)}">${device.health.toFixed(1)}</strong>
      <span class="muted"
        >(availability ${availability.toFixed(1)}, breaches ${breaches.toFixed(1)}, drift ${drift.toFixed(1)})</span
      >
    </p>
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th class="name">Metric</th>
            <th>Count</th>
            <th>Min</th>
            <th>Mean</th>
            <th>Median</th>
            <th>p99</th>
            <th>Max</th>
            <th>Breaches</th>
            <th>Drift</th>
          </tr>
        </thead>
        <tbody>
          ${device.metrics.map(metricRow)}
        </tbody>
      </table>
    </div>
  </section> `;
}

function metricRow(metric: MetricReport): Html {
  const drift = metric.drift === null ? "–" : percent(metric.drift);
  const { count, min, mean, p50, p99, max, breaches } = metric;
  return html`<tr>
    <td class="name">${metric.metric}</td>
    <td>${whole(count)}</td>
    <td>${number(min)}</td>
    <td>${number(mean)}</td>
    <td>${number(p50)}</td>
    <td>${number(p99)}</td>
    <td>${number(max)}</td>
    <td>${whole(breaches)}</td>
    <td>${drift}</td>
  </tr> `;
}

function lineage({ lineage: { operatorVersion, thresholdVersions, sources } }: DailyReport): Html {
  return html`<h2>Lineage</h2>
    <dl>
      <dt>Operators</dt>
      <dd>version ${operatorVersion}</dd>
      <dt>Thresholds</dt>
      <dd>${thresholdVersions.length === 0 ? "none" : thresholdVersions.join(", ")}</dd>
      ${sources.map(
        (source) =>
          html`<dt>Agent</dt>
            <dd>
              ${source.agent}: ${whole(source.readings)} readings, ${new Date(source.firstTsMs).toISOString()} to
              ${new Date(source.lastTsMs).toISOString()}
            </dd> `,
      )}
    </dl>`;
}

function healthClass(health: number): string {
  if (health < HEALTH_CRITICAL) return "bad";
  return health < HEALTH_WARNING ? "warn" : "good";
}

function trendText(trend: Trend): string {
  if (trend.slopePerDay === null) return "–";
  const slope = `${trend.slopePerDay > 0 ? "+" : ""}${trend.slopePerDay.toFixed(2)} a day`;
  if (trend.daysUntilCritical === 0) return `${slope}, critical now`;
  return trend.daysUntilCritical === null ? slope : `${slope}, critical in ${trend.daysUntilCritical.toFixed(1)} days`;
}

function reasons(counts: Readonly<Record<string, number>>): string {
  const parts = Object.entries(counts).filter(([, count]) => count > 0);
  return parts.length === 0 ? "none" : parts.map(([reason, count]) => `${whole(count)} ${reason}`).join(", ");
}

function percent(share: number): string {
  // Rounded down, so that only a whole day reads as 100 %.
  return `${(Math.floor(share * 10_000) / 100).toFixed(2)} %`;
}

function whole(count: number): string {
  return count.toLocaleString("en-US");
}

function number(value: number): string {
  return String(Number(value.toPrecision(6)));
}
