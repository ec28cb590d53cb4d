import type { QuarantinedDevice } from "@weir/shared/wire/messages";
import { h } from "./dom.ts";
import { count, duration, fullTime, time } from "./format.ts";

/** The title and meaning of quarantine, where there is room for it. */
export const QUARANTINE_HELP =
  "Its clock runs ahead of the gateway's. Its readings are refused until the clock is right; other devices go on as they were.";

type State = Omit<QuarantinedDevice, "site" | "device">;

/** "50 s ahead". */
export function aheadText({ aheadMs }: Pick<State, "aheadMs">): string {
  return `${aheadMs < 1000 ? `${Math.round(aheadMs)} ms` : duration(aheadMs)} ahead`;
}

/** "12 readings refused since 14:02". */
export function refusedText({ readings, sinceMs }: State, nowMs: number): string {
  return `${count(readings)} ${readings === 1 ? "reading" : "readings"} refused since ${time(sinceMs, nowMs)}`;
}

/** What a device's page says while it is in quarantine. */
export function quarantineNotice(state: State & { readonly agent: string }, nowMs: number): HTMLElement {
  return h(
    "div",
    { class: "notice warning", "data-testid": "quarantine" },
    h("strong", {}, `In quarantine: its clock is ${aheadText(state)}`),
    h("p", {}, `${refusedText(state, nowMs)}, the last at ${time(state.lastMs, nowMs)}, by gateway ${state.agent}.`),
    h("p", { class: "muted" }, QUARANTINE_HELP),
  );
}

/** The devices in quarantine of one agent. */
export function quarantineTable(devices: readonly QuarantinedDevice[], nowMs: number): HTMLElement {
  const body = h("tbody");
  for (const state of devices) {
    body.append(
      h(
        "tr",
        { "data-testid": "quarantined", "data-device": `${state.site}/${state.device}`, title: QUARANTINE_HELP },
        h("th", { scope: "row" }, h("span", { class: "name" }, state.device), " ", h("small", {}, state.site)),
        h(
          "td",
          { class: "two", title: `Last one ${fullTime(state.lastMs)}` },
          h("span", { class: "warning" }, `clock ${aheadText(state)}`),
          h("small", { class: "muted" }, refusedText(state, nowMs)),
        ),
      ),
    );
  }
  return h("div", {}, h("h3", {}, "In quarantine"), h("table", { class: "ledger quarantine" }, body));
}
