import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { walDamage } from "@weir/agent/store/wal-damage";
import { suite } from "../support/suite.ts";
import { copyOfSample, Hosted, overwrite, reading, run } from "./set-aside-fixture.ts";

const test = suite("a damaged write-ahead log", { timeoutMs: 60_000 });

const HEAD_BYTES = 32;
const FRAME_BYTES = 24 + 4096;

interface Wal {
  readonly folder: string;
  readonly path: string;
  readonly frames: number;
  /** Frames that end a transaction. */
  readonly ends: readonly number[];
}

/** The sample's, whose frames are all good. */
function sampleWal(): Wal {
  const folder = copyOfSample();
  const path = join(folder, "agent.db-wal");
  const bytes = readFileSync(path);
  const frames = (bytes.length - HEAD_BYTES) / FRAME_BYTES;
  const ends = Array.from({ length: frames }, (_, i) => i).filter(
    (i) => bytes.readUInt32BE(HEAD_BYTES + i * FRAME_BYTES + 4) !== 0,
  );
  return { folder, path, frames, ends };
}

function flip(path: string, at: number): void {
  overwrite(path, at, Uint8Array.of(readFileSync(path)[at]! ^ 4));
}

function problemOf({ folder }: Wal): string | undefined {
  return walDamage(join(folder, "agent.db"));
}

test("a bit that was changed in front of other transactions is found, wherever it is", () => {
  const { ends } = sampleWal();
  assert.ok(ends.length > 5, `${ends.length} transactions`);
  const lastButOne = ends.at(-2)!;
  for (let frame = 0; frame < lastButOne; frame++) {
    for (const at of [0, 5, 9, 13, 18, 22, 24, 2000, FRAME_BYTES - 1]) {
      const wal = sampleWal();
      flip(wal.path, HEAD_BYTES + frame * FRAME_BYTES + at);
      assert.match(
        problemOf(wal) ?? "",
        `agent.db-wal is damaged after ${frame} of its pages`,
        `frame ${frame}, ${at}`,
      );
    }
  }
  for (const at of [0, 4, 10, 14, 17, 21, 25, 31]) {
    const wal = sampleWal();
    flip(wal.path, at);
    // Of the salts one is enough.
    if (at !== 21) assert.match(problemOf(wal) ?? "", "agent.db-wal is damaged after 0 of its pages", `head, ${at}`);
  }
});

test("what a power cut leaves is no damage", () => {
  const whole = sampleWal();
  assert.is(problemOf(whole), undefined);
  const { ends, frames } = whole;
  // Of the last transaction, any part.
  for (let frame = ends.at(-2)! + 1; frame < frames; frame++) {
    const wal = sampleWal();
    overwrite(wal.path, HEAD_BYTES + frame * FRAME_BYTES + 600, new Uint8Array(512).fill(3));
    assert.is(problemOf(wal), undefined, `frame ${frame}`);
  }
  for (let bytes = 0; bytes < HEAD_BYTES + frames * FRAME_BYTES; bytes += 1777) {
    const wal = sampleWal();
    truncateSync(wal.path, bytes);
    assert.is(problemOf(wal), undefined, `${bytes} bytes`);
  }
  // It begins anew, with another salt, and the rest is of before; whether its head was written whole or not.
  for (const isWhole of [true, false]) {
    const wal = sampleWal();
    const head = readFileSync(wal.path).subarray(0, HEAD_BYTES);
    head.writeUInt32BE((head.readUInt32BE(16) + 1) >>> 0, 16);
    head.writeUInt32BE(123_456_789, 20);
    let [a, b] = [0, 0];
    for (let at = 0; at < 24; at += 8) {
      a = (a + head.readUInt32LE(at) + b) >>> 0;
      b = (b + head.readUInt32LE(at + 4) + a) >>> 0;
    }
    head.writeUInt32BE(a, 24);
    head.writeUInt32BE(isWhole ? b : (b ^ 1) >>> 0, 28);
    overwrite(wal.path, 0, head);
    assert.is(problemOf(wal), undefined);
  }
  const none = sampleWal();
  writeFileSync(none.path, "");
  assert.is(problemOf(none), undefined);
});

test("the agent sets the file aside rather than go on without what it had acknowledged", async () => {
  const wal = sampleWal();
  flip(wal.path, HEAD_BYTES + wal.ends[1]! * FRAME_BYTES + 700);
  assert.throws(
    () => new Hosted(wal.folder),
    (error: Error) => {
      assert.match(error.message, /agent\.db-wal is damaged after \d+ of its pages, and transactions behind that/);
      assert.match(error.message, /at least \d+ readings.*What could not be read whole: the write-ahead log/);
      return true;
    },
  );
  const lost = reading(wal.folder, (store) => store.ledger()).find(({ reason }) => reason === "lost.data_file");
  assert.ok(lost && lost.count >= 1, JSON.stringify(lost));
  assert.is(await run(wal.folder), "ran");
});
