import { byId, h } from "./dom.ts";

const TOAST_MS = 6000;

/** Toasts on show, at most; the oldest goes first. */
const TOASTS_MAX = 3;

/** Tells briefly what happened. */
export function toast(text: string, kind: "done" | "problem"): void {
  const toasts = byId("toasts");
  const item = h("div", { class: `toast ${kind}` }, text);
  toasts.append(item);
  while (toasts.childElementCount > TOASTS_MAX) toasts.firstElementChild?.remove();
  setTimeout(() => item.remove(), TOAST_MS);
}

/** What a screen reader says, once the person has finished listening to what came before. */
export function announce(text: string): void {
  byId("announcer").textContent = text;
}

/** The message of anything thrown. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
