import { TREND_DAYS } from "@weir/shared/operators/health";
import { DAY_MS } from "@weir/shared/operators/calendar";
import type { SqlDatabase } from "./database.ts";

/**
 * What has changed about local days since their reports were last looked at: the column `days.changed`.
 *
 * 0: nothing. 1: the day's own data, and with it, maybe, its health, which is in the trends of the days that follow. 2:
 * only the health of a day in its trend. 3 and more: as 1 (odd) or 2 (even), and claimed by somebody who is making the
 * day's report. Whatever changes a day's data sets 1, so that a claim is gone once anything came after it. Only who
 * finds the claim still there sets 0.
 */

/** Odd marks: the day's own data has changed. */
export const OWN_CHANGED = "changed % 2 = 1";

/** A claim to a day whose report is being made from a snapshot that was taken after the claim was committed. */
export interface DayClaim {
  readonly day: string;
  readonly number: number;
  /** Marks of the days claimed whose own data, or only whose trends, had changed. */
  readonly own: number;
  readonly trend: number;
}

/** Marks the days of [from, to] whose own data has changed. Days that are marked so already change no page of the file. */
export function markDays(db: SqlDatabase, from: string, to: string): void {
  db.run("UPDATE days SET changed = 1 WHERE day >= ? AND day <= ? AND changed <> 1", from, to);
}

/** As markDays, of one day that has a reading now. */
export function markDayWithReadings(db: SqlDatabase, day: string): void {
  db.run("INSERT INTO days VALUES (?, 1) ON CONFLICT DO UPDATE SET changed = 1", day);
}

/**
 * Claims a day and those that its trend looks back on. number: from 1, another one for each claim of a process. To be
 * committed before the snapshot is taken.
 */
export function claimDay(db: SqlDatabase, day: string, number: number): DayClaim {
  const [own, trend] = [2 * number + 1, 2 * number + 2];
  db.run(
    `UPDATE days SET changed = CASE WHEN ${OWN_CHANGED} THEN @own ELSE @trend END
     WHERE day >= @first AND day <= @day AND changed <> 0`,
    { own, trend, first: trendBegin(day), day },
  );
  return { day, number, own, trend };
}

/**
 * The report made under a claim is issued, or need not be: the day is no longer changed, unless something came since the
 * claim. From here on the days that follow carry by themselves that their trends may have changed.
 */
export function settleDay(db: SqlDatabase, { day, own, trend }: DayClaim): void {
  const mark = db.get<{ changed: number }>("SELECT changed FROM days WHERE day = ?", day)?.changed ?? 0;
  if (mark !== own && mark !== trend) return;
  db.run("UPDATE days SET changed = 0 WHERE day = ?", day);
  if (mark !== own) return;
  // Claims of later days are broken by it: what is made under them may hold the health of before.
  db.run(
    `UPDATE days SET changed = CASE WHEN ${OWN_CHANGED} THEN 1 ELSE 2 END
     WHERE day > ? AND day <= ? AND changed NOT IN (1, 2)`,
    day,
    trendEnd(day),
  );
}

/**
 * Whether nothing has changed a day's own data since the claim, which may be to a day that follows it; if no day was
 * claimed and settled since.
 */
export function isUnchangedSince(db: SqlDatabase, day: string, { own, trend }: DayClaim): boolean {
  const mark = db.get<{ changed: number }>("SELECT changed FROM days WHERE day = ?", day)?.changed ?? 0;
  return mark % 2 === 0 || mark === own || mark === trend;
}

/** The first day that a day's trend looks back on, and the last whose trend looks back on it. */
export function trendBegin(day: string): string {
  return dayAfter(day, 1 - TREND_DAYS);
}

/** See trendBegin. */
export function trendEnd(day: string): string {
  return dayAfter(day, TREND_DAYS - 1);
}

function dayAfter(day: string, days: number): string {
  return new Date(Date.parse(`${day}T00:00:00Z`) + days * DAY_MS).toISOString().slice(0, 10);
}
