import { connect, type IClientOptions, type MqttClient } from "mqtt";
import { errorMessage } from "@weir/shared/errors";
import { type BrokerMessage, installAckSeam } from "./broker-seam.ts";
import { AckBuffer, ackBytes, PUBACK, PUBREC } from "./mqtt-acks.ts";

/** Acknowledgements one connection may have waiting for a commit; reading stops there until then. */
export const WAITING_ACKS_MAX = 65_535;
/** A connection gets this long to part from the broker in order, ms. */
const PARTING_MS = 1_000;

/** What the connections of one source share, and what they ask of it. */
export interface BrokerHub {
  /** True while nobody is to read: back-pressure, or the end. */
  readonly paused: boolean;
  /** Messages accepted so far, and of them durable. */
  readonly acceptedCount: number;
  readonly committedCount: number;
  /** Passes a message on. Returns false when reading is to stop until committed(). */
  accept(topic: string, payload: Uint8Array): boolean;
  noteError(error: unknown): void;
  /** How long to wait before the next attempt to connect, ms. attempt: 0 after a connection that worked. */
  reconnectDelayMs(attempt: number): number;
}

export interface BrokerConnectionOptions {
  readonly url: string;
  readonly clientOptions: IClientOptions;
  /** Filters to subscribe to. */
  readonly filters: readonly string[];
  readonly qos: 0 | 1 | 2;
}

/**
 * One connection to a broker, with a session of its own. Acknowledgements are collected and written by flush(), in
 * order of receipt; those of a connection that has been lost are dropped, for the broker sends their messages again.
 */
export class BrokerConnection {
  readonly #hub: BrokerHub;
  readonly #options: BrokerConnectionOptions;
  readonly #client: MqttClient;
  readonly #acks: AckBuffer = new AckBuffer();
  /** The stream whose messages #acks belong to. */
  #acksStream: MqttClient["stream"] | null = null;
  /** QoS 2: packet ids between PUBLISH and PUBREL, with the hub's count of accepted messages when it came. */
  readonly #inFlight = new Map<number, number>();
  /** Goes on with the message at which reading stopped. */
  #goOn: (() => void) | null = null;
  #subscribed = false;
  #attempt = 0;
  #parting = false;

  constructor(hub: BrokerHub, options: BrokerConnectionOptions) {
    this.#hub = hub;
    this.#options = options;
    this.#client = connect(options.url, {
      ...options.clientOptions,
      manualConnect: true,
      // We subscribe ourselves; a broker that refuses us today may let us in tomorrow.
      resubscribe: false,
      reconnectOnConnackError: true,
      reconnectPeriod: hub.reconnectDelayMs(0),
    });
    const released = (messageId: number): void => void this.#inFlight.delete(messageId);
    installAckSeam(this.#client, (message, done) => this.#message(message, done, this.#client.stream), released);
    this.#client.on("connect", ({ sessionPresent }) => this.#connected(sessionPresent));
    this.#client.on("reconnect", () => this.#setReconnectDelay(++this.#attempt));
    this.#client.on("error", (error) => hub.noteError(error));
    this.#client.on("disconnect", ({ reasonCode }) => hub.noteError(`the broker ended the connection: ${reasonCode}`));
  }

  /** Connected, and subscribed to everything asked for. */
  get ready(): boolean {
    return this.#client.connected && this.#subscribed;
  }

  get unacknowledged(): number {
    return this.#acks.count;
  }

  start(): void {
    this.#client.connect();
  }

  /** Writes the acknowledgements that waited for the commit, in one write. */
  flush(): void {
    if (this.#acks.count === 0) return;
    if (this.#acksStream === this.#client.stream && this.#canWrite()) this.#client.stream.write(this.#acks.take());
    else this.#acks.clear();
  }

  /** Reads on after back-pressure. */
  resume(): void {
    const goOn = this.#goOn;
    this.#goOn = null;
    goOn?.();
  }

  /** Parts from the broker; what it still sends is thrown away and not acknowledged. */
  async close(): Promise<void> {
    this.#parting = true;
    // A client that was connected by hand forgets that it has been ended, and would connect again when its stream
    // closes after that.
    this.#client.options.reconnectPeriod = 0;
    this.resume();
    // Without a connection there is nobody to say goodbye to, and mqtt would wait for one.
    if (!this.#client.connected) return this.#client.endAsync(true);
    await new Promise<void>((resolve) => {
      // mqtt waits for a SUBACK that may never come; then the connection is cut.
      const timer = setTimeout(() => {
        this.#client.stream.destroy();
        resolve();
      }, PARTING_MS);
      this.#client.end(false, {}, () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** stream: the connection that the message came by. */
  #message(message: BrokerMessage, done: () => void, stream: MqttClient["stream"]): void {
    const { topic, payload, qos, messageId } = message;
    // A message that was held up while its connection was lost comes again by the next one. Acknowledged there, its
    // packet id might by then be another message's.
    const comesAgain = qos > 0 && stream !== this.#client.stream;
    if (this.#parting || comesAgain) return done();
    if (this.#hub.paused || this.#acks.count >= WAITING_ACKS_MAX) {
      this.#goOn = () => this.#message(message, done, stream);
      return;
    }
    if (qos === 2 && this.#repeats(messageId)) return done();
    const readOn = this.#hub.accept(topic, payload);
    if (qos === 2) this.#inFlight.set(messageId, this.#hub.acceptedCount);
    if (qos > 0) this.#hold(qos === 2 ? PUBREC : PUBACK, messageId);
    if (readOn) done();
    else this.#goOn = done;
  }

  /** True for a QoS 2 message that is in flight already; see ListenConnection. */
  #repeats(messageId: number): boolean {
    const acceptedAt = this.#inFlight.get(messageId);
    if (acceptedAt === undefined) return false;
    const durable = acceptedAt <= this.#hub.committedCount;
    this.#dropAcksOfLostConnection();
    // When others wait a commit is coming, and this keeps its place; on its own it would wait for nothing.
    if (!durable || this.#acks.count > 0) this.#hold(PUBREC, messageId);
    else if (this.#canWrite()) this.#client.stream.write(ackBytes(PUBREC, messageId));
    return true;
  }

  #hold(kind: number, messageId: number): void {
    this.#dropAcksOfLostConnection();
    if (this.#canWrite()) this.#acks.hold(kind, messageId);
  }

  #dropAcksOfLostConnection(): void {
    if (this.#acksStream === this.#client.stream) return;
    this.#acks.clear();
    this.#acksStream = this.#client.stream;
  }

  #canWrite(): boolean {
    return this.#client.stream.writable && !this.#client.stream.destroyed;
  }

  #connected(sessionPresent: boolean): void {
    if (!sessionPresent) {
      this.#inFlight.clear();
      this.#subscribed = false;
    }
    if (this.#subscribed) return this.#settled();
    const { filters, qos } = this.#options;
    // MQTT 5: retained messages only where the subscription is new, not once more on each start.
    const retained = this.#client.options.protocolVersion === 5 ? { rh: 1 } : {};
    this.#client.subscribe([...filters], { qos, ...retained }, (error, granted) => {
      const refused = granted?.filter((grant) => grant.qos >= 0x80).map((grant) => grant.topic) ?? [];
      if (error) this.#hub.noteError(`cannot subscribe to ${filters.join(", ")}: ${errorMessage(error)}`);
      else if (refused.length > 0) this.#hub.noteError(`the broker refuses to subscribe us to ${refused.join(", ")}`);
      else this.#settled();
    });
  }

  #settled(): void {
    this.#subscribed = true;
    this.#attempt = 0;
    this.#setReconnectDelay(0);
  }

  #setReconnectDelay(attempt: number): void {
    if (this.#parting) return;
    this.#client.options.reconnectPeriod = this.#hub.reconnectDelayMs(attempt);
  }
}
