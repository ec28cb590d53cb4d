import { createHash } from "node:crypto";
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { basename } from "node:path";
import type { Sql } from "../store/sql.ts";

/** Bytes of the beginning and the end of a file that tell it from others. */
const SAMPLE_BYTES = 65_536;
/** Imports remembered, at most; the oldest are forgotten, and their files would be read again, in vain. */
const IMPORTS_MAX = 1000;

/** How far an import has come. rows: taken into the log; isDone: there are no more. */
export interface ImportPlace {
  readonly rows: number;
  readonly isDone: boolean;
}

/**
 * What tells an import from others: the file by its size, time of change, beginning and end, and how it is read. meaning:
 * anything that changes what its rows come to.
 */
export function importKey(path: string, meaning: unknown): string {
  const file = openSync(path, "r");
  try {
    const { size, mtimeMs } = fstatSync(file);
    const hash = createHash("sha256").update(JSON.stringify([size, mtimeMs, meaning]));
    const sample = Buffer.alloc(SAMPLE_BYTES);
    for (const position of [0, Math.max(0, size - SAMPLE_BYTES)]) {
      hash.update(sample.subarray(0, readSync(file, sample, 0, SAMPLE_BYTES, position)));
    }
    return `${basename(path)} ${hash.digest("hex").slice(0, 32)}`;
  } finally {
    closeSync(file);
  }
}

/** The place of an import in the data file. */
export class ImportPlaces {
  readonly #sql: Sql;
  readonly #key: string;

  /** key: of importKey(). */
  constructor(sql: Sql, key: string) {
    this.#sql = sql;
    this.#key = key;
  }

  read(): ImportPlace {
    const sql = "SELECT rows, done FROM imports WHERE file = ?";
    const row = this.#sql.get<{ rows: number; done: number }>(sql, this.#key);
    return { rows: row?.rows ?? 0, isDone: row?.done === 1 };
  }

  /**
   * Written after the commit of the rows: where a crash comes between, they are read again, and dropped as duplicates.
   */
  write({ rows, isDone }: ImportPlace, nowMs: number): void {
    this.#sql.run("REPLACE INTO imports VALUES (?, ?, ?, ?)", this.#key, rows, Number(isDone), nowMs);
    const oldest = "SELECT file FROM imports ORDER BY at_ms DESC LIMIT -1 OFFSET ?";
    this.#sql.run(`DELETE FROM imports WHERE file IN (${oldest})`, IMPORTS_MAX);
  }
}
