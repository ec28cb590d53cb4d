/** Times of the process: both in ms; the second never goes back and is nobody's to set. */
export interface ClockSources {
  /** The wall clock, since 1970-01-01 UTC. */
  readonly wall: () => number;
  /** Since some moment; runs on by itself. */
  readonly monotonic: () => number;
}

/** A step of the wall clock that a person may want to know of. byMs: negative is back. */
export interface ClockStep {
  readonly byMs: number;
  /** It is so far back that it is not given back slowly; false: it is, or it was forward and has been followed. */
  readonly isLarge: boolean;
  /** A large step back that has lasted: now it is followed. */
  readonly isFollowed: boolean;
}

/** The clock of an agent. */
export interface Clock {
  /** ms since 1970-01-01 UTC, whole. Never less than the time before, but for a large step back that has lasted. */
  now(): number;
  /** Steps of the wall clock noticed, forward and back. */
  readonly steps: number;
}

/** How fast the clock runs while it is ahead of the wall clock: a step of 1 s is given back in 10. */
const RATE_AHEAD = 0.9;
/** A wall clock that differs by less from what the monotonic one says has not stepped: threads wait for their turn. */
const STEP_MS_MIN = 1_000;
/** A step back that is larger is not given back slowly, which would take more than ten times as long. */
export const LARGE_STEP_MS: number = 3_600_000;
/** A large step back is followed once it has lasted this long. */
export const LARGE_STEP_HELD_MS: number = 600_000;

/**
 * Makes the clock that readings are judged and stamped by. It begins at the wall clock, and follows it.
 *
 * Forward steps are followed at once. After a step back (NTP, a person) the clock goes on from where it was, a tenth
 * slower, until the wall clock has caught up: devices that were right do not look ahead of it, and no stamp comes twice.
 *
 * A step back by more than an hour is one of two things. A person or a service has set the clock wrong, and will mostly
 * see it: then it is best not to follow. Or the clock was wrong before, years ahead perhaps after an empty battery:
 * then it must be followed, or it would be wrong for years. So the clock goes on as if nothing had happened for ten
 * minutes, and follows if the wall clock still stands back by then. From then on devices that kept the old time look
 * ahead and are put into quarantine.
 *
 * Two clocks of one process that are asked once a second or more often agree within a tenth of a second, but around
 * the moment when a large step is followed, by which each goes within a second.
 */
export function createClock({ wall, monotonic }: ClockSources, stepped: (step: ClockStep) => void = () => {}): Clock {
  let told = wall();
  let wallBefore = told;
  let monotonicBefore = monotonic();
  let steps = 0;
  /** When the wall clock was found far behind; undefined: it is not. */
  let farBehindSince: number | undefined;
  return {
    now() {
      const wallMs = wall();
      const monotonicMs = monotonic();
      const elapsedMs = monotonicMs - monotonicBefore;
      const byMs = wallMs - wallBefore - elapsedMs;
      wallBefore = wallMs;
      monotonicBefore = monotonicMs;
      const isStep = Math.abs(byMs) >= STEP_MS_MIN;
      if (isStep) steps++;
      const behindMs = told + elapsedMs - wallMs;
      if (behindMs <= LARGE_STEP_MS) {
        farBehindSince = undefined;
        told = Math.max(wallMs, told + elapsedMs * RATE_AHEAD);
        if (isStep) stepped({ byMs, isLarge: false, isFollowed: false });
        return Math.floor(told);
      }
      if (isStep) stepped({ byMs, isLarge: true, isFollowed: false });
      farBehindSince ??= monotonicMs;
      told += elapsedMs;
      if (monotonicMs - farBehindSince < LARGE_STEP_HELD_MS) return Math.floor(told);
      stepped({ byMs: -behindMs, isLarge: true, isFollowed: true });
      farBehindSince = undefined;
      told = wallMs;
      return Math.floor(told);
    },
    get steps() {
      return steps;
    },
  };
}

/** What a person should read of a step; undefined for one that is of no consequence. */
export function describeStep({ byMs, isLarge, isFollowed }: ClockStep): string | undefined {
  const length = `${(Math.abs(byMs) / 1000).toFixed(1)} s`;
  if (isFollowed) return `The gateway's clock is still ${length} back; the agent's follows it now.`;
  if (byMs > 0) return undefined;
  if (isLarge) {
    const held = LARGE_STEP_HELD_MS / 60_000;
    return `The gateway's clock stepped back by ${length}. The agent's goes on as before for ${held} minutes, and then follows: check which is right.`;
  }
  return `The gateway's clock stepped back by ${length}. The agent's goes on, a tenth slower, until the gateway's has caught up.`;
}

/** Lines about steps are at least this far apart, ms: a clock that flutters must not fill the log. */
const STEP_LINE_INTERVAL_MS = 60_000;

/** The clock of this process; log: a line for a person, of a step back. */
export function openClock(log: (line: string) => void = () => {}): Clock {
  let toldMs = -Infinity;
  return createClock({ wall: Date.now, monotonic: () => performance.now() }, (step) => {
    const line = describeStep(step);
    const nowMs = performance.now();
    if (line === undefined || (!step.isFollowed && nowMs - toldMs < STEP_LINE_INTERVAL_MS)) return;
    toldMs = nowMs;
    log(line);
  });
}
