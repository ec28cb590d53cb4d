import { CodedError, errorMessage } from "@weir/shared/errors";
import { type BrokerAddress, parseBrokerAddress } from "./broker-address.ts";
import { BrokerConnection, type BrokerConnectionOptions, type BrokerHub } from "./broker-connection.ts";
import type { Gather } from "./gather.ts";
import { MessageFlow } from "./message-flow.ts";
import { PUBLISH_OVERHEAD_BYTES } from "./mqtt-publish.ts";
import { newReadBuffer } from "./socket-input.ts";
import type { Ingest, Source, SourceStatus } from "./source.ts";
import { readTlsFiles, type TlsFiles } from "./tls-files.ts";

/** First wait before connecting again, ms; doubled with each attempt. */
export const RECONNECT_FIRST_MS = 500;
/** Longest wait before connecting again, ms. */
export const RECONNECT_MS_MAX = 30_000;
/** Largest packet that MQTT has, bytes. */
const PACKET_BYTES_MAX: number = 256 * 1024 * 1024 + 4;
/** Bytes in hand of all connections together. */
const PARTIAL_BYTES_MAX: number = 64 * 1024 * 1024;
/** Bytes written and not yet read by the broker; beyond, it is not read from. */
const WRITE_BYTES_MAX: number = 1024 * 1024;
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
  /** How often the broker hears of us at least, seconds. Default 30. */
  readonly keepAliveS?: number;
  /** Messages in flight, at most (MQTT 5; with 3.1.1 the broker decides). Default 65,535. */
  readonly receiveMaximum?: number;
  /** A message with a longer payload is passed over, refused and acknowledged. Default 256 KiB. */
  readonly payloadBytesMax?: number;
  /** Name of a shared subscription; absent or "": not shared. */
  readonly sharedGroup?: string;
  /** Connections, each with a session of its own; more than one needs sharedGroup. Default 1. */
  readonly connections?: number;
  readonly tls?: TlsFiles;
  /** A number in [0, 1) for the jitter of reconnects. Default Math.random. */
  readonly random?: () => number;
  readonly reconnectFirstMs?: number;
  /** Of the thread, where it may sleep; null: sockets are read as soon as they are ready. Default null. */
  readonly gather?: Gather | null;
}

/**
 * Makes a source that subscribes at a broker with a persistent session. A message is acknowledged after the commit that
 * holds it; one that was not, for whatever reason, the broker sends again. start() throws CodedError BROKER_OPTIONS and
 * TLS_FILES; it does not wait for the broker.
 */
export function createBrokerSource(ingest: Ingest, options: BrokerOptions): Source {
  const name = options.name ?? "broker";
  const hub = new Hub(ingest, name, options);
  let connections: BrokerConnection[] = [];
  return {
    name,
    async start() {
      const count = options.connections ?? 1;
      const address = checkOptions(options, count);
      const prefix = options.sharedGroup ? `$share/${options.sharedGroup}/` : "";
      const filters = options.topics.map((topic) => prefix + topic);
      const tls = readTlsFiles(`Broker ${options.url}`, options.tls ?? {});
      const template = clientOptions(options, address);
      connections = Array.from({ length: count }, (_, index) => {
        const own = { ...template, clientId: `${options.clientId}-${index + 1}` };
        return new BrokerConnection(hub, { address, tls, qos: options.qos, filters, clientOptions: own });
      });
      for (const connection of connections) connection.start();
    },
    seal: () => hub.flow.seal(),
    committed: () => hub.flow.committed(),
    readOn() {
      if (hub.flow.readOn()) for (const connection of connections) connection.resume();
    },
    shed() {
      if (hub.flow.shed()) for (const connection of connections) connection.resume();
    },
    stop: () => hub.flow.stop(),
    async close() {
      hub.flow.stop();
      await Promise.all(connections.map((connection) => connection.close()));
      connections = [];
    },
    status(): SourceStatus {
      const ready = connections.filter((connection) => connection.ready).length;
      return {
        name,
        connected: ready > 0 && ready === connections.length,
        connections: ready,
        messages: hub.flow.messages,
        bytes: hub.counters.bytes,
        reads: hub.counters.reads,
        sleeps: hub.gather?.sleeps ?? 0,
        unacknowledged: hub.flow.unacknowledged,
        lastError: hub.lastError,
      };
    },
  };
}

/** What the connections share; see BrokerHub. */
class Hub implements BrokerHub {
  readonly #random: () => number;
  readonly #reconnectFirstMs: number;
  readonly flow: MessageFlow;
  readonly limits: BrokerHub["limits"];
  readonly partialBudget: BrokerHub["partialBudget"] = { bytes: 0, bytesMax: PARTIAL_BYTES_MAX };
  readonly counters: BrokerHub["counters"] = { bytes: 0, reads: 0 };
  readonly readBuffer: Buffer = newReadBuffer();
  readonly gather: Gather | null;
  lastError: string | null = null;

  constructor(ingest: Ingest, name: string, options: BrokerOptions) {
    this.flow = new MessageFlow(ingest, name);
    this.gather = options.gather ?? null;
    this.#random = options.random ?? Math.random;
    this.#reconnectFirstMs = options.reconnectFirstMs ?? RECONNECT_FIRST_MS;
    this.limits = {
      frameBytesMax: (options.payloadBytesMax ?? 256 * 1024) + PUBLISH_OVERHEAD_BYTES,
      skipBytesMax: PACKET_BYTES_MAX,
      writeBytesMax: WRITE_BYTES_MAX,
      // Not looked at: there are no more packet ids than that, and what waits has a bound of its own.
      receiveMaximum: Infinity,
      topicAliasMax: 0,
      isFromServer: true,
    };
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

function checkOptions(options: BrokerOptions, connections: number): BrokerAddress {
  const bad = (problem: string): CodedError => new CodedError("BROKER_OPTIONS", `Broker ${options.url}: ${problem}.`);
  // Somebody who has given a certificate does not mean to go without TLS.
  const address = parseBrokerAddress(options.url, Boolean(options.tls?.cert && options.tls.key));
  if (options.topics.length === 0) throw bad("there is no topic to subscribe to");
  if (options.clientId === "") throw bad("a session needs a client id");
  if (connections > 1 && !options.sharedGroup) {
    throw bad(
      `${connections} connections without a shared group would each get every message; give shared_group a name`,
    );
  }
  return address;
}

function clientOptions(options: BrokerOptions, address: BrokerAddress): BrokerConnectionOptions["clientOptions"] {
  const version5 = {
    sessionExpiryInterval: options.sessionExpiryS ?? 86_400,
    receiveMaximum: options.receiveMaximum ?? 65_535,
  };
  const username = address.username ?? options.username;
  const password = address.password ?? options.password;
  return {
    protocolVersion: options.protocolVersion,
    clean: false,
    keepalive: options.keepAliveS ?? KEEP_ALIVE_S,
    connectTimeout: CONNECT_TIMEOUT_MS,
    ...(username ? { username } : {}),
    ...(password ? { password } : {}),
    ...(options.protocolVersion === 5 ? { properties: version5 } : {}),
  };
}
