import { Socket } from "node:net";

/** Bytes read at once, at most. */
export const READ_BYTES_MAX: number = 64 * 1024;

/** Called with the bytes read, bytes[0, length), which are lent. */
export type TakeBytes = (bytes: Buffer, length: number) => void;

/* oxlint-disable no-underscore-dangle -- the names are Node's. */

/** What Node has in its sockets and does not promise. */
interface Inside {
  _handle: { useUserBuffer?: unknown; readStart?: unknown } | null;
  _server: unknown;
}

/**
 * Takes over a connection that a server has accepted into a socket that reads into one buffer of the caller's, as
 * net.connect's `onread` does: a read costs two thirds of what it costs with a new buffer each. accepted: of a server with
 * pauseOnConnect, and not used afterwards. The socket reads at once.
 *
 * net.Server does not offer that, so this reaches into Node: into Socket's handle, its owner, and the option to make a
 * socket of a handle. Returns null where they are not what they are in Node 20, and for TLS; the connection is then as it
 * was. A Node that made the socket but did not lend would have "data" events, so listen to those too.
 */
export function lendReads(accepted: Socket, buffer: Buffer, take: TakeBytes): Socket | null {
  const inside = accepted as unknown as Inside;
  const handle = inside._handle;
  const isKnown = typeof handle?.useUserBuffer === "function" && typeof handle.readStart === "function";
  if (!isKnown || accepted.constructor !== Socket) return null;
  inside._handle = null;
  const callback = (length: number): boolean => {
    take(buffer, length);
    return true;
  };
  const options = { handle, allowHalfOpen: false, onread: { buffer, callback } };
  const socket = new Socket(options);
  // The server counts its connections, and waits for their end, by this.
  (socket as unknown as Inside)._server = inside._server;
  return socket;
}
