import { setTimeout as delay } from "node:timers/promises";

/** How long and how often `eventually` tries, in ms. */
export interface EventuallyOptions {
  timeoutMs?: number;
  intervalMs?: number;
}

/**
 * Calls `check` until it no longer throws and returns its value. Throws an error with the last failure as its cause
 * when that takes longer than `timeoutMs` (default 10,000; tried every `intervalMs`, default 20).
 */
export async function eventually<T>(
  check: () => T | Promise<T>,
  { timeoutMs = 10_000, intervalMs = 20 }: EventuallyOptions = {},
): Promise<T> {
  const deadlineMs = performance.now() + timeoutMs;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (performance.now() >= deadlineMs) {
        const why = error instanceof Error ? error.message : String(error);
        throw new Error(`Still failing after ${timeoutMs} ms: ${why}`, { cause: error });
      }
    }
    await delay(intervalMs);
  }
}
