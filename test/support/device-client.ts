import { connect } from "node:net";
import type { Socket } from "node:net";
import mqttPacket from "mqtt-packet";

/** A message that a device keeps until it is acknowledged. */
interface Unacknowledged {
  readonly id: number;
  readonly topic: string;
  readonly payload: string;
  sent: boolean;
}

const RECONNECT_MS = 60;
/** Messages on their way at once, at most. */
const WINDOW = 40;

/**
 * A device that publishes at QoS 1 over MQTT 3.1.1 and keeps each message until its PUBACK has come, over as many
 * connections as it takes; what is sent again has the DUP flag, or, as many devices have it, not.
 */
export class DeviceClient {
  /** Called for each PUBACK, as soon as its bytes have come. */
  onAck: () => void = () => {};
  acknowledged = 0;
  readonly #port: number;
  readonly #clientId: string;
  readonly #setsDup: boolean;
  readonly #waiting: Unacknowledged[] = [];
  #socket: Socket | undefined;
  #isWelcome = false;
  #isClosed = false;
  #nextId = 0;
  #timer: NodeJS.Timeout | undefined;

  /** port: of 127.0.0.1. setsDup: whether messages sent again say so. */
  constructor(port: number, clientId: string, setsDup: boolean) {
    this.#port = port;
    this.#clientId = clientId;
    this.#setsDup = setsDup;
    this.#connect();
  }

  /** Messages not yet acknowledged. */
  get pending(): number {
    return this.#waiting.length;
  }

  publish(topic: string, payload: string): void {
    this.#nextId = (this.#nextId % 65_535) + 1;
    this.#waiting.push({ id: this.#nextId, topic, payload, sent: false });
    this.#pump();
  }

  /** Ends the connection without a word; the device comes back by itself. */
  drop(): void {
    this.#socket?.destroy();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#socket?.destroy();
  }

  #connect(): void {
    const socket = connect(this.#port, "127.0.0.1");
    this.#socket = socket;
    const parser = mqttPacket.parser({ protocolVersion: 4 });
    parser.on("packet", (packet) => {
      if (packet.cmd === "connack") this.#welcome();
      else if (packet.cmd === "puback") this.#settle(packet.messageId ?? 0);
    });
    parser.on("error", () => socket.destroy());
    socket.setNoDelay(true);
    socket.on("connect", () => {
      const fields = { clientId: this.#clientId, clean: true, keepalive: 0 };
      socket.write(mqttPacket.generate({ cmd: "connect", protocolId: "MQTT", protocolVersion: 4, ...fields }));
    });
    socket.on("data", (chunk) => parser.parse(chunk));
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#isWelcome = false;
      if (!this.#isClosed) this.#timer = setTimeout(() => this.#connect(), RECONNECT_MS);
    });
  }

  #welcome(): void {
    this.#isWelcome = true;
    // The window of the old connection, in its order.
    for (const message of this.#waiting) if (message.sent) this.#write(message, this.#setsDup);
    this.#pump();
  }

  #settle(id: number): void {
    const at = this.#waiting.findIndex((message) => message.sent && message.id === id);
    if (at < 0) return;
    this.#waiting.splice(at, 1);
    this.acknowledged++;
    this.onAck();
    this.#pump();
  }

  #pump(): void {
    if (!this.#isWelcome) return;
    for (const message of this.#waiting.slice(0, WINDOW)) {
      if (message.sent) continue;
      message.sent = true;
      this.#write(message, false);
    }
  }

  #write({ id, topic, payload }: Unacknowledged, dup: boolean): void {
    this.#socket?.write(
      mqttPacket.generate({ cmd: "publish", qos: 1, dup, retain: false, messageId: id, topic, payload }),
    );
  }
}
