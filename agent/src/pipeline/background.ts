import { errorMessage } from "@weir/shared/errors";
import type { RefoldRequest } from "@weir/shared/operators/series-fold";
import type { WaitingRefold } from "../store/commit-batch.ts";
import { isDamage } from "../store/damage.ts";
import type { Store } from "../store/store.ts";
import { inTimeOrder } from "../store/time-order.ts";
import type { CompactorOptions } from "./compactor.ts";
import { Compactor } from "./compactor.ts";
import { isDue } from "./is-due.ts";
import type { RefoldContext } from "./refold.ts";
import type { Refolded } from "./refolder.ts";
import { Refolder } from "./refolder.ts";

/** Time that compaction, or re-folds, may take of one turn, ms, where a job's last step may take some more. */
const COMPACTION_TURN_MS = 4;
const REFOLD_TURN_MS = 8;

export interface BackgroundOptions {
  /** Rounds of re-folds begin so far from each other: late readings that follow are folded with the first. */
  readonly refoldIntervalMs: number;
  /** When the log is compacted; default COMPACTOR_DEFAULTS. */
  readonly compaction?: CompactorOptions | undefined;
  /** Of one turn; 0: one step of a job. Default: a few. */
  readonly turnMs?: number | undefined;
}

/** What the core does for jobs of the background. */
export interface BackgroundHooks {
  /** Something a person should read. */
  warn(message: string): void;
  /** False while the disk refuses to be written: nothing may come to its end. */
  canWrite(): boolean;
  /** False while the outbox has no room for the partials of a re-fold: those that were not sent would go for them. */
  canReplace(): boolean;
  /** A re-fold is at its end: flushes the windows of a page, and writes what take() returns before anything else. */
  refolded(page: number, take: () => Refolded): void;
}

/**
 * What is done in the background, a few milliseconds at a turn: re-folds and compaction. They take turns job by job, as
 * a re-fold reads what compaction moves.
 */
export class Background {
  readonly #store: Store;
  readonly #hooks: BackgroundHooks;
  readonly #refolder: Refolder;
  readonly #compactor: Compactor;
  readonly #options: BackgroundOptions;
  /** Series that this round of re-folds still has to do, and when it began. */
  #roundLeft = 0;
  #roundMs: number;
  #isCompactionsTurn = false;

  /** nowMs: the clock. */
  constructor(store: Store, context: RefoldContext, options: BackgroundOptions, nowMs: number, hooks: BackgroundHooks) {
    this.#store = store;
    this.#hooks = hooks;
    this.#options = options;
    this.#roundMs = nowMs;
    const log = {
      get lastSeq() {
        return store.lastSeq;
      },
      inTimeOrder: (wanted: ReadonlyMap<number, number>, throughSeq: number) =>
        inTimeOrder(store.readings, wanted, throughSeq),
      blocksAfter: (afterSeq: number, throughSeq: number) =>
        store.readings.logBlocksFrom(-Infinity, afterSeq, throughSeq),
    };
    this.#refolder = new Refolder(context, log, store.waitingRefolds());
    this.#compactor = new Compactor(store.compacted, options.compaction);
  }

  /** Numbers for metrics. */
  get gauges(): Record<string, number> {
    return { ...this.#refolder.gauges, ...this.#compactor.gauges };
  }

  /** Rows of the log are being read across turns: nothing may be trimmed. */
  get isReading(): boolean {
    return this.#refolder.isBusy;
  }

  /** Asks for a re-fold. It is in the data file, or will be with the next commit. */
  add(request: RefoldRequest | WaitingRefold): void {
    this.#refolder.add(request);
  }

  /** Rows of the log were trimmed. */
  trimmed(): void {
    this.#compactor.restart();
  }

  /** Goes on with what is to be done. */
  turn(nowMs: number): void {
    if (!this.#hooks.canWrite()) return;
    const { refoldIntervalMs, turnMs } = this.#options;
    if (this.#roundLeft === 0 && this.#refolder.waiting > 0 && isDue(nowMs, this.#roundMs, refoldIntervalMs)) {
      this.#roundLeft = this.#refolder.waiting;
      this.#roundMs = nowMs;
    }
    const isRefoldsTurn = this.#refolder.isBusy || (this.#roundLeft > 0 && !this.#isCompactionsTurn);
    if (isRefoldsTurn && this.#refold(turnMs ?? REFOLD_TURN_MS)) return;
    // Those that cannot begin now are looked at again in the next round.
    if (isRefoldsTurn) this.#roundLeft = 0;
    this.#compact(nowMs, turnMs ?? COMPACTION_TURN_MS);
  }

  /** Runs re-folds until none waits that can begin, or for about limitMs. */
  refoldAll(limitMs: number = Infinity): void {
    const startedMs = performance.now();
    while (this.#refolder.waiting > 0 && this.#hooks.canWrite() && performance.now() - startedMs < limitMs) {
      if (!this.#refold(limitMs)) return;
    }
  }

  /** Compacts all of the log that the checkpoint has passed, whatever its age. No re-fold may be under way. */
  compactAll(nowMs: number): void {
    this.#compactor.finish(this.#store.recoverSeq, nowMs);
  }

  /** Returns false where no re-fold could begin. */
  #refold(budgetMs: number): boolean {
    const finish = (page: number, take: () => Refolded): void =>
      this.#hooks.refolded(page, () => {
        const refolded = take();
        this.#roundLeft = Math.max(0, this.#roundLeft - refolded.series.length);
        // Compaction has a job between two of re-folds.
        this.#isCompactionsTurn = true;
        return refolded;
      });
    return this.#refolder.turn(budgetMs, finish, this.#hooks.canReplace());
  }

  #compact(nowMs: number, budgetMs: number): void {
    try {
      this.#compactor.turn(this.#store.recoverSeq, nowMs, budgetMs);
      if (!this.#compactor.isBusy) this.#isCompactionsTurn = false;
    } catch (error) {
      this.#isCompactionsTurn = false;
      if (isDamage(error)) throw error;
      this.#hooks.warn(`Cannot compact the log: ${errorMessage(error)}. Tried again in a minute.`);
    }
  }
}
