import { HOUR_MS } from "@weir/shared/operators/calendar";
import type { Sql } from "./sql.ts";

/**
 * What the log may keep: bytes of bodies, and the receive time of the oldest. rowsMax: deleted at once, at most.
 * piecesByAge: pieces may be too old as well, and all of them are to be looked at.
 */
export interface LogBounds {
  readonly bytesMax: number;
  readonly receivedBeforeMs: number;
  readonly rowsMax: number;
  readonly piecesByAge: boolean;
}

/** A row that goes. */
type Doomed =
  | { readonly from: "chunks"; readonly hourMs: number; readonly series: number; readonly minTsMs: number }
  | { readonly from: "pieces"; readonly strip: number; readonly seq: number }
  | { readonly from: "log"; readonly seq: number };

/** What goes, how many bytes it has, and from which event time on the log is whole without it. */
export interface DoomedRows {
  readonly doomed: readonly Doomed[];
  readonly bytes: number;
  readonly wholeFromMs: number;
}

interface Candidate {
  readonly row: Doomed;
  readonly receivedMs: number;
  /** Event time from which on nothing of the row is missed; -Infinity for a row without readings. */
  readonly wholeFromMs: number;
  readonly bytes: number;
}

/**
 * Finds what is past the bounds. By age: whatever was received too long ago. By bytes: chunks of the oldest hours, then
 * the oldest pieces, then the oldest blocks; a tick goes with its age, and when nothing else is left.
 */
export function findDoomed(sql: Sql, bounds: LogBounds, logBytes: number, recoverSeq: number): DoomedRows {
  const { bytesMax, rowsMax } = bounds;
  const doomed: Doomed[] = [];
  let bytes = 0;
  let wholeFromMs = -Infinity;
  const take = (candidate: Candidate): void => {
    doomed.push(candidate.row);
    bytes += candidate.bytes;
    wholeFromMs = Math.max(wholeFromMs, candidate.wholeFromMs);
  };
  for (const candidate of byAge(sql, bounds, recoverSeq)) take(candidate);
  if (doomed.length > 0 || logBytes <= bytesMax) return { doomed, bytes, wholeFromMs };
  for (const candidate of byPlace(sql, recoverSeq, rowsMax)) {
    if (logBytes - bytes <= bytesMax || doomed.length >= rowsMax) break;
    take(candidate);
  }
  return { doomed, bytes, wholeFromMs };
}

/** Deletes them; call within a transaction. */
export function deleteDoomed(sql: Sql, doomed: readonly Doomed[]): void {
  for (const row of doomed) {
    if (row.from === "log") sql.run("DELETE FROM log WHERE seq = ?", row.seq);
    else if (row.from === "pieces") sql.run("DELETE FROM pieces WHERE strip = ? AND seq = ?", row.strip, row.seq);
    else {
      const text = "DELETE FROM chunks WHERE hour_ms = ? AND series = ? AND min_ts = ?";
      sql.run(text, row.hourMs, row.series, row.minTsMs);
    }
  }
}

function byAge(sql: Sql, bounds: LogBounds, recoverSeq: number): Candidate[] {
  const { receivedBeforeMs, rowsMax, piecesByAge } = bounds;
  const chunks = sql.all<ChunkFound>(
    `SELECT ${CHUNK} FROM chunks INDEXED BY chunks_by_receipt WHERE received_ms < ? LIMIT ?`,
    receivedBeforeMs,
    rowsMax,
  );
  const pieces = piecesByAge
    ? sql.all<PieceFound>(`SELECT ${PIECE} FROM pieces WHERE received_ms < ? LIMIT ?`, receivedBeforeMs, rowsMax)
    : [];
  // Entries of the log are in the order of receipt, as far as the clock is.
  const entries = sql.all<EntryFound>(
    `SELECT ${ENTRY} FROM log WHERE seq <= ? AND kind <> 2 ORDER BY seq LIMIT ?`,
    recoverSeq,
    rowsMax,
  );
  const old: EntryFound[] = [];
  for (const entry of entries) {
    if (entry.receivedMs >= receivedBeforeMs) break;
    old.push(entry);
  }
  return [...chunks.map(ofChunk), ...pieces.map(ofPiece), ...old.map(ofEntry)];
}

function* byPlace(sql: Sql, recoverSeq: number, rowsMax: number): Generator<Candidate> {
  const chunks = sql.all<ChunkFound>(`SELECT ${CHUNK} FROM chunks ORDER BY hour_ms, series, min_ts LIMIT ?`, rowsMax);
  yield* chunks.map(ofChunk);
  if (chunks.length === rowsMax) return;
  const pieces = sql.all<PieceFound>(`SELECT ${PIECE} FROM pieces ORDER BY received_ms LIMIT ?`, rowsMax);
  yield* pieces.map(ofPiece);
  if (pieces.length === rowsMax) return;
  const blocks = "seq <= ? AND kind <> 2 ORDER BY kind, seq LIMIT ?";
  yield* sql.all<EntryFound>(`SELECT ${ENTRY} FROM log WHERE ${blocks}`, recoverSeq, rowsMax).map(ofEntry);
}

const CHUNK =
  "hour_ms AS hourMs, series, min_ts AS minTsMs, max_ts AS maxTsMs, received_ms AS receivedMs, length(body) AS bytes";
const PIECE = "strip, seq, max_ts AS maxTsMs, received_ms AS receivedMs, length(body) AS bytes";
const ENTRY = "seq, max_ts AS maxTsMs, received_ms AS receivedMs, length(body) AS bytes";

interface Found {
  readonly receivedMs: number;
  readonly maxTsMs: number;
  readonly bytes: number;
}
type ChunkFound = Found & { readonly hourMs: number; readonly series: number; readonly minTsMs: number };
type PieceFound = Found & { readonly strip: number; readonly seq: number };
type EntryFound = Omit<Found, "maxTsMs"> & { readonly seq: number; readonly maxTsMs: number | null };

/** Its whole hour goes with a chunk: others of the hour follow in a moment, and until then are not to be relied on. */
function ofChunk({ hourMs, series, minTsMs, receivedMs, bytes }: ChunkFound): Candidate {
  return { row: { from: "chunks", hourMs, series, minTsMs }, receivedMs, bytes, wholeFromMs: hourMs + HOUR_MS };
}

function ofPiece({ strip, seq, maxTsMs, receivedMs, bytes }: PieceFound): Candidate {
  return { row: { from: "pieces", strip, seq }, receivedMs, bytes, wholeFromMs: maxTsMs + 1 };
}

function ofEntry({ seq, maxTsMs, receivedMs, bytes }: EntryFound): Candidate {
  return { row: { from: "log", seq }, receivedMs, bytes, wholeFromMs: maxTsMs === null ? -Infinity : maxTsMs + 1 };
}
