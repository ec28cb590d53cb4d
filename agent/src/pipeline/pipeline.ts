import type { Alert } from "@weir/shared/model/alert";
import { BLOCK_READINGS_MAX, type SeriesKey } from "@weir/shared/model/reading";
import type { ThresholdVersion } from "@weir/shared/model/thresholds";
import { CodedError, errorMessage } from "@weir/shared/errors";
import type { Emissions, RefoldRequest } from "@weir/shared/operators/series-fold";
import { createEmissions, SeriesFold } from "@weir/shared/operators/series-fold";
import { ThresholdHistory } from "@weir/shared/operators/thresholds";
import { WINDOW_READINGS_MAX } from "@weir/shared/operators/windows";
import type { DecodeSink, Decoder } from "../decode/decoder.ts";
import type { Ingest, RejectReason } from "../sources/source.ts";
import { encodeBlock } from "../store/block-codec.ts";
import { ENTRY_BLOCK, ENTRY_THRESHOLDS, ENTRY_TICK } from "../store/schema.ts";
import type { CheckpointRows, CommitBatch, DeadLetter, EntryRow, OutboxRow, Store } from "../store/store.ts";
import { Admission } from "./admission.ts";
import { BlockBuilder } from "./block-builder.ts";
import type { CommitClock } from "./commit-timer.ts";
import { CommitTimer } from "./commit-timer.ts";
import { changedPages, restorePages } from "./checkpoint.ts";
import { Dictionary } from "./dictionary.ts";
import { alertFrames, partialFrames, seriesFrames, tickFrame } from "./frames.ts";
import { Ledger } from "./ledger.ts";
import type { RefoldResult } from "./refold.ts";
import { refold } from "./refold.ts";
import type { StoreBounds } from "./trim.ts";
import { trimStore } from "./trim.ts";

/**
 * From messages to the log, through the fold, to the outbox: one thread, one order.
 *
 * accept() decodes into a block. The group commit admits what is new, folds it, and writes the log entry, what the
 * fold emitted and the ledger in one transaction; only then are sources told to acknowledge. Nothing reaches an
 * operator that is not in the log, so recovery and replay are the same fold over the same entries.
 */

/** Bounds and lengths, as the settings of the same names. */
export interface PipelineOptions extends StoreBounds {
  readonly commitIntervalMs: number;
  readonly windowMs: number;
  readonly seriesMax: number;
  readonly aheadMaxMs: number;
  readonly floorMs: number;
  readonly deadLetterPayloadBytesMax: number;
}

export interface PipelineHooks extends CommitClock {
  /** After each commit: acknowledge, send. */
  committed(): void;
  /** Alerts that are now durable, for local subscribers. */
  alerts(alerts: readonly Alert[]): void;
  /** Something a person should read, such as a disk that is full; once when it begins and once when it ends. */
  warn(message: string): void;
}

/** Dead letters of one group commit, at most: a flood of bad messages must not fill the disk faster than it is trimmed. */
const DEAD_LETTERS_PER_COMMIT_MAX = 256;

/** Takes messages, and keeps log, fold and outbox in step. One instance a data file. */
export class Pipeline implements Ingest {
  readonly #store: Store;
  readonly #decode: Decoder;
  readonly #options: PipelineOptions;
  readonly #hooks: PipelineHooks;
  readonly #dictionary: Dictionary;
  readonly #thresholds = new ThresholdHistory();
  readonly #fold: SeriesFold;
  readonly #admission: Admission;
  readonly #ledger: Ledger;
  readonly #sink: DecodeSink;
  readonly #checkpointed = new Map<number, Uint8Array>();
  #builder = new BlockBuilder();
  #deadLetters: DeadLetter[] = [];
  #deadLettersUntrimmed = 0;
  #refolds: RefoldRequest[] = [];
  /** Emissions of the fold not yet committed. */
  #out: Emissions = createEmissions();
  /** A batch the disk refused; written before anything else once it can be. */
  #stuck: { readonly batch: CommitBatch; readonly alerts: readonly Alert[] } | undefined;
  /** Alerts of a batch that was written at a second attempt: told of with those of the write that follows. */
  #untold: readonly Alert[] = [];
  readonly #timer: CommitTimer;
  #source = 0;
  #sourceName = "";
  #refused: RejectReason | undefined;
  #receivedMs = 0;
  #readings = 0;

  /** Recovers: loads the checkpoint and folds the log from there to its head. */
  constructor(store: Store, decode: Decoder, options: PipelineOptions, hooks: PipelineHooks) {
    this.#store = store;
    this.#decode = decode;
    this.#options = options;
    this.#hooks = hooks;
    this.#dictionary = new Dictionary(options.seriesMax, store.allSeries());
    this.#ledger = new Ledger(store.ledger());
    this.#admission = new Admission(store);
    this.#fold = new SeriesFold((series) => this.#dictionary.keyOf(series), this.#thresholds, {
      windowMs: options.windowMs,
    });
    this.#timer = new CommitTimer(() => this.commit(), hooks, options.commitIntervalMs);
    this.#sink = {
      resolve: (site, device, metric) => this.#resolve(site, device, metric),
      push: (series, tsMs, value, stamped) => this.#push(series, tsMs, value, stamped),
      reject: (reason) => this.#reject(reason),
    };
    this.#recover();
  }

  get series(): number {
    return this.#dictionary.size;
  }

  /** Readings stored since the start of the process. */
  get readings(): number {
    return this.#readings;
  }

  get ledger(): ReturnType<Ledger["totals"]> {
    return this.#ledger.totals();
  }

  /** Numbers of the threshold versions in the log. */
  get thresholdVersions(): number[] {
    return this.#thresholds.versions().map(({ version }) => version);
  }

  /** Index and names of the durable series from an index on. */
  seriesNames(fromIndex: number): Array<readonly [number, string, string, string]> {
    const names: Array<readonly [number, string, string, string]> = [];
    for (let index = fromIndex; index < this.#dictionary.size; index++) {
      const { site, device, metric } = this.#dictionary.keyOf(index);
      names.push([index, site, device, metric]);
    }
    return names;
  }

  accept(sourceName: string, topic: string, payload: Uint8Array): boolean {
    this.#begin(sourceName);
    this.#decode(topic, payload, this.#receivedMs, this.#sink);
    if (this.#refused) this.#keepDeadLetter(this.#refused, topic, payload, payload.length);
    const isFull = this.#builder.count >= BLOCK_READINGS_MAX;
    // Not at once: committed() is never called from within accept.
    if (isFull && !this.#stuck) this.#timer.next();
    else this.#timer.soon();
    return !isFull && this.#stuck === undefined;
  }

  refuse(sourceName: string, reason: RejectReason, topic: string, head: Uint8Array): void {
    this.#begin(sourceName);
    this.#reject(reason);
    this.#keepDeadLetter(reason, topic, head, head.length);
    this.#timer.soon();
  }

  /** Enters a threshold version in the log and judges by it. Returns when it is durable; throws when it is not. */
  addThresholds(version: ThresholdVersion): void {
    this.commit();
    this.#assertWritable(version);
    if (this.#thresholds.get(version.version)) return;
    const body = Buffer.from(JSON.stringify(version));
    this.#fold.applyThresholds(version, this.#out);
    this.#write({ entries: [{ kind: ENTRY_THRESHOLDS, minTsMs: null, maxTsMs: null, readings: 0, body }] });
    this.#assertWritable(version);
  }

  /** Enters the clock and the losses since the last tick in the log. */
  tick(): void {
    // What is being built goes first: this write, too, has sources acknowledge all that they have passed on.
    this.commit();
    if (this.#stuck) return;
    const tick = { nowMs: this.#hooks.now(), ...this.#ledger.takeLosses() };
    const body = Buffer.from(JSON.stringify(tick));
    const entries = [{ kind: ENTRY_TICK, minTsMs: null, maxTsMs: null, readings: 0, body }];
    this.#write({ entries, frames: [tickFrame(tick)] });
  }

  /** The group commit: admits, folds and writes what came since the last one, then has sources acknowledge. */
  commit(): void {
    this.#timer.cancel();
    if (this.#stuck && !this.#retry()) return;
    const entries = this.#admitBlock();
    // With no entry, everything was a duplicate or refused: what it repeats is durable already.
    this.#write({ entries });
    if (this.#fold.windowReadings >= WINDOW_READINGS_MAX / 2) this.checkpoint();
  }

  /** Sends window partials, runs re-folds that wait, and makes this the point that recovery starts from. */
  checkpoint(): void {
    this.commit();
    if (this.#stuck) return;
    const partials = this.#fold.flush(this.#out);
    const requests = this.#refolds;
    this.#refolds = [];
    const refolded = requests.length > 0 ? this.#refold(requests) : undefined;
    const frames = [...partialFrames(partials, false), ...partialFrames(refolded?.partials ?? [], true)];
    this.#write({ frames, refolded, isCheckpoint: true });
    if (this.#stuck) return;
    try {
      trimStore(this.#store, this.#ledger, this.#options, this.#hooks.now(), (line) => this.#hooks.warn(line));
      this.#deadLettersUntrimmed = 0;
    } catch (error) {
      this.#hooks.warn(`Cannot trim the data file: ${errorMessage(error)}. Tried again at the next checkpoint.`);
    }
  }

  /** Checkpoints and stops; accept() must not be called afterwards. */
  close(): void {
    this.tick();
    this.checkpoint();
    this.#timer.cancel();
  }

  #recover(): void {
    const checkpoint = this.#store.readCheckpoint();
    for (const version of this.#store.thresholdVersions(checkpoint.seq)) this.#thresholds.add(version);
    restorePages(checkpoint.pages, (series, positionMs) => this.#fold.restorePosition(series, positionMs));
    for (const { page, body } of checkpoint.pages) this.#checkpointed.set(page, body);
    for (const episode of checkpoint.openEpisodes) this.#fold.restoreEpisode(episode);
    // What the fold emits again is in the outbox already; only re-folds not yet run are taken up.
    const out = createEmissions();
    for (const entry of this.#store.entries(checkpoint.seq)) {
      if (entry.kind === "block") this.#fold.applyBlock(entry.block, out);
      else if (entry.kind === "thresholds") this.#fold.applyThresholds(entry.version, out);
    }
    this.#refolds.push(...out.refolds);
    this.#fold.positions().forEach((positionMs, series) => this.#admission.restore(series, positionMs));
  }

  #begin(sourceName: string): void {
    if (sourceName !== this.#sourceName) {
      this.#sourceName = sourceName;
      this.#source = this.#ledger.sourceNumber(sourceName);
    }
    this.#refused = undefined;
    this.#receivedMs = this.#hooks.now();
  }

  #resolve(site: string, device: string, metric: string): number {
    const series = this.#dictionary.resolve(site, device, metric);
    if (series >= 0) return series;
    this.#refused ??= series === -1 ? "name_invalid" : "series_limit";
    return -1;
  }

  #push(series: number, tsMs: number, value: number, stamped: boolean): void {
    if (tsMs < this.#options.floorMs) this.#reject("time_before_floor");
    else if (tsMs > this.#receivedMs + this.#options.aheadMaxMs) this.#reject("time_ahead");
    else {
      this.#ledger.add(this.#source, "received", 1);
      this.#builder.push(series, tsMs, value, stamped, this.#source);
    }
  }

  #reject(reason: RejectReason): void {
    this.#ledger.add(this.#source, "received", 1);
    this.#ledger.add(this.#source, `rejected.${reason}`, 1);
    this.#refused ??= reason;
  }

  #keepDeadLetter(reason: RejectReason, topic: string, payload: Uint8Array, bytes: number): void {
    if (this.#deadLetters.length >= DEAD_LETTERS_PER_COMMIT_MAX) return;
    // Trimmed at checkpoints: between two of them at most as many are written as are kept.
    if (this.#deadLettersUntrimmed >= this.#options.deadLetterCountMax) return;
    this.#deadLettersUntrimmed++;
    const head = Buffer.from(payload.subarray(0, this.#options.deadLetterPayloadBytesMax));
    this.#deadLetters.push({ source: this.#sourceName, topic: topic.slice(0, 1024), reason, bytes, head });
  }

  /** Admits and folds the block being built; returns its log entry, or nothing when all of it was known. */
  #admitBlock(): EntryRow[] {
    const block = this.#builder;
    if (block.count === 0) return [];
    this.#builder = new BlockBuilder();
    const keep = new Uint8Array(block.count);
    const duplicates = this.#admission.admit(block, keep);
    for (let i = 0; i < block.count; i++) {
      this.#ledger.add(block.source[i]!, keep[i] === 1 ? "stored" : "duplicate", 1);
    }
    if (duplicates > 0) block.retain(keep);
    if (block.count === 0) return [];
    this.#readings += block.count;
    let minTsMs = Infinity;
    let maxTsMs = -Infinity;
    for (let i = 0; i < block.count; i++) {
      minTsMs = Math.min(minTsMs, block.tsMs[i]!);
      maxTsMs = Math.max(maxTsMs, block.tsMs[i]!);
    }
    this.#fold.applyBlock(block, this.#out);
    return [{ kind: ENTRY_BLOCK, minTsMs, maxTsMs, readings: block.count, body: encodeBlock(block) }];
  }

  #refold(requests: readonly RefoldRequest[]): RefoldResult {
    const keyOf = (series: number): SeriesKey => this.#dictionary.keyOf(series);
    return refold(requests, this.#store, this.#fold, this.#thresholds, keyOf, this.#options.windowMs);
  }

  /**
   * Writes what it is given with all that waits: emissions, names, dead letters, the ledger. isCheckpoint: the windows
   * have been flushed into `frames`, so recovery may start after this.
   */
  #write(what: {
    readonly entries?: readonly EntryRow[];
    readonly frames?: readonly OutboxRow[];
    readonly refolded?: RefoldResult | undefined;
    readonly isCheckpoint?: boolean;
  }): void {
    const { entries = [], frames = [], refolded, isCheckpoint = false } = what;
    const { alerts, closed, refolds } = this.#out;
    this.#out = createEmissions();
    this.#refolds.push(...refolds);
    const allAlerts = [...alerts, ...(refolded?.alerts ?? [])];
    const series = this.#dictionary.takeFresh();
    const deadLetters = this.#deadLetters;
    this.#deadLetters = [];
    const batch: CommitBatch = {
      receivedMs: this.#hooks.now(),
      entries,
      series,
      frames: [...seriesFrames(series), ...alertFrames(allAlerts), ...frames],
      deadLetters,
      ledger: this.#ledger.takeDirty(),
      closedEpisodes: [...closed, ...(refolded?.closed ?? [])],
      dropEpisodes: refolded?.dropEpisodes ?? [],
      checkpoint: isCheckpoint ? this.#checkpointRows() : undefined,
    };
    this.#writeBatch(batch, [...this.#untold, ...allAlerts]);
  }

  #assertWritable({ version }: ThresholdVersion): void {
    if (!this.#stuck) return;
    throw new CodedError(
      "DATA_FILE_STUCK",
      `The data file cannot be written; threshold version ${version} was not taken.`,
    );
  }

  #checkpointRows(): CheckpointRows {
    return {
      pages: changedPages(this.#fold.positions(), this.#checkpointed),
      openEpisodes: [...this.#fold.openEpisodes()],
    };
  }

  #writeBatch(batch: CommitBatch, alerts: readonly Alert[]): void {
    const beganMs = this.#hooks.now();
    this.#untold = [];
    try {
      this.#store.commit(batch);
    } catch (error) {
      this.#stuck = { batch, alerts };
      this.#hooks.warn(
        `Cannot write the data file: ${errorMessage(error)}. Sources are held back until it can be written.`,
      );
      this.#timer.retry();
      return;
    }
    this.#timer.committed(beganMs);
    this.#settled(alerts);
  }

  /** Writes the batch that the disk refused; false when it refuses still. */
  #retry(): boolean {
    const stuck = this.#stuck!;
    try {
      this.#store.commit(stuck.batch);
    } catch {
      this.#timer.retry();
      return false;
    }
    this.#stuck = undefined;
    this.#hooks.warn("The data file can be written again.");
    // Sources are told after the next write only: what they passed on in the meantime is not in the file yet.
    this.#untold = stuck.alerts;
    return true;
  }

  #settled(alerts: readonly Alert[]): void {
    this.#hooks.committed();
    if (alerts.length > 0) this.#hooks.alerts(alerts);
  }
}
