import type { SeriesKey } from "@weir/shared/model/reading";
import { refusalOfNumber } from "../decode/json-readings.ts";
import type { Batch, LedgerChange, ReadingColumns } from "../pipeline/batch.ts";
import { createColumns } from "../pipeline/batch.ts";
import { SeriesIndex } from "../pipeline/dictionary.ts";
import type { DeadLetter } from "../store/commit-batch.ts";
import type { Layout, NameSource } from "./layout.ts";
import { numberOf, whyNoNumber } from "./numbers.ts";
import type { TableColumn } from "./table.ts";
import type { TimeReader } from "./times.ts";

/** Where imported readings come from, in the ledger and in dead letters. */
export const IMPORT_SOURCE = "import";

/** Dead letters of one group commit, at most, as for other sources. */
const DEAD_LETTERS_PER_BATCH_MAX = 256;

/** Bounds, as the settings of the same names. */
export interface ReadingBounds {
  readonly seriesMax: number;
  readonly aheadMaxMs: number;
  readonly floorMs: number;
  readonly deadLetterPayloadBytesMax: number;
  /** Readings of a batch: it is full from then on. */
  readonly batchReadingsMax: number;
}

/** What is the same for all rows of a table. */
export interface RowRules {
  readonly layout: Layout;
  readonly columns: readonly TableColumn[];
  readonly times: TimeReader;
  /** Name of the file, for dead letters. */
  readonly fileName: string;
}

/** Makes batches of rows, as the intake does of messages: by the same rules, into the same columns. */
export class ImportedReadings {
  readonly #rules: RowRules;
  readonly #bounds: ReadingBounds;
  readonly #index: SeriesIndex;
  /** Series by site, device and metric; of a wide table by site and device, then the place of the metric. */
  readonly #known = new Map<unknown, Map<unknown, Map<unknown, number>>>();
  readonly #timeIsMs: boolean;
  readonly #timeIsLocal: boolean;
  #readings: ReadingColumns;
  #received = 0;
  readonly #rejected = new Map<string, number>();
  #deadLetters: DeadLetter[] = [];
  #aheadFromMs = 0;
  /** Why the first reading of the row was refused. */
  #refused: string | undefined;

  /** known: the series of the data file by index. */
  constructor(rules: RowRules, bounds: ReadingBounds, known: readonly SeriesKey[]) {
    this.#rules = rules;
    this.#bounds = bounds;
    this.#index = new SeriesIndex(bounds.seriesMax, known);
    const { layout, columns } = rules;
    this.#timeIsMs = columns[layout.time]!.time !== undefined;
    this.#timeIsLocal = columns[layout.time]!.time === "local";
    const width = layout.shape === "wide" ? layout.metrics.length : 1;
    this.#readings = createColumns(bounds.batchReadingsMax + width);
  }

  /** Readings that wait for take(). */
  get count(): number {
    return this.#readings.count;
  }

  /** There is room for no further row. */
  get isFull(): boolean {
    return this.#readings.count >= this.#bounds.batchReadingsMax;
  }

  /** Takes the clock, ms: what is further ahead of it than allowed is refused. */
  turn(nowMs: number): void {
    this.#aheadFromMs = nowMs + this.#bounds.aheadMaxMs;
  }

  /** Takes a row; what cannot be used of it is counted, and kept as a dead letter. rowNumber: from 1, for that. */
  add(row: readonly unknown[] | string, rowNumber: number): void {
    this.#refused = undefined;
    if (typeof row === "string") this.#reject("row_malformed");
    else if (this.#rules.layout.shape === "long") this.#addLong(row);
    else this.#addWide(row);
    if (this.#refused !== undefined) this.#keepDeadLetter(this.#refused, row, rowNumber);
  }

  /** All that came since the last call; its columns go back to giveBack() before the next row. */
  take(): Batch {
    const ledger: LedgerChange[] = [{ source: IMPORT_SOURCE, reason: "received", count: this.#received }];
    for (const [reason, count] of this.#rejected)
      ledger.push({ source: IMPORT_SOURCE, reason: `rejected.${reason}`, count });
    const deadLetters = this.#deadLetters;
    this.#received = 0;
    this.#rejected.clear();
    this.#deadLetters = [];
    return {
      readings: this.#readings,
      sources: [IMPORT_SOURCE],
      series: this.#index.takeFresh(),
      deadLetters,
      ledger,
      ahead: [],
    };
  }

  /** The columns of a batch that is durable. */
  giveBack(columns: ReadingColumns): void {
    columns.count = 0;
    this.#readings = columns;
  }

  #addLong(row: readonly unknown[]): void {
    const { layout } = this.#rules;
    if (layout.shape !== "long") return;
    const tsMs = this.#timeOf(row);
    if (tsMs !== tsMs) return this.#reject(this.#whyNoTime(row));
    const field = row[layout.value];
    const value = numberOf(field);
    if (value !== value) {
      const why = whyNoNumber(field);
      return this.#reject(why === "missing" ? "value_missing" : why);
    }
    this.#push(fieldOf(layout.site, row), fieldOf(layout.device, row), fieldOf(layout.metric, row), tsMs, value);
  }

  #addWide(row: readonly unknown[]): void {
    const { layout } = this.#rules;
    if (layout.shape !== "wide") return;
    const tsMs = this.#timeOf(row);
    if (tsMs !== tsMs) return this.#reject(this.#whyNoTime(row));
    const site = fieldOf(layout.site, row);
    const device = fieldOf(layout.device, row);
    for (let i = 0; i < layout.metrics.length; i++) {
      const { column, name } = layout.metrics[i]!;
      const field = row[column];
      const value = numberOf(field);
      if (value === value) this.#push(site, device, name, tsMs, value);
      else {
        // An empty field of a wide table is no reading: its device measured something else at that time.
        const why = whyNoNumber(field);
        if (why !== "missing") this.#reject(why);
      }
    }
  }

  #timeOf(row: readonly unknown[]): number {
    const field = row[this.#rules.layout.time];
    if (!this.#timeIsMs) return this.#rules.times.fromField(field);
    if (typeof field !== "number") return NaN;
    return this.#timeIsLocal ? this.#rules.times.fromLocal(field) : field;
  }

  #whyNoTime(row: readonly unknown[]): string {
    const field = row[this.#rules.layout.time];
    if (field === undefined || field === null || field === "") return "time_missing";
    return this.#rules.times.whyNot(field);
  }

  #push(site: unknown, device: unknown, metric: unknown, tsMs: number, value: number): void {
    const refusal = refusalOfNumber(value);
    if (refusal !== null) return this.#reject(refusal);
    if (tsMs < this.#bounds.floorMs) return this.#reject("time_before_floor");
    if (tsMs > this.#aheadFromMs) return this.#reject("time_ahead");
    const series = this.#known.get(site)?.get(device)?.get(metric) ?? this.#resolve(site, device, metric);
    if (series < 0) return this.#reject(series === -1 ? "name_invalid" : "series_limit");
    const readings = this.#readings;
    const at = readings.count;
    readings.series[at] = series;
    readings.tsMs[at] = tsMs;
    // + 0 turns -0 into 0.
    readings.value[at] = value + 0;
    readings.stamped[at] = 0;
    readings.source[at] = 0;
    readings.count = at + 1;
    this.#received++;
  }

  /** Names are looked at once: those of rows that resemble it find the series by themselves. */
  #resolve(site: unknown, device: unknown, metric: unknown): number {
    const series = this.#index.resolve(nameOf(site), nameOf(device), nameOf(metric));
    // Not remembered: the dictionary does not grow by what it refuses, nor may this.
    if (series < 0) return series;
    let devices = this.#known.get(site);
    if (!devices) this.#known.set(copyOf(site), (devices = new Map()));
    let metrics = devices.get(device);
    if (!metrics) devices.set(copyOf(device), (metrics = new Map()));
    metrics.set(copyOf(metric), series);
    return series;
  }

  #reject(reason: string): void {
    this.#received++;
    this.#rejected.set(reason, (this.#rejected.get(reason) ?? 0) + 1);
    this.#refused ??= reason;
  }

  #keepDeadLetter(reason: string, row: readonly unknown[] | string, rowNumber: number): void {
    if (this.#deadLetters.length >= DEAD_LETTERS_PER_BATCH_MAX) return;
    const text = Buffer.from(typeof row === "string" ? row : row.map(textOf).join(","));
    const head = Buffer.from(text.subarray(0, this.#bounds.deadLetterPayloadBytesMax));
    const topic = `${this.#rules.fileName}:${rowNumber}`.slice(-1024);
    this.#deadLetters.push({ source: IMPORT_SOURCE, topic, reason, bytes: text.length, head });
  }
}

function fieldOf(source: NameSource, row: readonly unknown[]): unknown {
  return "column" in source ? row[source.column] : source.name;
}

function nameOf(field: unknown): string {
  // What was no UTF-8 must not become one name with something else that was none.
  const text = textOf(field).trim();
  return text.includes("\ufffd") ? "" : copyOf(text);
}

function textOf(field: unknown): string {
  if (typeof field === "string") return field;
  return typeof field === "number" || typeof field === "bigint" ? String(field) : "";
}

/** A text of its own: the engine keeps a part of a text as a view of the whole, here of all that was read with it. */
function copyOf<T>(field: T): T {
  return (typeof field === "string" ? Buffer.from(field).toString() : field) as T;
}
