import { join } from "node:path";
import Database from "better-sqlite3";

/** What became of the readings that were sent, as the receiver counts; see agent/src/pipeline/ledger.ts. */
export interface LedgerCounts {
  readonly stored: number;
  readonly duplicates: number;
  readonly rejected: number;
  readonly dropped: number;
}

/** No readings at all. */
export const NO_COUNTS: LedgerCounts = { stored: 0, duplicates: 0, rejected: 0, dropped: 0 };

/** Readings that the receiver has accounted for. */
export function accountedFor({ stored, duplicates, rejected, dropped }: LedgerCounts): number {
  return stored + duplicates + rejected + dropped;
}

/** The ledger of an agent's data file, durable as it is there; the agent may be running. */
export function readLedger(folder: string): LedgerCounts {
  const db = new Database(join(folder, "agent.db"), { readonly: true, fileMustExist: true });
  try {
    const rows = db.prepare("SELECT reason, sum(count) AS count FROM ledger GROUP BY reason").all();
    return countsOf(rows as Array<{ reason: string; count: number }>);
  } finally {
    db.close();
  }
}

/** Sums the rows of a ledger by what they mean for a reading that was sent. */
export function countsOf(rows: ReadonlyArray<{ readonly reason: string; readonly count: number }>): LedgerCounts {
  const sum = (fits: (reason: string) => boolean): number =>
    rows.reduce((total, { reason, count }) => total + (fits(reason) ? count : 0), 0);
  return {
    stored: sum((reason) => reason === "stored"),
    duplicates: sum((reason) => reason === "duplicate"),
    rejected: sum((reason) => reason.startsWith("rejected.")),
    dropped: sum((reason) => reason.startsWith("dropped.")),
  };
}

/** a − b, for a receiver that had counted before. */
export function countsSince(now: LedgerCounts, before: LedgerCounts): LedgerCounts {
  return {
    stored: now.stored - before.stored,
    duplicates: now.duplicates - before.duplicates,
    rejected: now.rejected - before.rejected,
    dropped: now.dropped - before.dropped,
  };
}

/**
 * What is wrong with a ledger, one line each; nothing where it balances. The bench sends each reading once, and each
 * has a good value and time: so duplicates and rejected ones are faults of the receiver. mayLose: QoS 0 at a rate
 * nobody promised; then what is lost or dropped is only reported.
 */
export function checkLedger(sent: number, counts: LedgerCounts, { mayLose }: { readonly mayLose: boolean }): string[] {
  const problems: string[] = [];
  const lost = sent - accountedFor(counts);
  if (lost < 0) problems.push(`${-lost} readings more are accounted for than the ${sent} that were sent`);
  if (lost > 0 && !mayLose) problems.push(`${lost} of ${sent} readings are lost`);
  if (counts.dropped > 0 && !mayLose) problems.push(`${counts.dropped} of ${sent} readings were dropped`);
  if (counts.duplicates > 0) problems.push(`${counts.duplicates} distinct readings count as duplicates`);
  if (counts.rejected > 0) problems.push(`${counts.rejected} good readings were rejected`);
  return problems;
}
