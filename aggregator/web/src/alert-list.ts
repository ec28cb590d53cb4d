import type { AlertView } from "@weir/aggregator/queries";
import { acknowledge } from "./api.ts";
import { fill, h, reconcile, setText } from "./dom.ts";
import { errorMessage, toast } from "./feedback.ts";
import { ago, count, duration, fullTime, time, value, words } from "./format.ts";
import { deviceHref } from "./links.ts";
import { person } from "./person.ts";

/** How long a new alert stands out, ms; the style's animation takes as long. */
const FRESH_MS = 12_000;

/** Rows on show, at most; older ones are left to filters. */
export const ALERT_ROWS_MAX = 1000;

export interface AlertList {
  readonly element: HTMLElement;
  /** Shows these, newest first; rows of alerts that are there already are kept. fresh: ids that stand out. */
  show(alerts: readonly AlertView[], fresh?: ReadonlySet<string>): void;
  /** Brings texts such as "5 s ago" up to date. */
  tick(nowMs: number): void;
}

/**
 * A list of alerts. onChange: an alert changed here, by acknowledgement. reasonOf: why an alert is held back, undefined
 * where it is not.
 */
export function createAlertList(
  onChange: (alert: AlertView) => void,
  reasonOf: (alert: AlertView) => string | undefined,
): AlertList {
  const rows = new Map<string, AlertRow>();
  const body = h("ul", { class: "alert-rows" });
  const head = h("div", { class: "alert-head", "aria-hidden": "true" });
  for (const title of ["Severity", "Device", "Metric", "Worst reading", "Started", "State", "Acknowledged"]) {
    head.append(h("span", {}, title));
  }
  return {
    element: h("div", { class: "alert-list" }, head, body),
    show(alerts, fresh) {
      const nowMs = Date.now();
      const shown = new Set<string>();
      const elements: HTMLElement[] = [];
      for (const alert of alerts.slice(0, ALERT_ROWS_MAX)) {
        let row = rows.get(alert.id);
        if (!row) rows.set(alert.id, (row = createRow(alert.id, onChange)));
        row.update(alert, reasonOf(alert), nowMs);
        if (fresh?.has(alert.id)) row.standOut();
        shown.add(alert.id);
        elements.push(row.element);
      }
      for (const id of rows.keys()) if (!shown.has(id)) rows.delete(id);
      reconcile(body, elements);
    },
    tick(nowMs) {
      for (const row of rows.values()) row.tick(nowMs);
    },
  };
}

interface AlertRow {
  readonly element: HTMLElement;
  update(alert: AlertView, reason: string | undefined, nowMs: number): void;
  tick(nowMs: number): void;
  standOut(): void;
}

function createRow(id: string, onChange: (alert: AlertView) => void): AlertRow {
  const severity = h("span", { class: "severity" });
  const device = h("a", { class: "name" });
  const site = h("small", { class: "muted" });
  const metric = h("span", { class: "name" });
  const breaches = h("small", { class: "muted" });
  const reading = h("span", { class: "reading" });
  const started = h("time", {});
  const lasted = h("small", { class: "muted" });
  const state = h("span", { class: "state" });
  const ack = h("span", { class: "ack" });
  const element = h(
    "li",
    { class: "alert-row", "data-testid": "alert-row", "data-alert-id": id },
    h("span", { class: "cell-severity" }, severity),
    h("span", { class: "cell-device two" }, device, site),
    h("span", { class: "cell-metric two" }, metric, breaches),
    h("span", { class: "cell-reading" }, reading),
    h("span", { class: "cell-started two" }, started, lasted),
    h("span", { class: "cell-state" }, state),
    h("span", { class: "cell-ack" }, ack),
  );
  let shown: AlertView | undefined;
  let shownReason: string | undefined;

  const tick = (nowMs: number): void => {
    if (!shown) return;
    const { startedAtMs, endedAtMs } = shown;
    setText(started, ago(startedAtMs, nowMs));
    const at = time(startedAtMs, nowMs);
    setText(lasted, endedAtMs === null ? `since ${at}` : `${at}, for ${duration(endedAtMs - startedAtMs)}`);
  };
  return {
    element,
    tick,
    standOut() {
      element.classList.add("fresh");
      setTimeout(() => element.classList.remove("fresh"), FRESH_MS);
    },
    update(alert, reason, nowMs) {
      if (shown === alert && shownReason === reason) return;
      shown = alert;
      shownReason = reason;
      element.dataset["state"] = alert.state;
      element.dataset["inhibited"] = String(alert.inhibited);
      element.dataset["severity"] = alert.severity;
      severity.dataset["severity"] = alert.severity;
      setText(severity, alert.severity);
      setText(device, alert.device);
      device.href = deviceHref(alert.site, alert.device);
      setText(site, alert.site);
      setText(metric, words(alert.metric));
      const isSilence = kindOf(alert) === "silence";
      setText(breaches, isSilence ? "" : `${count(alert.breaches)} ${alert.breaches === 1 ? "breach" : "breaches"}`);
      fill(reading, ...readingParts(alert));
      if (reason !== undefined) reading.append(h("small", { class: "reason", "data-testid": "held-back" }, reason));
      started.dateTime = new Date(alert.startedAtMs).toISOString();
      started.title = fullTime(alert.startedAtMs);
      state.dataset["state"] = alert.inhibited ? "inhibited" : alert.state;
      setText(state, alert.inhibited ? "held back" : alert.state);
      fill(ack, ackPart(alert, nowMs, onChange));
      tick(nowMs);
    },
  };
}

/** Kinds may come that this page has not been told of. */
function kindOf({ kind }: AlertView): string {
  return kind;
}

/** What an alert says in few words, such as "91.37 above 74" or "silent for more than 1 min". */
export function alertText(alert: AlertView): string {
  return readingWords(alert).join(" ");
}

function readingWords(alert: AlertView): [string, string] {
  const kind = kindOf(alert);
  if (kind === "silence") {
    // While it is firing, value is how long the silence was when it began to fire.
    if (alert.state === "firing") return ["silent", `for more than ${duration(alert.value * 1000)}`];
    const limit = alert.high === null ? "" : `, an alert from ${duration(alert.high * 1000)}`;
    return ["silent", `for ${duration(alert.value * 1000)}${limit}`];
  }
  if (kind !== "high" && kind !== "low") return [value(alert.value), words(kind)];
  const limit = kind === "high" ? alert.high : alert.low;
  const side = kind === "high" ? "above" : "below";
  return [value(alert.value), limit === null ? `too ${kind}` : `${side} ${value(limit)}`];
}

/** Readings with how far outside of the band they are. */
function readingParts(alert: AlertView): HTMLElement[] {
  const [reading, against] = readingWords(alert);
  const parts = [h("b", {}, reading), h("span", { class: "muted" }, against)];
  const isOfBand = kindOf(alert) === "high" || kindOf(alert) === "low";
  if (isOfBand && (alert.low !== null || alert.high !== null)) parts.push(bandGauge(alert));
  return parts;
}

/** The band as a bar, with the reading as a mark where it lies. Words say the same, so it is hidden from readers. */
function bandGauge({ low, high, value: reading }: AlertView): HTMLElement {
  // A band that is open to one side is drawn as wide as the reading is away from it, twice.
  const edge = low ?? high ?? 0;
  const spread = low !== null && high !== null ? high - low : Math.abs(reading - edge) * 2 || 1;
  const from = low ?? edge - spread;
  const to = high ?? edge + spread;
  const scaleFrom = Math.min(from, reading) - spread * 0.08;
  const scaleTo = Math.max(to, reading) + spread * 0.08;
  const share = (at: number): number => ((at - scaleFrom) / (scaleTo - scaleFrom)) * 100;
  const band = h("i", { class: "band" });
  band.style.left = `${share(from)}%`;
  band.style.width = `${share(to) - share(from)}%`;
  const mark = h("i", { class: "mark" });
  mark.style.left = `${share(reading)}%`;
  return h("span", { class: "gauge", "aria-hidden": "true" }, band, mark);
}

function ackPart(alert: AlertView, nowMs: number, onChange: (alert: AlertView) => void): HTMLElement {
  if (alert.ackedBy !== null) {
    const at = alert.ackedAtMs === null ? "" : time(alert.ackedAtMs, nowMs);
    return h(
      "span",
      {
        class: "acked two",
        "data-testid": "acked",
        title: alert.ackedAtMs === null ? undefined : fullTime(alert.ackedAtMs),
      },
      h("span", {}, `✓ ${alert.ackedBy}`),
      h("small", { class: "muted" }, at),
    );
  }
  const button = h("button", { type: "button", class: "small", "data-testid": "ack-button" }, "Acknowledge");
  button.setAttribute("aria-label", `Acknowledge ${alert.severity} alert, ${alert.device} ${words(alert.metric)}`);
  button.addEventListener("click", () => {
    button.disabled = true;
    acknowledge(alert.id, person()).then(onChange, (error: unknown) => {
      button.disabled = false;
      toast(`Not acknowledged: ${errorMessage(error)}`, "problem");
    });
  });
  return button;
}
