import type { AlertView } from "@weir/aggregator/queries";
import { ANY_ALERT, fetchAlerts } from "./api.ts";
import { byId, fill, setText } from "./dom.ts";
import { count } from "./format.ts";
import type { ConnectionState } from "./live.ts";
import { connectLive } from "./live.ts";
import type { Page } from "./page.ts";
import { createAgentsPage } from "./pages/agents.ts";
import { createAlertsPage } from "./pages/alerts.ts";
import { createDevicePage } from "./pages/device.ts";
import { createDevicesPage } from "./pages/devices.ts";
import { createReportsPage } from "./pages/reports.ts";
import { createThresholdPage, createThresholdsPage } from "./pages/thresholds.ts";

const STATE_WORDS: Readonly<Record<ConnectionState, string>> = {
  connecting: "Connecting",
  live: "Live",
  offline: "Reconnecting",
};

let page: Page | undefined;

/** Opens the page of the address. */
function route(isFirst: boolean): void {
  const [name = "", ...args] = location.hash.replace(/^#\/?/, "").split("/").map(decode);
  page?.close();
  page = pageOf(name, args);
  const main = byId("main");
  fill(main, page.element);
  document.title = `${page.title} · Weir`;
  for (const link of document.querySelectorAll<HTMLElement>("nav [data-page]")) {
    if (link.dataset["page"] === (name || "alerts")) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  void page.refresh();
  if (isFirst) return;
  scrollTo(0, 0);
  // A reader begins with the new page instead of staying on the link.
  main.querySelector("h1")?.focus({ preventScroll: true });
}

function pageOf(name: string, [first, second]: readonly string[]): Page {
  if (name === "devices") return first && second ? createDevicePage(first, second) : createDevicesPage();
  if (name === "reports") return createReportsPage(first);
  if (name === "agents") return createAgentsPage();
  if (name === "thresholds")
    return /^\d+$/.test(first ?? "") ? createThresholdPage(Number(first)) : createThresholdsPage();
  return createAlertsPage();
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The count of firing alerts in the navigation, whatever page is open. */
function createFiringBadge(): { refresh(): Promise<void>; onAlert(alert: AlertView): void } {
  const firing = new Set<string>();
  const badge = byId("firing-count");
  const draw = (): void => {
    badge.hidden = firing.size === 0;
    setText(badge, count(firing.size));
    badge.title = `${count(firing.size)} firing`;
  };
  return {
    async refresh() {
      const alerts = await fetchAlerts({ ...ANY_ALERT, state: "firing", inhibited: "false" });
      firing.clear();
      for (const alert of alerts) firing.add(alert.id);
      draw();
    },
    onAlert(alert) {
      if (alert.state === "firing" && !alert.inhibited) firing.add(alert.id);
      else firing.delete(alert.id);
      draw();
    },
  };
}

function start(): void {
  const badge = createFiringBadge();
  const connection = byId("connection");
  // A failed count shows as the connection's state already.
  const refreshBadge = (): void => void badge.refresh().catch(() => {});
  addEventListener("hashchange", () => route(false));
  // The address's hash names the page, so the skip link must not change it.
  document.querySelector(".skip")?.addEventListener("click", (event) => {
    event.preventDefault();
    byId("main").focus();
  });
  route(true);
  connectLive({
    onState(state) {
      connection.dataset["state"] = state;
      setText(connection, STATE_WORDS[state]);
    },
    onConnected() {
      refreshBadge();
      // What changed before the connection was there, the first time too, came over no wire.
      void page?.refresh();
    },
    onMessage(message) {
      if (message.type === "hello") return;
      if (message.type === "alert") badge.onAlert(message.alert);
      page?.onLive(message);
    },
    onFailure: refreshBadge,
  });
  setInterval(() => page?.onTick?.(Date.now()), 1000);
}

start();
