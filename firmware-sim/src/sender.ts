import { CodedError, errorMessage } from "@weir/shared/errors";
import { RECONNECT_MS, openConnection } from "./connection.ts";
import type { Connection, ConnectionCounts } from "./connection.ts";

export interface SenderOptions {
  readonly url: string;
  readonly username: string;
  readonly password: string;
  /** PEM texts; undefined: none. */
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
  readonly protocol: 4 | 5;
  readonly qos: 0 | 1 | 2;
  readonly connections: number;
  readonly inflightMax: number;
  readonly bufferBytesMax: number;
  /** Client identifiers are this, a dash and the number of the connection. */
  readonly clientIdPrefix: string;
}

/** Called by the sender; each may be called at any time. */
export interface SenderEvents {
  /** There is room again after full() was true, or a connection is ready. */
  room(): void;
  /** Something a person should know, such as a lost connection; not more than one in WARN_EVERY_MS. */
  warn(message: string): void;
  /** The server refused a connection that it had taken before, and will not be asked again: the run should end. */
  refused(message: string): void;
}

export interface SenderCounts {
  /** Messages handed to the network, duplicates included, repetitions after a lost connection not. */
  readonly messages: number;
  /** QoS 1 and 2: messages the server has acknowledged. 0 with QoS 0, which has no acknowledgements. */
  readonly acknowledged: number;
  /** Messages the server refused with a reason code (MQTT 5). */
  readonly refused: number;
  /** Messages sent and not yet acknowledged. */
  readonly inflight: number;
  /** Messages sent again because the connection was lost before their acknowledgement. */
  readonly resent: number;
  readonly reconnects: number;
}

/** Messages over one or more MQTT connections, with bounded buffers. Keeps no more than inflightMax a connection. */
export interface Sender {
  /**
   * Resolves when every connection is ready, or stop is aborted. timeoutMs 0: no limit.
   * Throws CodedError CONNECT_REFUSED or CONNECT_TIMEOUT.
   */
  connect(timeoutMs: number, stop: AbortSignal): Promise<void>;
  /** True while a connection (any number ≥ 0; taken modulo connections) has no room for another message. */
  full(connection: number): boolean;
  /** Sends one message. Ask full() first: this does not refuse. */
  send(connection: number, topic: string, payload: string): void;
  counts(): SenderCounts;
  /** Waits for missing acknowledgements, timeoutMs > 0 at most; resolves with how many are still missing. */
  drain(timeoutMs: number): Promise<number>;
  /** Disconnects; what is in the buffers is written first, for timeoutMs at most. */
  close(timeoutMs: number): Promise<void>;
}

/** Not more than one warning in this time: a server that is away would fill the screen. */
const WARN_EVERY_MS = 5_000;

/** Opens the connections of a fleet; they come back by themselves when lost. nowMs: any clock, for rate limits only. */
export function createSender(options: SenderOptions, events: SenderEvents, nowMs: () => number): Sender {
  const counts: ConnectionCounts = { messages: 0, acknowledged: 0, refused: 0, inflight: 0, resent: 0, reconnects: 0 };
  const waiter = createWaiter();
  const again = `trying again every ${RECONNECT_MS} ms`;
  let refusal: Error | undefined;
  let lastError = "no answer";
  let warnedAtMs = -Infinity;
  let closing = false;

  const warn = (message: string): void => {
    if (closing || nowMs() - warnedAtMs < WARN_EVERY_MS) return;
    warnedAtMs = nowMs();
    events.warn(message);
  };
  const connections = Array.from({ length: options.connections }, (_, index) =>
    openConnection(options, index, counts, {
      ready() {
        waiter.look();
        events.room();
      },
      lost: () => warn(`Lost the connection to ${options.url}; ${again}.`),
      answered(topic, error) {
        if (error) warn(`The server refused a message on ${topic}: ${error.message}`);
        events.room();
        if (counts.inflight === 0) waiter.look();
      },
      failed(error, final, everReady) {
        lastError = describe(error);
        if (!final) warn(`Cannot reach ${options.url}: ${lastError}; ${again}.`);
        else if (everReady) events.refused(`${options.url} refused us: ${lastError}.`);
        if (final) refusal = error;
        waiter.look();
      },
    }),
  );
  const at = (connection: number): Connection => connections[connection % connections.length] as Connection;

  return {
    async connect(timeoutMs, stop) {
      stop.addEventListener("abort", () => waiter.look(), { once: true });
      const allReady = (): boolean => connections.every((connection) => connection.ready);
      await waiter.until(() => allReady() || refusal !== undefined || stop.aborted, timeoutMs);
      if (stop.aborted) return;
      if (refusal) throw new CodedError("CONNECT_REFUSED", `${options.url} refused us: ${errorMessage(refusal)}.`);
      if (!allReady()) {
        const waited = `within mqtt.connect_timeout = ${timeoutMs} ms`;
        throw new CodedError("CONNECT_TIMEOUT", `Not connected to ${options.url} ${waited}: ${lastError}.`);
      }
    },
    full: (connection) => at(connection).full(),
    send: (connection, topic, payload) => at(connection).send(topic, payload),
    counts: () => ({ ...counts }),
    async drain(timeoutMs) {
      await waiter.until(() => counts.inflight === 0 || refusal !== undefined, timeoutMs);
      return counts.inflight;
    },
    async close(timeoutMs) {
      closing = true;
      const ended = Promise.all(connections.map((each) => each.end(!each.ready || counts.inflight > 0)));
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, timeoutMs)));
      await Promise.race([ended, late]);
      clearTimeout(timer);
      for (const connection of connections) connection.destroy();
    },
  };
}

/** Lets one caller wait for a condition that others may have changed. */
function createWaiter(): { look(): void; until(done: () => boolean, timeoutMs: number): Promise<void> } {
  let look: () => void = () => {};
  return {
    look: () => look(),
    until: (done, timeoutMs) =>
      new Promise((resolve) => {
        const finish = (): void => {
          clearTimeout(timer);
          look = () => {};
          resolve();
        };
        const timer = timeoutMs > 0 ? setTimeout(finish, timeoutMs) : undefined;
        look = () => {
          if (done()) finish();
        };
        look();
      }),
  };
}

/** Connection errors carry a code, and often no message at all (AggregateError of several addresses). */
function describe(error: Error): string {
  const code = "code" in error ? String(error.code) : "";
  return error.message || code || error.name;
}
