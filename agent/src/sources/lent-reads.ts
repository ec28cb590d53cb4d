import { Socket } from "node:net";

/** Bytes read at once, at most. */
export const READ_BYTES_MAX: number = 64 * 1024;

/** Called with the bytes read, bytes[0, length), which are lent. */
export type TakeBytes = (bytes: Buffer, length: number) => void;

/** What Node has in its sockets and does not promise. */
interface Inside {
  _handle: { useUserBuffer?: unknown; readStart?: unknown } | null;
  _server: unknown;
}

/**
 * Takes over a connection that a server has accepted into a socket that reads into one buffer of the caller's, as
 * net.connect's `onread` does: half as costly as a new buffer for each read. accepted: of a server with pauseOnConnect,
 * and not used afterwards. The socket reads at once.
 *
 * net.Server does not offer that, so this reaches into Node: into Socket's handle, its owner, and the option to make a
 * socket of a handle. Returns null where they are not what they were in Node 20 to 24; the connection is then as it was.
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
