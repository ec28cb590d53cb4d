import { join } from "node:path";
import { encodeBlock } from "@weir/agent/store/block-codec";
import { ENTRY_BLOCK, ENTRY_THRESHOLDS } from "@weir/agent/store/schema";
import type { CommitBatch, EntryRow, OutboxRow } from "@weir/agent/store/commit-batch";
import { Store } from "@weir/agent/store/store";
import { tempFolder } from "../support/temp.ts";

/** A batch of nothing, for tests to add to. receivedMs 1000. */
export const EMPTY_BATCH: CommitBatch = {
  receivedMs: 1000,
  entries: [],
  series: [],
  frames: [],
  deadLetters: [],
  ledger: [],
  closedEpisodes: [],
  dropEpisodes: [],
  refolds: [],
  refoldsDone: [],
  checkpoint: undefined,
};

/** A checkpoint after which recovery folds nothing up to a log entry. */
export function checkpointAt(recoverSeq: number): CommitBatch["checkpoint"] {
  return { pages: [], recoverSeq };
}

/** Path of a data file that is not there yet, in a folder of its own. */
export function newDataFile(): string {
  return join(tempFolder(), "agent.db");
}

/** Opens, or makes, the data file for writing. */
export function openStore(path: string): Store {
  return new Store(path, { readonly: false });
}

/** A log entry of one reading of series 0. tsMs: its event time. */
export function blockEntry(tsMs: number, value = 1): EntryRow {
  const block = {
    count: 1,
    series: Uint32Array.of(0),
    tsMs: Float64Array.of(tsMs),
    value: Float64Array.of(value),
    stamped: Uint8Array.of(0),
  };
  return { kind: ENTRY_BLOCK, minTsMs: tsMs, maxTsMs: tsMs, readings: 1, body: encodeBlock(block) };
}

/** A log entry of a threshold version of which only the number matters. */
export function thresholdsEntry(version: number): EntryRow {
  return {
    kind: ENTRY_THRESHOLDS,
    minTsMs: null,
    maxTsMs: null,
    readings: 0,
    body: Buffer.from(JSON.stringify({ version })),
  };
}

/** A frame of `bytes` bytes on a lane; of the data lane it may be dropped unless droppable says otherwise. */
export function frame(lane: OutboxRow["lane"], bytes = 10, droppable: boolean = lane === "data"): OutboxRow {
  return { lane, readings: droppable ? 7 : 0, droppable, body: new Uint8Array(bytes) };
}
