import type { SeriesKey } from "@weir/shared/model/reading";
import type { QuarantinedDevice } from "@weir/shared/wire/messages";
import type { QuarantineRow } from "../store/quarantine.ts";
import type { Batch } from "./batch.ts";

/**
 * Which devices are in quarantine: the intake refuses readings that are too far ahead of the gateway's clock, and here
 * that is seen by device. It begins with the first reading refused and ends by itself, with the first batch that holds
 * a reading of the device with a time of its own that is not ahead, and none that is.
 *
 * Only a view: each reading is judged by its own time. A device whose clock is wrong moves nobody else's positions.
 */

/** Devices in quarantine that are known one by one, at most; readings of others are only counted. */
export const QUARANTINED_MAX = 1_000;

/** Devices that have sent nothing for so long are forgotten where others need their places, ms. */
const FORGOTTEN_MS = 86_400_000;

/** Lines of devices that enter or leave, in one minute, at most; the others are counted in the next minute's. */
const LINES_PER_MINUTE_MAX = 10;
const MINUTE_MS = 60_000;

/** Readings of one series that a batch refused as too far ahead. */
export interface AheadReadings {
  readonly series: number;
  readings: number;
  /** Of the last: how far ahead of the gateway's clock it was, ms. */
  aheadMs: number;
}

interface Entry {
  site: string;
  device: string;
  sinceMs: number;
  lastMs: number;
  aheadMs: number;
  readings: number;
  isDirty: boolean;
}

/** The devices of one data file that are in quarantine. */
export class Quarantine {
  readonly #names: readonly SeriesKey[];
  readonly #log: (line: string) => void;
  /** By `site/device`. */
  readonly #entries = new Map<string, Entry>();
  #released: QuarantineRow[] = [];
  /** Of the batch in hand: series that the core does not know yet. */
  #fresh: Batch["series"] = [];
  /** Dense numbers of devices, and by series that of its device; made when the first device enters. */
  readonly #devices = new Map<string, number>();
  #deviceOf = new Uint32Array(0);
  #seriesKnown = 0;
  /** By device: 1 for one in quarantine, 2 where the batch in hand has refused a reading of it as well. */
  #marks = new Uint8Array(0);
  #unknown = 0;
  #forgotMinute = -1;
  #lineMinute = -1;
  #lines = 0;
  #linesLeftOut = 0;

  /** names: of the series by index, a view that grows. rows: what the data file holds. log: a line for a person. */
  constructor(names: readonly SeriesKey[], rows: readonly QuarantinedDevice[], log: (line: string) => void) {
    this.#names = names;
    this.#log = log;
    for (const row of rows.slice(0, QUARANTINED_MAX)) {
      this.#entries.set(`${row.site}/${row.device}`, { ...row, isDirty: false });
    }
    if (this.#entries.size === 0) return;
    this.#learn([]);
    for (const name of this.#entries.keys()) this.#mark(name, 1);
  }

  /** Devices in quarantine that are known one by one. */
  get size(): number {
    return this.#entries.size;
  }

  /** Readings of devices that there was no room to know, since the start of the process. */
  get unknownReadings(): number {
    return this.#unknown;
  }

  /** Those with the newest readings first, at most `limit`. */
  shown(limit: number): QuarantinedDevice[] {
    const all = [...this.#entries.values()].toSorted((a, b) => b.lastMs - a.lastMs);
    return all.slice(0, limit).map(({ isDirty: _, ...device }) => device);
  }

  /** Looks at a batch before the core has it. Costs nothing where no device is in quarantine and no reading was ahead. */
  note(batch: Batch, nowMs: number): void {
    const { ahead = [] } = batch;
    if (this.#entries.size === 0 && ahead.length === 0) return;
    this.#learn(batch.series);
    for (const readings of ahead) this.#enter(readings, nowMs);
    if (this.#entries.size > 0) this.#release(batch, nowMs);
    for (const { series } of ahead) {
      const device = this.#deviceOf[series]!;
      if (this.#marks[device] === 2) this.#marks[device] = 1;
    }
  }

  /** What changed since settle() was called last; for the data file. */
  changes(): QuarantineRow[] {
    const rows = [...this.#released];
    for (const { isDirty, ...device } of this.#entries.values())
      if (isDirty) rows.push({ ...device, releasedMs: null });
    return rows;
  }

  /** What changes() told is in the data file. */
  settle(): void {
    this.#released = [];
    for (const entry of this.#entries.values()) entry.isDirty = false;
  }

  #enter({ series, readings, aheadMs }: AheadReadings, nowMs: number): void {
    const { site, device } = this.#keyOf(series);
    const name = `${site}/${device}`;
    let entry = this.#entries.get(name);
    if (!entry) {
      if (this.#entries.size >= QUARANTINED_MAX) this.#forget(nowMs);
      if (this.#entries.size >= QUARANTINED_MAX) {
        this.#unknown += readings;
        return;
      }
      entry = { site, device, sinceMs: nowMs, lastMs: nowMs, aheadMs, readings: 0, isDirty: true };
      this.#entries.set(name, entry);
      const ahead = `${(aheadMs / 1000).toFixed(1)} s`;
      this.#say(
        nowMs,
        `Device ${name} is in quarantine: its clock is ${ahead} ahead of this gateway's. Its readings are refused (time_ahead) until its clock is right.`,
      );
    }
    entry.lastMs = nowMs;
    entry.aheadMs = aheadMs;
    entry.readings += readings;
    entry.isDirty = true;
    this.#mark(name, 2);
  }

  /** Makes room: devices that are gone would hold their places for good. Looks for them once a minute. */
  #forget(nowMs: number): void {
    const minute = Math.floor(nowMs / MINUTE_MS);
    if (minute === this.#forgotMinute) return;
    this.#forgotMinute = minute;
    for (const [name, { isDirty: _, ...entry }] of this.#entries) {
      if (nowMs - entry.lastMs < FORGOTTEN_MS) continue;
      this.#leave(name, { ...entry, releasedMs: nowMs });
    }
  }

  #leave(name: string, row: QuarantineRow): void {
    this.#entries.delete(name);
    this.#mark(name, 0);
    if (this.#released.length >= QUARANTINED_MAX) this.#released.shift();
    this.#released.push(row);
  }

  /** Stamped readings say nothing of a device's clock. */
  #release({ readings }: Batch, nowMs: number): void {
    const { count, series, stamped } = readings;
    const deviceOf = this.#deviceOf;
    const marks = this.#marks;
    for (let i = 0; i < count; i++) {
      if (marks[deviceOf[series[i]!]!] !== 1 || stamped[i] === 1) continue;
      const { site, device } = this.#keyOf(series[i]!);
      const name = `${site}/${device}`;
      const { isDirty: _, ...entry } = this.#entries.get(name)!;
      this.#leave(name, { ...entry, releasedMs: nowMs });
      this.#say(nowMs, `Device ${name} is in time again; ${entry.readings} of its readings were refused.`);
    }
  }

  /** Numbers the devices of series that are not known yet. fresh: series that the core does not know yet. */
  #learn(fresh: Batch["series"]): void {
    this.#fresh = fresh;
    const total = this.#names.length + fresh.length;
    if (total > this.#deviceOf.length) {
      const grown = new Uint32Array(Math.max(1024, total * 2));
      grown.set(this.#deviceOf);
      this.#deviceOf = grown;
    }
    let number = -1;
    let last = { site: "", device: "" };
    for (; this.#seriesKnown < total; this.#seriesKnown++) {
      const { site, device } = this.#keyOf(this.#seriesKnown);
      // Series of one device mostly come one after another.
      if (number < 0 || device !== last.device || site !== last.site) {
        const name = `${site}/${device}`;
        number = this.#devices.get(name) ?? this.#devices.size;
        this.#devices.set(name, number);
        last = { site, device };
      }
      this.#deviceOf[this.#seriesKnown] = number;
    }
    if (this.#devices.size <= this.#marks.length) return;
    const marks = new Uint8Array(this.#devices.size * 2);
    marks.set(this.#marks);
    this.#marks = marks;
  }

  #keyOf(series: number): SeriesKey {
    return this.#names[series] ?? this.#fresh[series - this.#names.length]!;
  }

  #mark(name: string, mark: number): void {
    const device = this.#devices.get(name);
    if (device !== undefined) this.#marks[device] = mark;
  }

  #say(nowMs: number, line: string): void {
    const minute = Math.floor(nowMs / MINUTE_MS);
    if (minute !== this.#lineMinute) {
      if (this.#linesLeftOut > 0) this.#log(`${this.#linesLeftOut} more devices entered or left quarantine.`);
      this.#lineMinute = minute;
      this.#lines = 0;
      this.#linesLeftOut = 0;
    }
    if (this.#lines++ < LINES_PER_MINUTE_MAX) this.#log(line);
    else this.#linesLeftOut++;
  }
}
