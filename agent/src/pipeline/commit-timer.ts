/** What decides when the next group commit is due. */
export interface CommitClock {
  /** The clock, ms since 1970. */
  now(): number;
  /** Calls work after waitMs, unless the function returned is called before; by default, with a timer. */
  later?(work: () => void, waitMs: number): () => void;
}

/** Rest of the disk between group commits, in durations of the last one: at most a quarter of the time goes to fsync. */
const COMMIT_REST = 3;

/** Calls work after waitMs by the clock's own timer or Node's; the function returned calls it off. */
export function laterBy(clock: CommitClock, work: () => void, waitMs: number): () => void {
  if (clock.later) return clock.later(work, waitMs);
  const timer = setTimeout(work, waitMs);
  return () => clearTimeout(timer);
}

/** Calls the group commit when it is due; at most one call waits. */
export class CommitTimer {
  readonly #commit: () => void;
  readonly #clock: CommitClock;
  readonly #intervalMs: number;
  #cancel: (() => void) | undefined;
  #committedAtMs = 0;
  #commitTookMs = 0;

  /** intervalMs: the longest rest between commits. */
  constructor(commit: () => void, clock: CommitClock, intervalMs: number) {
    this.#commit = commit;
    this.#clock = clock;
    this.#intervalMs = intervalMs;
  }

  /**
   * A commit soon: at once where the disk is idle, so that a lone publisher is not held up; else after a rest of some
   * times what the last one took, so that under load commits are few and large.
   */
  soon(): void {
    if (this.#cancel) return;
    const restMs = Math.min(this.#intervalMs, COMMIT_REST * this.#commitTookMs);
    const waitMs = this.#committedAtMs + restMs - this.#clock.now();
    this.#cancel = this.#later(Math.max(0, Math.min(waitMs, restMs)));
  }

  /** A commit as soon as the caller has returned: the block is full. */
  next(): void {
    this.cancel();
    if (this.#clock.later) {
      this.#cancel = this.#later(0);
      return;
    }
    const immediate = setImmediate(this.#commit);
    this.#cancel = () => clearImmediate(immediate);
  }

  cancel(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  /** Notes a commit that went well. beganMs: the clock before it. */
  committed(beganMs: number): void {
    this.#committedAtMs = this.#clock.now();
    this.#commitTookMs = Math.max(1, this.#committedAtMs - beganMs);
  }

  #later(waitMs: number): () => void {
    return laterBy(this.#clock, this.#commit, waitMs);
  }
}
