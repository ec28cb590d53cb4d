import * as assert from "uvu/assert";
import type { BatchDone, BatchJob, ReportJob } from "@weir/aggregator/batch/jobs";
import type { BatchTask } from "@weir/aggregator/batch/queue";
import { BATCH_WAITING_MAX, createBatchQueue } from "@weir/aggregator/batch/queue";
import type { BatchHand } from "@weir/aggregator/batch/thread";
import { startBatchThread } from "@weir/aggregator/batch/thread";
import { createReportJobs } from "@weir/aggregator/jobs/reports";
import { CodedError } from "@weir/shared/errors";
import { eventually } from "../support/eventually.ts";
import { sourceFlags } from "../support/processes.ts";
import { suite } from "../support/suite.ts";
import { LocalHand, Stores, versionOf } from "./stores-fixture.ts";

const test = suite("batch jobs", { timeoutMs: 30_000 });

const DAY = "2026-03-10";
const DAY_MS = Date.UTC(2026, 2, 10);
const NOTHING: BatchDone = { kind: "report", revision: undefined, health: [], answer: undefined };

/** Does a job when told to, or dies. */
class ToldHand implements BatchHand {
  isAlive = true;
  readonly jobs: BatchJob[] = [];
  readonly #waiting: Array<{ resolve: (done: BatchDone) => void; reject: (error: Error) => void }> = [];

  run(job: BatchJob): Promise<BatchDone> {
    this.jobs.push(job);
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  finish(): void {
    this.#waiting.shift()!.resolve(NOTHING);
  }

  async end(): Promise<void> {
    this.isAlive = false;
    for (const { reject } of this.#waiting.splice(0)) reject(new CodedError("BATCH_ENDED", "It has ended."));
  }
}

function taskOf(name: string, finish = (): string => name): BatchTask<string> {
  const job: ReportJob = { kind: "report", day: name, nowMs: 0, issue: false, answer: null };
  return { name, begin: () => job, finish };
}

const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "done",
    (error: unknown) => (error as CodedError).code,
  );

test("does one job at a time, shares those of one name that wait, and refuses more than its bound", async () => {
  const hand = new ToldHand();
  const queue = createBatchQueue(() => hand, assert.unreachable);
  const first = queue.run(taskOf("first"));
  await eventually(() => assert.is(hand.jobs.length, 1));
  const others = Array.from({ length: BATCH_WAITING_MAX }, (_, i) => queue.run(taskOf(`other ${i}`)));
  const again = queue.run(taskOf("first"));
  assert.is(await codeOf(again), "BATCH_BUSY", "the first has begun, so that this is another");
  assert.is(queue.run(taskOf("other 3")), others[3]);
  const urgent = queue.run(taskOf("urgent"), { isUrgent: true });
  assert.equal(queue.counters(), { waiting: BATCH_WAITING_MAX + 1, done: 0, failed: 0, refused: 1, ended: 0 });
  for (let done = 1; done <= BATCH_WAITING_MAX + 2; done++) {
    await eventually(() => assert.is(hand.jobs.length, done));
    hand.finish();
  }
  assert.equal(await Promise.all([first, others[15], urgent]), ["first", "other 15", "urgent"]);
  assert.equal(queue.counters(), { waiting: 0, done: BATCH_WAITING_MAX + 2, failed: 0, refused: 1, ended: 0 });
  await queue.close();
});

test("a hand that dies fails its job alone: the next has another hand", async () => {
  const hands: ToldHand[] = [];
  const log: string[] = [];
  const start = (): BatchHand => {
    hands.push(new ToldHand());
    return hands.at(-1)!;
  };
  const queue = createBatchQueue(start, (line) => log.push(line), { jobMsMax: 100 });
  const one = queue.run(taskOf("one"));
  const two = queue.run(taskOf("two"));
  const three = queue.run(
    taskOf("three", () => {
      throw new CodedError("CONFLICT", "It cannot be kept.");
    }),
  );
  const four = queue.run(taskOf("four"));
  await eventually(() => assert.is(hands[0]?.jobs.length, 1));
  void hands[0]!.end();
  assert.is(await codeOf(one), "BATCH_ENDED");
  await eventually(() => assert.is(hands[1]?.jobs.length, 1));
  hands[1]!.finish();
  assert.is(await two, "two");
  await eventually(() => assert.is(hands[1]?.jobs.length, 2));
  hands[1]!.finish();
  assert.is(await codeOf(three), "CONFLICT");
  // Nobody finishes the fourth.
  assert.is(await codeOf(four), "BATCH_TOO_LONG");
  assert.is(log.filter((line) => /thread for reports .* has ended/.test(line)).length, 2);
  assert.equal([queue.counters().failed, queue.counters().ended], [3, 2]);
  await queue.close();
});

test("at the end the job under way may end, for a while, and what waits is refused", async () => {
  for (const ends of [true, false]) {
    const hand = new ToldHand();
    const queue = createBatchQueue(() => hand, assert.unreachable, { drainMs: ends ? 20_000 : 30 });
    const [one, two] = [queue.run(taskOf("one")), queue.run(taskOf("two"))];
    await eventually(() => assert.is(hand.jobs.length, 1));
    const closing = queue.close();
    assert.is(await codeOf(two), "BATCH_CLOSED");
    assert.is(await codeOf(queue.run(taskOf("three"))), "BATCH_CLOSED");
    if (ends) hand.finish();
    assert.is(await codeOf(one), ends ? "done" : "BATCH_ENDED");
    await closing;
    assert.is(hand.isAlive, false);
  }
});

function filled(): Stores {
  const stores = new Stores();
  const origin = stores.hello("a", ["pump/temp", "fan/rpm"]);
  const readings = Array.from({ length: 500 }, (_, i) => [i % 2, DAY_MS + i * 100_000, i % 17] as const);
  stores.readings(origin, readings);
  stores.tick(origin, DAY_MS + 86_400_000);
  return stores;
}

test("the thread makes the bytes that this one makes, trains, tells of failures, and is replaced when it dies", async () => {
  const stores = filled();
  const log: string[] = [];
  const hands: BatchHand[] = [];
  const start = (): BatchHand => {
    hands.push(startBatchThread(stores.path, "UTC", sourceFlags));
    return hands.at(-1)!;
  };
  const queue = createBatchQueue(start, (line) => log.push(line));
  const jobs = createReportJobs(stores.reports, queue, stores.calendar, {
    at: "00:15",
    reviseIntervalMs: 3_600_000,
    now: () => DAY_MS + 2 * 86_400_000,
    log: (line) => log.push(line),
    issued: () => {},
  });
  await jobs.settled;
  assert.match(log.join("\n"), /Issued the report of 2026-03-10, revision 1/);
  const text = async (recompute: boolean): Promise<string> =>
    Buffer.from((await jobs.answer(DAY, { recompute, format: "json" }))!).toString();
  assert.is(await text(false), stores.live(DAY));
  assert.is(await text(true), stores.live(DAY));
  const train: BatchTask<number> = {
    name: "train",
    begin: () => ({ kind: "train", days: 14, note: "", nowMs: 1 }),
    finish: (done) => (done.kind === "train" ? done.series : -1),
  };
  assert.is(await queue.run(train), 2);
  const dying = queue.run({ ...train, name: "dying", begin: () => (void hands[0]!.end(), train.begin()) });
  assert.is(await codeOf(dying), "BATCH_ENDED");
  assert.is(await queue.run(train), 2);
  assert.is(hands.length, 2);
  stores.db.run("UPDATE windows SET body = x'00'");
  const failed = await codeOf(jobs.answer(DAY, { recompute: true, format: "json" }));
  assert.match(failed, /^BAD_/, "a damaged window fails the job, not the thread");
  assert.is(hands.length, 2);
  await jobs.close();
  await queue.close();
  stores.close();
});

test("a thread knows the versions published by the time of each job", async () => {
  const stores = filled();
  const hand = new LocalHand(stores.path, stores.calendar);
  const body = (high: number): string => JSON.stringify({ ...versionOf(high, 0, high) });
  const job: BatchJob = { kind: "train", days: 14, note: "", nowMs: 1 };
  for (const high of [1, 2]) {
    stores.db.run("INSERT INTO thresholds VALUES (?, 'published', 0, 0, '', ?)", high, body(high));
    const done = await hand.run(job);
    assert.equal(done.kind === "train" && [done.draft.version, done.rules], [high + 1, 1]);
    const draft = JSON.parse(new TextDecoder().decode(done.kind === "train" ? done.body : undefined)) as unknown;
    assert.equal((draft as ReturnType<typeof versionOf>).rules, versionOf(high, 0, high).rules);
  }
  await hand.end();
  stores.close();
});

test("a day that late data never leaves alone is issued once a round, each time as one snapshot, and stays due", async () => {
  const stores = filled();
  const origin = stores.hello("b", ["belt/speed"]);
  let late = 0;
  const local = new LocalHand(stores.path, stores.calendar);
  const made: string[] = [];
  const hand: BatchHand = {
    get isAlive() {
      return local.isAlive;
    },
    async run(job) {
      made.push((job as ReportJob).day);
      const done = await local.run(job);
      stores.readings(origin, [[0, DAY_MS + late++ * 60_000, late]]);
      return done;
    },
    end: () => local.end(),
  };
  const queue = createBatchQueue(() => hand, assert.unreachable);
  const issued: string[] = [];
  const jobs = createReportJobs(stores.reports, queue, stores.calendar, {
    at: "00:15",
    reviseIntervalMs: 3_600_000,
    now: () => DAY_MS + 2 * 86_400_000,
    log: () => {},
    issued: (day, revision) => issued.push(`${day} ${revision}`),
  });
  await jobs.settled;
  assert.equal([made, issued], [[DAY], [`${DAY} 1`]]);
  assert.ok(stores.reports.isDue(DAY));
  const asked = async (): Promise<string> =>
    Buffer.from((await jobs.answer(DAY, { recompute: true, format: "json" }))!).toString();
  for (const revision of [2, 3]) {
    const answer = await asked();
    assert.is(answer, Buffer.from(stores.reports.issuedBody(DAY)!).toString(), "it is what was issued");
    assert.match(answer, new RegExp(`"revision":${revision},`));
    assert.ok(stores.reports.isDue(DAY));
  }
  assert.is(made.length, 3);
  await jobs.close();
  await queue.close();
  stores.close();
});

test("a day that cannot be made holds up no other, is told of once, and is made as soon as it can be", async () => {
  const stores = new Stores();
  const origin = stores.hello("a", ["pump/temp"]);
  const days = [DAY, "2026-03-11", "2026-03-12"];
  for (const day of days) stores.readings(origin, [[0, Date.parse(`${day}T12:00:00Z`), 1]]);
  const local = new LocalHand(stores.path, stores.calendar);
  let isBad = true;
  let tries = 0;
  const hand: BatchHand = {
    isAlive: true,
    run(job) {
      if ((job as ReportJob).day === DAY) tries++;
      if (isBad && (job as ReportJob).day === DAY) throw new CodedError("BATCH_ENDED", "It has ended.");
      return local.run(job);
    },
    end: () => local.end(),
  };
  const queue = createBatchQueue(() => hand, assert.unreachable);
  const log: string[] = [];
  const jobs = createReportJobs(stores.reports, queue, stores.calendar, {
    at: "00:15",
    reviseIntervalMs: 10,
    now: () => DAY_MS + 10 * 86_400_000,
    log: (line) => log.push(line),
    issued: () => {},
  });
  await jobs.settled;
  assert.equal(
    days.map((day) => stores.reports.isIssued(day)),
    [false, true, true],
  );
  await eventually(() => assert.ok(tries >= 3));
  assert.is(log.filter((line) => /Cannot issue the report of 2026-03-10: It has ended/.test(line)).length, 1);
  isBad = false;
  await eventually(() => assert.is(Buffer.from(stores.reports.issuedBody(DAY) ?? []).toString(), stores.live(DAY)));
  assert.not(stores.reports.isDue(DAY));
  await jobs.close();
  await queue.close();
  stores.close();
});
