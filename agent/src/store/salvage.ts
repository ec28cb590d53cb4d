import Database from "better-sqlite3";
import type { Alert } from "@weir/shared/model/alert";
import { isSeriesNamePart } from "@weir/shared/model/reading";
import type { SeriesKey } from "@weir/shared/model/reading";
import type { ThresholdVersion } from "@weir/shared/model/thresholds";
import { PAGE_SERIES } from "@weir/shared/operators/columns";
import type { Episode } from "@weir/shared/operators/episodes";
import { alertOf } from "@weir/shared/operators/episodes";
import type { SilenceRow } from "@weir/shared/operators/silence";
import { ThresholdHistory } from "@weir/shared/operators/thresholds";
import { decodeFrame } from "@weir/shared/wire/messages";
import { BlockColumns, decodeBlockInto } from "./block-codec.ts";
import { ENTRY_BLOCK, ENTRY_THRESHOLDS } from "./schema.ts";
import type { LedgerRow } from "./commit-batch.ts";
import { isWholeFrame } from "./outbox-rows.ts";
import { walDamage } from "./wal-damage.ts";

/** What could be read of a damaged file, each thing by itself. */
export interface Salvage {
  readonly versions: readonly ThresholdVersion[];
  readonly series: readonly SeriesKey[];
  readonly ledger: readonly LedgerRow[];
  /** Small facts: the time zone, revisions of reports. Never the file's id. */
  readonly meta: ReadonlyArray<readonly [key: string, value: string | number]>;
  /** Files that were imported, as rows of the table. */
  readonly imports: ReadonlyArray<Readonly<Record<string, unknown>>>;
  /** Bodies of frames of alerts that the aggregator has not acknowledged, the oldest first. */
  readonly alertFrames: readonly Uint8Array[];
  /** Alerts that were firing, as resolved: nothing in a new file would ever end them. */
  readonly endedAlerts: readonly Alert[];
  /** Event time up to which the file may hold readings; -Infinity: it holds none. */
  readonly newestTsMs: number;
  /** Readings in log, pieces and chunks. */
  readonly logReadings: number;
  /** Readings whose summaries may never have reached the aggregator. */
  readonly lostReadings: number;
  /** Tables that could not be read to their end; the counts above are then the least. */
  readonly unread: readonly string[];
}

/** Rows kept of each table, at most: bounds the memory of a salvage. */
const ROWS_KEPT_MAX = 1_100_000;
/** Bytes of alert frames kept, at most. */
const ALERT_BYTES_MAX: number = 16 * 2 ** 20;

/**
 * Reads what can still be read of a damaged file, and changes nothing in it. Never throws: what fails is left out and
 * named. endMs: the end of alerts that are ended. budgetMs: as long as this takes, about; elapsedMs: a clock for it.
 */
export function salvage(path: string, endMs: number, budgetMs: number, elapsedMs: () => number): Salvage {
  const reader = new Reader(path, elapsedMs() + budgetMs, elapsedMs);
  try {
    if (walDamage(path) !== undefined) reader.unread.add("the write-ahead log");
    const meta = reader.rows<{ key: string; value: string | number }>("meta", "key, value", "key");
    const series = salvageSeries(reader);
    const pages = reader
      .rows<{ page: number; seq: number; episodes: string }>("state", "page, seq, episodes", "page")
      .filter(({ page, seq }) => isCount(page) && isCount(seq));
    const ledger = reader.rows<LedgerRow>("ledger", "source, reason, count, ticked", "source, reason");
    const imports = reader.rows<Readonly<Record<string, unknown>>>("imports", "*", "file");
    const outbox = salvageOutbox(reader);
    // What a full outbox had no room for, and the log was to tell again.
    const refolds = reader.rows<Readonly<Record<string, unknown>>>("refolds", "*", "series");
    const owed = refolds.reduce((sum, row) => sum + (isCount(row.owed) ? row.owed : 0), 0);
    const recoverSeq = Number(meta.find(({ key }) => key === "recover_seq")?.value ?? 0);
    // The longest at last: what there is no time for is only counted short.
    const log = salvageLog(reader, recoverSeq, new Map(pages.map(({ page, seq }) => [page, seq])));
    const held = [
      log,
      countReadings(reader, "pieces", ["strip", "seq"]),
      countReadings(reader, "chunks", ["hour_ms", "series", "min_ts"]),
    ];
    const wholeFrom = meta.find(({ key }) => key === "log_whole_from_ms")?.value;
    return {
      versions: log.versions,
      // By index: one that is missing moves the others up, which is as good in a new file.
      series: [...series.values()],
      ledger: ledger.filter(isLedgerRow),
      meta: meta.filter(({ key, value }) => isKept(key, value)).map(({ key, value }) => [key, value] as const),
      imports,
      alertFrames: outbox.alerts,
      endedAlerts: pages.flatMap(({ episodes }) => endedAlerts(episodes, series, endMs)),
      newestTsMs: Math.max(
        typeof wholeFrom === "number" ? wholeFrom - 1 : -Infinity,
        ...held.map((one) => one.newestTsMs),
      ),
      logReadings: held.reduce((sum, { readings }) => sum + readings, 0),
      lostReadings: log.unsent + outbox.readings + owed,
      unread: [...reader.unread],
    };
  } finally {
    reader.close();
  }
}

/** Reads tables as far as they go. */
class Reader {
  readonly #db: Database.Database | undefined;
  readonly #deadlineMs: number;
  readonly #nowMs: () => number;
  readonly unread = new Set<string>();

  constructor(path: string, deadlineMs: number, nowMs: () => number) {
    this.#deadlineMs = deadlineMs;
    this.#nowMs = nowMs;
    try {
      this.#db = new Database(path, { readonly: true, fileMustExist: true });
    } catch {
      this.unread.add("the file");
    }
  }

  get isLate(): boolean {
    return this.#nowMs() > this.#deadlineMs;
  }

  /** Whether a table has a column, as far as can be told. */
  hasColumn(table: string, column: string): boolean {
    try {
      return this.#db?.prepare("SELECT 1 FROM pragma_table_info(?) WHERE name = ?").get(table, column) !== undefined;
    } catch {
      return true;
    }
  }

  /** Rows of a table in the order of its key; from both ends, where the middle cannot be read. */
  rows<T>(table: string, columns: string, key: string): T[] {
    const names = key.split(", ");
    const rows: T[] = [];
    this.each<T>(table, columns, names, (row) => void rows.push(row), ROWS_KEPT_MAX);
    return rows.reverse();
  }

  /** Calls take with each row, those of the highest key first; from both ends, where the middle cannot be read. */
  each<T>(table: string, columns: string, key: readonly string[], take: (row: T) => void, rowsMax = Infinity): void {
    const select = `SELECT ${columns} FROM ${table} ORDER BY `;
    let rows = 0;
    const nameOf = (row: T): string => key.map((name) => String((row as Record<string, unknown>)[name])).join("/");
    let lowest = "";
    const down = this.#read<T>(select + key.map((name) => `${name} DESC`).join(", "), (row) => {
      if (rows++ >= rowsMax) return false;
      lowest = nameOf(row);
      take(row);
      return true;
    });
    if (down) return;
    this.unread.add(table);
    // Up from the other end, until the two meet.
    this.#read<T>(select + key.join(", "), (row) => {
      if (rows++ >= rowsMax || nameOf(row) === lowest) return false;
      take(row);
      return true;
    });
  }

  /** A body by its key, undefined where it cannot be read. */
  body(sql: string, ...key: ReadonlyArray<string | number>): Uint8Array | undefined {
    try {
      const body: unknown = this.#db
        ?.prepare(sql)
        .pluck(true)
        .get(...key);
      return body instanceof Uint8Array ? body : undefined;
    } catch {
      return undefined;
    }
  }

  close(): void {
    try {
      this.#db?.close();
    } catch {
      // The file is given up in any case.
    }
  }

  /** False where the rows ended with an error, the time did, or take() returned false. */
  #read<T>(sql: string, take: (row: T) => boolean): boolean {
    try {
      if (!this.#db) return false;
      for (const row of this.#db.prepare(sql).iterate()) if (this.isLate || !take(row as T)) return false;
      return true;
    } catch {
      return false;
    }
  }
}

function salvageSeries(reader: Reader): Map<number, SeriesKey> {
  const series = new Map<number, SeriesKey>();
  const rows = reader.rows<SeriesKey & { idx: number }>("series", "idx, site, device, metric", "idx");
  for (const { idx, site, device, metric } of rows) {
    if (isCount(idx) && [site, device, metric].every((name) => isText(name) && isSeriesNamePart(name))) {
      series.set(idx, { site, device, metric });
    }
  }
  return series;
}

/** Readings that a table holds, and the newest of them. */
interface Held {
  readonly readings: number;
  readonly newestTsMs: number;
}

interface LogRow {
  readonly seq: number;
  readonly kind: number;
  readonly readings: number;
  readonly max_ts: unknown;
}

function salvageLog(
  reader: Reader,
  recoverSeq: number,
  seqOfPage: ReadonlyMap<number, number>,
): Held & { readonly versions: readonly ThresholdVersion[]; readonly unsent: number } {
  const history = new ThresholdHistory();
  const sql = "SELECT body FROM log WHERE seq = ?";
  const columns = new BlockColumns();
  let readings = 0;
  let unsent = 0;
  let newestTsMs = -Infinity;
  reader.each<LogRow>("log", "seq, kind, readings, max_ts", ["seq"], ({ seq, kind, readings: count, max_ts }) => {
    if (kind === ENTRY_THRESHOLDS) addVersion(history, reader.body(sql, seq), reader);
    if (kind !== ENTRY_BLOCK || !isCount(count)) return;
    readings += count;
    if (typeof max_ts === "number") newestTsMs = Math.max(newestTsMs, max_ts);
    if (seq <= recoverSeq) return;
    unsent += unsentOf(reader.body(sql, seq), seq, columns, seqOfPage) ?? count;
  });
  return { versions: history.versions(), readings, unsent, newestTsMs };
}

/** Readings of a block whose page had not sent its windows up to there; undefined: the block cannot be read. */
function unsentOf(
  body: Uint8Array | undefined,
  seq: number,
  columns: BlockColumns,
  seqOfPage: ReadonlyMap<number, number>,
): number | undefined {
  if (!body) return undefined;
  try {
    const block = decodeBlockInto(body, columns);
    let unsent = 0;
    for (let i = 0; i < block.count; i++) {
      if ((seqOfPage.get(Math.floor(block.series[i]! / PAGE_SERIES)) ?? 0) < seq) unsent++;
    }
    return unsent;
  } catch {
    return undefined;
  }
}

function addVersion(history: ThresholdHistory, body: Uint8Array | undefined, reader: Reader): void {
  try {
    const version = JSON.parse(Buffer.from(body!).toString()) as ThresholdVersion;
    const { effectiveFromMs, createdAtMs } = version;
    const isWhole = isCount(version.version) && Number.isFinite(effectiveFromMs) && Number.isFinite(createdAtMs);
    if (isWhole) history.add(version);
    else reader.unread.add("log");
  } catch {
    reader.unread.add("log");
  }
}

function countReadings(reader: Reader, table: string, key: readonly string[]): Held {
  let readings = 0;
  let newestTsMs = -Infinity;
  type Row = { readings: number; max_ts: unknown };
  reader.each<Row>(table, `${key.join(", ")}, readings, max_ts`, key, ({ readings: count, max_ts }) => {
    if (!isCount(count)) return;
    readings += count;
    if (typeof max_ts === "number") newestTsMs = Math.max(newestTsMs, max_ts);
  });
  return { readings, newestTsMs };
}

function salvageOutbox(reader: Reader): { alerts: Uint8Array[]; readings: number } {
  type Row = { lane: string; seq: number; readings: number; checksum: number | null };
  const sql = "SELECT body FROM outbox WHERE lane = 'alerts' AND seq = ?";
  // A file of an earlier version, damaged before it could be upgraded, has none.
  const checksumColumn = reader.hasColumn("outbox", "checksum") ? "checksum" : "NULL AS checksum";
  const alerts: Array<{ readonly seq: number; readonly body: Uint8Array }> = [];
  let alertBytes = 0;
  let readings = 0;
  reader.each<Row>(
    "outbox",
    `lane, seq, readings, ${checksumColumn}`,
    ["lane", "seq"],
    ({ lane, seq, readings: count, checksum }) => {
      if (isCount(count)) readings += count;
      if (lane !== "alerts" || alertBytes > ALERT_BYTES_MAX) return;
      const body = reader.body(sql, seq);
      if (body && isWholeFrame({ checksum, body }) && isAlertFrame(body)) {
        alertBytes += body.length;
        alerts.push({ seq, body });
      } else reader.unread.add("outbox");
    },
  );
  return { alerts: alerts.toSorted((a, b) => a.seq - b.seq).map(({ body }) => body), readings };
}

function isAlertFrame(body: Uint8Array): boolean {
  try {
    return decodeFrame(body).kind === "alerts";
  } catch {
    return false;
  }
}

/** Alerts that were firing in a page's state, episodes and silences, as resolved. */
function endedAlerts(text: string, series: ReadonlyMap<number, SeriesKey>, endMs: number): Alert[] {
  try {
    return (JSON.parse(text) as Array<Episode | SilenceRow>).flatMap((row) => {
      const key = series.get(row.series);
      const episode = "gaps" in row ? openSilence(row, endMs) : row;
      const isFiring = key && episode?.fired && Number.isFinite(episode.startedAtMs);
      return isFiring ? [alertOf(episode, key, "resolved")] : [];
    });
  } catch {
    return [];
  }
}

/** The silence that a series' row has told of and that has not ended. */
function openSilence({ series, gaps }: SilenceRow, endMs: number): Episode | undefined {
  const [startedAtMs, gapEndMs, limitMs, thresholdVersion, toldMs] = gaps.at(-1) ?? [];
  if (startedAtMs === undefined || gapEndMs !== null || limitMs === undefined || toldMs !== null) return undefined;
  const lastTsMs = Math.max(startedAtMs, endMs);
  const worst = {
    worstValue: (lastTsMs - startedAtMs) / 1000,
    worstTsMs: startedAtMs,
    low: null,
    high: limitMs / 1000,
  };
  const kept = {
    severity: "warning",
    forMs: 0,
    gapMs: 0,
    gapMaxMs: 0,
    breaches: 0,
    fired: true,
    dirty: false,
  } as const;
  return { series, kind: "silence", startedAtMs, lastTsMs, thresholdVersion: thresholdVersion ?? 0, ...worst, ...kept };
}

function isKept(key: unknown, value: unknown): boolean {
  if (typeof value !== "string" && typeof value !== "number") return false;
  return key === "agent" || key === "timezone" || /^report \d{4}-\d{2}-\d{2}$/.test(String(key));
}

function isLedgerRow({ source, reason, count, ticked }: LedgerRow): boolean {
  return isText(source) && isText(reason) && isCount(count) && isCount(ticked);
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
