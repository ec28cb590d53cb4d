/**
 * CSV (RFC 4180) as it comes: fields between commas, in double quotes where they hold commas, line ends or quotes
 * (doubled). Text arrives in chunks cut anywhere; nothing but the unfinished row is kept.
 */

/** A row: its fields, or what is wrong with it. line: where it begins, from 1. */
export type CsvRow =
  | { readonly line: number; readonly fields: readonly string[] }
  | { readonly line: number; readonly problem: string };

export interface CsvParser {
  /** The rows that this chunk completes. Empty lines are skipped. */
  push(chunk: string): CsvRow[];
  /** The row that had no line end, or a quote that was never closed. */
  end(): CsvRow[];
}

/** Characters of one row, at most: a quote that is never closed must not take the rest of the file with it. */
export const ROW_CHARS_MAX = 65_536;

/** A parser at the beginning of a file; a byte order mark is skipped. */
export function createCsvParser(): CsvParser {
  let rest = "";
  let started = false;
  let line = 1;
  // The rest of a line that was given up before its end had come.
  let skipping = false;

  /** Takes whole rows off the front of rest; final: what is left over is a row too. */
  const take = (final: boolean): CsvRow[] => {
    const rows: CsvRow[] = [];
    let from = 0;
    while (from < rest.length) {
      const found: RowEnd = skipping ? { end: rest.indexOf("\n", from) } : findRowEnd(rest, from, final);
      if (found === "incomplete") break;
      const firstLineEnd = rest.indexOf("\n", from);
      // After a broken row only its first line is given up: the next line may well be whole.
      const stop = "end" in found ? found.end : firstLineEnd;
      if ("problem" in found) rows.push({ line, problem: found.problem });
      else if (!skipping) {
        const text = rest.slice(from, stop).replace(/\r$/, "");
        if (text.trim() !== "") rows.push(parseRow(text, line));
      }
      skipping = stop < 0;
      if (stop < 0) {
        from = rest.length;
      } else {
        line += lineEnds(rest, from, Math.min(stop + 1, rest.length));
        from = stop + 1;
      }
    }
    rest = rest.slice(from);
    return rows;
  };

  return {
    push(chunk) {
      rest += started ? chunk : chunk.replace(/^\uFEFF/, "");
      started ||= chunk.length > 0;
      return take(false);
    },
    end: () => take(true),
  };
}

type RowEnd = { readonly end: number } | { readonly problem: string } | "incomplete";

/** Where the row beginning at `from` ends: at the first line end outside quotes, or with the text if it is final. */
function findRowEnd(text: string, from: number, final: boolean): RowEnd {
  const tooLong = { problem: `longer than ${ROW_CHARS_MAX} characters, or a quote is not closed` };
  let scanned = from;
  let open = false;
  for (let end = text.indexOf("\n", from); end >= 0; end = text.indexOf("\n", end + 1)) {
    if (end - from > ROW_CHARS_MAX) return tooLong;
    if (quotes(text, scanned, end) % 2 === 1) open = !open;
    if (!open) return { end };
    scanned = end;
  }
  if (text.length - from > ROW_CHARS_MAX) return tooLong;
  if (!final) return "incomplete";
  if (quotes(text, scanned, text.length) % 2 === 1) open = !open;
  return open ? { problem: "a quote is not closed" } : { end: text.length };
}

/** Quotes from index `from` to before `to`. A loop, since a search could run on far past `to`. */
function quotes(text: string, from: number, to: number): number {
  let count = 0;
  for (let i = from; i < to; i++) if (text.charCodeAt(i) === 34) count++;
  return count;
}

function lineEnds(text: string, from: number, to: number): number {
  let count = 0;
  for (let i = text.indexOf("\n", from); i >= 0 && i < to; i = text.indexOf("\n", i + 1)) count++;
  return count;
}

function parseRow(text: string, line: number): CsvRow {
  if (!text.includes('"')) return { line, fields: text.split(",") };
  const fields: string[] = [];
  const field = /\s*"((?:[^"]|"")*)"\s*(?:,|$)|([^,"]*)(?:,|$)/gy;
  while (field.lastIndex <= text.length) {
    const at = field.lastIndex;
    const match = field.exec(text);
    if (!match) return { line, problem: `a quote in the middle of field ${fields.length + 1}` };
    fields.push(match[1]?.replaceAll('""', '"') ?? match[2] ?? "");
    // At the end of the text a field ends without a comma; a comma there means one more, empty, field.
    if (at + match[0].length >= text.length && !match[0].endsWith(",")) break;
  }
  return { line, fields };
}
