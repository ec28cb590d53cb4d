import type { SeriesKey } from "@weir/shared/model/reading";
import type { DecodeSink, Decoder } from "../decode/decoder.ts";
import type { Topic } from "../decode/topic.ts";
import type { Ingest, IngestPort, RejectReason, Source } from "../sources/source.ts";
import type { DeadLetter } from "../store/commit-batch.ts";
import type { Batch, LedgerChange, ReadingColumns } from "./batch.ts";
import { createColumns, growColumns } from "./batch.ts";
import type { CommitClock } from "./commit-timer.ts";
import { CommitTimer, laterBy } from "./commit-timer.ts";
import { SeriesIndex } from "./dictionary.ts";
import type { AheadReadings } from "./quarantine.ts";

/**
 * From messages to batches: decodes into the block being built and hands it to the core for a group commit.
 *
 * Two sets of columns take turns: while one is being committed, the other is filled. When that is full as well, sources
 * stop reading: memory is bounded by two batches whatever the rate. The core may run on another thread.
 */

/** Bounds and lengths, as the settings of the same names. */
export interface IntakeOptions {
  readonly commitIntervalMs: number;
  readonly seriesMax: number;
  readonly aheadMaxMs: number;
  readonly floorMs: number;
  readonly deadLetterPayloadBytesMax: number;
  /** Readings of a batch, at most, and one message. */
  readonly batchReadingsMax: number;
  /** How long sources are held back before QoS 0 messages are dropped rather than waited with. */
  readonly shedAfterMs: number;
}

/** The other half: takes a batch and calls committed() of the intake when it is durable. One at a time. */
export type HandOver = (batch: Batch) => void;

/** Dead letters of one group commit, at most: a flood of bad messages must not fill the disk faster than it is trimmed. */
const DEAD_LETTERS_PER_BATCH_MAX = 256;

/** Series of one group commit whose readings ahead of the clock are told apart, at most; others are only counted. */
const AHEAD_SERIES_MAX = 4096;

/** Rows that columns begin with; they grow with the rate. */
const ROWS_FIRST = 4096;

/** Sources, at most: what a byte can tell apart. */
const SOURCES_MAX = 256;

/** What came in by one port since the last batch. */
interface PortCounts {
  readonly source: string;
  received: number;
  dropped: number;
  readonly rejected: Map<RejectReason, number>;
}

/** Takes messages and makes batches of them. One instance an agent. */
export class Intake implements Ingest {
  readonly #decode: Decoder;
  readonly #options: IntakeOptions;
  readonly #clock: CommitClock;
  readonly #handOver: HandOver;
  readonly #series: SeriesIndex;
  readonly #timer: CommitTimer;
  readonly #sink: DecodeSink;
  readonly #countingSink: DecodeSink;
  readonly #ports: PortCounts[] = [];
  #sources: readonly Source[] = [];
  #building: ReadingColumns;
  #spare: ReadingColumns | undefined;
  #deadLetters: DeadLetter[] = [];
  readonly #ahead = new Map<number, AheadReadings>();
  /** Whether anything was handed over by a source since the last batch. */
  #isTouched = false;
  #inFlight = false;
  #handedOverMs = 0;
  #heldBack = false;
  #cancelShed: (() => void) | undefined;
  #port = 0;
  #refused: RejectReason | undefined;
  #receivedMs = 0;
  #countedReadings = 0;

  /** known: the series of the data file by index. handOver: the core. */
  constructor(
    decode: Decoder,
    known: readonly SeriesKey[],
    options: IntakeOptions,
    clock: CommitClock,
    handOver: HandOver,
  ) {
    this.#decode = decode;
    this.#options = options;
    this.#clock = clock;
    this.#handOver = handOver;
    this.#series = new SeriesIndex(options.seriesMax, known);
    this.#building = createColumns(Math.min(options.batchReadingsMax, ROWS_FIRST));
    this.#spare = createColumns(Math.min(options.batchReadingsMax, ROWS_FIRST));
    this.#timer = new CommitTimer(() => this.commit(), clock, options.commitIntervalMs);
    this.#sink = {
      resolve: (site, device, metric) => this.#resolve(site, device, metric),
      push: (series, tsMs, value, stamped) => this.#push(series, tsMs, value, stamped),
      reject: (reason) => this.#reject(reason),
    };
    this.#countingSink = {
      // As ever: the decoder remembers the index.
      resolve: (site, device, metric) => this.#resolve(site, device, metric),
      push: () => void this.#countedReadings++,
      reject: () => void this.#countedReadings++,
    };
  }

  /** Tells who is to be told of seals and commits. */
  serve(sources: readonly Source[]): void {
    this.#sources = sources;
  }

  get series(): number {
    return this.#series.size;
  }

  open(sourceName: string): IngestPort {
    const number = Math.min(this.#ports.length, SOURCES_MAX - 1);
    if (number === this.#ports.length) {
      this.#ports.push({ source: sourceName, received: 0, dropped: 0, rejected: new Map() });
    }
    return {
      turn: () => void (this.#receivedMs = this.#clock.now()),
      accept: (topic, bytes, start, end) => this.#accept(number, topic, bytes, start, end),
      drop: (topic, bytes, start, end) => this.#drop(number, topic, bytes, start, end),
      refuse: (reason, topic, head) => this.#refuse(number, reason, topic, head),
    };
  }

  /** Hands over what has come, unless a batch is on its way; then it goes when that one is durable. */
  commit(): void {
    this.#timer.cancel();
    if (this.#inFlight || !this.#isTouched) return;
    const batch = this.#takeBatch();
    for (const source of this.#sources) source.seal();
    this.#inFlight = true;
    this.#handedOverMs = this.#clock.now();
    this.#handOver(batch);
    this.#readOn();
  }

  /** The batch on its way is durable. columns: those that were lent with it. */
  committed(columns: ReadingColumns): void {
    columns.count = 0;
    this.#spare = columns;
    this.#inFlight = false;
    this.#timer.committed(this.#handedOverMs);
    for (const source of this.#sources) source.committed();
    if (this.#isFull) this.commit();
    else if (this.#isTouched) this.#timer.soon();
  }

  /** Nothing waits and nothing is on its way. */
  get isIdle(): boolean {
    return !this.#inFlight && !this.#isTouched;
  }

  close(): void {
    this.#timer.cancel();
    this.#cancelShed?.();
  }

  get #isFull(): boolean {
    return this.#building.count >= this.#options.batchReadingsMax;
  }

  #accept(port: number, topic: Topic, bytes: Buffer, start: number, end: number): boolean {
    this.#port = port;
    this.#refused = undefined;
    this.#decode(topic, bytes, start, end, this.#receivedMs, this.#sink);
    if (this.#refused !== undefined) this.#keepDeadLetter(this.#refused, topic.name, bytes, start, end);
    if (!this.#isTouched) this.#touch();
    if (this.#building.count < this.#options.batchReadingsMax) return true;
    this.#holdBack();
    return false;
  }

  #drop(port: number, topic: Topic, bytes: Buffer, start: number, end: number): void {
    this.#countedReadings = 0;
    this.#decode(topic, bytes, start, end, this.#receivedMs, this.#countingSink);
    this.#ports[port]!.received += this.#countedReadings;
    this.#ports[port]!.dropped += this.#countedReadings;
    if (!this.#isTouched) this.#touch();
  }

  #refuse(port: number, reason: RejectReason, topic: string, head: Uint8Array): void {
    this.#port = port;
    this.#reject(reason);
    this.#keepDeadLetter(reason, topic, head, 0, head.length);
    if (!this.#isTouched) this.#touch();
  }

  #touch(): void {
    this.#isTouched = true;
    if (!this.#inFlight) this.#timer.soon();
  }

  /** The block is full: commit as soon as the caller has returned, or when the batch on its way is durable. */
  #holdBack(): void {
    if (this.#heldBack) return;
    this.#heldBack = true;
    if (!this.#inFlight) this.#timer.next();
    this.#cancelShed = laterBy(this.#clock, () => this.#shed(), this.#options.shedAfterMs);
  }

  #shed(): void {
    for (const source of this.#sources) source.shed();
  }

  #readOn(): void {
    if (!this.#heldBack) return;
    this.#heldBack = false;
    this.#cancelShed?.();
    for (const source of this.#sources) source.readOn();
  }

  #takeBatch(): Batch {
    const readings = this.#building;
    this.#building = this.#spare!;
    this.#spare = undefined;
    const deadLetters = this.#deadLetters;
    this.#deadLetters = [];
    this.#isTouched = false;
    const sources = this.#ports.map(({ source }) => source);
    const ahead = [...this.#ahead.values()];
    this.#ahead.clear();
    return { readings, sources, series: this.#series.takeFresh(), deadLetters, ledger: this.#takeLedger(), ahead };
  }

  #takeLedger(): LedgerChange[] {
    const changes: LedgerChange[] = [];
    for (const port of this.#ports) {
      const { source, received, dropped, rejected } = port;
      if (received > 0) changes.push({ source, reason: "received", count: received });
      if (dropped > 0) changes.push({ source, reason: "dropped.overload", count: dropped });
      for (const [reason, count] of rejected) changes.push({ source, reason: `rejected.${reason}`, count });
      port.received = 0;
      port.dropped = 0;
      rejected.clear();
    }
    return changes;
  }

  #resolve(site: string, device: string, metric: string): number {
    const series = this.#series.resolve(site, device, metric);
    if (series >= 0) return series;
    this.#refused ??= series === -1 ? "name_invalid" : "series_limit";
    return -1;
  }

  #push(series: number, tsMs: number, value: number, stamped: boolean): void {
    const { aheadMaxMs, floorMs } = this.#options;
    if (tsMs < floorMs) return this.#reject("time_before_floor");
    if (tsMs > this.#receivedMs + aheadMaxMs) return this.#refuseAhead(series, tsMs);
    const building = this.#building;
    const row = building.count;
    if (row === building.series.length) growColumns(building, row * 2);
    building.series[row] = series;
    building.tsMs[row] = tsMs;
    building.value[row] = value;
    building.stamped[row] = stamped ? 1 : 0;
    building.source[row] = this.#port;
    building.count = row + 1;
    this.#ports[this.#port]!.received++;
  }

  #reject(reason: RejectReason): void {
    const port = this.#ports[this.#port]!;
    port.received++;
    port.rejected.set(reason, (port.rejected.get(reason) ?? 0) + 1);
    this.#refused ??= reason;
  }

  #refuseAhead(series: number, tsMs: number): void {
    this.#reject("time_ahead");
    const aheadMs = tsMs - this.#receivedMs;
    const known = this.#ahead.get(series);
    if (known) {
      known.readings++;
      known.aheadMs = aheadMs;
    } else if (this.#ahead.size < AHEAD_SERIES_MAX) this.#ahead.set(series, { series, readings: 1, aheadMs });
  }

  #keepDeadLetter(reason: RejectReason, topic: string, bytes: Uint8Array, start: number, end: number): void {
    if (this.#deadLetters.length >= DEAD_LETTERS_PER_BATCH_MAX) return;
    const headEnd = Math.min(end, start + this.#options.deadLetterPayloadBytesMax);
    // A copy: the bytes are lent.
    const head = Uint8Array.prototype.slice.call(bytes, start, headEnd);
    const source = this.#ports[this.#port]!.source;
    this.#deadLetters.push({ source, topic: topic.slice(0, 1024), reason, bytes: end - start, head });
  }
}
