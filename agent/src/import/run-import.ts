import { setImmediate, setTimeout } from "node:timers/promises";
import { errorMessage } from "@weir/shared/errors";
import { columnsOf } from "./layout.ts";
import type { ImportPlace, ImportPlaces } from "./place.ts";
import type { ReadingBounds, RowRules } from "./readings.ts";
import { ImportedReadings } from "./readings.ts";
import type { Table } from "./table.ts";
import type { CoreOptions } from "../pipeline/core.ts";
import { Core } from "../pipeline/core.ts";
import type { Store } from "../store/store.ts";

/**
 * From the rows of a table to the log, by the pipeline of live readings: admission, fold, group commit. There is nothing
 * here that an import has for itself but where its rows come from.
 */

/** What an import asks of the world, and tells it. */
export interface ImportWorld {
  /** The clock, ms since 1970. */
  now(): number;
  /** Asked between group commits: true ends the import where it is. */
  isStopped(): boolean;
  /** Said now and then. share: of the file, 0 to 1; rows: of this run. */
  progress(share: number, rows: number): void;
  /** A line that a person should read. */
  warn(message: string): void;
}

/** How an import ended; one that is not done goes on from there when it is begun again. */
export type ImportEnd = "done" | "stopped" | "outbox_full";

/** What became of the rows of one run. */
export interface ImportOutcome {
  readonly end: ImportEnd;
  /** Rows that earlier runs had taken, and that this one took. */
  readonly skipped: number;
  readonly rows: number;
  /** Of the readings of this run. */
  readonly stored: number;
  readonly duplicates: number;
  readonly rejected: Readonly<Record<string, number>>;
}

/**
 * Bytes of the outbox that a reading may come to, at most: a window partial of its own, as where a device measures less
 * than once a window.
 */
const PARTIAL_BYTES_MAX = 96;
/** The share of the outbox that an import may fill: the rest is for the alerts of the batch that fills it. */
const OUTBOX_SHARE = 0.9;
/** The part of the outbox that a batch may have readings of: each may begin and end an alert. */
const OUTBOX_BYTES_PER_BATCH_READING = 8192;
const BATCH_READINGS_MIN = 64;
/** Rows between two group commits, in readings of a batch: where no reading comes of them. */
const ROWS_PER_COMMIT_MAX = 4;
/** How often the place is noted, ms, at least: a write of its own, and what is read twice for want of it is a duplicate. */
const PLACE_EVERY_MS = 250;
/** How often it is looked whether a disk that was full has been written, ms. */
const DISK_WAIT_MS = 50;

/**
 * Imports the rows after the place that was reached before. The store is this import's alone; it is checkpointed, and not
 * closed, at the end. Throws CodedError IMPORT_FILE for a file that cannot be read on: what came before is in the log.
 */
export async function importTable(
  table: Table,
  rules: RowRules,
  store: Store,
  places: ImportPlaces,
  options: CoreOptions & ReadingBounds,
  world: ImportWorld,
): Promise<ImportOutcome> {
  const run = new ImportRun(rules, store, places, options, world);
  try {
    return await run.take(table);
  } finally {
    run.close();
  }
}

/** One import. */
class ImportRun {
  readonly #store: Store;
  readonly #places: ImportPlaces;
  readonly #options: CoreOptions & ReadingBounds;
  readonly #world: ImportWorld;
  readonly #rules: RowRules;
  readonly #core: Core;
  readonly #readings: ImportedReadings;
  readonly #rowsPerCommitMax: number;
  /** The batch on its way is durable. */
  #isCommitted = true;
  /** Readings whose windows may not be in the outbox yet. */
  #unflushed = 0;
  /** Rows taken, and the last of them that is in the log. */
  #row = 0;
  #committedRow = 0;
  #placedMs = 0;

  constructor(
    rules: RowRules,
    store: Store,
    places: ImportPlaces,
    options: CoreOptions & ReadingBounds,
    world: ImportWorld,
  ) {
    this.#rules = rules;
    this.#store = store;
    this.#places = places;
    this.#options = options;
    this.#world = world;
    this.#core = new Core(store, options, {
      now: () => world.now(),
      committed: (columns) => {
        this.#readings.giveBack(columns);
        this.#isCommitted = true;
      },
      emitted: () => {},
      alerts: () => {},
      warn: (message) => world.warn(message),
    });
    const room = Math.floor(options.outboxBytesMax / OUTBOX_BYTES_PER_BATCH_READING);
    const batchReadingsMax = Math.max(BATCH_READINGS_MIN, Math.min(options.batchReadingsMax, room));
    this.#rowsPerCommitMax = ROWS_PER_COMMIT_MAX * batchReadingsMax;
    this.#readings = new ImportedReadings(rules, { ...options, batchReadingsMax }, this.#core.names);
    // Windows of what was in the log before go to the outbox now: from here on it is known what waits.
    this.#core.checkpoint();
  }

  async take(table: Table): Promise<ImportOutcome> {
    const before = this.#core.ledger;
    const { rows: skipped } = this.#places.read();
    this.#row = skipped;
    this.#committedRow = skipped;
    const end = await this.#takeRows(table, skipped);
    const { stored, duplicates, rejected } = this.#core.ledger;
    const outcome = {
      end,
      skipped,
      rows: this.#committedRow - skipped,
      stored: stored - before.stored,
      duplicates: duplicates - before.duplicates,
      rejected: difference(rejected, before.rejected),
    };
    // What was ahead of the clock will not be for ever: a file that has some is read again from its beginning.
    const isAhead = outcome.rejected.time_ahead !== undefined;
    if (end === "done") this.#notePlace(isAhead ? { rows: 0, isDone: false } : { rows: this.#row, isDone: true });
    else this.#notePlace();
    return outcome;
  }

  close(): void {
    this.#core.close();
  }

  async #takeRows(table: Table, skipped: number): Promise<ImportEnd> {
    this.#readings.turn(this.#world.now());
    try {
      for await (const chunk of table.chunks(skipped, columnsOf(this.#rules.layout))) {
        for (let i = 0; i < chunk.count; i++) {
          this.#readings.add(chunk.row(i), ++this.#row);
          const isDue = this.#readings.isFull || this.#row - this.#committedRow >= this.#rowsPerCommitMax;
          const end = isDue ? await this.#commit() : undefined;
          if (end !== undefined) return end;
        }
        this.#world.progress(chunk.share, this.#row - skipped);
        // Rows that are passed over end with no group commit, which would look.
        if (chunk.count === 0 && this.#world.isStopped()) return "stopped";
      }
    } catch (error) {
      // A file that breaks off: what could be read of it counts.
      await this.#commit();
      this.#notePlace();
      throw error;
    }
    const end = await this.#commit();
    // A signal at the last commit comes too late to stop anything.
    return end === "outbox_full" || !this.#isCommitted ? (end ?? "stopped") : "done";
  }

  /** The group commit of what was taken; a reason to end here, or undefined. */
  async #commit(): Promise<ImportEnd | undefined> {
    if (!this.#makeRoom(this.#readings.count)) return "outbox_full";
    this.#unflushed += this.#readings.count;
    this.#isCommitted = false;
    this.#core.commit(this.#readings.take());
    // A disk that cannot be written is tried again by the core.
    while (!this.#isCommitted) {
      if (this.#world.isStopped()) return "stopped";
      await setTimeout(DISK_WAIT_MS);
    }
    this.#committedRow = this.#row;
    if (this.#world.now() - this.#placedMs >= PLACE_EVERY_MS) this.#notePlace();
    this.#core.checkpointTurn();
    // Signals come in between.
    await setImmediate();
    this.#readings.turn(this.#world.now());
    return this.#world.isStopped() ? "stopped" : undefined;
  }

  #notePlace(place: ImportPlace = { rows: this.#committedRow, isDone: false }): void {
    this.#placedMs = this.#world.now();
    try {
      this.#places.write(place, this.#placedMs);
    } catch (error) {
      // Such as of a full disk: then some rows are read again, and known again.
      this.#world.warn(`Cannot note how far the import has come: ${errorMessage(error)}.`);
    }
  }

  /** Whether the outbox can take what may come of so many readings without dropping anything that was not sent. */
  #makeRoom(readings: number): boolean {
    if (this.#hasRoom(readings)) return true;
    this.#core.checkpoint();
    this.#unflushed = 0;
    return this.#hasRoom(readings);
  }

  #hasRoom(readings: number): boolean {
    const bytes = this.#store.outboxBytes + (this.#unflushed + readings) * PARTIAL_BYTES_MAX;
    return bytes <= this.#options.outboxBytesMax * OUTBOX_SHARE;
  }
}

function difference(
  after: Readonly<Record<string, number>>,
  before: Readonly<Record<string, number>>,
): Record<string, number> {
  const counts = Object.entries(after).map(([name, count]) => [name, count - (before[name] ?? 0)] as const);
  return Object.fromEntries(counts.filter(([, count]) => count > 0));
}
