import type { DeviceView } from "@weir/aggregator/queries";
import { fetchDevices } from "../api.ts";
import { fill, h, setText } from "../dom.ts";
import { ago, count, fullTime } from "../format.ts";
import { healthMeter } from "../health.ts";
import { deviceHref } from "../links.ts";
import type { Page } from "../page.ts";
import { empty, load, throttle } from "../page.ts";
import { aheadText, QUARANTINE_HELP, refusedText } from "../quarantine.ts";

/** Counts of firing alerts are fetched again at most this often, ms. */
const REFRESH_INTERVAL_MS = 2000;

/** The table of all devices, those that need a look first. */
export function createDevicesPage(): Page {
  let devices: DeviceView[] = [];
  const lastSeen = new Map<string, { tsMs: number; cell: HTMLElement }>();
  const place = h("div", { class: "card flush", "aria-busy": "true" });
  const text = h("input", {
    type: "search",
    placeholder: "Filter by site, device or agent",
    "aria-label": "Filter devices",
  });
  text.addEventListener("input", () => draw());
  const amount = h("span", { class: "muted" });

  const draw = (): void => {
    const wanted = text.value.trim().toLowerCase();
    const shown = devices.filter((view) => `${view.site} ${view.device} ${view.agent}`.toLowerCase().includes(wanted));
    setText(amount, `${count(shown.length)} of ${count(devices.length)}`);
    lastSeen.clear();
    if (devices.length === 0) fill(place, noDevices());
    else if (shown.length === 0) fill(place, empty("No device matches", "Change the text of the filter."));
    else fill(place, table(shown, lastSeen));
    tick(Date.now());
  };
  const tick = (nowMs: number): void => {
    for (const { tsMs, cell } of lastSeen.values()) {
      setText(cell, ago(tsMs, nowMs));
    }
  };
  const refresh = (): Promise<void> =>
    load(place, async () => {
      devices = (await fetchDevices()).toSorted(worstFirst);
      draw();
    });
  const again = throttle(REFRESH_INTERVAL_MS, () => void refresh());

  return {
    title: "Devices",
    element: h(
      "section",
      {},
      h("div", { class: "page-head" }, h("h1", { tabindex: "-1" }, "Devices"), amount),
      h("div", { class: "filters", role: "search" }, text),
      place,
    ),
    refresh,
    onTick: tick,
    onLive(event) {
      if (event.type === "alert" || event.type === "report") again.call();
      if (event.type !== "series") return;
      const entry = lastSeen.get(`${event.site}/${event.device}`);
      if (entry) entry.tsMs = Math.max(entry.tsMs, event.lastTsMs);
      else if (!devices.some((view) => view.site === event.site && view.device === event.device)) again.call();
    },
    close: () => again.stop(),
  };
}

function worstFirst(a: DeviceView, b: DeviceView): number {
  if (a.firing !== b.firing) return b.firing - a.firing;
  const health = (a.health ?? 101) - (b.health ?? 101);
  return health === 0 ? `${a.site}/${a.device}`.localeCompare(`${b.site}/${b.device}`) : health;
}

function table(
  devices: readonly DeviceView[],
  lastSeen: Map<string, { tsMs: number; cell: HTMLElement }>,
): HTMLElement {
  const body = h("tbody");
  for (const view of devices) {
    const seen = h("td", { class: "nowrap", title: fullTime(view.lastTsMs), "data-label": "Last reading" });
    lastSeen.set(`${view.site}/${view.device}`, { tsMs: view.lastTsMs, cell: seen });
    body.append(
      h(
        "tr",
        { "data-testid": "device-row", "data-device": `${view.site}/${view.device}` },
        h(
          "th",
          { scope: "row" },
          h("a", { href: deviceHref(view.site, view.device) }, view.device),
          quarantinePart(view),
        ),
        h("td", { "data-label": "Site" }, view.site),
        h("td", { "data-label": "Health" }, healthMeter(view.health)),
        h("td", { class: "number", "data-label": "Firing" }, firingPart(view.firing)),
        seen,
        h("td", { class: "number", "data-label": "Metrics" }, view.metrics.length),
        h("td", { "data-label": "Agent" }, view.agent),
      ),
    );
  }
  const head = h("tr", {});
  for (const title of ["Device", "Site", "Health", "Firing", "Last reading", "Metrics", "Agent"]) {
    head.append(h("th", { scope: "col", class: title === "Firing" || title === "Metrics" ? "number" : "" }, title));
  }
  return h("table", { class: "stack" }, h("thead", {}, head), body);
}

function quarantinePart({ quarantine }: DeviceView): HTMLElement | null {
  if (!quarantine) return null;
  const title = `${refusedText(quarantine, Date.now())}. ${QUARANTINE_HELP}`;
  return h(
    "span",
    { class: "pill warning beside", title, "data-testid": "clock-ahead" },
    `clock ${aheadText(quarantine)}`,
  );
}

function firingPart(firing: number): HTMLElement {
  return firing === 0 ? h("span", { class: "muted" }, "0") : h("span", { class: "pill critical" }, count(firing));
}

function noDevices(): HTMLElement {
  return empty(
    "No devices yet",
    "A device appears when an agent forwards its first reading. Start an agent with weir-agent run, point its uplink at this server, and publish a reading.",
  );
}
