import { CodedError } from "@weir/shared/errors";
import { NAME_LENGTH_MAX, VALUE_ABS_MAX, isSeriesNamePart } from "@weir/shared/model/reading";
import type { CsvRow } from "./csv.ts";
import { parseTimeMs } from "./time.ts";

/** Which columns of a CSV are the time and the metrics. */
export interface TableShape {
  readonly timeColumn: number;
  readonly columns: number;
  /** Column and name of each metric. */
  readonly metrics: ReadonlyArray<{ readonly column: number; readonly name: string }>;
}

/** A row as readings: a value for each metric, undefined where the field is empty. */
export interface TableRow {
  readonly tsMs: number;
  readonly values: ReadonlyArray<number | undefined>;
}

const TIME_NAMES: ReadonlySet<string> = new Set(["timestamp", "time", "ts", "date", "datetime", "date_time"]);

/** The metric of a file with one value column, where nobody names it. */
export const METRIC_DEFAULT = "value";

/**
 * Reads the header. The time is the column named timestamp, time, ts, date or datetime, else the first; all others are
 * metrics named by their header, a single one `metric` or METRIC_DEFAULT. metric, where there are several: only that one.
 *
 * Throws CodedError CSV_HEADER when there is no header, no value column, or a name that cannot be a metric.
 */
export function readHeader(row: CsvRow, metric: string | undefined): TableShape {
  if ("problem" in row) throw headerError(row.problem);
  const names = row.fields.map((field) => field.trim());
  if (parseTimeMs(names[0] ?? "") !== undefined) {
    throw headerError("the first line is data; write a header such as timestamp,value above it");
  }
  const named = names.findIndex((name) => TIME_NAMES.has(name.toLowerCase()));
  const timeColumn = Math.max(0, named);
  const all = names.map((name, column) => ({ column, name })).filter(({ column }) => column !== timeColumn);
  if (all.length === 0) throw headerError("there is no value column; columns are separated by commas");

  const only = all.length === 1 ? all.map(({ column }) => ({ column, name: metric ?? METRIC_DEFAULT })) : undefined;
  const metrics = only ?? all.filter(({ name }) => metric === undefined || name === metric);
  if (metrics.length === 0) {
    throw headerError(`there is no column ${metric}; columns are ${all.map(({ name }) => name).join(", ")}`);
  }
  for (const [index, { column, name }] of metrics.entries()) {
    if (!isSeriesNamePart(name)) {
      throw headerError(
        `column ${column + 1} is named ${JSON.stringify(name)}; a metric has 1 to ${NAME_LENGTH_MAX} characters, none of them / + #`,
      );
    }
    if (metrics.findIndex((other) => other.name === name) !== index) throw headerError(`two columns are named ${name}`);
  }
  return { timeColumn, columns: names.length, metrics };
}

function headerError(message: string): CodedError {
  return new CodedError("CSV_HEADER", message);
}

/** Reads a row of data; a text says what is wrong with it. */
export function readRow(row: CsvRow, shape: TableShape): TableRow | string {
  if ("problem" in row) return row.problem;
  const { fields } = row;
  if (fields.length !== shape.columns) return `${fields.length} fields where the header has ${shape.columns}`;
  const time = fields[shape.timeColumn] ?? "";
  const tsMs = parseTimeMs(time);
  if (tsMs === undefined) return `${JSON.stringify(time)} is not a time`;
  const values: Array<number | undefined> = [];
  for (const { column, name } of shape.metrics) {
    const text = (fields[column] ?? "").trim();
    const value = text === "" ? undefined : Number(text);
    if (value !== undefined && (!Number.isFinite(value) || Math.abs(value) > VALUE_ABS_MAX)) {
      return `${name} is ${JSON.stringify(text)}, not a number`;
    }
    // Negative zero has no meaning for a sensor, and is written as 0.
    values.push(value === undefined ? undefined : value + 0);
  }
  return values.every((value) => value === undefined) ? "no values" : { tsMs, values };
}
