import { Readable } from "node:stream";
import mqtt from "mqtt";
import type { IClientOptions, IStore, MqttClient } from "mqtt";
import type { SenderOptions } from "./sender.ts";

/** Counters of all connections together; see SenderCounts. */
export interface ConnectionCounts {
  messages: number;
  acknowledged: number;
  refused: number;
  inflight: number;
  resent: number;
  reconnects: number;
}

/** What a connection tells its owner. */
export interface ConnectionEvents {
  /** Ready for the first time or again; what had no acknowledgement has been sent once more. */
  ready(): void;
  /** Ready no longer; the client tries to come back by itself. */
  lost(): void;
  /** A message was acknowledged, or refused by the server with this error. */
  answered(topic: string, refusal: Error | undefined): void;
  /** The connection could not be made. final: the server refused it, and it is not tried again. everReady: it had been. */
  failed(error: Error, final: boolean, everReady: boolean): void;
}

/** One MQTT connection that comes back when lost. It keeps what has no acknowledgement, inflightMax messages at most. */
export interface Connection {
  readonly ready: boolean;
  full(): boolean;
  send(topic: string, payload: string): void;
  /** Disconnects. force: at once, without waiting for what is in the buffers. */
  end(force: boolean): Promise<void>;
  destroy(): void;
}

interface Message {
  readonly topic: string;
  readonly payload: string;
}

/** How long the client waits before it tries to connect again. */
export const RECONNECT_MS = 1_000;
/** Mosquitto's default window: it drops an MQTT 3.1.1 connection with more QoS 2 messages under way. */
const INFLIGHT_QOS2_MAX = 20;

/** Opens connection number `index` of a fleet; `counts` is shared by all of them. */
export function openConnection(
  options: SenderOptions,
  index: number,
  counts: ConnectionCounts,
  events: ConnectionEvents,
): Connection {
  const { qos } = options;
  const client = mqtt.connect(options.url, clientOptions(options, index));
  const inflight = new Set<Message>();
  let inflightMax = options.inflightMax;
  let ready = false;
  let everReady = false;

  const publish = (message: Message, again: boolean): void => {
    if (qos === 0) {
      // No callback: one for a message that waits for the network would be one listener on the socket each.
      client.publish(message.topic, message.payload, { qos });
      return;
    }
    client.publish(message.topic, message.payload, { qos, dup: again }, (error) => {
      // Any error that is not the server's answer is a lost connection, or our own tidying up after one: kept.
      if (error && !isReasonCode(error)) return;
      if (!inflight.delete(message)) return;
      counts.inflight--;
      if (error) counts.refused++;
      else counts.acknowledged++;
      events.answered(message.topic, error ?? undefined);
    });
  };

  client.on("connect", () => {
    inflightMax = Math.min(options.inflightMax, serverInflightMax(options, client));
    if (everReady) counts.reconnects++;
    everReady = true;
    ready = true;
    // Sent again all at once: the client's own store would wait for each acknowledgement before the next message.
    for (const id of Object.keys(client.outgoing)) client.removeOutgoingMessage(Number(id));
    for (const message of inflight) {
      counts.resent++;
      publish(message, true);
    }
    events.ready();
  });
  client.on("close", () => {
    if (ready) events.lost();
    ready = false;
  });
  // A refusal (bad password, not authorized) does not mend itself: the client stops trying.
  client.on("error", (error) => events.failed(error, isReasonCode(error), everReady));

  return {
    get ready() {
      return ready;
    },
    full: () => !ready || inflight.size >= inflightMax || client.stream.writableLength >= options.bufferBytesMax,
    send(topic, payload) {
      const message = { topic, payload };
      counts.messages++;
      if (qos > 0) {
        inflight.add(message);
        counts.inflight++;
      }
      publish(message, false);
    },
    end: (force) => new Promise((resolve) => client.end(force, {}, () => resolve())),
    destroy: () => void client.stream.destroy(),
  };
}

/** How many messages the server takes before it has acknowledged the first. MQTT 5 servers say so; 3.1.1 has no word for it. */
function serverInflightMax({ protocol, qos }: SenderOptions, client: MqttClient): number {
  return client.serverProperties?.receiveMaximum ?? (protocol === 4 && qos === 2 ? INFLIGHT_QOS2_MAX : Infinity);
}

function clientOptions(options: SenderOptions, index: number): IClientOptions {
  const { username, password, ca, cert, key } = options;
  return {
    protocolVersion: options.protocol,
    clientId: `${options.clientIdPrefix}-${index}`,
    clean: true,
    reconnectPeriod: RECONNECT_MS,
    // A message for a connection that is gone is our affair (see full), not a queue without a bound.
    queueQoSZero: false,
    outgoingStore: createForgetfulStore(),
    ...(username === "" ? {} : { username }),
    ...(password === "" ? {} : { password }),
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
}

/** A store that keeps nothing: messages without acknowledgement are in the connection's own hands already. */
function createForgetfulStore(): IStore {
  const store: IStore = {
    put(_packet, done) {
      done();
      return store;
    },
    createStream: () => Readable.from([]) as unknown as ReturnType<IStore["createStream"]>,
    del(_packet, done) {
      done();
      return store;
    },
    get(_packet, done) {
      done(new Error("Nothing is stored"));
      return store;
    },
    close: (done) => done(),
  };
  return store;
}

/** True for an answer of the server (MQTT reason code), false for trouble on the way there. */
function isReasonCode(error: Error): boolean {
  return "code" in error && typeof error.code === "number";
}
