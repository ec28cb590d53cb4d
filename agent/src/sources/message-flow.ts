import type { Topic } from "../decode/topic.ts";
import type { Ingest, IngestPort, RejectReason } from "./source.ts";
import { TopicTable } from "./topic-table.ts";

/** Messages are taken. */
export const FLOWING = 0;
/** There is no room: messages wait. */
export const HOLDING = 1;
/** There has been no room for a while: QoS 0 is dropped, the rest waits. */
export const SHEDDING = 2;

/** Bytes of a refused message that are shown to IngestPort.refuse, at most. */
export const REFUSED_HEAD_BYTES = 4096;

/** Who has acknowledgements that wait for a commit. */
export interface AckHolder {
  /** What waits belongs to the commit that now begins. */
  seal(): void;
  /** What was sealed is durable: it may be written. */
  flush(): void;
}

/** What a source's connections share of the way in: the port, the topics, and how far messages are durable. */
export class MessageFlow {
  readonly port: IngestPort;
  readonly topics: TopicTable = new TopicTable();
  readonly #full: () => void;
  /** FLOWING, HOLDING or SHEDDING. */
  state: number = FLOWING;
  /** Messages that came, those refused or dropped included. */
  messages = 0;
  /** Messages accepted or refused so far; of them on their way to disk; of them durable. */
  acceptedCount = 0;
  sealedCount = 0;
  committedCount = 0;
  /** QoS 1 and 2 messages accepted and not yet acknowledged. */
  unacknowledged = 0;
  /** Who has open acknowledgements, and who has sealed ones, each once or more. */
  #waiting: AckHolder[] = [];
  #sealed: AckHolder[] = [];
  #stopped = false;

  /** full: called when there is no more room, with `state` set; before accept() returns. */
  constructor(ingest: Ingest, sourceName: string, full: () => void = () => {}) {
    this.port = ingest.open(sourceName);
    this.#full = full;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  accept(topic: Topic, bytes: Buffer, start: number, end: number): void {
    this.messages++;
    this.acceptedCount++;
    if (this.port.accept(topic, bytes, start, end) || this.state !== FLOWING) return;
    this.state = HOLDING;
    this.#full();
  }

  drop(topic: Topic, bytes: Buffer, start: number, end: number): void {
    this.messages++;
    this.port.drop(topic, bytes, start, end);
  }

  /** bytes[start, end): what there is of the message, of which the beginning is shown. */
  refuse(reason: RejectReason, topic: string, bytes: Buffer, start: number, end: number): void {
    this.messages++;
    this.acceptedCount++;
    this.port.refuse(reason, topic, bytes.subarray(start, Math.min(end, start + REFUSED_HEAD_BYTES)));
  }

  /** `holder` has open acknowledgements and had none before. */
  waits(holder: AckHolder): void {
    this.#waiting.push(holder);
  }

  /** `holder` has put an acknowledgement among its sealed ones. */
  waitsSealed(holder: AckHolder): void {
    this.#sealed.push(holder);
  }

  seal(): void {
    this.sealedCount = this.acceptedCount;
    const waiting = this.#waiting;
    for (const holder of waiting) holder.seal();
    if (this.#sealed.length === 0) {
      this.#waiting = this.#sealed;
      this.#sealed = waiting;
    } else {
      for (const holder of waiting) this.#sealed.push(holder);
      waiting.length = 0;
    }
  }

  committed(): void {
    this.committedCount = this.sealedCount;
    const sealed = this.#sealed;
    this.#sealed = [];
    for (const holder of sealed) holder.flush();
  }

  /** There is room again; false where nothing had been held. */
  readOn(): boolean {
    if (this.#stopped || this.state === FLOWING) return false;
    this.state = FLOWING;
    return true;
  }

  /** QoS 0 goes to drop() from now on; false where there is no more to do. */
  shed(): boolean {
    if (this.#stopped || this.state === SHEDDING) return false;
    this.state = SHEDDING;
    return true;
  }

  /** Takes no more messages. */
  stop(): void {
    this.#stopped = true;
    this.state = HOLDING;
  }
}
