import { connect } from "node:net";
import type { Socket } from "node:net";
import { generate } from "mqtt-packet";
import { createTemplate, FramePatcher } from "./frames.ts";
import type { FrameTemplate } from "./frames.ts";
import type { PublishJob } from "./job.ts";

/** Bytes of one write, at most, and of a connection's template, at least: few system calls for one, little memory for a thousand. */
const WRITE_BYTES_MAX = 256 * 1024;
const TEMPLATE_BYTES_ALL = 32 * 1024 * 1024;

const CONNACK_BYTES = 4;
const PUBACK = 0x40;
const PUBACK_BYTES = 4;
const PACKET_IDS = 65_535;

/** What a connection is allowed: messages it owes, or all it can write. */
export interface Allowance {
  /** Messages that all connections may still send; taken from by each. */
  messagesLeft: number;
  /** Nothing new is to be sent. */
  isOver: boolean;
  /** The first failure of any connection. */
  failure: Error | undefined;
}

/**
 * One MQTT 3.1.1 connection on a bare socket that publishes frames of its template. At most one write is on its way at
 * a time, so that the frames of a template are free again when it comes round.
 */
export class PublishConnection {
  readonly #socket: Socket;
  readonly #patcher: FramePatcher;
  readonly #template: FrameTemplate;
  readonly #framesPerWrite: number;
  readonly #qos: 0 | 1;
  readonly #window: number;
  readonly #allowance: Allowance;
  readonly #isPaced: boolean;
  readonly #startMs: number;
  readonly #stepMs: number;
  readonly #onSettled: () => void;
  #connected: (() => void) | undefined;
  #isWriting = false;
  #owed = 0;
  #greetingBytes = 0;
  #ackBytes = 0;
  #ackHead = 0;
  #ackIdHigh = 0;
  sent = 0;
  acked = 0;

  /** onSettled: called whenever all that was sent has been taken and acknowledged. */
  constructor(job: PublishJob, index: number, allowance: Allowance, onSettled: () => void) {
    const seriesPerConnection = Math.floor(job.series / job.connections);
    if (seriesPerConnection < 1)
      throw new Error(`${job.connections} connections need as many series, not ${job.series}`);
    const shape = {
      qos: job.qos,
      readingsPerMessage: job.readingsPerMessage,
      seriesFrom: job.seriesFrom + index * seriesPerConnection,
      seriesCount: seriesPerConnection,
    };
    const one = createTemplate({ ...shape, seriesCount: 1 }, 1);
    const templateBytes = Math.min(WRITE_BYTES_MAX, Math.floor(TEMPLATE_BYTES_ALL / job.connections));
    this.#template = createTemplate(shape, Math.max(1, Math.floor(templateBytes / one.frameBytes)));
    this.#framesPerWrite = Math.max(1, Math.floor(WRITE_BYTES_MAX / this.#template.frameBytes));
    this.#patcher = new FramePatcher(this.#template, index);
    this.#qos = job.qos;
    this.#window = Math.min(PACKET_IDS, job.window);
    this.#allowance = allowance;
    this.#isPaced = job.rate > 0;
    this.#startMs = job.startMs;
    this.#stepMs = job.stepMs;
    this.#onSettled = onSettled;
    this.#socket = connect({ host: job.host, port: job.port, noDelay: true });
    this.#socket.on("data", (bytes) => this.#receive(bytes));
    this.#socket.on("error", (error) => this.#fail(error));
    this.#socket.on("close", () => {
      if (!this.#isEnding) this.#fail(new Error(`connection ${index} was closed by the other side`));
    });
    const clientId = `${job.clientPrefix}-${index}`;
    this.#socket.write(generate({ cmd: "connect", clientId, clean: true, keepalive: 0, protocolVersion: 4 }));
  }

  #isEnding = false;

  get frameBytes(): number {
    return this.#template.frameBytes;
  }

  /** Everything sent has been taken by the system and, at QoS 1, acknowledged. */
  get isSettled(): boolean {
    return !this.#isWriting && this.#owed === 0 && (this.#qos === 0 || this.acked === this.sent);
  }

  /** Resolves when the connection has been accepted. */
  async ready(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#connected = resolve;
      if (this.#greetingBytes >= CONNACK_BYTES || this.#allowance.failure) resolve();
    });
    if (this.#allowance.failure) throw this.#allowance.failure;
  }

  /** One more message is due. */
  owe(): void {
    this.#owed++;
  }

  /** Writes what is due and allowed, until a write is not taken at once. */
  pump(): void {
    while (!this.#isWriting && !this.#allowance.failure) {
      let count = Math.min(this.#framesPerWrite, this.#patcher.room);
      if (this.#qos === 1) count = Math.min(count, this.#window - (this.sent - this.acked));
      if (this.#isPaced) count = Math.min(count, this.#owed);
      else if (this.#allowance.isOver) count = 0;
      else count = Math.min(count, this.#allowance.messagesLeft);
      if (count <= 0) break;
      if (this.#isPaced) this.#owed -= count;
      else this.#allowance.messagesLeft -= count;
      this.sent += count;
      this.#write(this.#patcher.take(count, this.#startMs || Date.now(), this.#stepMs));
    }
    if (this.isSettled) this.#onSettled();
  }

  /** Sends DISCONNECT and resolves when the connection has gone. */
  async end(): Promise<void> {
    this.#isEnding = true;
    if (this.#socket.destroyed) return;
    const closed = new Promise((resolve) => this.#socket.once("close", resolve));
    this.#socket.end(generate({ cmd: "disconnect" }));
    await closed;
  }

  #write(frames: Buffer): void {
    this.#isWriting = true;
    this.#socket.write(frames, () => {
      this.#isWriting = false;
      // Not at once: where the system takes every write, the process would never come to read or look at the time.
      if (this.#isPaced && this.#owed === 0) this.#onSettled();
      else setImmediate(() => this.pump());
    });
  }

  #fail(error: Error): void {
    this.#allowance.failure ??= error;
    this.#connected?.();
    this.#onSettled();
  }

  #receive(bytes: Buffer): void {
    let at = 0;
    if (this.#greetingBytes < CONNACK_BYTES) {
      at = Math.min(bytes.length, CONNACK_BYTES - this.#greetingBytes);
      this.#greetingBytes += at;
      if (this.#greetingBytes < CONNACK_BYTES) return;
      if (bytes[at - 1] !== 0) this.#fail(new Error(`refused with return code ${bytes[at - 1]}`));
      this.#connected?.();
    }
    const before = this.acked;
    for (; at < bytes.length; at++) this.#receiveAckByte(bytes[at]!);
    if (this.acked !== before) this.pump();
  }

  /** PUBACKs must come in the order of the messages: any other byte than the one expected is a fault. */
  #receiveAckByte(byte: number): void {
    const part = this.#ackBytes;
    this.#ackBytes = part === PUBACK_BYTES - 1 ? 0 : part + 1;
    if (part === 0) this.#ackHead = byte;
    else if (part === 2) this.#ackIdHigh = byte;
    if (part !== PUBACK_BYTES - 1) return;
    const expected = (this.acked % PACKET_IDS) + 1;
    const packetId = this.#ackIdHigh * 256 + byte;
    if (this.#ackHead !== PUBACK || packetId !== expected || this.acked >= this.sent) {
      this.#fail(
        new Error(
          `${this.sent - this.acked} messages wait for PUBACK ${expected}, but packet 0x${this.#ackHead.toString(16)} ${packetId} came`,
        ),
      );
    }
    this.acked++;
  }
}
