import type { DiskEvent } from "../support/power-loss.ts";

/** Heads of frames of the write-ahead log, of b-tree pages that are leaves of an index, and of the pointers to their cells. */
const FRAME_HEAD_BYTES = 24;
const LEAF = 0x0a;
const PAGE_HEAD_BYTES = 8;

/**
 * The places among the events of an agent's folder at which a transaction is written and synced that has moved readings
 * within the log or trimmed it: it has changed the number of the log's bytes, and added no entry. What follows up to
 * the first write of the next transaction is among them.
 */
export function logRewrites(events: readonly DiskEvent[]): number[] {
  const isLog = new Set<number>();
  const places: number[] = [];
  let transaction: number[] = [];
  /** Of the frame that is written: whether a transaction ends with it. Of what came before it: whether one has. */
  let isLast = false;
  let isOver = false;
  let isRewrite = false;
  let facts = { bytes: "", seq: "" };
  events.forEach((event, index) => {
    if (event.kind === "open" && event.name.endsWith("-wal")) isLog.add(event.file);
    const isFrame = event.kind === "write" && isLog.has(event.file) && event.offset > 0;
    if (isFrame && isOver) {
      if (isRewrite) places.push(...transaction, index);
      transaction = [];
      isRewrite = false;
      isOver = false;
    }
    transaction.push(index);
    if (!isFrame) return;
    if (event.bytes.length === FRAME_HEAD_BYTES) {
      isLast = event.bytes.readUInt32BE(4) !== 0;
      return;
    }
    isOver = isLast;
    const next = logFacts(event.bytes);
    if (!next) return;
    isRewrite = next.seq === facts.seq && next.bytes !== facts.bytes;
    facts = next;
  });
  return places;
}

/** The rows log_bytes and log_seq as they are in a page; undefined: it is not the page of the table meta. */
function logFacts(page: Buffer): { readonly bytes: string; readonly seq: string } | undefined {
  if (page[0] !== LEAF || !page.includes("log_bytes")) return undefined;
  const rows = new Map<string, string>();
  for (let i = 0; i < page.readUInt16BE(3); i++) {
    // A cell of a few bytes: its length, the length of its head, and what key and value are, each in one byte.
    const at = page.readUInt16BE(PAGE_HEAD_BYTES + 2 * i);
    const [length = 0, headBytes = 0, keyType = 0] = page.subarray(at, at + 3);
    const keyEnd = at + 1 + headBytes + (keyType - 13) / 2;
    rows.set(page.toString("latin1", at + 1 + headBytes, keyEnd), page.toString("hex", keyEnd, at + 1 + length));
  }
  const bytes = rows.get("log_bytes");
  const seq = rows.get("log_seq");
  return bytes === undefined || seq === undefined ? undefined : { bytes, seq };
}
