import { CodedError, errorMessage } from "@weir/shared/errors";
import type { BatchDone, BatchJob } from "./jobs.ts";
import type { BatchHand } from "./thread.ts";

/** Jobs that wait behind the one under way, at most; more are refused, and who asked may try again. */
export const BATCH_WAITING_MAX = 16;

/** A job that takes longer is ended with its thread, ms: its snapshot keeps the file's log from being shortened. */
const JOB_MS_MAX = 600_000;

/** Waits at the end for the job under way, at most, ms. What it would have issued is still due at the next start. */
const DRAIN_MS = 5_000;

/** A job and what is done about it on this thread. */
export interface BatchTask<T> {
  /** Tasks of one name that have not begun are one: their answers are the same. */
  readonly name: string;
  /** Right before the job begins: what it commits is in the job's snapshot. */
  begin(): BatchJob;
  /** With what the job came to, before the next begins. */
  finish(done: BatchDone): T | Promise<T>;
}

/** Counters for /metrics. */
export interface BatchCounters {
  readonly waiting: number;
  readonly done: number;
  readonly failed: number;
  readonly refused: number;
  /** Threads that ended by themselves, or were ended because a job took too long. */
  readonly ended: number;
}

/** Jobs on history, one at a time. */
export interface BatchQueue {
  /**
   * Throws CodedError BATCH_BUSY when too many wait, unless the task is urgent: of those the caller has one at a time.
   * BATCH_ENDED when the hand died, BATCH_TOO_LONG when it had to be ended, BATCH_CLOSED at the end; errors of the job and
   * of the task.
   */
  run<T>(task: BatchTask<T>, options?: { readonly isUrgent: boolean }): Promise<T>;
  counters(): BatchCounters;
  /** Refuses what waits; lets the job under way end, for a while. */
  close(): Promise<void>;
}

interface Waiting {
  readonly task: BatchTask<unknown>;
  readonly promise: Promise<unknown>;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** start: makes somebody who does the jobs, at the first of them and after one has ended. log: a line for a person. */
export function createBatchQueue(
  start: () => BatchHand,
  log: (line: string) => void,
  options: { readonly jobMsMax?: number; readonly drainMs?: number } = {},
): BatchQueue {
  const { jobMsMax = JOB_MS_MAX, drainMs = DRAIN_MS } = options;
  const waiting: Waiting[] = [];
  const counts = { done: 0, failed: 0, refused: 0, ended: 0 };
  let hand: BatchHand | undefined;
  let active: Promise<void> | undefined;
  let isClosed = false;

  const work = async (job: BatchJob): Promise<BatchDone> => {
    if (!hand?.isAlive) hand = start();
    const worker = hand;
    let isTooLong = false;
    const timer = setTimeout(() => {
      isTooLong = true;
      void worker.end();
    }, jobMsMax);
    try {
      return await worker.run(job);
    } catch (error) {
      if (!isTooLong) throw error;
      const message = `A ${job.kind} took longer than the ${jobMsMax / 1000} s it has, and was ended.`;
      throw new CodedError("BATCH_TOO_LONG", message, { cause: error });
    } finally {
      clearTimeout(timer);
      if (!worker.isAlive && !isClosed) {
        counts.ended++;
        log("The thread for reports and training has ended; the next job starts another one.");
      }
    }
  };
  const doNext = async ({ task, resolve, reject }: Waiting): Promise<void> => {
    try {
      resolve(await task.finish(await work(task.begin())));
      counts.done++;
    } catch (error) {
      counts.failed++;
      reject(error);
    }
  };
  const doAll = async (): Promise<void> => {
    for (let next = waiting.shift(); next; next = waiting.shift()) await doNext(next);
    active = undefined;
  };
  const closedError = (): CodedError => new CodedError("BATCH_CLOSED", "The aggregator is ending; try again later.");

  return {
    run<T>(task: BatchTask<T>, { isUrgent = false } = {}): Promise<T> {
      if (isClosed) return Promise.reject(closedError());
      const same = waiting.find((one) => one.task.name === task.name);
      if (same) return same.promise as Promise<T>;
      if (!isUrgent && waiting.length >= BATCH_WAITING_MAX) {
        counts.refused++;
        const message = `${BATCH_WAITING_MAX} reports or trainings wait to be made; no more are taken. Try again later.`;
        return Promise.reject(new CodedError("BATCH_BUSY", message));
      }
      let [resolve, reject]: [(value: unknown) => void, (error: unknown) => void] = [() => {}, () => {}];
      const promise = new Promise<unknown>((...both) => ([resolve, reject] = both));
      waiting.push({ task, promise, resolve, reject });
      active ??= Promise.resolve().then(doAll);
      return promise as Promise<T>;
    },
    counters: () => ({ waiting: waiting.length, ...counts }),
    async close() {
      isClosed = true;
      for (const { reject } of waiting.splice(0)) reject(closedError());
      let timer: NodeJS.Timeout | undefined;
      if (active) await Promise.race([active, new Promise((resolve) => (timer = setTimeout(resolve, drainMs)))]);
      clearTimeout(timer);
      try {
        await hand?.end();
      } catch (error) {
        log(`The thread for reports and training did not end well: ${errorMessage(error)}`);
      }
      await active;
    },
  };
}
