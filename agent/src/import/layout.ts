import { CodedError } from "@weir/shared/errors";
import { isSeriesNamePart, NAME_LENGTH_MAX } from "@weir/shared/model/reading";
import { METRIC_DEFAULT } from "../decode/topic-route.ts";
import type { Table } from "./table.ts";

/** Where a name of a series comes from: a column of the table, or one name for all rows. */
export type NameSource = { readonly column: number } | { readonly name: string };

/**
 * How the rows of a table are readings.
 *
 * long: a row is one reading. wide: a row is the readings of several metrics of one device at one time.
 */
export type Layout = {
  readonly time: number;
  readonly site: NameSource;
  readonly device: NameSource;
} & (
  | { readonly shape: "long"; readonly metric: NameSource; readonly value: number }
  | { readonly shape: "wide"; readonly metrics: ReadonlyArray<{ readonly column: number; readonly name: string }> }
);

/** What a person says of a table; absent: to be found by the names of its columns. */
export interface LayoutOptions {
  readonly site?: string;
  readonly device?: string;
  readonly metric?: string;
  /** Name of the column of times. */
  readonly time?: string;
  /** Columns of a wide table that are metrics, `COLUMN` or `COLUMN=METRIC`, separated by commas. */
  readonly columns?: string;
}

/** Names of columns that say what they are, in lower case; the first that is there counts. */
const TIME_NAMES = ["time", "timestamp", "ts", "datetime", "date_time", "date", "ts_ms", "time_ms", "_time"];
const VALUE_NAMES = ["value", "v", "reading"];
/** Site of readings that are given none, as for topics. */
const SITE_DEFAULT = "default";

/**
 * Works out the layout from the columns' names and what a person says. Throws CodedError BAD_IMPORT, which names the
 * columns that there are, where it cannot.
 */
export function findLayout(path: string, table: Table, options: LayoutOptions): Layout {
  const names = table.columns.map(({ name }) => name);
  const fail = (problem: string): never => {
    const found = names.map((name) => JSON.stringify(name)).join(", ");
    throw new CodedError("BAD_IMPORT", `${path}: ${problem} Its columns are ${found}.`);
  };
  const find = (wanted: readonly string[]): number | undefined => {
    for (const one of wanted) {
      const at = names.findIndex((name) => name.toLowerCase() === one);
      if (at >= 0) return at;
    }
    return undefined;
  };
  const named = (option: string, name: string): number => {
    const at = names.indexOf(name);
    if (at < 0) fail(`${option} names a column ${JSON.stringify(name)} that is not there.`);
    if (names.indexOf(name, at + 1) > 0) fail(`Two columns have the name ${JSON.stringify(name)}.`);
    return at;
  };
  const nameSource = (part: "site" | "device" | "metric", otherwise: string | undefined): NameSource | undefined => {
    const column = find([part]);
    const given = options[part];
    if (given === undefined && column !== undefined) return { column };
    if (given === undefined) return otherwise === undefined ? undefined : { name: otherwise };
    if (column !== undefined) fail(`It has a column ${part}: leave out --${part}, which would give all rows one name.`);
    if (!isSeriesNamePart(given)) fail(`--${part} ${JSON.stringify(given)} is no name: ${NAME_RULE}.`);
    return { name: given };
  };

  const time = options.time === undefined ? find(TIME_NAMES) : named("--time", options.time);
  if (time === undefined) return fail("No column of times: name it by --time COLUMN; the first row must name columns.");
  if (table.columns[time]!.time === "of day") {
    fail(`Column ${JSON.stringify(names[time])} holds times of day without a date: name another by --time COLUMN.`);
  }
  const site = nameSource("site", SITE_DEFAULT)!;
  const device = nameSource("device", undefined);
  if (!device) return fail("No column device: say whose readings these are by --device NAME.");
  const value = find(VALUE_NAMES);
  if (value !== undefined && value !== time && options.columns === undefined) {
    return { shape: "long", time, site, device, metric: nameSource("metric", METRIC_DEFAULT)!, value };
  }
  if (options.metric !== undefined) {
    fail("--metric is for a table with a column value; a table of a column a metric has its metrics' names by them.");
  }
  const taken = [time, ...[site, device].flatMap((source) => ("column" in source ? [source.column] : []))];
  const metrics = wideMetrics(names, taken, options.columns, named, fail);
  return { shape: "wide", time, site, device, metrics };
}

const NAME_RULE = `write 1 to ${NAME_LENGTH_MAX} characters without /, + or #`;

function wideMetrics(
  names: readonly string[],
  taken: readonly number[],
  wanted: string | undefined,
  named: (option: string, name: string) => number,
  fail: (problem: string) => never,
): Array<{ readonly column: number; readonly name: string }> {
  const metrics =
    wanted === undefined
      ? names
          .map((name, column) => ({ column, name }))
          .filter(({ column, name }) => name !== "" && !taken.includes(column))
      : wanted.split(",").map((text) => {
          const [columnName = "", name = columnName] = splitAtLast(text.trim(), "=");
          return { column: named("--columns", columnName), name };
        });
  if (metrics.length === 0) fail("No column of values: neither one named value, nor one a metric.");
  const seen = new Set<string>();
  for (const { column, name } of metrics) {
    if (taken.includes(column)) fail(`--columns names ${JSON.stringify(names[column])}, which is no metric.`);
    if (!isSeriesNamePart(name)) {
      const advice = `name it by --columns "${name}=METRIC": ${NAME_RULE}`;
      fail(`Column ${JSON.stringify(name)} has no name for a metric; ${advice}.`);
    }
    if (seen.has(name)) fail(`Two columns would be metric ${JSON.stringify(name)}: choose by --columns.`);
    seen.add(name);
  }
  return metrics;
}

function splitAtLast(text: string, separator: string): string[] {
  const at = text.lastIndexOf(separator);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

/** The columns that a layout reads. */
export function columnsOf(layout: Layout): number[] {
  const names = layout.shape === "long" ? [layout.site, layout.device, layout.metric] : [layout.site, layout.device];
  const values = layout.shape === "long" ? [layout.value] : layout.metrics.map(({ column }) => column);
  const columns = [layout.time, ...names.flatMap((source) => ("column" in source ? [source.column] : [])), ...values];
  return [...new Set(columns)];
}

/** Metrics, and columns, named in a description, at most. */
const NAMES_SHOWN = 8;

/** A line for a person: how a table is understood. */
export function describeLayout(table: Table, layout: Layout): string {
  const column = (at: number): string => `column ${JSON.stringify(table.columns[at]!.name)}`;
  const source = (from: NameSource): string => ("column" in from ? column(from.column) : JSON.stringify(from.name));
  const who = `time from ${column(layout.time)}, site ${source(layout.site)}, device ${source(layout.device)}`;
  const read = new Set(columnsOf(layout));
  const others = table.columns.filter((_, at) => !read.has(at)).map(({ name }) => JSON.stringify(name));
  const rest = others.length === 0 ? "." : `; passed over: ${listOf(others)}.`;
  if (layout.shape === "long") {
    const what = `metric ${source(layout.metric)}, value from ${column(layout.value)}`;
    return `${table.format}, a reading a row: ${who}, ${what}${rest}`;
  }
  const metrics = listOf(layout.metrics.map(({ name }) => JSON.stringify(name)));
  return `${table.format}, a column a metric: ${who}, metrics ${metrics}${rest}`;
}

function listOf(names: readonly string[]): string {
  const more = names.length > NAMES_SHOWN ? ` and ${names.length - NAMES_SHOWN} more` : "";
  return `${names.slice(0, NAMES_SHOWN).join(", ")}${more}`;
}
