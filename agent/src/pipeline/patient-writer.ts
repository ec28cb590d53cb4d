import { errorMessage } from "@weir/shared/errors";
import { isDamage } from "../store/damage.ts";
import type { CommitBatch } from "../store/commit-batch.ts";
import type { Store } from "../store/store.ts";
import type { CommitClock } from "./commit-timer.ts";
import { laterBy } from "./commit-timer.ts";

/** Wait before a write that the disk refused is tried again, ms. */
const RETRY_MS = 1000;

/** Says a line that a person should read. */
interface Warner extends CommitClock {
  warn(message: string): void;
}

/**
 * Writes to a store whose disk may be full: a batch that it refuses is held and tried again, and nothing else is written
 * before it, since what came of it is in the fold already. A file that is damaged will never take it: that is thrown.
 */
export class PatientWriter {
  readonly #store: Store;
  readonly #hooks: Warner;
  readonly #goOn: () => void;
  #refused: { readonly batch: CommitBatch; readonly settle: () => void } | undefined;
  #cancelRetry: (() => void) | undefined;

  /** goOn: called when what was refused has been written and settled. */
  constructor(store: Store, hooks: Warner, goOn: () => void) {
    this.#store = store;
    this.#hooks = hooks;
    this.#goOn = goOn;
  }

  /** A batch waits; write() must not be called. */
  get isStuck(): boolean {
    return this.#refused !== undefined;
  }

  /** Writes a batch, now or when it can be. settle: called when it is durable. Throws what no waiting can mend. */
  write(batch: CommitBatch, settle: () => void): void {
    try {
      this.#store.commit(batch);
    } catch (error) {
      if (!mayPass(error)) throw error;
      this.#refused = { batch, settle };
      const problem = errorMessage(error);
      this.#hooks.warn(`Cannot write the data file: ${problem}. Sources are held back until it can be written.`);
      this.#retryLater();
      return;
    }
    settle();
  }

  /** Tries to write what the disk refused; nothing where it refused nothing. Throws what no waiting can mend. */
  retry(): void {
    const refused = this.#refused;
    if (!refused) return;
    this.#cancelRetry?.();
    try {
      this.#store.commit(refused.batch);
    } catch (error) {
      if (!mayPass(error)) throw error;
      this.#retryLater();
      return;
    }
    this.#refused = undefined;
    this.#hooks.warn("The data file can be written again.");
    refused.settle();
    this.#goOn();
  }

  /** Tries no more. */
  close(): void {
    this.#cancelRetry?.();
  }

  #retryLater(): void {
    this.#cancelRetry = laterBy(this.#hooks, () => this.retry(), RETRY_MS);
  }
}

/** True for what SQLite or the system says of a disk; damage does not pass, and neither does a mistake of this program. */
function mayPass(error: unknown): boolean {
  return typeof (error as { code?: unknown } | null)?.code === "string" && !isDamage(error);
}
