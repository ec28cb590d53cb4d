import { parse } from "csv-parse/sync";

/**
 * Rows of CSV (RFC 4180) from text that arrives in pieces cut anywhere.
 *
 * Rows without a quotation mark, which are most, are split at their delimiters; those with one go to csv-parse, many at a
 * time. Which rows come out does not depend on where the text was cut: an import goes on by counting them. Empty lines
 * are no rows.
 */

/** The fields of a row, or, as one text, the line of a row that cannot be read. */
export type CsvRow = readonly string[] | string;

/** Characters of a row, at most: a quotation mark that is never closed must not take the rest of the file with it. */
const ROW_CHARS_MAX: number = 2 ** 20;
/** Characters kept of a line that cannot be read. */
const BAD_LINE_CHARS_MAX = 4096;

const LINE_END = "\n";
const NEW_LINE = 10;
const CARRIAGE_RETURN = 13;
const QUOTE = 34;

/** Takes text, gives rows. Keeps no more than the row that has no end yet. */
export class CsvRows {
  readonly #delimiter: string;
  #rest = "";
  #started = false;
  /** The rest of a line that was given up before its end had come is passed over. */
  #skipping = false;

  /** delimiter: one character. */
  constructor(delimiter: string) {
    this.#delimiter = delimiter;
  }

  /** The rows that this text completes. A byte order mark at the very beginning is passed over. */
  push(text: string): CsvRow[] {
    this.#rest += this.#started ? text : text.replace(/^\uFEFF/, "");
    this.#started ||= text.length > 0;
    return this.#take(false);
  }

  /** The row that had no line end, or a quotation mark that was never closed. */
  end(): CsvRow[] {
    return this.#take(true);
  }

  #take(final: boolean): CsvRow[] {
    const text = this.#rest;
    const rows: CsvRow[] = [];
    const quoted: string[] = [];
    let quote = text.indexOf('"');
    let from = 0;
    while (from < text.length) {
      const lineEnd = text.indexOf(LINE_END, from);
      if (quote >= 0 && quote < from) quote = text.indexOf('"', from);
      if (this.#skipping) {
        this.#skipping = lineEnd < 0;
        from = lineEnd < 0 ? text.length : lineEnd + 1;
        continue;
      }
      const isPlain = quote < 0 || (lineEnd >= 0 && quote > lineEnd);
      const end = isPlain ? lineEnd : quotedLineEnd(text, from, this.#delimiter, final);
      if (end - from > ROW_CHARS_MAX || (end < 0 && (final ? !isPlain : text.length - from > ROW_CHARS_MAX))) {
        // Only its first line is given up: the next may well be whole.
        const stop = lineEnd < 0 ? text.length : lineEnd;
        this.#takeQuoted(quoted, rows);
        rows.push(text.slice(from, Math.min(stop, from + BAD_LINE_CHARS_MAX)));
        this.#skipping = lineEnd < 0 && !final;
        from = stop + 1;
        continue;
      }
      if (end < 0 && !final) break;
      const row = lineOf(text, from, end < 0 ? text.length : end);
      from = end < 0 ? text.length : end + 1;
      if (!isPlain) quoted.push(row);
      else if (row.trim() !== "") {
        this.#takeQuoted(quoted, rows);
        rows.push(row.split(this.#delimiter));
      }
    }
    this.#takeQuoted(quoted, rows);
    this.#rest = text.slice(from);
    return rows;
  }

  /** Parses the rows that wait, and forgets them. */
  #takeQuoted(quoted: string[], rows: CsvRow[]): void {
    if (quoted.length === 0) return;
    const parsed = this.#parse(quoted.join(LINE_END));
    // What does not come out as it went in is parsed one by one: no row may make another one unreadable.
    if (parsed?.length === quoted.length) for (const row of parsed) rows.push(row);
    else for (const row of quoted) rows.push(onlyOne(this.#parse(row)) ?? row.slice(0, BAD_LINE_CHARS_MAX));
    quoted.length = 0;
  }

  #parse(text: string): string[][] | undefined {
    try {
      const delimiter = this.#delimiter;
      const relaxed = { relax_column_count: true, relax_quotes: true };
      return parse(text, { delimiter, ...relaxed, record_delimiter: ["\r\n", LINE_END] });
    } catch {
      return undefined;
    }
  }
}

/** The delimiter of a table: of comma, semicolon and tab the one that its first row has most of outside quotes. */
export function delimiterOf(head: string): string {
  // Empty lines are no rows.
  const text = head.replace(/^\uFEFF?(?:[ \t]*\r?\n)+/, "");
  const line = text.slice(0, Math.max(0, text.indexOf(LINE_END)) || text.length).replace(/"[^"]*"/g, "");
  const counts = [",", ";", "\t"].map((delimiter) => ({ delimiter, count: line.split(delimiter).length }));
  return counts.reduce((best, next) => (next.count > best.count ? next : best)).delimiter;
}

/**
 * Where the row that begins at `from` ends: the first line end that is not within quotes, -1 where there is none yet. In
 * the final text it may end with the text, which is no -1. A quotation mark opens only at the beginning of a field:
 * elsewhere it is a character, such as that of inches.
 */
function quotedLineEnd(text: string, from: number, delimiter: string, final: boolean): number {
  const delimiterCode = delimiter.charCodeAt(0);
  const stop = Math.min(text.length, from + ROW_CHARS_MAX + 1);
  let isOpen = false;
  let isFieldStart = true;
  for (let i = from; i < stop; i++) {
    const code = text.charCodeAt(i);
    if (isOpen) {
      if (code !== QUOTE) continue;
      if (text.charCodeAt(i + 1) === QUOTE) i++;
      else isOpen = false;
    } else if (code === NEW_LINE) return i;
    else if (code === QUOTE && isFieldStart) isOpen = true;
    isFieldStart = code === delimiterCode;
  }
  return final && stop === text.length && !isOpen ? text.length : -1;
}

function lineOf(text: string, from: number, end: number): string {
  return text.slice(from, text.charCodeAt(end - 1) === CARRIAGE_RETURN && end > from ? end - 1 : end);
}

function onlyOne(rows: string[][] | undefined): string[] | undefined {
  return rows?.length === 1 ? rows[0] : undefined;
}
