import type { IncomingMessage, Server } from "node:http";
import { STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import { errorMessage } from "@weir/shared/errors";
import type { ErrorBody } from "./errors.ts";
import { HttpError } from "./errors.ts";

/** Takes over the socket of a WebSocket upgrade. An HttpError it throws becomes the answer. */
export type UpgradeHandler = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

/**
 * Hands WebSocket upgrades to handlers by path, and answers those that no handler takes.
 *
 * Returns how to add a handler; a path has one, so adding another replaces it.
 */
export function routeUpgrades(
  server: Server,
  log: (line: string) => void,
): (path: string, handler: UpgradeHandler) => void {
  const handlers = new Map<string, UpgradeHandler>();
  server.on("upgrade", (request, socket, head) => {
    // Until a handler takes over, a reset connection has nobody else to catch it.
    socket.on("error", ignore);
    const path = (request.url ?? "").replace(/\?.*$/s, "");
    try {
      const handler = handlers.get(path);
      if (!handler) throw new HttpError(404, "NOT_FOUND", `There is no WebSocket at ${path}.`);
      handler(request, socket, head);
    } catch (error) {
      if (!(error instanceof HttpError)) log(`Upgrade of ${path} failed: ${errorMessage(error)}`);
      refuse(
        socket,
        error instanceof HttpError ? error : new HttpError(500, "INTERNAL", "The aggregator failed to answer."),
      );
    }
  });
  return (path, handler) => {
    handlers.set(path, handler);
  };
}

function refuse(socket: Duplex, { status, code, message }: HttpError): void {
  const body: ErrorBody = { error: { code, message } };
  const text = JSON.stringify(body);
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\nConnection: close\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  );
}

function ignore(): void {}
