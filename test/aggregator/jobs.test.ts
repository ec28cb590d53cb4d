import * as assert from "uvu/assert";
import { setTimeout as delay } from "node:timers/promises";
import { mock } from "node:test";
import type { ReportJobs } from "@weir/aggregator/jobs/reports";
import { createReportJobs } from "@weir/aggregator/jobs/reports";
import type { BatchQueue } from "@weir/aggregator/batch/queue";
import type { FrameOrigin } from "@weir/aggregator/stores/frames";
import { createCalendar } from "@weir/shared/operators/calendar";
import { eventually } from "../support/eventually.ts";
import { suite } from "../support/suite.ts";
import { Stores } from "./stores-fixture.ts";

const test = suite("report jobs");

const DAY_MS = 86_400_000;
const TIMEZONE = "Asia/Tokyo";
/** Start of 2026-03-10 in Tokyo. */
const START_MS = Date.UTC(2026, 2, 9, 15);

let stores: Stores;
let origin: FrameOrigin;
let jobs: ReportJobs | undefined;
let queue: BatchQueue;
let nowMs: number;
let issued: string[];
let log: string[];

test.before.each(() => {
  stores = new Stores({ timezone: TIMEZONE });
  origin = stores.hello("a", ["pump/temp"]);
  issued = [];
  log = [];
  nowMs = START_MS + 2 * DAY_MS + 1000;
  queue = stores.queue((line) => log.push(line));
});
test.after.each(async () => {
  await jobs?.close();
  await queue.close();
  stores.close();
});

function start(reviseIntervalMs = 3_600_000): void {
  jobs = createReportJobs(stores.reports, queue, createCalendar(TIMEZONE), {
    at: "00:15",
    reviseIntervalMs,
    now: () => nowMs,
    log: (line) => log.push(line),
    issued: (day, revision) => issued.push(`${day} ${revision}`),
  });
}

function readDay(day: number): void {
  stores.readings(
    origin,
    Array.from({ length: 24 }, (_, i) => [0, START_MS + day * DAY_MS + i * 3_600_000, i] as const),
  );
}

test("makes up at the start for the nights it missed, and leaves today alone", async () => {
  for (const day of [0, 1, 2]) readDay(day);
  start();
  await jobs!.settled;
  assert.equal(issued, ["2026-03-10 1", "2026-03-11 1"]);
  assert.is(log.length, 2);
});

test("issues nothing again at the next start", async () => {
  readDay(0);
  start();
  await jobs!.settled;
  await jobs!.close();
  assert.is(issued.length, 1);
  issued = [];
  start();
  await jobs!.settled;
  assert.equal(issued, []);
});

test("revises an issued report when late data comes, without waiting for the night", async () => {
  readDay(0);
  stores.tick(origin, nowMs);
  start(20);
  await jobs!.settled;
  stores.readings(origin, [[0, START_MS + 1, 99]]);
  await eventually(() => assert.equal(issued, ["2026-03-10 1", "2026-03-10 2"]));
  // A day never issued waits for the night.
  readDay(1);
  await delay(80);
  assert.is(issued.length, 2);
});

/** Moves the clock of timers and dates; sleepMs: first, without a timer going off, as when the machine is suspended. */
async function pass(ms: number, sleepMs = 0): Promise<void> {
  if (sleepMs > 0) mock.timers.setTime((nowMs += sleepMs));
  for (let passed = 0; passed < ms; passed += 15_000) {
    nowMs += 15_000;
    mock.timers.tick(15_000);
    // The scheduler awaits between its timers.
    for (let i = 0; i < 20; i++) await Promise.resolve();
  }
}

/** Runs a test on a clock of its own that starts a minute before midnight of the first day. */
async function onMockClock(work: () => Promise<void>): Promise<void> {
  nowMs = START_MS + DAY_MS - 60_000;
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: nowMs });
  try {
    start();
    readDay(0);
    await work();
    await jobs?.close();
  } finally {
    mock.timers.reset();
    jobs = undefined;
  }
}

test("issues at the set time of the plant's day", () =>
  onMockClock(async () => {
    await pass(15 * 60_000);
    assert.equal(issued, []);
    await pass(2 * 60_000);
    assert.equal(issued, ["2026-03-10 1"]);
    await pass(DAY_MS);
    assert.equal(issued, ["2026-03-10 1"]);
  }));

test("issues late rather than a night later when it was busy or asleep at that time", () =>
  onMockClock(async () => {
    await pass(17 * 60_000, 20 * 60_000);
    assert.equal(issued, ["2026-03-10 1"]);
  }));

test("a report that cannot be made is tried again, and stops nothing", async () => {
  readDay(0);
  const keep = stores.reports.keep.bind(stores.reports);
  stores.reports.keep = () => {
    throw new Error("disk I/O error");
  };
  start(20);
  await jobs!.settled;
  assert.match(log[0]!, /Cannot issue the report of 2026-03-1\d: disk I\/O error/);
  stores.reports.keep = keep;
  await jobs!.close();
  start(20);
  await jobs!.settled;
  assert.equal(issued, ["2026-03-10 1"]);
});
