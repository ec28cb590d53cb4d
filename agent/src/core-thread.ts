import { fileURLToPath } from "node:url";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import type { Alert } from "@weir/shared/model/alert";
import { CodedError, errorMessage } from "@weir/shared/errors";
import type { CoreEvents, CoreHost } from "./core-host.ts";
import { openCoreHost } from "./core-host.ts";
import type { Batch, ReadingColumns } from "./pipeline/batch.ts";
import { buffersOf } from "./pipeline/batch.ts";
import type { AgentSettings } from "./settings.ts";
import type { Gather } from "./sources/gather.ts";
import { rouse } from "./sources/gather.ts";

/**
 * The core on a thread of its own, so that sockets are read while a commit waits for the disk.
 *
 * Batches go over and columns come back by handing over their memory; nothing is copied and nothing is shared. This
 * module is both ends: imported, it starts the thread; started as one, it opens the core.
 */

type ToCore =
  | { readonly type: "batch"; readonly batch: Batch }
  | { readonly type: "watching"; readonly isWatching: boolean }
  | { readonly type: "close" };
type FromCore =
  | { readonly type: "ready"; readonly names: string }
  | { readonly type: "failed"; readonly code: string; readonly message: string }
  | { readonly type: "committed"; readonly columns: ReadingColumns }
  | { readonly type: "alerts"; readonly alerts: readonly Alert[] }
  | { readonly type: "log"; readonly line: string }
  | { readonly type: "ended"; readonly code: string; readonly message: string }
  | { readonly type: "closed" };

/**
 * Memory of the thread for what is young, MiB. Readings lie in columns, which are not of it; left to itself the engine
 * takes several times as much for nothing gained.
 */
const YOUNG_MIB_MAX = 12;

/** What the thread is started with. thread: THREAD_NAME. pillow: of the thread that waits for commits. */
interface ThreadData {
  readonly thread: string;
  readonly settings: AgentSettings;
  readonly pillow: Int32Array;
}

/** Tells this module apart from others that are started as threads. */
const THREAD_NAME = "weir-core";

/**
 * Starts the core on another thread and waits until it has recovered. gather: of this thread; a commit wakes it. Throws
 * CodedErrors of the store.
 */
export async function startCoreThread(settings: AgentSettings, events: CoreEvents, gather: Gather): Promise<CoreHost> {
  const worker = new Worker(fileURLToPath(import.meta.url), {
    workerData: { thread: THREAD_NAME, settings, pillow: gather.pillow } satisfies ThreadData,
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MIB_MAX },
  });
  const send = (message: ToCore, buffers: ArrayBuffer[] = []): void => worker.postMessage(message, buffers);
  let closed: (() => void) | undefined;
  let hasEnded = false;
  const names = await new Promise<string>((resolve, reject) => {
    worker.on("message", (message: FromCore) => {
      if (message.type === "ready") resolve(message.names);
      else if (message.type === "failed") {
        hasEnded = true;
        reject(new CodedError(message.code, message.message));
      } else if (message.type === "committed") {
        gather.awake();
        events.committed(message.columns);
      } else if (message.type === "alerts") events.alerts(message.alerts);
      else if (message.type === "log") events.log(message.line);
      else if (message.type === "ended") end(new CodedError(message.code, message.message));
      else closed?.();
    });
    const end = (error: Error): void => {
      reject(error);
      if (!hasEnded && (!closed || error instanceof CodedError)) events.failed(error);
      hasEnded = true;
      closed?.();
    };
    worker.on("error", (error) => end(error instanceof Error ? error : new Error(String(error))));
    worker.on("exit", (code) => end(new Error(`The core's thread ended with ${code}.`)));
  });
  return {
    names: unpackNames(names),
    commit: (batch) => send({ type: "batch", batch }, buffersOf(batch.readings)),
    watching: (isWatching) => send({ type: "watching", isWatching }),
    close: () =>
      new Promise<void>((resolve) => {
        closed = resolve;
        if (hasEnded) resolve();
        else send({ type: "close" });
      }),
    async abandon() {
      hasEnded = true;
      await worker.terminate();
    },
  };
}

function runCoreThread({ settings, pillow }: ThreadData): void {
  const send = (message: FromCore, buffers: ArrayBuffer[] = []): void => parentPort!.postMessage(message, buffers);
  let host: CoreHost;
  try {
    host = openCoreHost(settings, {
      committed(columns) {
        send({ type: "committed", columns }, buffersOf(columns));
        rouse(pillow);
      },
      alerts: (alerts) => send({ type: "alerts", alerts }),
      log: (line) => send({ type: "log", line }),
      failed: (error) =>
        send({ type: "ended", code: error instanceof CodedError ? error.code : "ASSERTION", message: error.message }),
    });
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    send({ type: "failed", code: error.code, message: errorMessage(error) });
    return;
  }
  parentPort!.on("message", (message: ToCore) => {
    if (message.type === "batch") host.commit(message.batch);
    else if (message.type === "watching") host.watching(message.isWatching);
    else void close();
  });
  const close = async (): Promise<void> => {
    await host.close();
    send({ type: "closed" });
    parentPort!.close();
  };
  send({ type: "ready", names: packNames(host.names) });
}

/** One string rather than an object a series: names hold neither line ends nor slashes. */
function packNames(names: CoreHost["names"]): string {
  return names.map(({ site, device, metric }) => `${site}/${device}/${metric}`).join("\n");
}

function unpackNames(packed: string): CoreHost["names"] {
  if (packed === "") return [];
  return packed.split("\n").map((line) => {
    const [site = "", device = "", metric = ""] = line.split("/");
    return { site, device, metric };
  });
}

const data = workerData as ThreadData | null;
if (!isMainThread && data?.thread === THREAD_NAME) runCoreThread(data);
