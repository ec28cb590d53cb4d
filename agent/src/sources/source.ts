/**
 * Where messages come from, and how they are acknowledged.
 *
 * A source hands every message to Ingest.accept as it arrives. Acknowledgements wait: the group commit is synchronous,
 * so when it calls committed() everything accepted before is on disk, and the source acknowledges all of it, in the
 * order of receipt.
 *
 * Every accept and every refuse is followed by a committed() sooner or later, also where no reading came of it: senders
 * wait for their acknowledgements, and a source that was told to stop reading waits for nothing else. committed() is
 * never called from within accept or refuse.
 */

/** The consumer of messages. */
export interface Ingest {
  /**
   * Decodes one message into the block that the next group commit writes. Never throws for anything a message holds:
   * what cannot be used is counted and kept as a dead letter.
   *
   * sourceName: for the ledger. payload: lent for the call. Returns false when the source is to stop reading until
   * committed() is called (back-pressure); the message itself was taken.
   */
  accept(sourceName: string, topic: string, payload: Uint8Array): boolean;
  /** Counts a message that never became a topic and payload (too large, malformed frame), and keeps what there is of it. */
  refuse(sourceName: string, reason: RejectReason, topic: string, head: Uint8Array): void;
}

export interface Source {
  readonly name: string;
  /** Begins to take messages; resolves when the endpoint is open (listen) or the client has been started (broker). */
  start(): Promise<void>;
  /** Everything accepted so far is durable: acknowledge it, and read on if reading was stopped. */
  committed(): void;
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
  readonly messages: number;
  readonly bytes: number;
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
