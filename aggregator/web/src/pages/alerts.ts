import type { AlertView } from "@weir/aggregator/queries";
import type { AlertQuery } from "../api.ts";
import { ALERTS_LIMIT, fetchAlerts } from "../api.ts";
import { ALERT_ROWS_MAX, alertText, createAlertList } from "../alert-list.ts";
import { fill, h, setText } from "../dom.ts";
import { announce } from "../feedback.ts";
import { count, words } from "../format.ts";
import { createGateways } from "../gateways.ts";
import type { Page } from "../page.ts";
import { empty, load, throttle } from "../page.ts";
import { person, setPerson } from "../person.ts";

/** Alerts held by the page, at most: beyond, the oldest go. The API has all. */
const ALERTS_HELD_MAX: number = 2 * ALERTS_LIMIT;

/** A person cannot listen to more than one announcement in this time, ms. */
const ANNOUNCE_INTERVAL_MS = 3000;

/** Alerts are fetched again at most this often because gateways came or went, ms. */
const REFRESH_INTERVAL_MS = 2000;

/** The list of alerts, new ones as they come. */
export function createAlertsPage(): Page {
  const held = new Map<string, AlertView>();
  const fresh = new Set<string>();
  /** What came over /live while the newest fetch was under way: newer than what that fetch brings. */
  let during = new Map<string, AlertView>();
  let frame = 0;
  let fetched = false;

  const gateways = createGateways();
  const list = createAlertList(
    (alert) => {
      held.set(alert.id, alert);
      draw();
    },
    (alert) => gateways.reasonOf(alert),
  );
  const place = h("div", { class: "card flush", "aria-busy": "true" });
  const more = h("p", { class: "muted note", hidden: true });
  const filters = createFilters(
    () => void refresh(),
    () => draw(),
  );
  const summary = createSummary();
  const announcer = createAnnouncer();

  const render = (): void => {
    frame = 0;
    const all = [...held.values()].toSorted((a, b) => b.startedAtMs - a.startedAtMs || (a.id < b.id ? 1 : -1));
    summary.update(all);
    filters.offer(all);
    const shown = all.filter((alert) => filters.accepts(alert));
    more.hidden = shown.length <= ALERT_ROWS_MAX;
    setText(
      more,
      `The newest ${count(ALERT_ROWS_MAX)} of ${count(shown.length)} alerts are shown; narrow the filters to see others.`,
    );
    if (shown.length > 0) {
      list.show(shown, fresh);
      if (list.element.parentElement !== place) fill(place, list.element);
    } else if (fetched) {
      fill(place, filters.active() ? noMatch(() => filters.clear()) : noAlerts());
    }
    fresh.clear();
  };
  const draw = (): void => {
    frame ||= requestAnimationFrame(render);
  };
  const refresh = (): Promise<void> =>
    load(place, async () => {
      const own = new Map<string, AlertView>();
      during = own;
      const [alerts] = await Promise.all([fetchAlerts(filters.query()), gateways.refresh()]);
      // A fetch with other filters has begun meanwhile; its answer is the one to show.
      if (during !== own) return;
      held.clear();
      for (const alert of [...alerts, ...own.values()]) held.set(alert.id, alert);
      during = new Map();
      fetched = true;
      draw();
    });
  const again = throttle(REFRESH_INTERVAL_MS, () => void refresh());

  return {
    title: "Alerts",
    element: h(
      "section",
      {},
      h("div", { class: "page-head" }, h("h1", { tabindex: "-1" }, "Alerts"), personField()),
      gateways.element,
      summary.element,
      filters.element,
      place,
      more,
    ),
    refresh,
    onLive(event) {
      if (event.type === "agent") {
        const change = gateways.onAgent(event.agent);
        if (change === "fetch") again.call();
        if (change !== "same") draw();
      }
      if (event.type !== "alert") return;
      const { alert } = event;
      const isNew = !held.has(alert.id) && alert.state === "firing" && !alert.inhibited;
      held.set(alert.id, alert);
      during.set(alert.id, alert);
      if (held.size > ALERTS_HELD_MAX) dropOldest(held);
      if (isNew) {
        fresh.add(alert.id);
        announcer.add(alert);
      }
      draw();
    },
    onTick(nowMs) {
      list.tick(nowMs);
      gateways.tick(nowMs);
    },
    close() {
      again.stop();
      cancelAnimationFrame(frame);
      announcer.stop();
    },
  };
}

function dropOldest(held: Map<string, AlertView>): void {
  const oldest = [...held.values()].reduce((a, b) => (a.startedAtMs <= b.startedAtMs ? a : b));
  held.delete(oldest.id);
}

function noAlerts(): HTMLElement {
  return empty(
    "No alerts",
    "Every reading is within its band. Alerts appear here by themselves as soon as one is not.",
  );
}

function noMatch(clear: () => void): HTMLElement {
  const element = empty("No alert matches these filters", "Alerts that do will appear here by themselves.");
  element.append(h("button", { type: "button", onclick: clear }, "Clear filters"));
  return element;
}

function personField(): HTMLElement {
  const input = h("input", {
    type: "text",
    maxlength: 64,
    value: person(),
    placeholder: "your name",
    autocomplete: "name",
  });
  input.addEventListener("change", () => setPerson(input.value));
  return h("label", { class: "inline" }, h("span", { class: "muted" }, "Acknowledging as"), input);
}

/** What a firing alert is while its gateway is away. */
const HELD_BACK = "held back";

function stateQuery(state: string): Pick<AlertQuery, "state" | "inhibited"> {
  if (state === HELD_BACK) return { state: "firing", inhibited: "true" };
  return { state, inhibited: state === "firing" ? "false" : "" };
}

interface Filters {
  readonly element: HTMLElement;
  /** What the API is asked, so that older alerts than those held are found. */
  query(): AlertQuery;
  accepts(alert: AlertView): boolean;
  active(): boolean;
  clear(): void;
  /** Lets sites and devices of these alerts be chosen. */
  offer(alerts: readonly AlertView[]): void;
}

function createFilters(onQuery: () => void, onText: () => void): Filters {
  const state = select("State", "filter-state", ["firing", HELD_BACK, "resolved", "withdrawn"]);
  const site = select("Site", "filter-site", []);
  const device = select("Device", "filter-device", []);
  const text = h("input", {
    type: "search",
    placeholder: "Filter by text",
    "aria-label": "Filter by text",
    "data-testid": "filter-text",
  });
  const unseen = h("input", { type: "checkbox" });
  for (const control of [state, site, device]) control.addEventListener("change", onQuery);
  text.addEventListener("input", onText);
  unseen.addEventListener("change", onText);
  const sites = new Set<string>();
  const devices = new Set<string>();

  return {
    element: h(
      "div",
      { class: "filters", role: "search" },
      text,
      state,
      site,
      device,
      h("label", { class: "check" }, unseen, "Unacknowledged"),
    ),
    query: () => ({ ...stateQuery(state.value), site: site.value, device: device.value }),
    accepts(alert) {
      if (state.value !== "" && state.value !== (alert.inhibited ? HELD_BACK : alert.state)) return false;
      if (site.value !== "" && alert.site !== site.value) return false;
      if (device.value !== "" && alert.device !== device.value) return false;
      if (unseen.checked && alert.ackedBy !== null) return false;
      const wanted = text.value.trim().toLowerCase();
      return wanted === "" || searchText(alert).includes(wanted);
    },
    active: () => unseen.checked || [state, site, device, text].some((control) => control.value !== ""),
    clear() {
      for (const control of [state, site, device, text]) control.value = "";
      unseen.checked = false;
      onQuery();
    },
    offer(alerts) {
      for (const alert of alerts) {
        addOption(site, sites, alert.site);
        addOption(device, devices, alert.device);
      }
    },
  };
}

function searchText({ site, device, metric, kind, severity, ackedBy }: AlertView): string {
  return `${site} ${device} ${metric} ${words(metric)} ${kind} ${severity} ${ackedBy ?? ""}`.toLowerCase();
}

function select(label: string, testId: string, options: readonly string[]): HTMLSelectElement {
  const element = h(
    "select",
    { "aria-label": label, "data-testid": testId },
    h("option", { value: "" }, `${label}: any`),
  );
  for (const option of options) element.append(h("option", { value: option }, option));
  return element;
}

function addOption(control: HTMLSelectElement, known: Set<string>, name: string): void {
  if (known.has(name)) return;
  known.add(name);
  const after = [...control.options].find((option) => option.value > name);
  control.insertBefore(h("option", { value: name }, name), after ?? null);
}

function createSummary(): { readonly element: HTMLElement; update(alerts: readonly AlertView[]): void } {
  const critical = tile("Critical, firing", "critical");
  const warning = tile("Warning, firing", "warning");
  const unseen = tile("Unacknowledged", "plain");
  const shown = tile("Alerts loaded", "plain");
  return {
    element: h("div", { class: "tiles" }, critical.element, warning.element, unseen.element, shown.element),
    update(alerts) {
      const firing = alerts.filter((alert) => alert.state === "firing" && !alert.inhibited);
      critical.set(firing.filter((alert) => alert.severity === "critical").length);
      warning.set(firing.filter((alert) => alert.severity === "warning").length);
      unseen.set(alerts.filter((alert) => alert.ackedBy === null && alert.state !== "withdrawn").length);
      shown.set(alerts.length);
    },
  };
}

function tile(label: string, kind: string): { readonly element: HTMLElement; set(amount: number): void } {
  const number = h("b", {}, "–");
  const element = h("div", { class: "tile", "data-kind": kind }, number, h("span", {}, label));
  return {
    element,
    set(amount) {
      setText(number, count(amount));
      element.dataset["none"] = String(amount === 0);
    },
  };
}

/** Says new alerts to a screen reader, a few at a time as one sentence. */
function createAnnouncer(): { add(alert: AlertView): void; stop(): void } {
  let waiting: AlertView[] = [];
  let timer: number | undefined;
  const say = (): void => {
    timer = undefined;
    const [first] = waiting;
    if (!first) return;
    const others = waiting.length > 1 ? `, and ${waiting.length - 1} more` : "";
    announce(`New ${first.severity} alert: ${first.device} ${words(first.metric)} ${alertText(first)}${others}`);
    waiting = [];
    timer = setTimeout(say, ANNOUNCE_INTERVAL_MS);
  };
  return {
    add(alert) {
      waiting.push(alert);
      timer ??= setTimeout(say, 0);
    },
    stop: () => clearTimeout(timer),
  };
}
