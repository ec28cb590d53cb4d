import { crc32 } from "node:zlib";
import { CodedError } from "@weir/shared/errors";

/** Adds a frame: lane, seq, readings, droppable, checksum, body. */
export const INSERT_FRAME =
  "INSERT INTO outbox (lane, seq, readings, droppable, checksum, body) VALUES (?, ?, ?, ?, ?, ?)";

/** A frame as it is read. */
export interface FrameRow {
  readonly seq: number;
  /** null: of a frame from before it was kept. */
  readonly checksum: number | null;
  readonly body: Uint8Array;
}

/** What is kept with the body of a frame, to tell whether the disk has given back what it was given. */
export function frameChecksum(body: Uint8Array): number {
  return crc32(body);
}

/** Whether a frame is as it was written. */
export function isWholeFrame({ checksum, body }: Pick<FrameRow, "checksum" | "body">): boolean {
  return body instanceof Uint8Array && (checksum === null || crc32(body) === checksum);
}

/** The frames; throws CodedError DATA_FILE_DAMAGED where one is not as it was written. */
export function wholeFrames(lane: string, rows: readonly FrameRow[]): readonly FrameRow[] {
  for (const row of rows) {
    if (isWholeFrame(row)) continue;
    const message = `frame ${row.seq} of ${lane} in the outbox is not as it was written: its checksum is another`;
    throw new CodedError("DATA_FILE_DAMAGED", message);
  }
  return rows;
}
