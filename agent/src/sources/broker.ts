import { CodedError, errorMessage } from "@weir/shared/errors";
import type { IClientOptions } from "mqtt";
import { BrokerConnection, type BrokerHub } from "./broker-connection.ts";
import { assertAckSeam } from "./broker-seam.ts";
import type { Ingest, Source, SourceStatus } from "./source.ts";
import { readTlsFiles, type TlsFiles } from "./tls-files.ts";

/** First wait before connecting again, ms; doubled with each attempt. */
export const RECONNECT_FIRST_MS = 500;
/** Longest wait before connecting again, ms. */
export const RECONNECT_MS_MAX = 30_000;
/** Largest packet that an MQTT 5 broker may send, bytes: what mqtt holds of a packet that is not complete. */
const PACKET_BYTES_MAX: number = 16 * 1024 * 1024;
const KEEP_ALIVE_S = 30;
const CONNECT_TIMEOUT_MS = 10_000;

export interface BrokerOptions {
  /** For the ledger and metrics; default "broker". */
  readonly name?: string;
  /** mqtt://host:port or mqtts://host:port. */
  readonly url: string;
  /** MQTT filters to subscribe to, such as sensors/+/+/+. */
  readonly topics: readonly string[];
  readonly qos: 0 | 1 | 2;
  /** Of the session that the broker keeps; connection n is `clientId-n`. */
  readonly clientId: string;
  readonly username?: string;
  readonly password?: string;
  /** 4: MQTT 3.1.1. */
  readonly protocolVersion: 4 | 5;
  /** How long the broker keeps the session of an agent that is away, seconds (MQTT 5). Default one day. */
  readonly sessionExpiryS?: number;
  /** Messages in flight, at most (MQTT 5; with 3.1.1 the broker decides). Default 65,535. */
  readonly receiveMaximum?: number;
  /** Name of a shared subscription; absent or "": not shared. */
  readonly sharedGroup?: string;
  /** Connections, each with a session of its own; more than one needs sharedGroup. Default 1. */
  readonly connections?: number;
  readonly tls?: TlsFiles;
  /** A number in [0, 1) for the jitter of reconnects. Default Math.random. */
  readonly random?: () => number;
  readonly reconnectFirstMs?: number;
}

/**
 * Makes a source that subscribes at a broker with a persistent session. A message is acknowledged after the commit that
 * holds it; one that was not, for whatever reason, the broker sends again. start() throws CodedError BROKER_OPTIONS,
 * TLS_FILES, and BROKER_SEAM where the mqtt package cannot be kept from acknowledging early; it does not wait for the
 * broker.
 */
export function createBrokerSource(ingest: Ingest, options: BrokerOptions): Source {
  const name = options.name ?? "broker";
  const hub = new Hub(ingest, name, options);
  let connections: BrokerConnection[] = [];
  return {
    name,
    async start() {
      const count = options.connections ?? 1;
      checkOptions(options, count);
      await assertAckSeam();
      const prefix = options.sharedGroup ? `$share/${options.sharedGroup}/` : "";
      const filters = options.topics.map((topic) => prefix + topic);
      const { url, qos } = options;
      const template = clientOptions(options);
      connections = Array.from({ length: count }, (_, index) => {
        const own = { ...template, clientId: `${options.clientId}-${index + 1}` };
        return new BrokerConnection(hub, { url, qos, filters, clientOptions: own });
      });
      for (const connection of connections) connection.start();
    },
    committed() {
      hub.committedCount = hub.acceptedCount;
      for (const connection of connections) connection.flush();
      if (hub.stopped) return;
      hub.paused = false;
      for (const connection of connections) connection.resume();
    },
    stop() {
      hub.stopped = true;
      hub.paused = true;
    },
    async close() {
      hub.stopped = true;
      hub.paused = true;
      await Promise.all(connections.map((connection) => connection.close()));
      connections = [];
    },
    status(): SourceStatus {
      const ready = connections.filter((connection) => connection.ready).length;
      return {
        name,
        connected: ready > 0 && ready === connections.length,
        connections: ready,
        messages: hub.acceptedCount,
        bytes: hub.bytes,
        unacknowledged: connections.reduce((sum, connection) => sum + connection.unacknowledged, 0),
        lastError: hub.lastError,
      };
    },
  };
}

/** What the connections share; see BrokerHub. */
class Hub implements BrokerHub {
  readonly #ingest: Ingest;
  readonly #name: string;
  readonly #random: () => number;
  readonly #reconnectFirstMs: number;
  paused = false;
  stopped = false;
  acceptedCount = 0;
  committedCount = 0;
  bytes = 0;
  lastError: string | null = null;

  constructor(ingest: Ingest, name: string, options: BrokerOptions) {
    this.#ingest = ingest;
    this.#name = name;
    this.#random = options.random ?? Math.random;
    this.#reconnectFirstMs = options.reconnectFirstMs ?? RECONNECT_FIRST_MS;
  }

  accept(topic: string, payload: Uint8Array): boolean {
    this.acceptedCount++;
    this.bytes += topic.length + payload.length;
    const readOn = this.#ingest.accept(this.#name, topic, payload);
    if (!readOn) this.paused = true;
    return readOn;
  }

  noteError(error: unknown): void {
    // Node reports several failed addresses as one error with a code and no message.
    this.lastError = errorMessage(error) || String((error as { code?: unknown }).code);
  }

  /** Doubles up to RECONNECT_MS_MAX; half of it is chance, so that a fleet does not come back at one moment. */
  reconnectDelayMs(attempt: number): number {
    const longest = Math.min(RECONNECT_MS_MAX, this.#reconnectFirstMs * 2 ** Math.min(attempt, 20));
    return Math.ceil(longest / 2 + (longest / 2) * this.#random());
  }
}

function checkOptions(options: BrokerOptions, connections: number): void {
  const bad = (problem: string): CodedError => new CodedError("BROKER_OPTIONS", `Broker ${options.url}: ${problem}.`);
  if (!/^(mqtts?|tcp|ssl|tls):\/\/[^/]+/.test(options.url))
    throw bad("write the address as mqtt://host:port or mqtts://host:port");
  if (options.topics.length === 0) throw bad("there is no topic to subscribe to");
  if (options.clientId === "") throw bad("a session needs a client id");
  if (connections > 1 && !options.sharedGroup) {
    throw bad(
      `${connections} connections without a shared group would each get every message; give shared_group a name`,
    );
  }
}

function clientOptions(options: BrokerOptions): IClientOptions {
  const version5 = {
    sessionExpiryInterval: options.sessionExpiryS ?? 86_400,
    receiveMaximum: options.receiveMaximum ?? 65_535,
    maximumPacketSize: PACKET_BYTES_MAX,
  };
  return {
    protocolVersion: options.protocolVersion,
    clean: false,
    keepalive: KEEP_ALIVE_S,
    connectTimeout: CONNECT_TIMEOUT_MS,
    ...(options.username ? { username: options.username } : {}),
    ...(options.password ? { password: options.password } : {}),
    ...(options.protocolVersion === 5 ? { properties: version5 } : {}),
    ...readTlsFiles(`Broker ${options.url}`, options.tls ?? {}),
  };
}
