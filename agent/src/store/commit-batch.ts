import type { SeriesKey } from "@weir/shared/model/reading";
import type { Episode } from "@weir/shared/operators/episodes";
import type { RefoldRequest } from "@weir/shared/operators/series-fold";
import type { Lane } from "@weir/shared/wire/messages";
import type { PageRow } from "../pipeline/pages.ts";

/** An entry as it is written: body encoded. */
export interface EntryRow {
  readonly kind: number;
  readonly minTsMs: number | null;
  readonly maxTsMs: number | null;
  readonly readings: number;
  readonly body: Uint8Array;
}

/** A frame for the uplink. droppable: it may go when the outbox is full, and be made again from the log. */
export interface OutboxRow {
  readonly lane: Lane;
  readonly readings: number;
  readonly droppable: boolean;
  readonly body: Uint8Array;
}

/** A refused message, as much of it as is kept. bytes: of the payload, as many as were seen. */
export interface DeadLetter {
  readonly source: string;
  readonly topic: string;
  readonly reason: string;
  readonly bytes: number;
  readonly head: Uint8Array;
}

/** A count of the ledger as it now stands; ticked: what the newest tick had told of. */
export interface LedgerRow {
  readonly source: string;
  readonly reason: string;
  readonly count: number;
  readonly ticked: number;
}

/** Pages of state; recoverSeq: the log entry after which recovery has to fold. */
export interface CheckpointRows {
  readonly pages: readonly PageRow[];
  readonly recoverSeq: number;
}

/** A re-fold that waits. owed: readings of partials that the outbox had no room for, and that it makes again. */
export interface WaitingRefold extends RefoldRequest {
  readonly owed: number;
}

/** All that one group commit writes: the log, what the fold emitted from it, and the state, or nothing of them. */
export interface CommitBatch {
  readonly receivedMs: number;
  readonly entries: readonly EntryRow[];
  readonly series: ReadonlyArray<SeriesKey & { readonly index: number }>;
  readonly frames: readonly OutboxRow[];
  readonly deadLetters: readonly DeadLetter[];
  readonly ledger: readonly LedgerRow[];
  readonly closedEpisodes: readonly Episode[];
  /** Episodes that a re-fold takes the place of: all of a series from a start on. */
  readonly dropEpisodes: ReadonlyArray<{ readonly series: number; readonly fromMs: number }>;
  /** Re-folds that were asked for, and series of which they are done. */
  readonly refolds: ReadonlyArray<RefoldRequest | WaitingRefold>;
  readonly refoldsDone: readonly number[];
  readonly checkpoint: CheckpointRows | undefined;
}
