/**
 * Readings in columns.
 *
 * A reading is one number from one sensor at one event time. Operators take blocks of them, never single readings.
 */

/** The identity of a sensor. Inside one agent it has a dense integer index; see SeriesIndex in the agent. */
export interface SeriesKey {
  readonly site: string;
  readonly device: string;
  readonly metric: string;
}

/**
 * Readings in columns, all of the same length `count` (the arrays may be longer).
 *
 * series: dense series index in the agent that made the block. tsMs: event time, milliseconds since 1970-01-01 UTC,
 * an integer. value: finite, |value| ≤ VALUE_ABS_MAX, never -0. stamped: 1 where the reading brought no time of its
 * own and tsMs is the receive time.
 *
 * Ownership: a block is lent for the call it is passed to; copy what you keep.
 */
export interface Block {
  readonly count: number;
  readonly series: Uint32Array;
  readonly tsMs: Float64Array;
  readonly value: Float64Array;
  readonly stamped: Uint8Array;
}

/**
 * The largest magnitude a reading may have. Exact sums of up to 2^53 such readings stay finite, so no order of
 * addition can overflow. No physical quantity comes near.
 */
export const VALUE_ABS_MAX: number = 2 ** 960;

/** Characters in one name of a series (site, device or metric), at most. */
export const NAME_LENGTH_MAX = 128;

/** The one-line form of a series key, for messages and ids: site/device/metric. */
export function seriesName(key: SeriesKey): string {
  return `${key.site}/${key.device}/${key.metric}`;
}

/** True when `name` can be part of a series key: 1 to NAME_LENGTH_MAX characters, no '/', '+', '#' or controls. */
export function isSeriesNamePart(name: string): boolean {
  // The characters excluded are MQTT's separators and wildcards, which would make an id or a local topic ambiguous.
  // oxlint-disable-next-line no-control-regex
  return name.length > 0 && name.length <= NAME_LENGTH_MAX && !/[/+#\u0000-\u001f\u007f]/.test(name);
}
