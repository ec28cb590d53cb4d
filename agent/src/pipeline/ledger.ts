import type { LedgerTotals } from "@weir/shared/wire/messages";
import type { LedgerRow } from "../store/commit-batch.ts";
import { OUTBOX_LOSS } from "../store/trim-outbox.ts";

/**
 * The loss ledger: what became of every reading, by source and reason.
 *
 * received = stored + duplicate + Σ rejected.* + Σ dropped.*, in readings, where a message of which nothing could be
 * read counts as one. Reasons of what is lost after it was stored (dropped from the outbox) are `lost.*` and stand
 * outside that sum.
 */
export type LedgerReason =
  | "received"
  | "stored"
  | "duplicate"
  | `rejected.${string}`
  | `dropped.${string}`
  | `lost.${string}`;

interface Count {
  count: number;
  ticked: number;
  dirty: boolean;
}

/** Counts in memory; what changed goes into the next commit. */
export class Ledger {
  readonly #counts = new Map<string, Map<LedgerReason, Count>>();

  /** rows: what the data file holds. */
  constructor(rows: readonly LedgerRow[]) {
    for (const { source, reason, count, ticked } of rows) {
      Object.assign(this.#entry(source, reason as LedgerReason), { count, ticked, dirty: false });
    }
  }

  add(source: string, reason: LedgerReason, count: number): void {
    if (count === 0) return;
    const entry = this.#entry(source, reason);
    entry.count += count;
    entry.dirty = true;
  }

  /** Counts readings that are lost to the aggregator because a full outbox had no room for their partials. */
  addUnsent(count: number): void {
    this.add(OUTBOX_LOSS.source, OUTBOX_LOSS.reason, count);
  }

  /** Counts that changed since the last call, as they now stand. */
  takeDirty(): LedgerRow[] {
    const rows: LedgerRow[] = [];
    for (const [source, reasons] of this.#counts) {
      for (const [reason, entry] of reasons) {
        if (!entry.dirty) continue;
        entry.dirty = false;
        rows.push({ source, reason, count: entry.count, ticked: entry.ticked });
      }
    }
    return rows;
  }

  /** What was rejected, and dropped or lost, since the last call, by reason: for a clock tick's entry in the log. */
  takeLosses(): { rejected: Record<string, number>; dropped: Record<string, number> } {
    const losses = { rejected: {} as Record<string, number>, dropped: {} as Record<string, number> };
    for (const reasons of this.#counts.values()) {
      for (const [reason, entry] of reasons) {
        const [group, name] = split(reason);
        if (!group || entry.count === entry.ticked) continue;
        losses[group][name] = (losses[group][name] ?? 0) + entry.count - entry.ticked;
        entry.ticked = entry.count;
        entry.dirty = true;
      }
    }
    return losses;
  }

  /** Counts over all sources. */
  totals(): LedgerTotals & { readonly received: number } {
    const groups = { rejected: {} as Record<string, number>, dropped: {} as Record<string, number> };
    const totals = { received: 0, stored: 0, duplicates: 0, ...groups };
    for (const reasons of this.#counts.values()) {
      for (const [reason, { count }] of reasons) {
        const [group, name] = split(reason);
        if (group) totals[group][name] = (totals[group][name] ?? 0) + count;
        else if (reason === "duplicate") totals.duplicates += count;
        else if (reason === "received" || reason === "stored") totals[reason] += count;
      }
    }
    return totals;
  }

  #entry(source: string, reason: LedgerReason): Count {
    let reasons = this.#counts.get(source);
    if (!reasons) this.#counts.set(source, (reasons = new Map()));
    let entry = reasons.get(reason);
    if (!entry) reasons.set(reason, (entry = { count: 0, ticked: 0, dirty: false }));
    return entry;
  }
}

/** `rejected.x` is ["rejected", "x"]; `dropped.x` and `lost.x` are ["dropped", "x"]; others have no group. */
function split(reason: LedgerReason): ["rejected" | "dropped" | undefined, string] {
  const dot = reason.indexOf(".");
  if (dot < 0) return [undefined, reason];
  return [reason.startsWith("rejected.") ? "rejected" : "dropped", reason.slice(dot + 1)];
}
