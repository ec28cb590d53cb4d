/**
 * Whether what was done at sinceMs is to be done again after a rest. A clock that was set back to before it (see
 * createClock) says nothing of how long ago it was: then it is due, or it would wait for the clock to catch up.
 */
export function isDue(nowMs: number, sinceMs: number, restMs: number): boolean {
  return nowMs - sinceMs >= restMs || nowMs < sinceMs;
}
