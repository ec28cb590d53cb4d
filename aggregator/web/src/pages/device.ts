import type { AlertView, DeviceDetail, SeriesColumns } from "@weir/aggregator/queries";
import { createAlertList } from "../alert-list.ts";
import { ANY_ALERT, fetchAlerts, fetchDevice, fetchSeries } from "../api.ts";
import type { Chart } from "../chart.ts";
import { createChart } from "../chart.ts";
import { mergeColumns } from "../columns.ts";
import { fill, h, setText } from "../dom.ts";
import { ago, count, fullTime, value } from "../format.ts";
import { createGateways } from "../gateways.ts";
import { healthMeter } from "../health.ts";
import type { Page } from "../page.ts";
import { empty, load, throttle } from "../page.ts";
import { quarantineNotice } from "../quarantine.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 1440 * MINUTE_MS;

/** Ranges to choose from; "All" goes back to the device's first reading. Steps give charts a few hundred points. */
const RANGES: ReadonlyArray<{ readonly label: string; readonly rangeMs: number; readonly stepMs: number }> = [
  { label: "15 m", rangeMs: 15 * MINUTE_MS, stepMs: 1000 },
  { label: "1 h", rangeMs: 60 * MINUTE_MS, stepMs: 5000 },
  { label: "24 h", rangeMs: DAY_MS, stepMs: 2 * MINUTE_MS },
  { label: "7 d", rangeMs: 7 * DAY_MS, stepMs: 15 * MINUTE_MS },
];

/** Points of the range "All", about. */
const ALL_POINTS = 600;

/** New readings are fetched at most this often, ms. */
const LIVE_INTERVAL_MS = 1000;

/** Alerts of the device shown below the charts. */
const ALERTS_MAX = 200;

interface Metric {
  readonly chart: Chart;
  readonly latest: HTMLElement;
  columns: SeriesColumns | undefined;
}

/** One device: its charts, and its alerts. */
export function createDevicePage(site: string, device: string): Page {
  const metrics = new Map<string, Metric>();
  const alerts = new Map<string, AlertView>();
  const dirty = new Set<string>();
  let detail: DeviceDetail | undefined;
  let newestTsMs = 0;
  let range = { rangeMs: 60 * MINUTE_MS, stepMs: 5000 };
  let closed = false;

  const stats = h("div", { class: "stats" });
  const seen = h("b", {});
  const charts = h("div", { class: "charts", "aria-busy": "true" });
  const alertPlace = h("div", { class: "card flush", "aria-busy": "true" });
  const gateways = createGateways();
  const list = createAlertList(
    (alert) => showAlert(alert),
    (alert) => gateways.reasonOf(alert),
  );
  const quarantine = h("div", {});

  const bounds = (): { fromMs: number; toMs: number } => {
    const toMs = newestTsMs + 1;
    const fromMs =
      range.rangeMs === Infinity ? Math.min(detail?.firstTsMs ?? toMs - 1, toMs - 1) : toMs - range.rangeMs;
    return { fromMs: Math.max(0, fromMs), toMs };
  };
  const stepMs = (): number => {
    if (range.rangeMs !== Infinity) return range.stepMs;
    const { fromMs, toMs } = bounds();
    return Math.max(1000, Math.ceil((toMs - fromMs) / ALL_POINTS / MINUTE_MS) * MINUTE_MS);
  };
  const drawChart = (name: string): void => {
    const metric = metrics.get(name);
    if (!metric?.columns) return;
    const { fromMs, toMs } = bounds();
    const own = [...alerts.values()].filter((alert) => alert.metric === name);
    metric.chart.draw(metric.columns, fromMs, toMs, own);
    const last = metric.columns.mean.at(-1);
    if (last !== undefined) setText(metric.latest, value(last));
  };
  /** fresh: from the beginning; else only what is lacking since the last point, which may still have been growing. */
  const fetchMetric = async (name: string, fresh: boolean): Promise<void> => {
    const metric = metrics.get(name);
    if (!metric) return;
    const asked = range;
    const { fromMs, toMs } = bounds();
    const step = fresh || !metric.columns ? stepMs() : metric.columns.stepMs;
    const sinceMs = fresh ? fromMs : Math.max(fromMs, metric.columns?.tsMs.at(-1) ?? fromMs);
    const columns = await fetchSeries(site, device, name, {
      fromMs: Math.floor(sinceMs / step) * step,
      toMs,
      stepMs: step,
    });
    // Another range has been chosen meanwhile; its own fetch is under way.
    if (closed || asked !== range) return;
    metric.columns =
      fresh || !metric.columns
        ? columns
        : mergeColumns(metric.columns, columns, Math.floor(sinceMs / step) * step, fromMs);
    drawChart(name);
  };
  const fetchAll = async (): Promise<void> => {
    await Promise.all([...metrics.keys()].map((name) => fetchMetric(name, true)));
  };
  const update = throttle(LIVE_INTERVAL_MS, () => {
    const names = [...dirty];
    dirty.clear();
    for (const name of names) {
      // What fails now is fetched with the next reading; the connection's state is on show already.
      fetchMetric(name, false).catch(() => dirty.add(name));
    }
  });
  const drawAlerts = (): void => {
    const sorted = [...alerts.values()].toSorted((a, b) => b.startedAtMs - a.startedAtMs);
    if (sorted.length === 0) fill(alertPlace, empty("No alerts", "This device has never left its bands."));
    else {
      list.show(sorted);
      if (list.element.parentElement !== alertPlace) fill(alertPlace, list.element);
    }
  };
  const showAlert = (alert: AlertView): void => {
    alerts.set(alert.id, alert);
    drawAlerts();
    drawChart(alert.metric);
    if (detail) drawStats(detail);
  };
  const drawStats = (view: DeviceDetail): void => {
    const firing = [...alerts.values()].filter((alert) => alert.state === "firing" && !alert.inhibited).length;
    const firingPart = firing === 0 ? h("b", {}, "0") : h("b", { class: "pill critical" }, count(firing));
    fill(
      stats,
      stat("Health", healthMeter(view.health)),
      stat("Firing", firingPart),
      stat("Last reading", seen),
      stat("Agent", h("b", {}, view.agent)),
    );
  };
  const makeCharts = (view: DeviceDetail): void => {
    if (view.metrics.every((name) => metrics.has(name)) && metrics.size === view.metrics.length) return;
    for (const metric of metrics.values()) metric.chart.close();
    metrics.clear();
    for (const name of view.metrics) {
      const chart = createChart(name);
      const latest = h("span", { class: "latest" });
      chart.element.querySelector("h3")?.after(latest);
      metrics.set(name, { chart, latest, columns: undefined });
    }
    fill(charts, ...[...metrics.values()].map((metric) => metric.chart.element));
  };
  const drawQuarantine = (nowMs: number): void => {
    const state = detail?.quarantine;
    fill(quarantine, state && quarantineNotice(state, nowMs));
  };
  const tick = (nowMs: number): void => {
    if (newestTsMs > 0) {
      setText(seen, ago(newestTsMs, nowMs));
      seen.title = `Newest event time of this device, its watermark: ${fullTime(newestTsMs)}`;
    }
    list.tick(nowMs);
  };

  return {
    title: `${device}, ${site}`,
    element: h(
      "section",
      {},
      h("p", { class: "crumbs" }, h("a", { href: "#/devices" }, "Devices"), ` / ${site}`),
      h("div", { class: "page-head" }, h("h1", { tabindex: "-1" }, device), stats),
      quarantine,
      h(
        "div",
        { class: "chart-tools" },
        rangeButtons((chosen) => void choose(chosen)),
        chartKey(),
      ),
      charts,
      h("h2", {}, "Alerts of this device"),
      alertPlace,
    ),
    async refresh() {
      await Promise.all([
        load(charts, async () => {
          detail = await fetchDevice(site, device);
          newestTsMs = Math.max(newestTsMs, detail.lastTsMs);
          makeCharts(detail);
          drawStats(detail);
          drawQuarantine(Date.now());
          tick(Date.now());
          await fetchAll();
        }),
        load(alertPlace, async () => {
          const asked = fetchAlerts({ ...ANY_ALERT, site, device }, ALERTS_MAX);
          const [found] = await Promise.all([asked, gateways.refresh()]);
          for (const alert of found) alerts.set(alert.id, alert);
          drawAlerts();
          for (const name of metrics.keys()) drawChart(name);
          if (detail) drawStats(detail);
        }),
      ]);
    },
    onTick: tick,
    onLive(event) {
      if (event.type === "alert" && event.alert.site === site && event.alert.device === device) showAlert(event.alert);
      if (event.type === "agent") {
        if (gateways.onAgent(event.agent) !== "same" && alerts.size > 0) drawAlerts();
        const { agent, quarantined } = event.agent;
        const own = quarantined.find((entry) => entry.site === site && entry.device === device);
        if (!detail || (!own && detail.quarantine?.agent !== agent)) return;
        detail = { ...detail, quarantine: own ? { agent, ...own } : null };
        drawQuarantine(Date.now());
      }
      if (event.type !== "series" || event.site !== site || event.device !== device) return;
      newestTsMs = Math.max(newestTsMs, event.lastTsMs);
      for (const name of event.metrics) dirty.add(name);
      update.call();
    },
    close() {
      closed = true;
      update.stop();
      for (const metric of metrics.values()) metric.chart.close();
    },
  };

  async function choose(chosen: { readonly rangeMs: number; readonly stepMs: number }): Promise<void> {
    range = { ...chosen };
    await load(charts, fetchAll);
  }
}

function stat(label: string, content: HTMLElement): HTMLElement {
  return h("div", { class: "stat" }, h("span", { class: "muted" }, label), content);
}

function rangeButtons(choose: (range: { readonly rangeMs: number; readonly stepMs: number }) => void): HTMLElement {
  const group = h("div", { class: "segments", role: "group", "aria-label": "Range" });
  for (const range of [...RANGES, { label: "All", rangeMs: Infinity, stepMs: 0 }]) {
    const button = h("button", { type: "button", "aria-pressed": String(range.label === "1 h") }, range.label);
    button.addEventListener("click", () => {
      for (const other of group.children) other.setAttribute("aria-pressed", String(other === button));
      choose(range);
    });
    group.append(button);
  }
  return group;
}

/** What the marks of the charts mean. */
function chartKey(): HTMLElement {
  const key = h("ul", { class: "key", "aria-label": "Key" });
  for (const [mark, label] of [
    ["mean", "mean"],
    ["spread", "min to max"],
    ["limit", "warning limits"],
    ["breach", "breaches"],
    ["alert", "alert"],
  ]) {
    key.append(h("li", {}, h("i", { class: `key-${mark}` }), label));
  }
  return key;
}
