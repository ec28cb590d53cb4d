import type { LiveEvent } from "@weir/aggregator/queries";
import { errorMessage, toast } from "./feedback.ts";
import { fill, h } from "./dom.ts";

/** One page of the dashboard, made when its address is opened. */
export interface Page {
  readonly title: string;
  readonly element: HTMLElement;
  /** Fetches what it shows: called when it is opened and whenever the connection is there again. */
  refresh(): Promise<void>;
  /** Something changed. */
  onLive(event: LiveEvent): void;
  /** A second has passed; for texts such as "5 s ago". */
  onTick?(nowMs: number): void;
  close(): void;
}

/** What shows when there is nothing to show: why, and what to do. */
export function empty(title: string, advice: string): HTMLElement {
  return h("div", { class: "empty", "data-testid": "empty" }, h("strong", {}, title), h("p", {}, advice));
}

/** Runs a fetch for a part of a page; what goes wrong shows in its place with a way to try again. */
export async function load(place: HTMLElement, work: () => Promise<void>): Promise<void> {
  try {
    await work();
    place.removeAttribute("aria-busy");
  } catch (error) {
    // What is on show stays: old data with a note is more use than none.
    if (place.childElementCount > 0 && place.getAttribute("aria-busy") === null) {
      toast(errorMessage(error), "problem");
      return;
    }
    const again = h("button", { type: "button", onclick: () => void load(place, work) }, "Try again");
    fill(place, h("div", { class: "empty problem", role: "alert" }, h("p", {}, errorMessage(error)), again));
  }
}

/** Calls work at most once an interval, and once more after the last call. Returns how to call it, and how to stop. */
export function throttle(intervalMs: number, work: () => void): { call(): void; stop(): void } {
  let timer: number | undefined;
  return {
    call() {
      timer ??= setTimeout(() => {
        timer = undefined;
        work();
      }, intervalMs);
    },
    stop: () => clearTimeout(timer),
  };
}
