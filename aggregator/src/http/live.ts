import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import type { WebSocket } from "ws";
import { WebSocketServer } from "ws";
import type { LiveEvent, Queries } from "../queries.ts";
import type { Identity } from "./auth.ts";
import { HttpError } from "./errors.ts";
import type { LiveHello } from "./live-messages.ts";

/** Bytes waiting for one watcher, at most; a slower one is closed with 1013 (try again later) and counted. */
export const LIVE_BUFFER_BYTES_MAX: number = 2 ** 20;

/** Watchers at one time, at most; more are refused with 503 and counted. */
export const LIVE_WATCHERS_MAX = 256;

/** Watchers have nothing to say; a longer message ends the connection. */
const LIVE_MESSAGE_BYTES_MAX = 1024;

/** How long a closing watcher may take to read the rest before the socket is destroyed. */
const CLOSE_GRACE_MS = 2000;

/** WebSocket close codes: try again later (RFC 6455 registry), going away, and our own for a session's end. */
const CLOSE_SLOW = 1013;
const CLOSE_GOING_AWAY = 1001;
const CLOSE_SESSION_OVER = 4401;

export interface LiveOptions {
  /** A watcher that answers no ping for this long is gone, ms. */
  readonly pingIntervalMs: number;
  readonly bufferBytesMax: number;
  readonly nowMs: () => number;
}

/** Counters for /metrics. */
export interface LiveStatus {
  readonly watchers: number;
  readonly slowClosed: number;
  readonly refused: number;
}

export interface LiveHub {
  /** Makes a watcher of an upgrade that has been let in. Throws HttpError 503 when there are too many. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, identity: Identity | undefined): void;
  status(): LiveStatus;
  close(): void;
}

/** Sends everything that changes to everybody who watches. */
export function createLiveHub(queries: Queries, options: LiveOptions): LiveHub {
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: LIVE_MESSAGE_BYTES_MAX,
  });
  const watchers = new Map<WebSocket, Watcher>();
  let slowClosed = 0;
  let refused = 0;

  const unsubscribe = queries.subscribe((event: LiveEvent) => {
    if (watchers.size === 0) return;
    const text = JSON.stringify(event);
    for (const [socket, watcher] of watchers) {
      if (watcher.closing) continue;
      if (socket.bufferedAmount + text.length > options.bufferBytesMax) {
        slowClosed++;
        end(socket, watcher, CLOSE_SLOW, "too slow");
      } else {
        socket.send(text);
      }
    }
  });

  const beat = setInterval(() => {
    for (const [socket, watcher] of watchers) {
      if (watcher.closing) continue;
      if (!watcher.answered) socket.terminate();
      else if ((watcher.expiresAtMs ?? Infinity) <= options.nowMs()) {
        end(socket, watcher, CLOSE_SESSION_OVER, "session over");
      } else {
        watcher.answered = false;
        socket.ping();
      }
    }
  }, options.pingIntervalMs);
  beat.unref();

  const greet = (socket: WebSocket, identity: Identity | undefined): void => {
    const watcher: Watcher = { answered: true, closing: false, expiresAtMs: identity?.expiresAtMs ?? null };
    watchers.set(socket, watcher);
    socket.on("pong", () => {
      watcher.answered = true;
    });
    socket.on("close", () => watchers.delete(socket));
    // A reset connection is followed by its close; there is nobody to tell.
    socket.on("error", () => {});
    const hello: LiveHello = { type: "hello", timeMs: options.nowMs(), pingIntervalMs: options.pingIntervalMs };
    socket.send(JSON.stringify(hello));
  };

  return {
    upgrade(request, socket, head, identity) {
      if (watchers.size >= LIVE_WATCHERS_MAX) {
        refused++;
        throw new HttpError(
          503,
          "TOO_MANY_WATCHERS",
          `${LIVE_WATCHERS_MAX} dashboards are watching; no more are taken.`,
        );
      }
      server.handleUpgrade(request, socket, head, (opened) => greet(opened, identity));
    },
    status: () => ({ watchers: watchers.size, slowClosed, refused }),
    close() {
      unsubscribe();
      clearInterval(beat);
      for (const [socket, watcher] of watchers) end(socket, watcher, CLOSE_GOING_AWAY, "going away");
      server.close();
    },
  };
}

interface Watcher {
  /** It has answered the last ping. */
  answered: boolean;
  closing: boolean;
  readonly expiresAtMs: number | null;
}

/** The close frame waits behind what the watcher has not read, so the socket is destroyed after a grace. */
function end(socket: WebSocket, watcher: Watcher, code: number, reason: string): void {
  watcher.closing = true;
  socket.close(code, reason);
  setTimeout(() => socket.terminate(), CLOSE_GRACE_MS).unref();
}
