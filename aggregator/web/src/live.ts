import type { LiveMessage } from "@weir/aggregator/http/live-messages";

/** live: what changes comes at once; connecting: for the first time; offline: lost, and being tried again. */
export type ConnectionState = "connecting" | "live" | "offline";

const BACKOFF_MS_MIN = 500;
const BACKOFF_MS_MAX = 15_000;

/** The server's code for a login that has ended. */
const CLOSE_SESSION_OVER = 4401;

export interface LiveHandlers {
  onState(state: ConnectionState): void;
  /** A connection is there, the first or again: what was missed meanwhile must be fetched. */
  onConnected(): void;
  onMessage(message: LiveMessage): void;
  /** A try failed; the login may have ended. */
  onFailure(): void;
}

/** Keeps /live connected for as long as the page is open, with back-off and jitter between tries. */
export function connectLive(handlers: LiveHandlers): void {
  let tries = 0;
  let timer: number | undefined;
  let socket: WebSocket | undefined;

  const open = (): void => {
    timer = undefined;
    socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`);
    socket.addEventListener("message", (event) => {
      const message = JSON.parse(String(event.data)) as LiveMessage;
      if (message.type === "hello") {
        tries = 0;
        handlers.onState("live");
        handlers.onConnected();
      }
      handlers.onMessage(message);
    });
    socket.addEventListener("close", (event) => {
      socket = undefined;
      handlers.onState("offline");
      if (event.code === CLOSE_SESSION_OVER) location.assign("/login");
      handlers.onFailure();
      const backoffMs = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** tries++);
      timer = setTimeout(open, backoffMs * (0.5 + Math.random() / 2));
    });
  };
  const openNow = (): void => {
    if (socket || document.hidden) return;
    clearTimeout(timer);
    open();
  };
  addEventListener("online", openNow);
  document.addEventListener("visibilitychange", openNow);
  handlers.onState("connecting");
  open();
}
