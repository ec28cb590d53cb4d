import type { ReportListing, ReportRevisions } from "@weir/aggregator/queries";
import type { DailyReport, DeviceReport, MetricReport, Trend } from "@weir/shared/model/report";
import { fetchReport, fetchReportDays, fetchRevisions } from "../api.ts";
import { fill, h } from "../dom.ts";
import { toast } from "../feedback.ts";
import { count, fullTime, percent, time, value, words } from "../format.ts";
import { healthLevel, healthMeter } from "../health.ts";
import { deviceHref, reportHref, thresholdHref } from "../links.ts";
import type { Page } from "../page.ts";
import { empty, load, throttle } from "../page.ts";
import { revisionsPart } from "../revisions.ts";

/** Reports that were revised are fetched again at most this often, ms. */
const REFRESH_INTERVAL_MS = 2000;

/** The list of days, and the report of one; chosen undefined: the newest. */
export function createReportsPage(chosen: string | undefined): Page {
  const days = h("nav", { class: "days", "aria-label": "Days" });
  const place = h("div", { class: "report", "aria-busy": "true" });
  let shown = chosen;

  const refresh = (): Promise<void> =>
    load(place, async () => {
      const listings = await fetchReportDays();
      const newest = listings[0];
      if (!newest) {
        fill(days);
        fill(place, noReports());
        return;
      }
      shown = chosen ?? newest.day;
      fill(days, ...listings.map((listing, index) => dayLink(listing, index === 0, listing.day === shown)));
      const bytes = await fetchReport(shown, false);
      // After the report, as asking for it issues a revision where its day has changed.
      const revisions = await fetchRevisions(shown);
      fill(place, ...reportParts(JSON.parse(bytes) as DailyReport, bytes, revisions));
    });
  const again = throttle(REFRESH_INTERVAL_MS, () => void refresh());

  return {
    title: chosen === undefined ? "Reports" : `Report of ${chosen}`,
    element: h(
      "section",
      {},
      h("div", { class: "page-head" }, h("h1", { tabindex: "-1" }, "Daily health reports")),
      h("div", { class: "split" }, days, place),
    ),
    refresh,
    onLive(event) {
      if (event.type !== "report") return;
      if (event.summary !== null)
        toast(`${event.day} was revised: revision ${event.revision}, ${event.summary}`, "done");
      again.call();
    },
    close: () => again.stop(),
  };
}

function noReports(): HTMLElement {
  return empty("No reports yet", "A day has a report as soon as one device has sent readings on it.");
}

function dayLink(
  { day, revision, worstHealth, devices, changeSummary }: ReportListing,
  isNewest: boolean,
  isShown: boolean,
): HTMLElement {
  const state =
    revision === 0 ? (isNewest ? "so far" : "not issued yet") : revision === 1 ? "issued" : `revision ${revision}`;
  const worst =
    worstHealth === null
      ? h("small", { class: "muted" }, `${count(devices)} devices`)
      : h("small", { class: `dot ${healthLevel(worstHealth)}` }, `lowest ${worstHealth.toFixed(1)}`);
  return h(
    "a",
    {
      href: reportHref(day),
      "aria-current": isShown ? "page" : undefined,
      "data-testid": "report-day",
      title: changeSummary ?? undefined,
    },
    h("b", {}, day),
    h("small", { class: "muted" }, state),
    worst,
  );
}

function reportParts(report: DailyReport, bytes: string, revisions: ReportRevisions): HTMLElement[] {
  return [
    reportHead(report, bytes),
    completenessPart(report),
    ...revisionsPart(revisions),
    devicesPart(report),
    lineagePart(report),
  ];
}

function reportHead({ day, timezone, revision }: DailyReport, bytes: string): HTMLElement {
  const url = `/api/reports/daily/${encodeURIComponent(day)}`;
  const outcome = h("span", { class: "muted", role: "status" });
  const check = h("button", { type: "button" }, "Check against the batch path");
  check.title = "Computes the report again from the stored partials and compares the bytes";
  check.addEventListener("click", () => {
    check.disabled = true;
    fill(outcome, "Computing…");
    void compareWithBatch(day, bytes, outcome).finally(() => {
      check.disabled = false;
    });
  });
  const links = h("span", { class: "links" });
  for (const [label, suffix] of [
    ["JSON", ""],
    ["CSV", ".csv"],
    ["HTML", ".html"],
  ] as const) {
    links.append(
      h(
        "a",
        { class: "button small", href: url + suffix, target: label === "CSV" ? undefined : "_blank", rel: "noopener" },
        label,
      ),
    );
  }
  const state = revision === 0 ? "so far" : `revision ${revision}`;
  return h(
    "div",
    { class: "report-head" },
    h("h2", {}, day, " ", h("small", { class: "muted" }, `${state} · ${timezone}`)),
    h("div", { class: "actions" }, outcome, check, links),
  );
}

async function compareWithBatch(day: string, bytes: string, outcome: HTMLElement): Promise<void> {
  try {
    const batch = await fetchReport(day, true);
    // Fetched again, so that readings that came meanwhile don't look like a difference.
    const live = batch === bytes ? bytes : await fetchReport(day, false);
    const same = live === batch;
    fill(
      outcome,
      same
        ? `✓ Live and batch agree: ${count(new Blob([batch]).size)} equal bytes`
        : "Live and batch differ; look again in a moment",
    );
    outcome.className = same ? "good" : "critical";
  } catch (error) {
    fill(outcome, error instanceof Error ? error.message : String(error));
    outcome.className = "critical";
  }
}

function completenessPart({ completeness }: DailyReport): HTMLElement {
  return h(
    "dl",
    { class: "facts card" },
    ...fact("Completeness", percent(completeness.ratio)),
    ...fact("Readings", `${count(completeness.readings)} of ${count(completeness.expectedReadings)} expected`),
    ...fact("Stamped on receipt", count(completeness.stampedReadings)),
    ...fact("Rejected", reasons(completeness.rejected)),
    ...fact("Dropped", reasons(completeness.dropped)),
  );
}

function fact(name: string, text: string): [HTMLElement] {
  return [h("div", {}, h("dt", {}, name), h("dd", {}, text))];
}

function reasons(counts: Readonly<Record<string, number>>): string {
  const parts = Object.entries(counts).filter(([, amount]) => amount > 0);
  return parts.length === 0 ? "none" : parts.map(([reason, amount]) => `${count(amount)} ${words(reason)}`).join(", ");
}

function devicesPart({ devices }: DailyReport): HTMLElement {
  const body = h("tbody");
  const worstFirst = devices.toSorted((a, b) => a.health - b.health);
  for (const device of worstFirst) body.append(...deviceRows(device));
  const head = h("tr", {});
  for (const title of ["Device", "Health", "Parts", "Availability", "Alerts", "Breaches", "Trend"]) {
    const isNumber = title === "Alerts" || title === "Breaches" || title === "Availability";
    head.append(h("th", { scope: "col", class: isNumber ? "number" : "" }, title));
  }
  return h(
    "div",
    { class: "card flush" },
    h("table", { class: "stack", "data-testid": "report-table" }, h("thead", {}, head), body),
  );
}

/** A device's row, and below it one with its metrics that opens on demand. */
function deviceRows(device: DeviceReport): [HTMLElement, HTMLElement] {
  const metrics = h("tr", { class: "detail", hidden: true });
  const toggle = h("button", { type: "button", class: "toggle", "aria-expanded": "false" }, "▸");
  toggle.setAttribute("aria-label", `Metrics of ${device.device}`);
  toggle.addEventListener("click", () => {
    metrics.hidden = !metrics.hidden;
    toggle.setAttribute("aria-expanded", String(!metrics.hidden));
    if (!metrics.hidden && metrics.childElementCount === 0)
      metrics.append(h("td", { colspan: 7 }, metricTable(device.metrics)));
  });
  const row = h(
    "tr",
    { "data-device": `${device.site}/${device.device}` },
    h(
      "th",
      { scope: "row" },
      toggle,
      h(
        "span",
        { class: "two" },
        h("a", { href: deviceHref(device.site, device.device) }, device.device),
        h("small", { class: "muted" }, device.site),
      ),
    ),
    h("td", { "data-label": "Health" }, healthMeter(device.health)),
    h("td", { "data-label": "Parts" }, partsPart(device)),
    h("td", { class: "number", "data-label": "Availability" }, percent(device.availability)),
    h("td", { class: "number", "data-label": "Alerts" }, count(device.alerts)),
    h("td", { class: "number", "data-label": "Breaches" }, count(device.breaches)),
    h("td", { "data-label": "Trend" }, trendPart(device.trend)),
  );
  return [row, metrics];
}

function partsPart({ healthParts }: DeviceReport): HTMLElement {
  const parts = h("span", { class: "parts" });
  for (const [name, short, score] of [
    ["availability", "avail.", healthParts.availability],
    ["breaches", "breach", healthParts.breaches],
    ["drift", "drift", healthParts.drift],
  ] as const) {
    const bar = h("i", { class: healthLevel(score) });
    bar.style.blockSize = `${Math.max(6, score)}%`;
    const label = `${name} ${score.toFixed(1)}`;
    parts.append(
      h(
        "span",
        { class: "part", title: label, role: "img", "aria-label": label },
        h("span", { class: "column" }, bar),
        h("small", {}, short),
      ),
    );
  }
  return parts;
}

function trendPart({ slopePerDay, daysUntilCritical, days }: Trend): HTMLElement {
  if (slopePerDay === null) return h("span", { class: "muted" }, `${days} ${days === 1 ? "day" : "days"}, too few`);
  const arrow = slopePerDay > 0.005 ? "↗" : slopePerDay < -0.005 ? "↘" : "→";
  const slope = `${arrow} ${slopePerDay > 0 ? "+" : ""}${slopePerDay.toFixed(2)} a day`;
  if (daysUntilCritical === null) return h("span", {}, slope);
  const soon = daysUntilCritical <= 14 ? "critical" : "muted";
  const until = daysUntilCritical === 0 ? "critical now" : `critical in ${daysUntilCritical.toFixed(0)} days`;
  return h("span", { class: "two" }, slope, h("small", { class: soon }, until));
}

function metricTable(metrics: readonly MetricReport[]): HTMLElement {
  const head = h("tr", {}, h("th", { scope: "col" }, "Metric"));
  for (const title of ["Count", "Min", "Mean", "Median", "p99", "Max", "Breaches", "Drift"]) {
    head.append(h("th", { scope: "col", class: "number" }, title));
  }
  const body = h("tbody");
  for (const metric of metrics) {
    const row = h("tr", {}, h("th", { scope: "row" }, words(metric.metric)));
    const drift = metric.drift === null ? "–" : percent(metric.drift);
    const readings = [metric.min, metric.mean, metric.p50, metric.p99, metric.max].map(value);
    for (const text of [count(metric.count), ...readings, count(metric.breaches), drift])
      row.append(h("td", { class: "number" }, text));
    body.append(row);
  }
  return h("div", { class: "scroll" }, h("table", {}, h("thead", {}, head), body));
}

function lineagePart({ lineage }: DailyReport): HTMLElement {
  const versions = h("dd", {}, lineage.thresholdVersions.length === 0 ? "none" : "");
  for (const version of lineage.thresholdVersions)
    versions.append(h("a", { href: thresholdHref(version) }, `v${version}`), " ");
  const sources = lineage.sources.map(({ agent, firstTsMs, lastTsMs, readings }) => {
    const nowMs = Date.now();
    const span = h(
      "span",
      { title: `${fullTime(firstTsMs)} to ${fullTime(lastTsMs)}` },
      `${time(firstTsMs, nowMs)} to ${time(lastTsMs, nowMs)}`,
    );
    return h("div", {}, h("dt", {}, agent), h("dd", {}, `${count(readings)} readings, `, span));
  });
  return h(
    "details",
    { class: "card lineage", open: true },
    h("summary", {}, "Lineage"),
    h(
      "dl",
      { class: "facts" },
      ...fact("Operators", `version ${lineage.operatorVersion}`),
      h("div", {}, h("dt", {}, "Thresholds"), versions),
      ...sources,
    ),
  );
}
