import * as assert from "uvu/assert";
import fc from "fast-check";
import { ReportStore, REVISIONS_LISTED_MAX } from "@weir/aggregator/stores/reports";
import { dayHealths, newRevision } from "@weir/aggregator/stores/report-making";
import { SqlCellStore } from "@weir/aggregator/stores/cells";
import { createCalendar } from "@weir/shared/operators/calendar";
import { suite } from "../support/suite.ts";
import type { TestReading } from "./stores-fixture.ts";
import { Stores, versionOf } from "./stores-fixture.ts";

const test = suite("reports", { timeoutMs: 60_000 });

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Start of 2026-03-10. */
const START_MS = Date.UTC(2026, 2, 10);

let stores: Stores;
test.after.each(() => stores.close());

function dayName(index: number): string {
  return new Date(START_MS + index * DAY_MS).toISOString().slice(0, 10);
}

/** A reading every ten minutes of an hour. */
function hour(series: number, startMs: number, value = 1): TestReading[] {
  return Array.from({ length: 6 }, (_, i) => [series, startMs + i * 600_000, value + i / 10] as const);
}

test("issues a report once, and a revision when late data changes it", () => {
  stores = new Stores();
  const origin = stores.hello("a", ["pump/temp"]);
  stores.readings(origin, hour(0, START_MS));
  stores.tick(origin, START_MS + DAY_MS);
  assert.equal(stores.reports.due(dayName(1)), [dayName(0)]);
  assert.is(stores.reports.issue(dayName(0), 5)?.report.revision, 1);
  assert.equal(stores.reports.due(dayName(1)), []);
  assert.is(stores.reports.issue(dayName(0), 6), undefined);
  assert.is(stores.reports.make(dayName(0), { batch: true })?.report.revision, 1);
  stores.readings(origin, hour(0, START_MS + 5 * HOUR_MS));
  assert.equal(stores.reports.due(dayName(1)), [dayName(0)]);
  assert.is(stores.reports.make(dayName(0), { batch: false })?.report.revision, 2);
  assert.is(stores.reports.issue(dayName(0), 7)?.report.revision, 2);
  assert.equal(stores.reports.issuedRevisions(), [{ day: dayName(0), revision: 2 }]);
});

test("does not call a day due that is not over, or that nobody has readings of", () => {
  stores = new Stores();
  const origin = stores.hello("a", ["pump/temp"]);
  stores.readings(origin, hour(0, START_MS));
  assert.equal(stores.reports.due(dayName(0)), []);
  assert.is(stores.reports.make(dayName(3), { batch: false }), undefined);
  assert.is(stores.reports.issue(dayName(3), 1), undefined);
});

test("a change that leaves the content as it is issues nothing", () => {
  stores = new Stores();
  const origin = stores.hello("a", ["pump/temp"]);
  stores.readings(origin, hour(0, START_MS));
  stores.tick(origin, START_MS + DAY_MS);
  stores.reports.issue(dayName(0), 1);
  stores.readings(origin, hour(0, START_MS), true);
  assert.equal(stores.reports.due(dayName(1)), [dayName(0)]);
  assert.is(stores.reports.issue(dayName(0), 2), undefined);
  assert.equal(stores.reports.due(dayName(1)), []);
});

test("the days after a changed one are due as well: its health is in their trends", () => {
  stores = new Stores();
  stores.history.add(versionOf(1, 0, 5));
  const origin = stores.hello("a", ["pump/temp"]);
  for (let day = 0; day < 3; day++) {
    for (let i = 0; i < 24; i++) stores.readings(origin, hour(0, START_MS + day * DAY_MS + i * HOUR_MS));
  }
  stores.tick(origin, START_MS + 3 * DAY_MS);
  const days = [0, 1, 2].map(dayName);
  assert.equal(stores.reports.due(dayName(3)), days);
  for (const day of days) stores.reports.issue(day, 1);
  stores.readings(origin, hour(0, START_MS + 30_000, 100));
  assert.equal(stores.reports.due(dayName(3)), days);
  // The second day has no trend yet, so it stays as it is.
  assert.equal(
    days.map((day) => stores.reports.issue(day, 2)?.report.revision),
    [2, undefined, 2],
  );
  for (const day of days) assert.is(stores.live(day), stores.batch(day));
});

test("keeps what each revision changed beside the reports, and tells it newest first", () => {
  stores = new Stores();
  const origin = stores.hello("a", ["pump/temp", "fan/rpm"]);
  stores.readings(origin, hour(0, START_MS));
  stores.tick(origin, START_MS + DAY_MS);
  assert.equal(stores.reports.revisions(dayName(0)), { day: dayName(0), total: 0, revisions: [] });
  assert.is(stores.reports.issue(dayName(0), 5)?.summary, null);
  stores.readings(origin, hour(0, START_MS + 5 * HOUR_MS, 7));
  assert.is(stores.reports.issue(dayName(0), 6)?.summary, "1 device changed: pump readings 6 → 12");
  stores.readings(origin, hour(1, START_MS));
  stores.reports.issue(dayName(0), 7);
  // What was issued is still the function of the data that a replay makes.
  assert.is(stores.live(dayName(0)), stores.batch(dayName(0)));
  assert.not.match(stores.live(dayName(0))!, /changes|summary/);

  const { total, revisions } = stores.reports.revisions(dayName(0))!;
  assert.is(total, 3);
  assert.equal(
    revisions.map(({ revision, issuedAtMs, changes }) => [revision, issuedAtMs, changes?.summary ?? null]),
    [
      [3, 7, "1 device changed: fan added"],
      [2, 6, "1 device changed: pump readings 6 → 12"],
      [1, 5, null],
    ],
  );
  assert.equal(
    revisions.map(({ completenessBefore, completeness }) => [completenessBefore?.readings, completeness.readings]),
    [
      [12, 18],
      [6, 12],
      [undefined, 6],
    ],
  );
  const [pump] = revisions[1]!.changes!.devices;
  assert.equal(
    pump?.metrics[0]?.fields.find(({ field }) => field === "max"),
    { field: "max", before: 1.5, after: 7.5 },
  );
  assert.is(stores.reports.list()[0]?.changeSummary, "1 device changed: fan added");
  assert.is(stores.reports.revisions(dayName(5)), undefined);
});

test("tells the newest thirty revisions, with the completeness before the last of them, and counts all", () => {
  stores = new Stores();
  const origin = stores.hello("a", ["pump/temp"]);
  stores.tick(origin, START_MS + DAY_MS);
  for (let i = 0; i < 35; i++) {
    stores.readings(origin, [[0, START_MS + i * 60_000, i]]);
    stores.reports.issue(dayName(0), i);
  }
  const { total, revisions } = stores.reports.revisions(dayName(0))!;
  assert.equal([total, revisions.length, revisions.at(-1)?.revision], [35, REVISIONS_LISTED_MAX, 6]);
  assert.is(revisions.at(-1)?.completenessBefore?.readings, 5);
});

test("keeps the bodies of so many revisions, the newest always, and counts those it drops", () => {
  stores = new Stores({ revisionsMax: 3 });
  const origin = stores.hello("a", ["pump/temp"]);
  stores.tick(origin, START_MS + DAY_MS);
  const bodies: string[] = [];
  for (let i = 0; i < 40; i++) {
    stores.readings(origin, [[0, START_MS + i * 60_000, i]]);
    stores.reports.issue(dayName(0), i);
    bodies.push(stores.live(dayName(0))!);
  }
  const body = (revision: number): string | undefined => {
    const found = stores.reports.issuedBody(dayName(0), revision);
    return found && Buffer.from(found).toString();
  };
  assert.equal([40, 39, 38, 37, 1, 41, 0].map(body), [...bodies.slice(-3).toReversed(), "", "", undefined, undefined]);
  assert.is(stores.reports.droppedRevisions, 37);
  const rows = stores.db.get<{ count: number }>("SELECT count(*) AS count FROM reports")!.count;
  assert.is(rows, REVISIONS_LISTED_MAX + 1);
  assert.equal(
    stores.reports
      .revisions(dayName(0))
      ?.revisions.map(({ revision }) => revision)
      .slice(-2),
    [12, 11],
  );
});

test("a report of before, kept as text, is read as those by gzip are", () => {
  stores = new Stores();
  const origin = stores.hello("a", ["pump/temp"]);
  stores.readings(origin, hour(0, START_MS));
  stores.reports.issue(dayName(0), 1);
  const bytes = issuedText(dayName(0));
  stores.db.run("UPDATE reports SET body = ?", bytes);
  assert.is(issuedText(dayName(0)), bytes);
  assert.is(stores.reports.issue(dayName(0), 2), undefined, "it is what would be issued");
  const reader = new ReportStore(stores.db, stores.history, stores.calendar);
  assert.equal([...reader.newestHealth()], [...stores.reports.newestHealth()]);
});

test("data that comes while a report is made leaves its day due, and what is kept of the day's health alone", () => {
  stores = new Stores();
  stores.history.add(versionOf(1, 0, 5, 600_000));
  const origin = stores.hello("a", ["pump/temp"]);
  for (let day = 0; day < 3; day++) stores.readings(origin, hour(0, START_MS + day * DAY_MS));
  stores.tick(origin, START_MS + 3 * DAY_MS);
  const [first, second, third] = [dayName(0), dayName(1), dayName(2)] as [string, string, string];
  for (const day of [first, second, third]) stores.reports.issue(day, 1);
  stores.readings(origin, hour(0, START_MS + HOUR_MS));
  const make = (day: string): (() => boolean) => {
    const claim = stores.reports.claim(day);
    const made = stores.reports.make(day, { batch: false })!;
    return () => {
      const isNew = stores.reports.keep(claim, newRevision(made, 2));
      for (const health of dayHealths(made)) stores.reports.keepHealth(claim, health);
      return isNew;
    };
  };
  // A report of a later day is made, with the health of the first in it; then more comes for the first.
  const keepThird = make(third);
  stores.readings(origin, hour(0, START_MS + 2 * HOUR_MS));
  assert.ok(keepThird(), "it is issued as what its snapshot held");
  assert.is(stores.live(first), stores.batch(first));
  assert.is(stores.live(third), stores.batch(third), "the first day's health was not kept as it was before");
  assert.ok(stores.reports.isDue(third), "the first day has changed since");
  const keepFirst = make(first);
  stores.readings(origin, hour(0, START_MS + 3 * HOUR_MS));
  assert.ok(keepFirst());
  assert.ok(stores.reports.isDue(first), "an hour came since the claim");
  const [one, other] = [make(first), make(first)];
  assert.ok(one());
  assert.is(other(), false, "another revision was issued meanwhile");
  assert.ok(stores.reports.isDue(first), "the one who claimed it last has settled nothing");
  assert.is(stores.reports.issue(first, 3), undefined);
  assert.is(stores.reports.isDue(first), false);
  assert.ok(stores.reports.isDue(third));
  for (const day of stores.reports.due(dayName(3))) stores.reports.issue(day, 3);
  assert.equal(stores.reports.due(dayName(3)), []);
  for (const day of [first, second, third]) assert.is(stores.batch(day), issuedText(day));
});

function issuedText(day: string): string {
  return Buffer.from(stores.reports.issuedBody(day)!).toString();
}

test("a change taken back while another day is revised leaves that day due", () => {
  stores = new Stores();
  stores.history.add(versionOf(1, 0, 5));
  const origin = stores.hello("a", ["pump/temp"]);
  for (let day = 0; day < 3; day++) stores.readings(origin, hour(0, START_MS + day * DAY_MS));
  stores.tick(origin, START_MS + 3 * DAY_MS);
  for (const day of [0, 1, 2].map(dayName)) stores.reports.issue(day, 1);
  stores.readings(origin, [...hour(0, START_MS), [0, START_MS + 1, 100]], true);
  assert.ok(stores.reports.issue(dayName(2), 2), "the first day's health is in its trend");
  stores.readings(origin, hour(0, START_MS), true);
  assert.is(stores.reports.issue(dayName(0), 3), undefined, "it is as it was");
  assert.equal(stores.reports.due(dayName(3)), [dayName(1), dayName(2)]);
  assert.ok(stores.reports.issue(dayName(2), 4));
});

test("a series taken over by another agent makes the days of its readings due, and no others", () => {
  stores = new Stores();
  const a = stores.hello("a", ["pump/temp", "fan/rpm"]);
  for (let day = 0; day < 4; day++) stores.readings(a, hour(1, START_MS + day * DAY_MS));
  for (const day of [1, 2]) stores.readings(a, hour(0, START_MS + day * DAY_MS));
  stores.tick(a, START_MS + 4 * DAY_MS);
  for (let day = 0; day < 4; day++) stores.reports.issue(dayName(day), 1);
  const b = stores.hello("b", ["pump/temp"]);
  assert.equal(
    [0, 1, 2, 3].map((day) => stores.reports.isDue(dayName(day))),
    [false, true, true, true],
    "the last has the others' health in its trend",
  );
  assert.match(stores.batch(dayName(1))!, /"agent":"b"/);
  for (const day of stores.reports.due(dayName(4))) stores.reports.issue(day, 2);
  for (let day = 0; day < 4; day++) assert.is(stores.batch(dayName(day)), issuedText(dayName(day)));
  // Naming it again takes nothing over.
  stores.apply(b, { kind: "series", series: [[0, "s", "pump", "temp"]] });
  assert.equal(stores.reports.due(dayName(4)), []);
});

test("a tick that moves the clock within a day makes its issued report due, and its kept health stale", () => {
  stores = new Stores();
  stores.history.add(versionOf(1, 0, 5, 600_000));
  const origin = stores.hello("a", ["pump/temp"]);
  for (const day of [0, 1]) stores.readings(origin, hour(0, START_MS + day * DAY_MS));
  stores.tick(origin, START_MS + 6 * HOUR_MS);
  const expected = (): number | undefined =>
    stores.reports.make(dayName(0), { batch: false })?.report.completeness.expectedReadings;
  stores.reports.issue(dayName(0), 1);
  stores.reports.issue(dayName(1), 1);
  assert.is(expected(), 36);
  assert.equal(stores.reports.due(dayName(9)), []);
  stores.tick(origin, START_MS + 9 * HOUR_MS);
  assert.is(expected(), 54);
  assert.equal(stores.reports.due(dayName(9)), [dayName(0), dayName(1)]);
  assert.is(stores.live(dayName(1)), stores.batch(dayName(1)));
  // A clock that stands still, or an older tick, changes nothing.
  for (const day of [0, 1]) stores.reports.issue(dayName(day), 2);
  stores.tick(origin, START_MS + 9 * HOUR_MS);
  stores.tick(origin, START_MS + 8 * HOUR_MS);
  assert.equal(stores.reports.due(dayName(9)), []);
  assert.is(expected(), 54);
});

test("the first tick of a new agent makes only days due that have readings of its series", () => {
  stores = new Stores();
  const known = stores.hello("a", ["pump/temp"]);
  const days = [0, 1, 2, 3].map(dayName);
  for (const index of days.keys()) stores.readings(known, [[0, START_MS + index * DAY_MS, 1]]);
  stores.tick(known, START_MS + 4 * DAY_MS);
  while (stores.reports.due(dayName(4)).length > 0) for (const day of days) stores.reports.issue(day, 1);
  const added = stores.hello("b", ["fan/rpm"]);
  stores.readings(added, [[0, START_MS + 2 * DAY_MS, 1]]);
  for (const day of stores.reports.due(dayName(4))) stores.reports.issue(day, 1);
  assert.equal(stores.reports.due(dayName(4)), []);
  stores.tick(added, START_MS + 4 * DAY_MS);
  assert.equal(stores.reports.due(dayName(4)), days.slice(2));
  for (const day of stores.reports.due(dayName(4))) stores.reports.issue(day, 1);
  for (const day of days) assert.is(issuedText(day), stores.batch(day));
  // One that has sent nothing yet has no day.
  stores.tick(stores.hello("c"), START_MS + 4 * DAY_MS);
  assert.equal(stores.reports.due(dayName(4)), []);
});

test("a device whose clock is ahead moves neither other devices' expectation nor their reports", () => {
  stores = new Stores();
  stores.history.add(versionOf(1, 0, 5, 600_000));
  const origin = stores.hello("a", ["pump/temp", "fan/rpm"]);
  stores.readings(origin, hour(0, START_MS));
  stores.readings(origin, hour(0, START_MS + DAY_MS));
  stores.tick(origin, START_MS + DAY_MS + HOUR_MS);
  for (const day of [0, 1]) stores.reports.issue(dayName(day), 1);
  const pump = (): unknown =>
    stores.reports.make(dayName(1), { batch: false })?.report.devices.find(({ device }) => device === "pump");
  const before = pump();
  stores.readings(origin, [[1, START_MS + DAY_MS + 5 * HOUR_MS, 1]]);
  assert.equal(pump(), before);
  assert.not.ok(stores.reports.due(dayName(9)).includes(dayName(0)), "the first day has nothing to do with it");
});

test("losses take one row a day, agent and reason, however many ticks tell of them", () => {
  stores = new Stores({ timezone: "Asia/Kolkata" });
  const [a, b] = [stores.hello("a", ["pump/temp"]), stores.hello("b")];
  const midnightMs = START_MS - 5.5 * HOUR_MS;
  stores.readings(a, hour(0, START_MS));
  for (let i = 0; i < 400; i++) {
    stores.tick(a, midnightMs + i * 216_000 - 1, { json_shape: 1, time_ahead: 2 });
    stores.tick(b, midnightMs + i * 216_000 - 1, { json_shape: 1 });
  }
  const rows = stores.db.get<{ count: number }>("SELECT count(*) AS count FROM losses")!.count;
  assert.is(rows, 2 * 3, "the day before midnight and the day after");
  const rejected = stores.reports.make(dayName(0), { batch: false })?.report.completeness.rejected;
  assert.equal(rejected, { json_shape: 798, time_ahead: 798 });
});

test("a day revised by itself leaves the days due whose trends it is in", () => {
  stores = new Stores();
  stores.history.add(versionOf(1, 0, 5));
  const origin = stores.hello("a", ["pump/temp"]);
  for (let day = 0; day < 3; day++) {
    for (let i = 0; i < 24; i++) stores.readings(origin, hour(0, START_MS + day * DAY_MS + i * HOUR_MS));
  }
  stores.tick(origin, START_MS + 3 * DAY_MS);
  const days = [0, 1, 2].map(dayName);
  for (const day of days) stores.reports.issue(day, 1);
  stores.readings(origin, hour(0, START_MS + 30_000, 100));
  // As when somebody asks for that day alone.
  assert.is(stores.reports.issue(dayName(0), 2)?.report.revision, 2);
  assert.equal(stores.reports.due(dayName(3)), [dayName(1), dayName(2)]);
  assert.is(stores.reports.issue(dayName(1), 2), undefined);
  assert.is(stores.reports.issue(dayName(2), 2)?.report.revision, 2);
  assert.equal(stores.reports.due(dayName(3)), []);
});

test("a reading before a series' first makes later days expect more of it", () => {
  stores = new Stores();
  stores.history.add(versionOf(1, 0, 5, 600_000));
  const origin = stores.hello("a", ["pump/temp"]);
  for (let i = 36; i < 96; i++) stores.readings(origin, hour(0, START_MS + i * HOUR_MS));
  stores.tick(origin, START_MS + 4 * DAY_MS);
  for (const day of [1, 2, 3].map(dayName)) stores.reports.issue(day, 1);
  stores.readings(origin, hour(0, START_MS));
  assert.is(stores.live(dayName(3)), stores.batch(dayName(3)));
  assert.ok(stores.reports.due(dayName(4)).includes(dayName(1)));
});

test("an agent that comes back after a day expects that day whole", () => {
  stores = new Stores();
  stores.history.add(versionOf(1, 0, 5, 600_000));
  const a = stores.hello("a", ["pump/temp"]);
  const b = stores.hello("b", ["fan/rpm"]);
  for (let day = 0; day < 3; day++) stores.readings(a, hour(0, START_MS + day * DAY_MS));
  stores.tick(a, START_MS + 3 * DAY_MS);
  stores.readings(b, hour(0, START_MS + 3 * HOUR_MS));
  // The report of a later day looks at the health of the first, as far as b is known then.
  stores.reports.issue(dayName(0), 1);
  stores.reports.issue(dayName(2), 1);
  for (const hours of [30, 49, 50]) stores.readings(b, hour(0, START_MS + hours * HOUR_MS));
  assert.is(stores.live(dayName(2)), stores.batch(dayName(2)));
  assert.equal(stores.reports.due(dayName(3)), [dayName(1), dayName(2)], "nothing is said of b's clock yet");
  stores.tick(b, START_MS + 50 * HOUR_MS);
  assert.is(stores.live(dayName(2)), stores.batch(dayName(2)));
  assert.ok(stores.reports.due(dayName(3)).includes(dayName(0)), "the first day is expected whole now");
  stores.tick(b, START_MS + 3 * DAY_MS);
  assert.is(stores.live(dayName(2)), stores.batch(dayName(2)));
});

test("lists days newest first with the worst health, and knows every device's newest", () => {
  stores = new Stores();
  const origin = stores.hello("a", ["pump/temp", "fan/rpm"]);
  stores.readings(origin, [...hour(0, START_MS), ...hour(1, START_MS), ...hour(0, START_MS + DAY_MS)]);
  stores.tick(origin, START_MS + DAY_MS);
  const { report } = stores.reports.issue(dayName(0), 77)!;
  const [today, yesterday] = stores.reports.list();
  assert.equal(today, {
    day: dayName(1),
    revision: 0,
    issuedAtMs: null,
    devices: 1,
    worstHealth: null,
    changeSummary: null,
  });
  assert.equal(
    [yesterday?.day, yesterday?.revision, yesterday?.issuedAtMs, yesterday?.devices],
    [dayName(0), 1, 77, 2],
  );
  assert.is(yesterday?.worstHealth, Math.min(...report.devices.map(({ health }) => health)));
  assert.equal([...stores.reports.newestHealth().keys()], ["s/fan", "s/pump"]);
});

test("deleting old windows changes no report, by either path", () => {
  for (const timezone of ["UTC", "Asia/Kolkata"]) {
    stores = new Stores({ timezone });
    const origin = stores.hello("a", ["pump/temp"]);
    for (let i = 0; i < 48; i++) stores.readings(origin, hour(0, START_MS + i * HOUR_MS, i));
    stores.tick(origin, START_MS + 3 * DAY_MS);
    const before = [0, 1].map((day) => stores.live(dayName(day)));
    for (const age of [0.5, 20.25, 20.75, 21, 40.2]) {
      new SqlCellStore(stores.db).deleteWindowsBefore(1, START_MS + age * HOUR_MS, createCalendar(timezone));
      assert.equal(
        [0, 1].map((day) => stores.batch(dayName(day))),
        before,
        `windows before ${age} h, ${timezone}`,
      );
      assert.equal(
        [0, 1].map((day) => stores.live(dayName(day))),
        before,
      );
    }
    if (timezone === "UTC") stores.close();
  }
});

test("an agent that judges deleted windows anew changes nothing, and is counted", () => {
  stores = new Stores();
  const origin = stores.hello("a", ["pump/temp"]);
  stores.readings(origin, hour(0, START_MS, 1));
  stores.readings(origin, hour(0, START_MS + 5 * HOUR_MS, 1));
  new SqlCellStore(stores.db).deleteWindowsBefore(1, START_MS + 4 * HOUR_MS, createCalendar("UTC"));
  const before = stores.live(dayName(0));
  assert.is(stores.frames.lateReplacements, 0);
  stores.readings(origin, hour(0, START_MS, 999), true);
  assert.ok(stores.frames.lateReplacements > 0);
  assert.is(stores.live(dayName(0)), before);
});

const DAYS = 4;
const stepArb = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("readings" as const),
      agent: fc.nat(1),
      series: fc.nat(1),
      minute: fc.integer({ min: 0, max: DAYS * 1440 - 1 }),
      count: fc.integer({ min: 1, max: 5 }),
      value: fc.integer({ min: -12, max: 12 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("tick" as const),
      agent: fc.nat(1),
      hour: fc.integer({ min: 0, max: DAYS * 24 + 12 }),
      lost: fc.nat(2),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("alert" as const),
      agent: fc.nat(1),
      hour: fc.integer({ min: 0, max: DAYS * 24 }),
      withdrawn: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("issue" as const), day: fc.nat(DAYS - 1) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("make" as const), day: fc.nat(DAYS - 1) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("keep" as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("takeOver" as const), agent: fc.nat(1), series: fc.nat(1) }),
  },
);

/** Series that both agents of the property know, by agent and index. */
const NAMES = [
  ["pump/temp", "fan/rpm"],
  ["belt/speed", "fan/temp"],
] as const;

test("live and batch are the same bytes after every step, with two agents and anything late", () => {
  const timezones = fc.constantFrom("UTC", "Europe/Berlin", "Asia/Kolkata");
  fc.assert(
    fc.property(
      timezones,
      fc.boolean(),
      fc.array(stepArb, { minLength: 4, maxLength: 22 }),
      (timezone, hasBands, steps) => {
        stores = new Stores({ timezone });
        if (hasBands) stores.history.add(versionOf(1, START_MS + DAY_MS, 6, 600_000));
        const agents = [stores.hello("a", NAMES[0]), stores.hello("b", NAMES[1])];
        // A report that is being made while other steps are taken, as a thread makes it of its snapshot.
        let keep: (() => void) | undefined;
        const make = (day: string): (() => void) => {
          const claim = stores.reports.claim(day);
          const made = stores.reports.make(day, { batch: false });
          return () => {
            stores.reports.keep(claim, made && newRevision(made, 1));
            for (const health of made ? dayHealths(made) : []) stores.reports.keepHealth(claim, health);
          };
        };
        for (const step of steps) {
          if (step.kind === "issue") stores.reports.issue(dayName(step.day), 1);
          else if (step.kind === "make") keep ??= make(dayName(step.day));
          else if (step.kind === "keep") {
            keep?.();
            keep = undefined;
          } else if (step.kind === "takeOver") {
            const [device = "", metric = ""] = NAMES[1 - step.agent]![step.series]!.split("/");
            stores.apply(agents[step.agent]!, { kind: "series", series: [[2, "s", device, metric]] });
          } else if (step.kind === "tick") {
            stores.tick(
              agents[step.agent]!,
              START_MS + step.hour * HOUR_MS,
              step.lost > 0 ? { json_shape: step.lost } : {},
            );
          } else if (step.kind === "alert") {
            const startedAtMs = START_MS + step.hour * HOUR_MS;
            stores.alert(agents[step.agent]!, {
              id: `${startedAtMs}`,
              startedAtMs,
              state: step.withdrawn ? "withdrawn" : "firing",
            });
          } else {
            const { series, minute, count, value } = step;
            const readings = Array.from(
              { length: count },
              (_, i) => [series, START_MS + minute * 60_000 + i * 7000, value + i] as const,
            );
            stores.readings(agents[step.agent]!, readings);
          }
          for (let day = 0; day < DAYS; day++)
            assert.is(stores.live(dayName(day)), stores.batch(dayName(day)), dayName(day));
        }
        keep?.();
        for (let day = 0; day < DAYS; day++)
          assert.is(stores.live(dayName(day)), stores.batch(dayName(day)), "at the end");
        // What was issued and is not due again is what would be issued now.
        const due = new Set(stores.reports.due("9999-12-31"));
        for (const { day } of stores.reports.issuedRevisions()) {
          assert.is(stores.reports.isDue(day), due.has(day));
          if (!due.has(day)) assert.is(issuedText(day), stores.batch(day), `${day} has changed and is not due`);
        }
        stores.close();
      },
    ),
    { numRuns: Number(process.env["WEIR_PROPERTY_RUNS"] ?? 40) },
  );
  stores = new Stores();
});
