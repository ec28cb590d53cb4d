import { CodedError, errorMessage } from "@weir/shared/errors";

/** Codes of SQLite, each with its extended ones, that say: the file contradicts itself, and trying again won't help. */
const SQLITE_DAMAGE = [
  "SQLITE_CORRUPT",
  "SQLITE_NOTADB",
  "SQLITE_FORMAT",
  "SQLITE_IOERR_SHORT_READ",
  "SQLITE_IOERR_CORRUPTFS",
  "SQLITE_IOERR_DATA",
  // What is in memory came from the file: a row that cannot be there but is says that the file has changed since.
  "SQLITE_CONSTRAINT",
  "SQLITE_MISMATCH",
];

const DAMAGE_CODES = new Set(["DATA_FILE_DAMAGED", "BAD_DATA_FILE", "BAD_BLOCK", "TRUNCATED"]);

/** SQLite says so of tables and columns that are not there; its code is that of any other mistake in a statement. */
const MISSING_PART = /^no such (table|column|index)|has no column named|malformed|^unsupported file format/;

/** True for an error that only a damaged data file raises, whatever the program was doing with it. */
export function isDamage(error: unknown): boolean {
  if (error instanceof CodedError) return DAMAGE_CODES.has(error.code);
  const code = sqliteCode(error);
  if (code === undefined) return false;
  if (SQLITE_DAMAGE.some((damage) => code === damage || code.startsWith(`${damage}_`))) return true;
  return code === "SQLITE_ERROR" && MISSING_PART.test(errorMessage(error));
}

/**
 * True for an error while a file is opened and recovered that the next start would only meet again: damage, a disk that
 * cannot read a part of the file, and contents that the program cannot make sense of (JSON that does not parse, numbers
 * out of all bounds).
 */
export function isUnreadable(error: unknown): boolean {
  if (isDamage(error) || sqliteCode(error) === "SQLITE_IOERR_READ") return true;
  return error instanceof SyntaxError || error instanceof RangeError || error instanceof TypeError;
}

function sqliteCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" && code.startsWith("SQLITE_") ? code : undefined;
}
