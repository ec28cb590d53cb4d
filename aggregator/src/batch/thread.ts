import { setPriority } from "node:os";
import { fileURLToPath } from "node:url";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { CodedError, errorMessage } from "@weir/shared/errors";
import { createCalendar } from "@weir/shared/operators/calendar";
import type { BatchDone, BatchJob } from "./jobs.ts";
import { openBatchRunner } from "./jobs.ts";

/**
 * A thread for jobs on history, so that frames, acknowledgements and alerts don't wait for them. This module is both
 * ends: imported, it starts the thread; started as one, it opens the data file.
 */

type FromThread =
  | { readonly type: "done"; readonly done: BatchDone }
  | { readonly type: "failed"; readonly code: string | undefined; readonly message: string };

/** Memory of the thread, MiB: a job that takes more ends it, and nothing else. */
const HEAP_MIB_MAX = 4096;

/** The thread gives way to the one that takes frames, where there are not cores enough for both. */
const NICENESS = 10;

const THREAD_NAME = "weir-batch";

interface ThreadData {
  readonly thread: string;
  readonly path: string;
  readonly timezone: string;
}

/** Somebody who does jobs, one at a time. */
export interface BatchHand {
  /** Rejects with the job's CodedError, or with BATCH_ENDED when the hand is of no use any more. */
  run(job: BatchJob): Promise<BatchDone>;
  /** False once it has ended by itself. */
  readonly isAlive: boolean;
  /** Ends it, whatever it does. */
  end(): Promise<void>;
}

/** Starts a thread for the data file at path. execArgv: flags of Node, those of this process by default. */
export function startBatchThread(path: string, timezone: string, execArgv?: readonly string[]): BatchHand {
  const worker = new Worker(fileURLToPath(import.meta.url), {
    workerData: { thread: THREAD_NAME, path, timezone } satisfies ThreadData,
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB_MAX },
    ...(execArgv ? { execArgv: [...execArgv] } : {}),
  });
  let isAlive = true;
  let waiting: { resolve: (done: BatchDone) => void; reject: (error: Error) => void } | undefined;
  let reason = "";
  const ended = new Promise<void>((resolve) => {
    worker.on("error", (error) => (reason = errorMessage(error)));
    worker.on("exit", (code) => {
      isAlive = false;
      const why = reason === "" ? `it ended with ${code}` : reason;
      const message = `The thread that makes reports and trains has ended: ${why}. Another one is started; try again.`;
      waiting?.reject(new CodedError("BATCH_ENDED", message));
      waiting = undefined;
      resolve();
    });
  });
  worker.on("message", (message: FromThread) => {
    const job = waiting;
    waiting = undefined;
    if (message.type === "done") job?.resolve(message.done);
    else if (message.code === undefined) job?.reject(new Error(message.message));
    else job?.reject(new CodedError(message.code, message.message));
  });
  return {
    get isAlive() {
      return isAlive;
    },
    run: (job) =>
      new Promise((resolve, reject) => {
        waiting = { resolve, reject };
        if (isAlive) worker.postMessage(job, []);
        else reject(new CodedError("BATCH_ENDED", "The thread that makes reports and trains has ended."));
      }),
    async end() {
      await worker.terminate();
      await ended;
    },
  };
}

function serve({ path, timezone }: ThreadData): void {
  // On Linux a thread has a priority of its own; elsewhere this would be the whole program's.
  if (process.platform === "linux") setPriority(NICENESS);
  const runner = openBatchRunner(path, createCalendar(timezone));
  parentPort!.on("message", (job: BatchJob) => {
    try {
      const done = runner.run(job);
      const message: FromThread = { type: "done", done };
      parentPort!.postMessage(message, buffersOf(done));
    } catch (error) {
      const code = error instanceof CodedError ? error.code : undefined;
      const message: FromThread = { type: "failed", code, message: errorMessage(error) };
      parentPort!.postMessage(message, []);
    }
  });
}

/** Memory that is handed over: each text has its own. */
function buffersOf(done: BatchDone): ArrayBuffer[] {
  const texts =
    done.kind === "train"
      ? [done.body]
      : [done.revision?.body, done.revision?.health, done.answer, ...done.health.map(({ body }) => body)].filter(
          (text) => text !== undefined,
        );
  return [...new Set(texts.map((text) => text.buffer as ArrayBuffer))];
}

const data = workerData as ThreadData | null;
if (!isMainThread && data?.thread === THREAD_NAME) serve(data);
