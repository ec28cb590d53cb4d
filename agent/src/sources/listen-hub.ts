import type { ListenConnection } from "./listen-connection.ts";
import type { ServerLimits } from "./mqtt-control.ts";
import type { FrameLimits, PartialBudget } from "./mqtt-frames.ts";
import type { RejectReason } from "./source.ts";
import type { TopicNames } from "./topic-names.ts";

/** What the connections of one endpoint share, and what they ask of it. */
export interface ListenHub {
  readonly limits: FrameLimits & ServerLimits & { readonly writeBytesMax: number };
  readonly partialBudget: PartialBudget;
  readonly topicNames: TopicNames;
  readonly counters: ListenCounters;
  /** Counts up every tickMs: the clock of keep-alives. */
  readonly tick: number;
  readonly tickMs: number;
  /** True while nobody is to read: back-pressure, or the end. */
  readonly paused: boolean;
  /** Messages accepted so far, and of them durable. */
  readonly acceptedCount: number;
  readonly committedCount: number;
  /** Connections with acknowledgements that wait for the next commit, each once. */
  readonly waiting: ListenConnection[];
  unacknowledged: number;
  /** Passes a message on; stops everybody's reading where the ingest says so. payload: lent. */
  accept(connection: ListenConnection, topic: string, payload: Uint8Array): void;
  refuse(reason: RejectReason, topic: string, head: Uint8Array): void;
  /** The part of bytes[start, end) that is shown to refuse(). */
  headOf(bytes: Buffer, start: number, end: number): Buffer;
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
  messages: number;
  bytes: number;
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
