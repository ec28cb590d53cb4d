/** Messages held back to arrive late and out of order, by the time each is due. Holds at most `sizeMax`. */
export interface LateQueue {
  readonly size: number;
  /** Holds message n until dueMs; false: the queue is full, send it now. */
  hold(n: number, dueMs: number): boolean;
  /** The message due first, if it is due at nowMs; it stays until drop(). */
  due(nowMs: number): number | undefined;
  /** Takes out the message that due() names. */
  drop(): void;
}

/** An empty queue: a binary heap in two columns. */
export function createLateQueue(sizeMax: number): LateQueue {
  const times: number[] = [];
  const messages: number[] = [];

  const swap = (i: number, j: number): void => {
    [times[i], times[j]] = [times[j] as number, times[i] as number];
    [messages[i], messages[j]] = [messages[j] as number, messages[i] as number];
  };
  const earlier = (i: number, j: number): boolean => (times[i] ?? Infinity) < (times[j] ?? Infinity);

  return {
    get size() {
      return times.length;
    },
    hold(n, dueMs) {
      if (times.length >= sizeMax) return false;
      let i = times.push(dueMs) - 1;
      messages.push(n);
      for (let parent = (i - 1) >> 1; i > 0 && earlier(i, parent); parent = (i - 1) >> 1) {
        swap(i, parent);
        i = parent;
      }
      return true;
    },
    due: (nowMs) => ((times[0] ?? Infinity) <= nowMs ? messages[0] : undefined),
    drop() {
      swap(0, times.length - 1);
      times.pop();
      messages.pop();
      for (let i = 0; ;) {
        const left = 2 * i + 1;
        const child = earlier(left + 1, left) ? left + 1 : left;
        if (!earlier(child, i)) return;
        swap(child, i);
        i = child;
      }
    },
  };
}
