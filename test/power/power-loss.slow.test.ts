import { rmSync } from "node:fs";
import { join } from "node:path";
import { Store } from "@weir/agent/store/store";
import { SqlDatabase } from "@weir/aggregator/stores/database";
import * as assert from "uvu/assert";
import type { DiskHistory, Honours } from "../support/power-loss.ts";
import { memoryFolder } from "../support/memory-folder.ts";
import { Random } from "../support/random.ts";
import { Disk, honourNothing, honoursOfNormal, requireCompiler } from "../support/power-loss.ts";
import { suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";
import { AgentCheck } from "./agent-check.ts";
import { AggregatorCheck } from "./aggregator-check.ts";
import { logRewrites } from "./log-rewrites.ts";
import type { RecordedRun } from "./recorded-run.ts";
import { recordRun } from "./recorded-run.ts";

/** POWER_SEED draws the cuts of a failure again, though not the run. POWER_CUTS: for a longer look. */
const seed = Number(process.env["POWER_SEED"] ?? Date.now() % 2 ** 31);
const cutsMax = Number(process.env["POWER_CUTS"] ?? 250);
const BURSTS = 480;

const test = suite("power loss", { timeoutMs: 120_000 * Math.max(1, cutsMax / 250) });

/** What is expected of a disk after a cut; throws where it is not so. */
interface Check {
  /** The first `count` events have happened. */
  advance(count: number): void;
  check(folder: string, nth: number): void;
}

/**
 * Where the power goes: a quarter anywhere, a quarter right after something was sent, since that is what must be kept, a
 * quarter where pages are moved from the write-ahead log into the database, and a quarter where readings are moved within
 * the agent's log or trimmed.
 */
function drawCuts({ events }: DiskHistory, count: number, random: () => number): number[] {
  const isDatabase = new Set(
    events.flatMap((event) => (event.kind === "open" && event.name.endsWith(".db") ? [event.file] : [])),
  );
  const after = (isIt: (index: number) => boolean): number[] => events.flatMap((_, i) => (isIt(i) ? [i + 1] : []));
  const places = [
    after(() => true),
    after((i) => events[i]!.kind === "sent"),
    after((i) => {
      const event = events[i]!;
      return "file" in event && event.kind !== "open" && isDatabase.has(event.file);
    }),
    logRewrites(events).map((index) => index + 1),
  ].filter((found) => found.length > 0);
  const cuts = Array.from({ length: count }, (_, i) => {
    const among = places[i % places.length]!;
    return among[Math.floor(random() * among.length)]!;
  });
  return cuts.toSorted((a, b) => a - b);
}

interface Outcome {
  readonly cuts: number;
  /** What was wrong, by cut. */
  readonly failures: string[];
}

function cutOften(history: DiskHistory, check: Check, count: number, honours?: Honours): Outcome {
  const draws = new Random(seed);
  const random = (): number => draws.next();
  const disk = new Disk(history, honours);
  const folder = join(memoryFolder().path, "data");
  const failures: string[] = [];
  for (const [nth, at] of drawCuts(history, count, random).entries()) {
    disk.advance(at);
    check.advance(at);
    const survival = disk.writeTo(folder, random);
    try {
      check.check(folder, nth);
    } catch (error) {
      failures.push(
        `seed ${seed}, cut after event ${at} of ${history.events.length}, ${survival} survived: ${String(error)}`,
      );
    }
    rmSync(folder, { recursive: true, force: true });
  }
  return { cuts: count, failures };
}

function assertNone({ failures, cuts }: Outcome): void {
  assert.is(failures.length, 0, `${failures.length} of ${cuts} cuts:\n${failures.slice(0, 3).join("\n")}`);
}

let run: Promise<RecordedRun> | undefined;
const recorded = (): Promise<RecordedRun> => (run ??= recordRun(BURSTS));

/** The transactions that a program wrote to its write-ahead log, and the syncs of that log. */
interface LogUse {
  transactions: number;
  syncs: number;
  /** Transactions after which something else came to the log than a sync: none at synchronous=FULL. */
  unsynced: number;
  /** Times that the log began anew, its pages having been moved into the database. */
  restarts: number;
}

/** A frame of the log is a head of 24 bytes, whose second word is not 0 where a transaction ends, and a page. */
function useOfLog({ events }: DiskHistory): LogUse {
  const use: LogUse = { transactions: 0, syncs: 0, unsynced: 0, restarts: 0 };
  const isLog = new Set<number>();
  let isLastFrame = false;
  let isWritten = false;
  for (const event of events) {
    if (event.kind === "open" && event.name.endsWith("-wal")) isLog.add(event.file);
    if (!("file" in event) || !isLog.has(event.file)) continue;
    if (event.kind === "syncBegun") {
      use.syncs++;
      isWritten = false;
    }
    if (event.kind !== "write") continue;
    if (isWritten) use.unsynced++;
    isWritten = false;
    const { bytes, offset } = event;
    if (offset === 0) use.restarts++;
    else if (bytes.length === 24) isLastFrame = bytes.readUInt32BE(4) !== 0;
    else if (isLastFrame) {
      use.transactions++;
      isLastFrame = false;
      isWritten = true;
    }
  }
  return use;
}

if (requireCompiler()) {
  test("programs sync each transaction before the next, and once", async () => {
    const recording = await recorded();
    for (const history of [recording.agent, recording.aggregator]) {
      const { transactions, syncs, unsynced, restarts } = useOfLog(history);
      assert.is(unsynced, 0);
      assert.ok(transactions > 40 && restarts > 1, `${transactions} transactions, ${restarts} restarts of the log`);
      // The log is synced as well when it is moved into the database and when it begins anew.
      assert.ok(syncs >= transactions && syncs <= transactions + 3 * restarts, `${syncs} for ${transactions}`);
    }
  });

  test("programs open their files with what durability rests on", async () => {
    const recording = await recorded();
    const folder = tempFolder();
    for (const history of [recording.agent, recording.aggregator]) {
      const disk = new Disk(history);
      disk.advance(history.events.length);
      disk.writeTo(folder, () => 0.2);
    }
    const store = new Store(join(folder, "agent.db"), { readonly: false });
    const db = new SqlDatabase(join(folder, "aggregator.db"), { readonly: false });
    for (const one of [store.sql, db]) {
      const pragma = (name: string): unknown => Object.values(one.all<object>(`PRAGMA ${name}`)[0]!)[0];
      assert.is(pragma("journal_mode"), "wal");
      assert.is(pragma("synchronous"), 2);
      // Pages that are written by way of memory are seen by no sync of the log.
      assert.is(pragma("mmap_size"), 0);
      assert.is(pragma("wal_autocheckpoint"), 1000);
    }
    store.close();
    db.close();
  });

  test("an agent keeps every reading it acknowledged, once, wherever the power goes", async () => {
    const recording = await recorded();
    const check = new AgentCheck(recording);
    assertNone(cutOften(recording.agent, check, cutsMax));
    for (const [what, count] of Object.entries(check.seen)) assert.ok(count > 0, `no cut has seen ${what}`);
    assert.ok(
      check.acknowledgedMax > 10_000,
      `${check.acknowledgedMax} readings were acknowledged before the last cut`,
    );
  });

  test("an aggregator keeps every frame it acknowledged, and what it keeps is the fold of its frames", async () => {
    const recording = await recorded();
    const check = new AggregatorCheck(recording);
    assertNone(cutOften(recording.aggregator, check, Math.ceil(cutsMax / 2)));
    check.checkFolds();
    assert.ok(check.acknowledgedMax > 30, `${check.acknowledgedMax} frames were acknowledged before the last cut`);
  });

  test("on a disk that ignores fsync, readings and frames are lost: the test can see it", async () => {
    const recording = await recorded();
    const agent = cutOften(recording.agent, new AgentCheck(recording), 30, honourNothing);
    assert.ok(agent.failures.length > 5, `only ${agent.failures.length} of ${agent.cuts} cuts lose something`);
    const aggregator = cutOften(recording.aggregator, new AggregatorCheck(recording), 30, honourNothing);
    assert.ok(
      aggregator.failures.length > 5,
      `only ${aggregator.failures.length} of ${aggregator.cuts} cuts lose something`,
    );
  });

  test("with the syncs of synchronous=NORMAL, files stay whole but acknowledged readings are lost", async () => {
    const recording = await recorded();
    const { events } = recording.agent;
    const { failures, cuts } = cutOften(recording.agent, new AgentCheck(recording), 60, honoursOfNormal(events));
    const lost = failures.filter((failure) => failure.includes("are not in the log"));
    assert.ok(lost.length > 5, `only ${lost.length} of ${cuts} cuts lose readings`);
    assert.equal(
      failures.filter((failure) => /malformed|corrupt|integrity/i.test(failure)),
      [],
    );
  });
}
