import type { Alert } from "@weir/shared/model/alert";
import type { SeriesKey } from "@weir/shared/model/reading";
import type { ThresholdVersion } from "@weir/shared/model/thresholds";
import { CodedError, errorMessage } from "@weir/shared/errors";
import type { Emissions } from "@weir/shared/operators/series-fold";
import { createEmissions, SeriesFold } from "@weir/shared/operators/series-fold";
import { ThresholdHistory } from "@weir/shared/operators/thresholds";
import { WINDOW_BYTES_MAX, WINDOW_READINGS_MAX } from "@weir/shared/operators/windows";
import { encodeBlock } from "../store/block-codec.ts";
import { isDamage } from "../store/damage.ts";
import { ENTRY_BLOCK, ENTRY_THRESHOLDS, ENTRY_TICK } from "../store/schema.ts";
import type { CommitBatch, EntryRow, OutboxRow } from "../store/commit-batch.ts";
import type { Store } from "../store/store.ts";
import { BatchAdmission } from "./admit-batch.ts";
import { Background } from "./background.ts";
import type { Batch, ReadingColumns } from "./batch.ts";
import type { CommitClock } from "./commit-timer.ts";
import type { CompactorOptions } from "./compactor.ts";
import { SeriesNames } from "./dictionary.ts";
import { alertFrames, partialFrames, refoldedFrames, seriesFrames, tickFrame } from "./frames.ts";
import { isDue } from "./is-due.ts";
import { Ledger } from "./ledger.ts";
import { DirtyPages, pageOf, pageRow } from "./pages.ts";
import { PatientWriter } from "./patient-writer.ts";
import { recoverFold } from "./recover.ts";
import type { Refolded } from "./refolder.ts";
import type { StoreBounds } from "./trim.ts";
import { StoreTrimmer } from "./trim.ts";

/**
 * From batches to the log, through the fold, to the outbox: one thread, one order.
 *
 * A group commit admits what is new, folds it, and writes the log entry, what the fold emitted and the ledger in one
 * transaction; only then is the intake told. Nothing reaches an operator that is not in the log, so recovery and replay
 * are the same fold over the same entries.
 */

/** Bounds and lengths, as the settings of the same names. */
export interface CoreOptions extends StoreBounds {
  readonly windowMs: number;
  readonly checkpointIntervalMs: number;
  /** See BackgroundOptions. */
  readonly compaction?: CompactorOptions;
  readonly backgroundTurnMs?: number;
}

export interface CoreHooks extends CommitClock {
  /** A batch is durable. columns: lent with it, for the intake to use again. */
  committed(columns: ReadingColumns): void;
  /** Something was added to the outbox. */
  emitted(): void;
  /** Alerts that are now durable, for local subscribers. */
  alerts(alerts: readonly Alert[]): void;
  /** Something a person should read, such as a disk that is full; once when it begins and once when it ends. */
  warn(message: string): void;
}

/** Window partials that checkpoints send a second, about: with more series than that allows, a page's turn comes later. */
const PARTIALS_PER_SECOND = 1600;
/** Readings that wait in the windows of one page, at most, before it is flushed out of turn: bounds how long that takes. */
const PAGE_READINGS_MAX: number = 2 ** 19;

/** Keeps log, fold and outbox in step. One instance a data file. */
export class Core {
  readonly #store: Store;
  readonly #options: CoreOptions;
  readonly #hooks: CoreHooks;
  readonly #names: SeriesNames;
  readonly #thresholds = new ThresholdHistory();
  readonly #fold: SeriesFold;
  readonly #admission: BatchAdmission;
  readonly #ledger: Ledger;
  readonly #background: Background;
  readonly #trimmer: StoreTrimmer;
  readonly #dirty = new DirtyPages();
  /** Emissions of the fold not yet committed. */
  #out: Emissions = createEmissions();
  readonly #writer: PatientWriter;
  /** A batch that came while the disk refused to be written. */
  #waiting: Batch | undefined;
  #deadLettersUntrimmed = 0;
  /** As written last. */
  #recoverSeq = 0;
  #nextPage = 0;
  #pageFlushedMs = 0;
  #trimmedMs = 0;
  #readings = 0;
  /** Whether the sources are connected now, and were ever since this process' last tick. */
  readonly #watching = { now: true, sinceTick: false };

  /** Recovers: loads the checkpoint and folds the log from there to its head. */
  constructor(store: Store, options: CoreOptions, hooks: CoreHooks) {
    this.#store = store;
    this.#options = options;
    this.#hooks = hooks;
    this.#writer = new PatientWriter(store, hooks, () => this.#commitWaiting());
    this.#names = new SeriesNames(store.allSeries());
    this.#ledger = new Ledger(store.ledger());
    this.#admission = new BatchAdmission(store.readings, this.#ledger, (series) => this.#names.keyOf(series));
    this.#fold = new SeriesFold((series) => this.#names.keyOf(series), this.#thresholds, {
      windowMs: options.windowMs,
    });
    recoverFold(store, this.#fold, this.#thresholds, this.#dirty);
    this.#fold.positions().forEach((positionMs, series) => this.#admission.restore(series, positionMs));
    const nowMs = hooks.now();
    this.#pageFlushedMs = nowMs;
    this.#background = this.#openBackground(nowMs);
    this.#trimmer = new StoreTrimmer(store, this.#ledger, options, nowMs, (line) => hooks.warn(line));
    this.#trimmedMs = nowMs;
  }

  /** Names of the series by index: a view. */
  get names(): readonly SeriesKey[] {
    return this.#names.all();
  }

  /** Readings stored since the start of the process. */
  get readings(): number {
    return this.#readings;
  }

  get ledger(): ReturnType<Ledger["totals"]> {
    return this.#ledger.totals();
  }

  /** Numbers of its inner life by name: for metrics. Those that end in `_total` only grow, since the start of the process. */
  get gauges(): Record<string, number> {
    return {
      late_lookups_total: this.#admission.lookups,
      ...this.#background.gauges,
      log_bytes: this.#store.logBytes,
      outbox_bytes: this.#store.outboxBytes,
    };
  }

  /** Numbers of the threshold versions in the log. */
  get thresholdVersions(): number[] {
    return this.#thresholds.versions().map(({ version }) => version);
  }

  /** The group commit of a batch; committed() is called when it is durable. The next batch must wait for that. */
  commit(batch: Batch): void {
    if (this.#writer.isStuck) {
      this.#waiting = batch;
      return;
    }
    for (const key of batch.series) this.#names.add(key);
    for (const { source, reason, count } of batch.ledger) this.#ledger.add(source, reason, count);
    const { block, deadLetters } = this.#admission.admit(batch, this.#store.wholeFromMs);
    // With no entry, everything was a duplicate or refused: what it repeats is durable already.
    const entries = block.count === 0 ? [] : [this.#foldBlock(block)];
    this.#write({ entries, batch, refused: deadLetters }, () => this.#hooks.committed(batch.readings));
    this.#flushFullPages();
  }

  /** Enters a threshold version in the log and judges by it. Returns when it is durable; throws when it is not. */
  addThresholds(version: ThresholdVersion): void {
    this.#assertWritable(version);
    if (this.#thresholds.get(version.version)) return;
    const body = Buffer.from(JSON.stringify(version));
    this.#fold.applyThresholds(version, this.#out);
    this.#write({ entries: [{ kind: ENTRY_THRESHOLDS, minTsMs: null, maxTsMs: null, readings: 0, body }] });
    this.#assertWritable(version);
  }

  /** Tells whether the sources are connected: while they are not, no device is found silent. At first they are. */
  watching(isWatching: boolean): void {
    this.#watching.now = isWatching;
    if (!isWatching) this.#watching.sinceTick = false;
  }

  /** Enters the clock, the losses since the last tick and what has gone silent in the log. */
  tick(): void {
    if (this.#writer.isStuck) return;
    const clock = { nowMs: this.#hooks.now(), watching: this.#watching.sinceTick };
    this.#watching.sinceTick = this.#watching.now;
    const touched = (series: number): void => this.#dirty.touch(pageOf(series), this.#store.lastSeq + 1);
    const silent = this.#fold.applyTick(clock, this.#out, touched);
    const tick = { nowMs: clock.nowMs, ...this.#ledger.takeLosses() };
    const body = Buffer.from(JSON.stringify({ ...tick, ...clock, silent }));
    const entries = [{ kind: ENTRY_TICK, minTsMs: null, maxTsMs: null, readings: 0, body }];
    this.#write({ entries, frames: [tickFrame(tick)] });
  }

  /**
   * Does what is due of the checkpoint: the windows of the next page, re-folds that wait, the bounds of the file. To be
   * called often; each call does little.
   */
  checkpointTurn(): void {
    const nowMs = this.#hooks.now();
    const { checkpointIntervalMs } = this.#options;
    const pages = this.#fold.pages;
    if (isDue(nowMs, this.#pageFlushedMs, this.#roundMs / Math.max(1, pages))) {
      this.#pageFlushedMs = nowMs;
      for (let tried = 0; tried < pages; tried++) {
        const page = this.#nextPage++ % pages;
        if (!this.#dirty.isDirty(page)) continue;
        this.#flushPages([page]);
        break;
      }
    }
    if (isDue(nowMs, this.#trimmedMs, checkpointIntervalMs) && this.#trim(nowMs)) return;
    this.#background.turn(nowMs);
  }

  /** Compacts all of the log that the checkpoint has passed, whatever its age, in one go: for tests. */
  compact(): void {
    this.#background.compactAll(this.#hooks.now());
  }

  /** Flushes all pages, runs all re-folds, and trims: recovery then has nothing to fold. */
  checkpoint(): void {
    this.#checkpoint(Infinity);
  }

  #checkpoint(refoldMsMax: number): void {
    this.#background.refoldAll(refoldMsMax);
    const pages = Array.from({ length: this.#fold.pages }, (_, page) => page);
    this.#flushPages(pages.filter((page) => this.#dirty.isDirty(page)));
    while (this.#trim(this.#hooks.now())) continue;
  }

  /** Enters a last tick and checkpoints. Re-folds that take longer go on at the next start. */
  close(): void {
    this.tick();
    this.#checkpoint(CLOSE_REFOLD_MS);
    this.#writer.close();
  }

  /** Time in which every page is flushed once, ms. */
  get #roundMs(): number {
    const { checkpointIntervalMs, windowMs } = this.#options;
    const paced = Math.min(windowMs, (this.#names.size / PARTIALS_PER_SECOND) * 1000);
    return Math.max(checkpointIntervalMs, paced);
  }

  /** Folds new readings in; returns their log entry. */
  #foldBlock(block: ReadingColumns): EntryRow {
    this.#readings += block.count;
    const { minTsMs, maxTsMs } = timeRange(block);
    this.#fold.applyBlock(block, this.#out);
    this.#dirty.touchAll(block.series, block.count, this.#store.lastSeq + 1);
    return { kind: ENTRY_BLOCK, minTsMs, maxTsMs, readings: block.count, body: encodeBlock(block) };
  }

  /** Pages whose windows hold too many readings are flushed now, and all where all of them do together. */
  #flushFullPages(): void {
    const { windowReadings, windowBytes } = this.#fold;
    const isFull = windowReadings >= WINDOW_READINGS_MAX / 2 || windowBytes >= WINDOW_BYTES_MAX / 2;
    for (let page = 0; page < this.#fold.pages; page++) {
      const readings = this.#fold.pageWindowReadings(page);
      if (readings < PAGE_READINGS_MAX && !(isFull && readings > 0)) continue;
      this.#flushPages([page]);
    }
  }

  #flushPages(pages: readonly number[]): void {
    if (this.#writer.isStuck || pages.length === 0) return;
    const partials = pages.flatMap((page) => this.#fold.flushPage(page, this.#out));
    this.#write({ frames: partialFrames(partials), pages });
  }

  /** Windows of the series go first: what a re-fold replaces must be there. */
  #finishRefold(page: number, take: () => Refolded): void {
    const partials = this.#fold.flushPage(page, this.#out);
    const refolded = take();
    const { result, lostReadings } = refolded;
    this.#ledger.addUnsent(lostReadings);
    this.#out.refolds.push(...result.refolds);
    const frames = [...partialFrames(partials), ...refoldedFrames(result.partials, result.more)];
    this.#write({ frames, refolded, pages: [page] });
  }

  #openBackground(nowMs: number): Background {
    const { windowMs, checkpointIntervalMs: refoldIntervalMs, compaction, backgroundTurnMs: turnMs } = this.#options;
    const keyOf = (series: number): SeriesKey => this.#names.keyOf(series);
    const context = { source: this.#store, live: this.#fold, thresholds: this.#thresholds, keyOf, windowMs };
    return new Background(this.#store, context, { refoldIntervalMs, compaction, turnMs }, nowMs, {
      warn: (message) => this.#hooks.warn(message),
      canWrite: () => !this.#writer.isStuck,
      canReplace: () => this.#store.outboxBytes <= this.#options.outboxBytesMax * OUTBOX_SHARE_FOR_REFOLDS,
      refolded: (page, take) => this.#finishRefold(page, take),
    });
  }

  /**
   * Writes what it is given with all that waits: emissions, names, dead letters, the ledger. pages: their windows have
   * been flushed into `frames`, so recovery passes over them up to here. settle: called when it is durable.
   */
  #write(
    what: {
      readonly entries?: readonly EntryRow[];
      readonly frames?: readonly OutboxRow[];
      readonly refolded?: Refolded;
      readonly pages?: readonly number[];
      readonly isCheckpoint?: boolean;
      readonly batch?: Batch;
      /** Dead letters of readings that were refused only when they were admitted. */
      readonly refused?: Batch["deadLetters"];
    },
    settle: () => void = () => {},
  ): void {
    const { entries = [], frames = [], refolded, pages = [], batch, refused = [] } = what;
    const isCheckpoint = what.isCheckpoint ?? pages.length > 0;
    const { alerts, closed, refolds } = this.#out;
    this.#out = createEmissions();
    const seq = this.#store.lastSeq + entries.length;
    for (const request of refolds) this.#background.add(request);
    const allAlerts = [...alerts, ...(refolded?.result.alerts ?? [])];
    const series = batch?.series ?? [];
    const allFrames = [...seriesFrames(series), ...alertFrames(allAlerts), ...frames];
    const commit: CommitBatch = {
      receivedMs: this.#hooks.now(),
      entries,
      series,
      frames: allFrames,
      deadLetters: this.#withinBound([...(batch?.deadLetters ?? []), ...refused]),
      ledger: this.#ledger.takeDirty(),
      closedEpisodes: [...closed, ...(refolded?.result.closed ?? [])],
      dropEpisodes: refolded?.result.dropEpisodes ?? [],
      refolds: [...(refolded?.again ?? []), ...refolds],
      refoldsDone: refolded?.series ?? [],
      checkpoint: isCheckpoint ? this.#pageRows(pages, seq) : undefined,
    };
    this.#writer.write(commit, () => {
      settle();
      if (allFrames.length > 0) this.#hooks.emitted();
      if (allAlerts.length > 0) this.#hooks.alerts(allAlerts);
    });
  }

  /** Trimmed at times: in between, at most as many dead letters are written as are kept. */
  #withinBound(deadLetters: Batch["deadLetters"]): Batch["deadLetters"] {
    const kept = deadLetters.slice(0, Math.max(0, this.#options.deadLetterCountMax - this.#deadLettersUntrimmed));
    this.#deadLettersUntrimmed += kept.length;
    return kept;
  }

  #pageRows(pages: readonly number[], seq: number): CommitBatch["checkpoint"] {
    for (const page of pages) this.#dirty.clean(page);
    const rows = pages.map((page) => pageRow(this.#fold, page, seq));
    this.#recoverSeq = this.#dirty.recoverSeq(seq);
    return { pages: rows, recoverSeq: this.#recoverSeq };
  }

  /** Tries to write what the disk refused; nothing where it refused nothing. */
  retry(): void {
    this.#writer.retry();
  }

  #commitWaiting(): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting) this.commit(waiting);
  }

  #assertWritable({ version }: ThresholdVersion): void {
    if (!this.#writer.isStuck) return;
    throw new CodedError(
      "DATA_FILE_STUCK",
      `The data file cannot be written; threshold version ${version} was not taken.`,
    );
  }

  /** Returns whether there is more to trim now. */
  #trim(nowMs: number): boolean {
    if (this.#writer.isStuck || this.#background.isReading) return false;
    // Entries of which no page took notice, such as ticks, need not be folded again either; or they could never go.
    if (this.#dirty.recoverSeq(this.#store.lastSeq) > this.#recoverSeq) this.#write({ isCheckpoint: true });
    if (this.#writer.isStuck) return false;
    try {
      const { rows, refolds, isMore } = this.#trimmer.trim(nowMs);
      for (const request of refolds) this.#background.add(request);
      if (rows > 0) this.#background.trimmed();
      if (isMore) return true;
      this.#deadLettersUntrimmed = 0;
    } catch (error) {
      if (isDamage(error)) throw error;
      this.#hooks.warn(`Cannot trim the data file: ${errorMessage(error)}. Tried again at the next checkpoint.`);
    }
    this.#trimmedMs = nowMs;
    return false;
  }
}

/** Of the outbox, what may be in use when a re-fold begins whose partials replace others: they wait in the file for room. */
const OUTBOX_SHARE_FOR_REFOLDS = 0.5;
/** Re-folds at the end of the process, ms, about. */
const CLOSE_REFOLD_MS = 2000;

function timeRange({ tsMs, count }: ReadingColumns): { readonly minTsMs: number; readonly maxTsMs: number } {
  let minTsMs = Infinity;
  let maxTsMs = -Infinity;
  for (let i = 0; i < count; i++) {
    const time = tsMs[i]!;
    if (time < minTsMs) minTsMs = time;
    if (time > maxTsMs) maxTsMs = time;
  }
  return { minTsMs, maxTsMs };
}
