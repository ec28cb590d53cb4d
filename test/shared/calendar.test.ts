import { CodedError } from "@weir/shared/errors";
import type { Calendar } from "@weir/shared/operators/calendar";
import { createCalendar, hourEnd } from "@weir/shared/operators/calendar";
import fc from "fast-check";
import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";

const test = suite("calendar");

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** Zones and days around which their clocks change, with the lengths of those days in hours. */
const CHANGES: ReadonlyArray<readonly [zone: string, day: string, hours: number]> = [
  ["Europe/Berlin", "2026-03-29", 23],
  ["Europe/Berlin", "2026-10-25", 25],
  ["Europe/Berlin", "2026-06-01", 24],
  // Midnight does not exist, and comes again.
  ["America/Sao_Paulo", "2018-11-04", 23],
  ["America/Sao_Paulo", "2019-02-16", 25],
  ["America/Havana", "2026-03-08", 23],
  ["America/Havana", "2026-11-01", 25],
  ["Asia/Kolkata", "2026-03-29", 24],
  ["Australia/Lord_Howe", "2026-04-05", 24.5],
  ["Australia/Lord_Howe", "2026-10-04", 23.5],
  ["America/St_Johns", "2026-03-08", 23],
  ["America/St_Johns", "2026-11-01", 25],
  ["Pacific/Apia", "2012-04-01", 25],
  ["Pacific/Apia", "2011-12-29", 24],
  ["Pacific/Apia", "2011-12-31", 24],
  ["Pacific/Chatham", "2026-09-27", 23],
  ["Antarctica/Troll", "2026-03-29", 22],
  ["America/Caracas", "2016-05-01", 23.5],
  ["Asia/Pyongyang", "2018-05-04", 23.5],
  ["UTC", "2026-03-29", 24],
];

/** The engine's own account of an instant: day, hour and day of the week (Monday 0). */
const formats = new Map<string, Intl.DateTimeFormat>();
function local(zone: string, tsMs: number): { readonly day: string; readonly hour: number; readonly weekday: number } {
  let format = formats.get(zone);
  if (!format) {
    format = new Intl.DateTimeFormat("en-GB", {
      timeZone: zone,
      hourCycle: "h23",
      year: "numeric",
      month: "2-digit",
      day: "2-digit",
      hour: "2-digit",
      weekday: "short",
    });
    formats.set(zone, format);
  }
  const parts = Object.fromEntries(format.formatToParts(tsMs).map(({ type, value }) => [type, value]));
  return {
    day: `${parts.year}-${parts.month}-${parts.day}`,
    hour: Number(parts.hour),
    weekday: ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].indexOf(parts.weekday ?? ""),
  };
}

const nextDay = (day: string): string => new Date(Date.parse(`${day}T00:00:00Z`) + DAY_MS).toISOString().slice(0, 10);

function failsWith(code: string, pattern: RegExp, body: () => unknown): void {
  try {
    body();
  } catch (error) {
    assert.ok(error instanceof CodedError);
    assert.is(error.code, code);
    assert.match(error.message, pattern);
    return;
  }
  assert.unreachable(`no ${code}`);
}

test("days have the hours that clock changes leave them, and begin where the engine says the day begins", () => {
  for (const [zone, day, hours] of CHANGES) {
    const calendar = createCalendar(zone);
    const { startMs, endMs } = calendar.dayRange(day);
    assert.is((endMs - startMs) / HOUR_MS, hours, `${zone} ${day}`);
    assert.is(local(zone, startMs).day, day, zone);
    assert.is.not(local(zone, startMs - 1).day, day, zone);
    assert.is(local(zone, endMs - 1).day, day, zone);
    assert.is.not(local(zone, endMs).day, day, zone);
  }
});

test("days tile time without gap or overlap, each the day of its first and last millisecond", () => {
  for (const [zone, changeDay] of CHANGES) {
    const calendar = createCalendar(zone);
    let day = new Date(Date.parse(`${changeDay}T00:00:00Z`) - 40 * DAY_MS).toISOString().slice(0, 10);
    let { startMs } = calendar.dayRange(day);
    for (let i = 0; i < 80; i++) {
      const range = calendar.dayRange(day);
      assert.is(range.startMs, startMs, `${zone} ${day}`);
      // The 30th of December 2011 did not take place in Samoa: an empty day.
      const skipped = zone === "Pacific/Apia" && day === "2011-12-30";
      assert.is(range.endMs === range.startMs, skipped, `${zone} ${day}`);
      if (!skipped) {
        assert.is(calendar.dayOf(range.startMs), day, zone);
        assert.is(calendar.dayOf(range.endMs - 1), day, zone);
      }
      startMs = range.endMs;
      day = nextDay(day);
    }
  }
});

/** An instant near a change of some zone's clocks. */
const nearChange: fc.Arbitrary<{ zone: string; calendar: Calendar; tsMs: number }> = fc
  .tuple(fc.constantFrom(...CHANGES), fc.integer({ min: -2 * DAY_MS, max: 3 * DAY_MS }))
  .map(([[zone, day], offsetMs]) => ({
    zone,
    calendar: createCalendar(zone),
    tsMs: Date.parse(`${day}T00:00:00Z`) + offsetMs,
  }));

test("the day and the hour of the week are the engine's", () => {
  fc.assert(
    fc.property(nearChange, ({ zone, calendar, tsMs }) => {
      const { day, hour, weekday } = local(zone, tsMs);
      assert.is(calendar.dayOf(tsMs), day);
      assert.is(calendar.hourOfWeek(tsMs), weekday * 24 + hour);
      const { startMs, endMs } = calendar.dayRange(day);
      assert.ok(startMs <= tsMs && tsMs < endMs);
    }),
    { numRuns: 400 },
  );
});

test("hours tile time: each instant is in the hour that its start begins, within one local hour", () => {
  fc.assert(
    fc.property(nearChange, ({ zone, calendar, tsMs }) => {
      const startMs = calendar.hourStart(tsMs);
      const endMs = hourEnd(calendar, startMs);
      assert.ok(startMs <= tsMs && tsMs < endMs && endMs - startMs <= HOUR_MS, `${startMs} ${tsMs} ${endMs}`);
      assert.is(calendar.hourStart(startMs), startMs, "the start is its own hour's start");
      assert.is(calendar.hourStart(endMs - 1), startMs);
      assert.is(calendar.hourStart(endMs), endMs, "the next hour begins at the end");
      const at = local(zone, startMs);
      assert.equal(local(zone, tsMs), at);
      assert.equal(local(zone, endMs - 1), at);
      assert.is(calendar.dayOf(startMs), calendar.dayOf(tsMs));
    }),
    { numRuns: 800 },
  );
});

test("where clocks change by half an hour, both sides of the change are hours of their own", () => {
  const calendar = createCalendar("Australia/Lord_Howe");
  // 2026-10-04 02:00 local, when clocks go to 02:30; offset +10:30 before.
  const changeMs = Date.parse("2026-10-04T02:00:00+10:30");
  assert.is(calendar.hourStart(changeMs - 1), changeMs - HOUR_MS);
  assert.is(calendar.hourStart(changeMs + 20 * 60_000), changeMs);
  assert.is(hourEnd(calendar, changeMs), changeMs + HOUR_MS / 2);
  // 2026-04-05 02:00 local, when clocks go back to 01:30: the hour from 01:00 comes in two pieces.
  const backMs = Date.parse("2026-04-05T02:00:00+11:00");
  assert.is(calendar.hourStart(backMs - 1), backMs - HOUR_MS);
  assert.is(calendar.hourStart(backMs + 1), backMs);
  assert.is(hourEnd(calendar, backMs), backMs + HOUR_MS / 2);
});

test("keeps answering right after more instants than it remembers", () => {
  const calendar = createCalendar("Europe/Berlin");
  const winterMs = Date.parse("2026-01-01T12:00:00Z");
  for (let i = 0; i < 4_200; i++) calendar.dayOf(winterMs + i * 900_000);
  assert.is(calendar.hourOfWeek(winterMs), 3 * 24 + 13);
  assert.is(calendar.dayOf(Date.parse("2026-07-01T22:00:00Z")), "2026-07-02");
});

test("refuses days and zones that there are not", () => {
  const calendar = createCalendar("UTC");
  for (const day of ["2026-02-30", "2026-13-01", "2026-1-1", "today", "", "2026-03-14T00:00", "2025-02-29"]) {
    failsWith("BAD_DAY", /YYYY-MM-DD/, () => calendar.dayRange(day));
  }
  assert.is(calendar.dayRange("2024-02-29").endMs, Date.parse("2024-03-01T00:00:00Z"));
  for (const zone of ["Europe/Bielefeld", "", "CEST!"]) failsWith("BAD_TIMEZONE", /IANA/, () => createCalendar(zone));
});
