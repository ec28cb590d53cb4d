/** Lets one waiter sleep until the receiver has room again. */
export interface Room {
  /** There is room now: wakes the waiter. */
  signal(): void;
  /** Resolves after the next signal, or after timeoutMs where none comes. */
  wait(timeoutMs: number): Promise<void>;
}

/** A room with nobody waiting. */
export function createRoom(): Room {
  let wake: (() => void) | undefined;
  return {
    signal() {
      wake?.();
    },
    wait: (timeoutMs) =>
      new Promise((resolve) => {
        const timer = setTimeout(() => finish(), timeoutMs);
        const finish = (): void => {
          clearTimeout(timer);
          wake = undefined;
          resolve();
        };
        wake = () => {
          // Acknowledgements come many to a chunk: after all of them there is more room than after the first.
          wake = undefined;
          clearTimeout(timer);
          setImmediate(resolve);
        };
      }),
  };
}
