import { type IClientOptions, MqttClient } from "mqtt";
import { errorMessage } from "@weir/shared/errors";
import { type BrokerAddress, openBrokerSocket } from "./broker-address.ts";
import { BrokerLink, type LinkHub, type OpenSocket } from "./broker-link.ts";
import type { MessageSession } from "./mqtt-messages.ts";
import type { TlsMaterial } from "./tls-files.ts";

/** A connection gets this long to part from the broker in order, ms. */
const PARTING_MS = 1_000;
/** A connection that has lasted this long is one that works: after it, the first wait is short again, ms. */
export const STEADY_MS = 10_000;

/** What the connections of one source share, and what they ask of it. */
export interface BrokerHub extends LinkHub {
  noteError(error: unknown): void;
  /** How long to wait before the next attempt to connect, ms. attempt: 0 after a connection that worked. */
  reconnectDelayMs(attempt: number): number;
}

export interface BrokerConnectionOptions {
  readonly address: BrokerAddress;
  readonly tls: TlsMaterial;
  readonly clientOptions: IClientOptions & { readonly protocolVersion: 4 | 5 };
  /** Filters to subscribe to. */
  readonly filters: readonly string[];
  readonly qos: 0 | 1 | 2;
}

/**
 * One connection to a broker, with a session of its own. mqtt connects, subscribes, pings and connects again; messages
 * go past it (see BrokerLink). Acknowledgements of a connection that has been lost are dropped with its link, for the
 * broker sends their messages again.
 */
export class BrokerConnection {
  readonly #hub: BrokerHub;
  readonly #options: BrokerConnectionOptions;
  readonly #client: MqttClient;
  readonly #session: MessageSession = { inFlight: null };
  #link: BrokerLink | null = null;
  #subscribed = false;
  #attempt = 0;
  #steadyTimer: NodeJS.Timeout | null = null;
  #parting = false;

  constructor(hub: BrokerHub, options: BrokerConnectionOptions) {
    this.#hub = hub;
    this.#options = options;
    this.#client = new MqttClient(() => this.#openLink().stream, {
      ...options.clientOptions,
      manualConnect: true,
      // We subscribe ourselves; a broker that refuses us today may let us in tomorrow.
      resubscribe: false,
      reconnectOnConnackError: true,
      reconnectPeriod: hub.reconnectDelayMs(0),
    });
    this.#client.on("connect", ({ sessionPresent }) => this.#connected(sessionPresent));
    this.#client.on("reconnect", () => this.#setReconnectDelay(++this.#attempt));
    this.#client.on("close", () => this.#stopSteadyTimer());
    this.#client.on("error", (error) => hub.noteError(error));
    this.#client.on("disconnect", ({ reasonCode }) => hub.noteError(`the broker ended the connection: ${reasonCode}`));
  }

  /** Connected, and subscribed to everything asked for. */
  get ready(): boolean {
    return this.#client.connected && this.#subscribed;
  }

  start(): void {
    this.#client.connect();
  }

  /** Reads on where reading was stopped. */
  resume(): void {
    this.#link?.resume();
  }

  /** Parts from the broker; what it still sends is thrown away and not acknowledged. */
  async close(): Promise<void> {
    this.#parting = true;
    this.#stopSteadyTimer();
    // A client that was connected by hand forgets that it has been ended, and would connect again when its stream
    // closes after that.
    this.#client.options.reconnectPeriod = 0;
    this.#link?.part();
    // Without a connection there is nobody to say goodbye to, and mqtt would wait for one.
    if (!this.#client.connected) return this.#client.endAsync(true);
    await new Promise<void>((resolve) => {
      // mqtt waits for a SUBACK that may never come; then the connection is cut.
      const timer = setTimeout(() => {
        this.#link?.stream.destroy();
        resolve();
      }, PARTING_MS);
      this.#client.end(false, {}, () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #openLink(): BrokerLink {
    const { address, tls, clientOptions } = this.#options;
    const open: OpenSocket = (buffer, take) => openBrokerSocket(address, tls, buffer, take);
    this.#link = new BrokerLink(open, this.#hub, this.#session, clientOptions.protocolVersion);
    return this.#link;
  }

  #connected(sessionPresent: boolean): void {
    if (!sessionPresent) this.#subscribed = false;
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
    this.#stopSteadyTimer();
    // Not at once: a connection that is ended by the first message it brings has not worked.
    this.#steadyTimer = setTimeout(() => {
      this.#attempt = 0;
      this.#setReconnectDelay(0);
    }, STEADY_MS);
    this.#steadyTimer.unref();
  }

  #stopSteadyTimer(): void {
    if (this.#steadyTimer !== null) clearTimeout(this.#steadyTimer);
    this.#steadyTimer = null;
  }

  #setReconnectDelay(attempt: number): void {
    if (this.#parting) return;
    this.#client.options.reconnectPeriod = this.#hub.reconnectDelayMs(attempt);
  }
}
