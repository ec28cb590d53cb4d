import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { assert, CodedError, errorMessage } from "@weir/shared/errors";
import type { Gather } from "./gather.ts";
import { HOLDING, MessageFlow, SHEDDING } from "./message-flow.ts";
import { ListenConnection } from "./listen-connection.ts";
import type { ListenCounters, ListenHub } from "./listen-hub.ts";
import { publishQos0 } from "./mqtt-control.ts";
import { PUBLISH_OVERHEAD_BYTES } from "./mqtt-publish.ts";
import { createPasswordCheck, parsePasswordFile, type PasswordCheck } from "./passwords.ts";
import { newReadBuffer } from "./socket-input.ts";
import type { Ingest, LocalPublisher, Source, SourceStatus } from "./source.ts";
import { readTlsFiles, type TlsFiles } from "./tls-files.ts";
import { LOCAL_TOPIC_ROOT } from "./topic-filter.ts";

/** How often silence is looked for, ms. */
const TICK_MS = 500;
/** Connections not accepted yet that the system may queue. */
const BACKLOG = 511;

export interface ListenOptions {
  /** For the ledger and metrics; default "listen". */
  readonly name?: string;
  readonly host: string;
  /** 0: any free one; see address(). */
  readonly port: number;
  /** Lets clients in that bring no user name. */
  readonly anonymous: boolean;
  /** Path of `user:scrypt$salt$hash` lines; absent or "": no user is known, and names are not looked at. */
  readonly passwordFile?: string;
  /** cert and key: speak TLS. ca: clients must show a certificate of these authorities, which lets them in. */
  readonly tls?: TlsFiles;
  /** Connections at once; more are closed at once and counted. Default 10,000. */
  readonly connectionsMax?: number;
  /** A PUBLISH with a longer payload is passed over, refused and acknowledged. Default 256 KiB. */
  readonly payloadBytesMax?: number;
  /** A PUBLISH longer than this ends its connection. Default 16 MiB, at least the above. */
  readonly skipBytesMax?: number;
  /** Bytes in incomplete frames of all connections together; beyond, the connection that asks is ended. Default 64 MiB. */
  readonly partialBytesMax?: number;
  /** Bytes written and not yet read by one client; beyond, it is not read from, and gets no alerts. Default 1 MiB. */
  readonly writeBytesMax?: number;
  /** QoS 1 and 2 messages that one MQTT 5 client may have unacknowledged. Default 65,535. */
  readonly receiveMaximum?: number;
  /** Topic aliases of one connection (MQTT 5). Default 32. */
  readonly topicAliasMax?: number;
  /** A connection that has not sent CONNECT after this is given up, ms. Default 10 s. */
  readonly connectTimeoutMs?: number;
  /** Makes the id of a client that brings none. */
  readonly newClientId?: () => string;
  /** Of the thread, where it may sleep; null: sockets are read as soon as they are ready. Default null. */
  readonly gather?: Gather | null;
}

/** The agent's own MQTT endpoint. */
export interface ListenSource extends Source, LocalPublisher {
  /** Where it listens, after start(). */
  address(): { readonly host: string; readonly port: number };
  status(): SourceStatus & { readonly counters: Readonly<ListenCounters> };
}

/**
 * Makes the endpoint: MQTT 3.1.1 (3.1 as well) and 5. Sessions end with their connection and retained messages are not
 * kept: a message is either durable in the agent or still the client's. Throws on start() CodedError PASSWORD_FILE,
 * TLS_FILES, LISTEN_FAILED.
 */
export function createListenSource(ingest: Ingest, options: ListenOptions): ListenSource {
  const name = options.name ?? "listen";
  const hub = new Hub(ingest, name, options);
  let server: Server | null = null;
  let ticking: NodeJS.Timeout | null = null;

  return {
    name,
    async start() {
      hub.checkPassword = readPasswords(options);
      server = await openServer(hub, options);
      ticking = setInterval(() => hub.advanceTick(), TICK_MS);
      ticking.unref();
    },
    seal: () => hub.flow.seal(),
    committed: () => hub.flow.committed(),
    readOn: () => hub.readOn(),
    shed: () => hub.shed(),
    stop() {
      hub.stop();
      server?.close();
    },
    async close() {
      hub.stop();
      if (ticking) clearInterval(ticking);
      const opened = server;
      server = null;
      if (!opened) return;
      // close() calls back when the last connection has gone, which those that linger do within LINGER_MS.
      const closed = new Promise<void>((resolve) => opened.close(() => resolve()));
      hub.endConnections();
      await closed;
    },
    address() {
      const address = server?.address();
      assert(typeof address === "object" && address !== null, `${name}: address() before start()`);
      return { host: address.address, port: address.port };
    },
    publishLocal: (topic, payload) => hub.publishLocal(topic, payload),
    status: () => ({
      name,
      connected: server?.listening ?? false,
      connections: hub.connections.size,
      messages: hub.flow.messages,
      bytes: hub.counters.bytes,
      reads: hub.counters.reads,
      sleeps: hub.gather?.sleeps ?? 0,
      unacknowledged: hub.flow.unacknowledged,
      lastError: hub.lastError,
      counters: hub.counters,
    }),
  };
}

/** What the connections share; see ListenHub. */
class Hub implements ListenHub {
  readonly flow: MessageFlow;
  readonly #anonymous: boolean;
  readonly #connectTimeoutTicks: number;
  readonly #clients = new Map<string, ListenConnection>();
  readonly #newClientId: () => string;
  readonly #certificatesAdmit: boolean;
  readonly limits: ListenHub["limits"];
  readonly partialBudget: ListenHub["partialBudget"];
  readonly tickMs = TICK_MS;
  readonly connections = new Set<ListenConnection>();
  readonly counters: ListenCounters = {
    bytes: 0,
    reads: 0,
    connectionsRefused: 0,
    loginsRefused: 0,
    takeOvers: 0,
    timeouts: 0,
    overBudget: 0,
    writeStalls: 0,
    localDropped: 0,
  };
  checkPassword: PasswordCheck | null = null;
  reading: ListenConnection | null = null;
  tick = 0;
  readonly readBuffer: Buffer = newReadBuffer();
  readonly gather: Gather | null;
  lastError: string | null = null;
  /**
   * Turns after back-pressure: those with messages in hand and those whose messages are still in their sockets go first
   * by turns, for whoever goes first may fill the next block alone.
   */
  #socketsFirst = false;

  constructor(ingest: Ingest, name: string, options: ListenOptions) {
    this.flow = new MessageFlow(ingest, name, () => this.#full());
    this.gather = options.gather ?? null;
    this.#anonymous = options.anonymous;
    this.#certificatesAdmit = Boolean(options.tls?.ca);
    this.#connectTimeoutTicks = Math.ceil((options.connectTimeoutMs ?? 10_000) / TICK_MS);
    this.#newClientId = options.newClientId ?? (() => `weir-${randomUUID()}`);
    const packetBytesMax = (options.payloadBytesMax ?? 256 * 1024) + PUBLISH_OVERHEAD_BYTES;
    this.limits = {
      frameBytesMax: packetBytesMax,
      packetBytesMax,
      skipBytesMax: Math.max(packetBytesMax, options.skipBytesMax ?? 16 * 1024 * 1024),
      writeBytesMax: options.writeBytesMax ?? 1024 * 1024,
      receiveMaximum: options.receiveMaximum ?? 65_535,
      topicAliasMax: options.topicAliasMax ?? 32,
      isFromServer: false,
    };
    this.partialBudget = { bytes: 0, bytesMax: options.partialBytesMax ?? 64 * 1024 * 1024 };
  }

  passOnWill(topic: string, payload: Buffer): void {
    // After stop() only the wills of those that the end of the program has cut off come here.
    if (this.flow.stopped) return;
    const { topics } = this.flow;
    const name = Buffer.from(topic);
    const will = topics.topics[topics.find(name, 0, name.length, 0)]!;
    this.flow.port.turn();
    if (this.flow.state === SHEDDING) this.flow.drop(will, payload, 0, payload.length);
    else this.flow.accept(will, payload, 0, payload.length);
  }

  readOn(): void {
    if (!this.flow.readOn()) return;
    this.#socketsFirst = !this.#socketsFirst;
    if (!this.#socketsFirst) this.#resumeThoseInHand();
    if (this.#isFull()) return;
    for (const connection of this.connections) if (!connection.inHand) connection.resume();
    // Between two immediates lies a poll, in which the sockets are read.
    if (this.#socketsFirst) setImmediate(() => setImmediate(() => this.#resumeThoseInHand()));
  }

  shed(): void {
    if (!this.flow.shed()) return;
    for (const connection of this.connections) connection.resume();
  }

  /** Lets connections go on with what they have read already, until one of them fills the block again. */
  #resumeThoseInHand(): void {
    for (const connection of this.connections) {
      if (this.#isFull()) return;
      if (connection.inHand) connection.resume();
    }
  }

  advanceTick(): void {
    this.tick++;
    for (const connection of this.connections) connection.checkSilence(this.#connectTimeoutTicks);
  }

  stop(): void {
    if (this.flow.stopped) return;
    this.flow.stop();
    for (const connection of this.connections) connection.pause();
  }

  endConnections(): void {
    for (const connection of this.connections) connection.shutDown();
  }

  publishLocal(topic: string, payload: string | Uint8Array): void {
    const right = topic.startsWith(`${LOCAL_TOPIC_ROOT}/`) && !/[+#\0]/.test(topic);
    assert(right, `publishLocal wants a topic below ${LOCAL_TOPIC_ROOT}/ without wildcards, not ${topic}`);
    const encoded: Array<Buffer | undefined> = [];
    const bytes = Buffer.from(payload);
    const encode = (version: number): Buffer => (encoded[version] ??= publishQos0(version, topic, bytes));
    for (const connection of this.connections) connection.deliver(topic, encode);
  }

  admits(username: string | undefined, password: Uint8Array | undefined): boolean | Promise<boolean> {
    if (username === undefined) return this.#anonymous || this.#certificatesAdmit;
    if (this.checkPassword === null) return this.#anonymous || this.#certificatesAdmit;
    return this.checkPassword(username, password ?? new Uint8Array(0));
  }

  newClientId(): string {
    return this.#newClientId();
  }

  take(socket: Socket): void {
    this.connections.add(new ListenConnection(socket, this));
  }

  opened(connection: ListenConnection): void {
    const earlier = this.#clients.get(connection.clientId);
    this.#clients.set(connection.clientId, connection);
    if (!earlier) return;
    this.counters.takeOvers++;
    earlier.yieldTo();
  }

  left(connection: ListenConnection): void {
    if (this.#clients.get(connection.clientId) === connection) this.#clients.delete(connection.clientId);
  }

  gone(connection: ListenConnection): void {
    this.connections.delete(connection);
  }

  noteError(error: unknown): void {
    this.lastError = errorMessage(error);
  }

  #isFull(): boolean {
    return this.flow.state === HOLDING;
  }

  /** There is no more room: everybody's reading stops. */
  #full(): void {
    for (const connection of this.connections) connection.pause();
    // To the end of the line, so that all that have messages in hand come round.
    const by = this.reading;
    if (by !== null && this.connections.delete(by)) this.connections.add(by);
  }
}

function readPasswords(options: ListenOptions): PasswordCheck | null {
  if (!options.passwordFile) return null;
  let text: string;
  try {
    text = readFileSync(options.passwordFile, "utf8");
  } catch (error) {
    throw new CodedError("PASSWORD_FILE", `The password file cannot be read: ${errorMessage(error)}`, { cause: error });
  }
  return createPasswordCheck(parsePasswordFile(options.passwordFile, text));
}

async function openServer(hub: Hub, options: ListenOptions): Promise<Server> {
  const { ca, cert, key } = readTlsFiles("The MQTT endpoint", options.tls ?? {});
  let server: Server;
  if (cert && key) {
    const clients = ca ? { ca, requestCert: true, rejectUnauthorized: true } : {};
    const handshakeTimeout = options.connectTimeoutMs ?? 10_000;
    server = createTlsServer({ cert, key, handshakeTimeout, ...clients }, (socket) => hub.take(socket));
    server.on("tlsClientError", (error: Error) => hub.noteError(error));
  } else {
    if (ca) throw new CodedError("TLS_FILES", "The MQTT endpoint has TLS authorities but no certificate and key.");
    server = createServer({ pauseOnConnect: true }, (socket) => hub.take(socket));
  }
  server.maxConnections = options.connectionsMax ?? 10_000;
  server.on("drop", () => hub.counters.connectionsRefused++);
  server.listen({ host: options.host, port: options.port, backlog: BACKLOG });
  try {
    await once(server, "listening");
  } catch (error) {
    const message = `The MQTT endpoint cannot listen on ${options.host}:${options.port}: ${errorMessage(error)}`;
    throw new CodedError("LISTEN_FAILED", message, { cause: error });
  }
  server.on("error", (error) => hub.noteError(error));
  return server;
}
