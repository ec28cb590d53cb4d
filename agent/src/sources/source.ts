import type { Topic } from "../decode/topic.ts";

/**
 * Where messages come from, and how they are acknowledged.
 *
 * A source opens a port and hands every message to it as it arrives. Acknowledgements wait for the group commit, which
 * may run on another thread while messages go on coming:
 *
 *   accept…  seal()  accept…  committed()  seal()  accept…  committed()
 *            └────── on its way ─────┘     └────── on its way ─┘
 *
 * What was accepted before a seal() is durable at the committed() that follows it, and the source then acknowledges it,
 * in the order of receipt; what was accepted after the seal() waits for the next. seal() and committed() alternate, and
 * neither is called from within accept, drop or refuse.
 *
 * Every accept and every refuse is followed by a seal() and its committed() sooner or later, also where no reading came
 * of it: senders wait for their acknowledgements.
 */

/** The consumer of messages. */
export interface Ingest {
  /** A port for one source. sourceName: for the ledger. */
  open(sourceName: string): IngestPort;
}

/** Where one source hands its messages over. Never throws for anything a message holds. */
export interface IngestPort {
  /** Takes the clock: what is handed over until the next turn came now. Call it for each chunk of bytes that was read. */
  turn(): void;
  /**
   * Decodes the message bytes[start, end) into the block being built; what cannot be used is counted and kept as a dead
   * letter. bytes: lent for the call. Returns false when the source is to stop reading until readOn() (back-pressure);
   * the message itself was taken.
   */
  accept(topic: Topic, bytes: Buffer, start: number, end: number): boolean;
  /** Counts the readings of a QoS 0 message that there is no room for as dropped (see Source.shed), and forgets them. */
  drop(topic: Topic, bytes: Buffer, start: number, end: number): void;
  /** Counts a message that never became a topic and payload (too large, malformed frame), and keeps what there is of it. */
  refuse(reason: RejectReason, topic: string, head: Uint8Array): void;
}

export interface Source {
  readonly name: string;
  /** Begins to take messages; resolves when the endpoint is open (listen) or the client has been started (broker). */
  start(): Promise<void>;
  /** Everything accepted so far is on its way to disk. */
  seal(): void;
  /** Everything accepted before the last seal() is durable: acknowledge it. */
  committed(): void;
  /** There is room again: read on if reading was stopped, and shed no more. */
  readOn(): void;
  /**
   * There has been no room for a while (a disk that is full or stands still). Until readOn(): read on as far as messages
   * are QoS 0, which go to drop(), so that the loss is counted here rather than suffered unseen elsewhere; a connection
   * whose next message is QoS 1 or 2 waits with it.
   */
  shed(): void;
  /** Takes no more messages; those already accepted may still be acknowledged by committed(). */
  stop(): void;
  /** Ends connections after the last acknowledgements have been written. */
  close(): Promise<void>;
  /** Counters for metrics and status. */
  status(): SourceStatus;
}

/** Who can tell subscribers on the spot, such as an operator panel or a stack light. */
export interface LocalPublisher {
  /** Delivers to those subscribed, QoS 0, nothing kept. topic: below weir/, no wildcards. Slow readers miss it. */
  publishLocal(topic: string, payload: string | Uint8Array): void;
}

export interface SourceStatus {
  readonly name: string;
  readonly connected: boolean;
  readonly connections: number;
  /** Messages that came, those refused or dropped included. */
  readonly messages: number;
  readonly bytes: number;
  /** Times that a socket was read. */
  readonly reads: number;
  /** Times that the thread slept so that more would be there to read (see Gather). */
  readonly sleeps: number;
  /** QoS 1 and 2 messages accepted and not yet acknowledged. */
  readonly unacknowledged: number;
  readonly lastError: string | null;
}

/** Why a message or a reading was refused. These words are in the ledger, the metrics and the dead letters. */
export type RejectReason =
  | "topic_unmapped"
  | "topic_malformed"
  | "name_invalid"
  | "payload_too_large"
  | "payload_empty"
  | "json_malformed"
  | "json_shape"
  | "number_malformed"
  | "not_finite"
  | "value_out_of_range"
  | "time_malformed"
  | "time_before_floor"
  | "time_ahead"
  | "series_limit"
  | "frame_malformed";
