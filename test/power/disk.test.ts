import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as assert from "uvu/assert";
import type { DiskEvent, Honours } from "../support/power-loss.ts";
import { Disk, honourNothing, honoursOfNormal } from "../support/power-loss.ts";
import { Random } from "../support/random.ts";
import { suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";

const test = suite("disk after a power cut");

const timeMs = 0;
const open = (file: number, name: string): DiskEvent => ({ kind: "open", timeMs, file, name, made: true });
const write = (file: number, offset: number, text: string): DiskEvent => {
  return { kind: "write", timeMs, file, offset, bytes: Buffer.from(text) };
};
const sync = (file: number): DiskEvent[] => [begun(file), done(file)];
const begun = (file: number): DiskEvent => ({ kind: "syncBegun", timeMs, file });
const done = (file: number): DiskEvent => ({ kind: "synced", timeMs, file });
const unlink = (name: string): DiskEvent => ({ kind: "unlink", timeMs, name });
const FOLDER = 0;

/** Every state that some hundreds of draws find, as `name=text` of each file. */
function statesAfter(events: readonly DiskEvent[], honours?: Honours): Set<string> {
  const draws = new Random(7);
  const random = (): number => draws.next();
  const disk = new Disk({ before: new Map([["old", Buffer.from("old")]]), events }, honours);
  disk.advance(events.length);
  return new Set(
    Array.from({ length: 300 }, () => {
      const folder = tempFolder();
      disk.writeTo(folder, random);
      return readdirSync(folder)
        .map((name) => `${name}=${readFileSync(join(folder, name), "latin1")}`)
        .join(" ");
    }),
  );
}

test("what was synced is there, under a name that was synced", () => {
  const states = statesAfter([open(1, "a"), write(1, 0, "one"), ...sync(1), ...sync(FOLDER)]);
  assert.equal([...states], ["a=one old=old"]);
});

test("a name that was not synced may be missing, and one that was removed may be back", () => {
  const states = statesAfter([open(1, "a"), write(1, 0, "one"), ...sync(1), unlink("old")]);
  assert.equal([...states].toSorted(), ["", "a=one", "a=one old=old", "old=old"]);
});

test("a sync makes durable what was written before it began, and only that", () => {
  const events = [open(1, "a"), ...sync(FOLDER), begun(1), write(1, 0, "one"), done(1)];
  const states = statesAfter(events);
  assert.ok(states.has("a= old=old") && states.has("a=one old=old"), [...states].join("; "));
});

test("of writes that were not synced, any may be there without the others, and sectors without their neighbours", () => {
  const long = "x".repeat(512) + "y".repeat(512);
  const states = statesAfter([
    open(1, "a"),
    write(1, 0, "-".repeat(1100)),
    ...sync(1),
    ...sync(FOLDER),
    write(1, 0, long),
    write(1, 1050, "z"),
  ]);
  const seen = (start: string, middle: string, end: string): boolean =>
    [...states].some((state) => state[2] === start && state[2 + 512] === middle && state[2 + 1050] === end);
  for (const start of "x-") {
    for (const middle of "y-") for (const end of "z-") assert.ok(seen(start, middle, end), `${start}${middle}${end}`);
  }
});

test("a disk may honour no sync at all, or those that NORMAL makes", () => {
  const commit = [write(2, 32, "frame"), ...sync(2)];
  const events = [
    open(1, "a.db"),
    open(2, "a.db-wal"),
    ...sync(FOLDER),
    write(2, 0, "head"),
    ...sync(2),
    ...commit,
    ...commit,
    write(1, 0, "page"),
    ...sync(1),
    ...commit,
    ...commit,
  ];
  assert.ok(statesAfter(events, honourNothing).has("old=old"));
  const honours = honoursOfNormal(events);
  const ignored = events.flatMap((event, i) => (event.kind === "synced" && !honours(i) ? [i] : []));
  assert.equal(ignored, [9, 18]);
});
