import { h } from "./dom.ts";

/** Scores below which a health needs a look, and attention at once (as the reports' trend has it). */
const HEALTH_WARNING = 70;
const HEALTH_CRITICAL = 40;

/** How bad a health from 0 to 100 is. */
export function healthLevel(health: number): "good" | "warning" | "critical" {
  if (health < HEALTH_CRITICAL) return "critical";
  return health < HEALTH_WARNING ? "warning" : "good";
}

/** A health as a number and a bar; null: not known yet. */
export function healthMeter(health: number | null): HTMLElement {
  if (health === null) return h("span", { class: "muted", title: "No report yet" }, "–");
  const bar = h("i", {});
  bar.style.inlineSize = `${health}%`;
  return h(
    "span",
    { class: `health ${healthLevel(health)}` },
    h("b", {}, health.toFixed(1)),
    h("span", { class: "track" }, bar),
  );
}
