import type { Socket } from "node:net";
import type { Gather } from "./gather.ts";
import type { MessageFlow } from "./message-flow.ts";
import { lendReads, READ_BYTES_MAX, type TakeBytes } from "./lent-reads.ts";
import { type FrameHandler, type FrameLimits, FrameReader, type PartialBudget } from "./mqtt-frames.ts";

/** What the connections of one source share for reading. */
export interface InputHub {
  readonly limits: FrameLimits;
  readonly partialBudget: PartialBudget;
  readonly flow: MessageFlow;
  readonly counters: { bytes: number; reads: number };
  /** What sockets are read into, one after another. */
  readonly readBuffer: Buffer;
  /** Of the thread, where it may sleep. */
  readonly gather: Gather | null;
}

/** A buffer for InputHub.readBuffer. */
export function newReadBuffer(): Buffer {
  return Buffer.allocUnsafeSlow(READ_BYTES_MAX);
}

/** Whose socket it is. */
export interface InputOwner {
  /** Whether bytes may be read now. */
  readonly readable: boolean;
  /** bytes[0, length) have come; they are lent. Returns false where they are not to be handled. */
  heard(bytes: Buffer, length: number): boolean;
  /** Frames are about to be handled. */
  reading(): void;
  /** What would have to be kept is too much. */
  overBudget(): void;
}

const NOTHING: Buffer = Buffer.alloc(0);

/**
 * Reads a socket and hands its frames over. When one is not taken, reading stops, and what was read and not handled
 * waits in #rest, less than one chunk.
 */
export class SocketInput {
  readonly #hub: InputHub;
  readonly #owner: InputOwner;
  readonly #reader: FrameReader;
  #socket!: Socket;
  #rest: Buffer | null = null;
  #closed = false;

  constructor(hub: InputHub, handler: FrameHandler, owner: InputOwner) {
    this.#hub = hub;
    this.#owner = owner;
    this.#reader = new FrameReader(hub.limits, hub.partialBudget, handler);
  }

  /** Takes over a connection that a server has accepted, if need be with another socket, which is returned. */
  accept(accepted: Socket): Socket {
    return this.#attach(lendReads(accepted, this.#hub.readBuffer, this.take) ?? accepted);
  }

  /** Takes a connection that `open` makes, which may lend the buffer to it as net.connect's `onread` does. */
  connect(open: (buffer: Buffer, take: TakeBytes) => Socket): Socket {
    return this.#attach(open(this.#hub.readBuffer, this.take));
  }

  #attach(socket: Socket): Socket {
    // Those that read into the lent buffer have none.
    socket.on("data", (chunk: Buffer) => this.take(chunk, chunk.length));
    this.#socket = socket;
    return socket;
  }

  /** True where bytes have been read and not handled yet. */
  get inHand(): boolean {
    return this.#rest !== null || this.#reader.holds;
  }

  /** Stops reading where the owner says so; what is in hand is kept. */
  pause(): void {
    if (!this.#closed && (this.inHand || !this.#owner.readable)) this.#socket.pause();
  }

  /** Reads on where the owner allows it, beginning with what is in hand. */
  resume(): void {
    if (this.#closed || !this.#owner.readable) return;
    if (this.inHand) this.#consumeRest();
    if (!this.#closed && !this.inHand && this.#owner.readable) this.#socket.resume();
  }

  /** Gives back what is held; bytes that still come are thrown away. */
  close(): void {
    this.#closed = true;
    this.#reader.close();
    this.#hub.partialBudget.bytes -= this.#rest?.length ?? 0;
    this.#rest = null;
  }

  /** Bytes have come. */
  readonly take: TakeBytes = (bytes, length) => {
    const { counters, gather } = this.#hub;
    gather?.note(length);
    if (this.#closed) return;
    counters.reads++;
    counters.bytes += length;
    if (!this.#owner.heard(bytes, length)) return;
    // A socket that goes on after pause() for a moment must not overtake itself.
    const at = this.inHand ? 0 : this.#consume(bytes, 0, length);
    if (at < length) this.#keep(bytes, at, length);
    this.pause();
  };

  /** Hands over the frames in bytes[from, end); returns how far it came. */
  #consume(bytes: Buffer, from: number, end: number): number {
    this.#owner.reading();
    this.#hub.flow.port.turn();
    // Answers to one chunk (PUBCOMP, PINGRESP) leave in one write.
    this.#socket.cork();
    const at = this.#reader.read(bytes, from, end);
    this.#socket.uncork();
    return this.#closed ? end : at;
  }

  #consumeRest(): void {
    const rest = this.#rest ?? NOTHING;
    const at = this.#consume(rest, 0, rest.length);
    // Without a rest, the reader alone held something; closed meanwhile, the rest has been given back.
    if (this.#closed || this.#rest === null) return;
    this.#hub.partialBudget.bytes -= at;
    this.#rest = at < rest.length ? rest.subarray(at) : null;
  }

  #keep(bytes: Buffer, from: number, end: number): void {
    const budget = this.#hub.partialBudget;
    if (budget.bytes + end - from > budget.bytesMax) return this.#owner.overBudget();
    budget.bytes += end - from;
    this.#rest = Buffer.concat([this.#rest ?? NOTHING, bytes.subarray(from, end)]);
  }
}
