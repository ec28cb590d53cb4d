import type { Block } from "@weir/shared/model/reading";
import type { RefoldRequest } from "@weir/shared/operators/series-fold";
import type { WaitingRefold } from "../store/commit-batch.ts";
import { pageOf } from "./pages.ts";
import { RefoldJob } from "./refold.ts";
import type { RefoldContext, RefoldResult } from "./refold.ts";

/** Where the log's readings are, for re-folds in the background. */
export interface RefoldLog {
  /** The newest entry of the log. */
  readonly lastSeq: number;
  /**
   * Readings of some series up to an entry, of each from its own time on, in the order of time; undefined: a place to
   * leave off.
   */
  inTimeOrder(wanted: ReadonlyMap<number, number>, throughSeq: number): Generator<Block | undefined>;
  /** Blocks of the log after one entry and up to another, in its order; each lent until the next. */
  blocksAfter(afterSeq: number, throughSeq: number): Generator<Block>;
}

/** Series of one job, at most; all are of one page. */
const JOB_SERIES_MAX = 256;
/** Windows that a job's series have, at most, where their partials are replaced: they are written in one go. */
const JOB_WINDOWS_MAX = 8192;
/** Blocks that may have come since a job read the log, at most, for it to end now: they are read in one go. */
const LAST_BLOCKS_MAX = 8;
const CATCH_UP_ROUNDS_MAX = 4;

interface Running {
  readonly requests: readonly WaitingRefold[];
  readonly job: RefoldJob;
  readonly steps: Generator<void>;
}

/** What a job that has come to its end wants written. */
export interface Refolded {
  /** Those that were folded again. */
  readonly series: readonly number[];
  /** Requests that came for them meanwhile, and wait in the place of those that are done. */
  readonly again: readonly WaitingRefold[];
  /** Readings owed that the log no longer had whole: at most so many are lost to the aggregator. */
  readonly lostReadings: number;
  readonly result: RefoldResult;
}

/**
 * Re-folds in the background: a few series at a time, a few milliseconds at a turn.
 *
 * Requests wait in the data file, so that none is lost and the checkpoint need not wait for them. A job reads the log as
 * it was when it began, then what has come since, and at its end takes the place of what the live fold holds of its
 * series. Requests that come meanwhile are for the next job.
 */
export class Refolder {
  readonly #context: RefoldContext;
  readonly #log: RefoldLog;
  /** By series, each as wide as all that was asked for. */
  readonly #waiting = new Map<number, WaitingRefold>();
  #running: Running | undefined;
  /** Since the start: series folded again, and the time it took. */
  readonly #done = { series: 0, alerts: 0, ms: 0 };

  /** waiting: requests of the data file. */
  constructor(context: RefoldContext, log: RefoldLog, waiting: readonly WaitingRefold[]) {
    this.#context = context;
    this.#log = log;
    for (const request of waiting) this.add(request);
  }

  /** Series that wait, or are being folded again. */
  get waiting(): number {
    return this.#waiting.size + (this.#running?.job.series.length ?? 0);
  }

  /** A job is under way: nothing may be compacted or trimmed. */
  get isBusy(): boolean {
    return this.#running !== undefined;
  }

  /** Numbers for metrics. */
  get gauges(): Record<string, number> {
    return {
      refolds_waiting: this.waiting,
      // Since a full outbox had no room for what was made of them.
      refolds_owed_readings: this.#owedReadings(),
      refolds_total: this.#done.series,
      refold_alerts_total: this.#done.alerts,
      refold_seconds_total: this.#done.ms / 1000,
    };
  }

  add(request: RefoldRequest | WaitingRefold): void {
    const owed = "owed" in request ? request.owed : 0;
    const known = this.#waiting.get(request.series);
    const next = known ? { ...widest(known, request), owed: known.owed + owed } : { ...request, owed };
    this.#waiting.set(request.series, next);
  }

  #owedReadings(): number {
    let readings = 0;
    for (const { owed } of this.#waiting.values()) readings += owed;
    for (const { owed } of this.#running?.requests ?? []) readings += owed;
    return readings;
  }

  /**
   * Begins a job or goes on with one for about budgetMs. finish is called when it is at its end: it flushes the windows
   * of the page, and writes what take() returns before anything else. mayReplace: whether one may begin of series whose
   * partials are replaced. Returns false where none could begin.
   */
  turn(budgetMs: number, finish: (page: number, take: () => Refolded) => void, mayReplace: boolean = true): boolean {
    const startedMs = performance.now();
    this.#running ??= this.#begin(mayReplace);
    if (!this.#running) return false;
    const { requests, job, steps } = this.#running;
    try {
      while (steps.next().done !== true) if (performance.now() - startedMs >= budgetMs) return true;
      finish(pageOf(job.series[0]!), () => this.#take(requests, job));
      return true;
    } catch (error) {
      this.#running = undefined;
      for (const request of requests) this.add(request);
      throw error;
    } finally {
      this.#done.ms += performance.now() - startedMs;
    }
  }

  #take(requests: readonly WaitingRefold[], job: RefoldJob): Refolded {
    const result = job.finish();
    this.#running = undefined;
    this.#done.series += job.series.length;
    this.#done.alerts += result.alerts.length;
    const again = job.series.flatMap((series) => this.#waiting.get(series) ?? []);
    // A job that begins after the window that was asked for has found it trimmed.
    const late = requests.filter(({ series, fromMs }) => job.wanted.get(series)! > fromMs);
    return { series: job.series, again, lostReadings: late.reduce((sum, { owed }) => sum + owed, 0), result };
  }

  #begin(mayReplace: boolean): Running | undefined {
    const requests = this.#nextRequests(mayReplace);
    if (requests.length === 0) return undefined;
    for (const { series } of requests) this.#waiting.delete(series);
    const job = new RefoldJob(requests, this.#context);
    return { requests, job, steps: this.#steps(job) };
  }

  /** Those that have waited longest, of one page, as many as fit into a job. */
  #nextRequests(mayReplace: boolean): WaitingRefold[] {
    const requests: WaitingRefold[] = [];
    let page = -1;
    let windows = 0;
    for (const request of this.#waiting.values()) {
      if (request.replacePartials && !mayReplace) continue;
      if (page === -1) page = pageOf(request.series);
      if (pageOf(request.series) !== page) continue;
      windows += this.#windowsOf(request);
      if (requests.length > 0 && windows > JOB_WINDOWS_MAX) break;
      requests.push(request);
      if (requests.length === JOB_SERIES_MAX) break;
    }
    return requests;
  }

  #windowsOf({ series, fromMs, replacePartials }: RefoldRequest): number {
    if (!replacePartials) return 0;
    const { live, windowMs } = this.#context;
    // Of a version that is in force since ever, it is not known.
    const lengthMs = Math.min(live.positionMs(series) - fromMs, JOB_WINDOWS_MAX * windowMs);
    return Math.max(1, lengthMs / windowMs);
  }

  *#steps(job: RefoldJob): Generator<void> {
    let readSeq = this.#log.lastSeq;
    for (const block of this.#log.inTimeOrder(job.wanted, readSeq)) {
      if (block) job.apply(block);
      yield;
    }
    for (let round = 1; ; round++) {
      const { lastSeq } = this.#log;
      // Each round has less to catch up with than the one before; one that doesn't must end all the same.
      const isLast = lastSeq - readSeq <= LAST_BLOCKS_MAX || round === CATCH_UP_ROUNDS_MAX;
      for (const block of this.#log.blocksAfter(readSeq, lastSeq)) {
        job.applyWanted(block);
        if (!isLast) yield;
      }
      readSeq = lastSeq;
      if (isLast) return;
    }
  }
}

/** The re-fold that both of two of one series are part of. */
export function widest(a: RefoldRequest, b: RefoldRequest): RefoldRequest {
  return {
    series: a.series,
    fromMs: Math.min(a.fromMs, b.fromMs),
    replacePartials: a.replacePartials || b.replacePartials,
  };
}
