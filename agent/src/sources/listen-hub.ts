import type { ListenConnection } from "./listen-connection.ts";
import type { ServerLimits } from "./mqtt-control.ts";
import type { MessageLimits } from "./mqtt-messages.ts";
import type { InputHub } from "./socket-input.ts";

/** What the connections of one endpoint share, and what they ask of it. */
export interface ListenHub extends InputHub {
  readonly limits: InputHub["limits"] & ServerLimits & MessageLimits & { readonly writeBytesMax: number };
  readonly counters: ListenCounters;
  /** Counts up every tickMs: the clock of keep-alives. */
  readonly tick: number;
  readonly tickMs: number;
  /** The connection whose bytes are being handled, or were last. */
  reading: ListenConnection | null;
  /** Passes on the will of a connection that is gone. */
  passOnWill(topic: string, payload: Buffer): void;
  /** Whether these credentials are let in. */
  admits(username: string | undefined, password: Uint8Array | undefined): boolean | Promise<boolean>;
  newClientId(): string;
  /** A client is connected under its id; the connection that had the id is ended. */
  opened(connection: ListenConnection): void;
  /** The connection takes no more part. */
  left(connection: ListenConnection): void;
  /** Its socket is closed. */
  gone(connection: ListenConnection): void;
  noteError(error: unknown): void;
}

/** What happened since start, beside what every source counts. */
export interface ListenCounters {
  bytes: number;
  /** Times a socket was read. */
  reads: number;
  /** Connections turned away because there were too many. */
  connectionsRefused: number;
  /** CONNECTs with a wrong password, or none where one is wanted. */
  loginsRefused: number;
  /** Connections whose client id was taken by a newer one. */
  takeOvers: number;
  /** Connections given up for their silence. */
  timeouts: number;
  /** Connections ended because the bytes of incomplete frames reached their bound. */
  overBudget: number;
  /** Times a connection was not read from because it did not read. */
  writeStalls: number;
  /** Messages of the agent's own that a subscriber was too slow for, or that were too large for it. */
  localDropped: number;
}
