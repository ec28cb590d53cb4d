/**
 * Payloads as devices write them:
 *
 *     {"ts":MS,"value":NUMBER}               one metric, json
 *     {"ts":MS,"values":{"NAME":NUMBER,…}}   all metrics of a device, json
 *     [ROW,ROW,…]                            several rows of one of the two above, oldest first
 *     NUMBER                                 one metric, number: the receiver stamps the time
 */
export type PayloadFormat = "json" | "number";

/** One row of a message of one metric. tsMs: whole milliseconds. */
export function valueRow(tsMs: number, value: number): string {
  return `{"ts":${tsMs},"value":${value}}`;
}

/** One row of a message of a whole device. */
export function valuesRow(tsMs: number, names: readonly string[], values: readonly number[]): string {
  const members = names.map((name, i) => `${JSON.stringify(name)}:${values[i]}`);
  return `{"ts":${tsMs},"values":{${members.join(",")}}}`;
}

/** The message of one or more rows: a single row stands alone, several make an array. */
export function joinRows(rows: readonly string[]): string {
  return rows.length === 1 ? (rows[0] as string) : `[${rows.join(",")}]`;
}
