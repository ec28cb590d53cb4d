import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { CodedError } from "@weir/shared/errors";
import { REASON } from "./mqtt-control.ts";
import type { FrameFault } from "./mqtt-frames.ts";
import {
  type MessageLimits,
  type MessagePeer,
  type MessageSession,
  MqttMessages,
  WAITING_ACKS_MAX,
} from "./mqtt-messages.ts";
import type { RejectReason } from "./source.ts";
import { type InputHub, type InputOwner, SocketInput } from "./socket-input.ts";

const TYPE = {
  connack: 2,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  suback: 9,
  unsuback: 11,
  pingresp: 13,
  disconnect: 14,
  auth: 15,
} as const;
const PINGREQ: Buffer = Buffer.from([0xc0, 0]);
const PINGRESP: Buffer = Buffer.from([0xd0, 0]);
const SESSION_PRESENT = 1;

/** What the connections of one source share of the way in. */
export interface LinkHub extends InputHub {
  readonly limits: InputHub["limits"] & MessageLimits & { readonly writeBytesMax: number };
}

/** Opens the socket to the broker; see SocketInput.connect. */
export type OpenSocket = Parameters<SocketInput["connect"]>[0];

/**
 * One connection to a broker, and the stream that mqtt sees of it.
 *
 *   broker ──▶ socket ──▶ frames ──┬── PUBLISH, PUBREL ──▶ ingest ── after the commit ──▶ PUBACK, PUBREC ──▶ socket
 *                                  └── all others ──▶ mqtt ──▶ socket
 *
 * mqtt never sees a message, so it acknowledges none, and reading that stops does not come between it and the answers
 * to its pings: while messages wait, and as soon as any bytes have come, a ping is answered here.
 */
export class BrokerLink implements MessagePeer, InputOwner {
  readonly stream: Duplex;
  readonly #socket: Socket;
  readonly #hub: LinkHub;
  readonly #session: MessageSession;
  readonly #version: 4 | 5;
  readonly #input: SocketInput;
  readonly #messages: MqttMessages;
  /** mqtt has sent a PINGREQ that has not been answered yet. */
  #pinged = false;
  #writeStalled = false;
  #parting = false;

  /** version: of the protocol, which the session has too. */
  constructor(open: OpenSocket, hub: LinkHub, session: MessageSession, version: 4 | 5) {
    this.#hub = hub;
    this.#session = session;
    this.#version = version;
    this.#messages = new MqttMessages(hub.flow, this, hub.limits, session);
    this.#input = new SocketInput(hub, this.#messages, this);
    const socket = this.#input.connect(open);
    this.#socket = socket;
    this.stream = this.#openStream();
    socket.on("drain", () => this.#drained());
    socket.on("error", (error) => this.stream.destroy(error));
    socket.on("close", () => this.stream.destroy());
  }

  get waitingAcks(): number {
    return this.#messages.waitingAcks;
  }

  get readable(): boolean {
    return this.#parting || (!this.#writeStalled && this.#messages.waitingAcks < WAITING_ACKS_MAX);
  }

  /** Reads on where nothing stands against it. */
  resume(): void {
    this.#input.resume();
    this.#answerPing();
  }

  /** Lets messages go by from now on, unacknowledged: the broker keeps them. */
  part(): void {
    this.#parting = true;
    this.#messages.close();
    this.#messages.blocked = false;
    this.resume();
  }

  // Towards mqtt

  heard(): boolean {
    // Whatever has come says that the broker lives; its own answer may be far behind.
    if (this.#pinged) this.#answer();
    return true;
  }

  reading(): void {}

  control(bytes: Buffer, start: number, bodyStart: number, end: number): boolean {
    switch (bytes[start]! >> 4) {
      case TYPE.connack:
        if (end - bodyStart >= 2 && bytes[bodyStart + 1] === 0)
          this.#accepted((bytes[bodyStart]! & SESSION_PRESENT) > 0);
        this.#pass(bytes, start, end);
        break;
      case TYPE.suback:
      case TYPE.unsuback:
      case TYPE.disconnect:
      case TYPE.auth:
        this.#pass(bytes, start, end);
        break;
      case TYPE.pingresp:
      // Acknowledgements of messages that an earlier client may have published by our id.
      case TYPE.puback:
      case TYPE.pubrec:
      case TYPE.pubcomp:
        break;
      default:
        this.malformed(REASON.protocolError, bytes, start, end);
    }
    return true;
  }

  malformed(reason: number, bytes: Buffer, start: number, end: number): void {
    this.#refuse("frame_malformed", reason, bytes, start, end);
  }

  end(reason: number): void {
    this.#destroy(`the broker broke a rule of MQTT (reason 0x${reason.toString(16)})`);
  }

  fault(fault: FrameFault, bytes: Buffer, start: number, end: number): void {
    if (fault === "over_budget") return this.overBudget();
    const isTooLarge = fault === "too_large";
    const reason = isTooLarge ? REASON.packetTooLarge : REASON.malformed;
    this.#refuse(isTooLarge ? "payload_too_large" : "frame_malformed", reason, bytes, start, end);
  }

  overBudget(): void {
    this.#destroy(`more than ${this.#hub.partialBudget.bytesMax} bytes would have to be held`);
  }

  // Towards the broker

  /** Acknowledgements. A broker that does not read them is not listened to either. */
  write(bytes: Buffer): void {
    if (!this.#socket.writable) return;
    this.#socket.write(bytes);
    if (this.#socket.writableLength <= this.#hub.limits.writeBytesMax) return;
    this.#writeStalled = true;
    this.#messages.blocked = true;
    this.#input.pause();
    this.#answerPing();
  }

  #drained(): void {
    if (!this.#writeStalled) return;
    this.#writeStalled = false;
    this.#messages.blocked = false;
    this.resume();
  }

  /**
   * What mqtt writes goes out at once and whole, so that our packets never fall into the middle of one of its: it
   * writes a packet in pieces, but corked and within one turn.
   */
  #openStream(): Duplex {
    return new Duplex({
      read: () => {},
      write: (chunk: Buffer, _, done) => {
        this.#send(chunk);
        done();
      },
      writev: (chunks: ReadonlyArray<{ chunk: Buffer }>, done) => {
        this.#send(Buffer.concat(chunks.map(({ chunk }) => chunk)));
        done();
      },
      final: (done) => {
        this.#socket.end();
        done();
      },
      destroy: (error, done) => {
        this.#input.close();
        this.#messages.close();
        this.#socket.destroy();
        done(error);
      },
    });
  }

  #send(bytes: Buffer): void {
    this.#socket.write(bytes);
    if (bytes.length !== PINGREQ.length || !bytes.equals(PINGREQ)) return;
    this.#pinged = true;
    this.#answerPing();
  }

  /** Answers a ping where the broker's own answer cannot be read now. */
  #answerPing(): void {
    if (this.#pinged && (this.#input.inHand || !this.readable)) this.#answer();
  }

  #answer(): void {
    this.#pinged = false;
    this.stream.push(PINGRESP);
  }

  /** Hands a frame to mqtt. */
  #pass(bytes: Buffer, start: number, end: number): void {
    this.stream.push(Buffer.from(bytes.subarray(start, end)));
  }

  /** CONNACK: messages may come, and may come before mqtt has told anybody. */
  #accepted(isSessionPresent: boolean): void {
    if (this.#parting) return;
    if (!isSessionPresent) this.#session.inFlight = null;
    this.#messages.open(this.#version);
  }

  #refuse(refusal: RejectReason, reason: number, bytes: Buffer, start: number, end: number): void {
    if (this.#parting) return;
    this.#hub.flow.refuse(refusal, "", bytes, start, end);
    this.end(reason);
  }

  #destroy(problem: string): void {
    this.stream.destroy(new CodedError("BROKER_LINK", `The connection was ended: ${problem}.`));
  }
}
