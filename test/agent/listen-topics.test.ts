import {
  BUCKET_TOPICS_MAX,
  hashTopic,
  TOPIC_MALFORMED,
  TOPIC_NAME_REMEMBERED_BYTES_MAX,
  TopicTable,
} from "@weir/agent/sources/topic-table";
import type { Topic } from "@weir/agent/decode/topic";
import * as fc from "fast-check";
import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";

const topics = suite("listen: topics by their bytes", { timeoutMs: 60_000 });

/** Looks names up by bytes that lie somewhere in a larger buffer. */
function finder(table: TopicTable) {
  const bytes = Buffer.alloc(8192, 0xff);
  let hint = 0;
  return (name: string | Buffer): Topic | null => {
    const at = 1 + (name.length % 4);
    const length = typeof name === "string" ? bytes.write(name, at) : name.copy(bytes, at);
    const entry = table.find(bytes, at, at + length, hint);
    if (entry === TOPIC_MALFORMED) return null;
    hint = entry;
    return table.topics[entry]!;
  };
}

topics("are the same object as long as they are remembered", () => {
  const table = new TopicTable();
  const find = finder(table);
  const names = [
    "a",
    "ab",
    "abc",
    "abcd",
    "abcde",
    "site/grün/℃",
    "sensors/n/dev1/t",
    "sensors/n/dev2/t",
    "x".repeat(1000),
  ];
  const first = names.map((name) => find(name)!);
  assert.equal(
    first.map(({ name }) => name),
    names,
  );
  for (let round = 0; round < 3; round++) {
    names.forEach((name, index) => assert.is(find(name), first[index], name));
    names.forEach((name, index) => assert.is(find(name), first[index], `${name}, twice in a row`));
  }
  assert.is(table.count, names.length);
});

topics("are the right ones in tables of any size, whatever was forgotten", () => {
  const name = fc.oneof(
    fc.nat(60).map((n) => `t/${n}`),
    fc.string({ minLength: 1, maxLength: 90 }),
    fc.constantFrom("a", "b"),
  );
  const isTopic = (text: string): boolean => text !== "" && !/[+#\0\ud800-\udfff]/u.test(text);
  fc.assert(
    fc.property(
      fc.array(name.filter(isTopic), { maxLength: 300 }),
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 1200, max: 3000 }),
      (names, topicsMax, bytesMax) => {
        const table = new TopicTable(topicsMax, bytesMax);
        const find = finder(table);
        for (const one of names) {
          assert.is(find(one)!.name, one);
          assert.is(find(one)!.name, one);
          assert.ok(table.count <= topicsMax);
        }
      },
    ),
    { numRuns: 300 },
  );
});

topics("that are none are refused, and not remembered", () => {
  const table = new TopicTable();
  const find = finder(table);
  for (const bad of [[], [0x61, 0], [0x2b], [0x61, 0x23], [0xff], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xe2, 0x82]]) {
    assert.is(find(Buffer.from(bad)), null, String(bad));
  }
  assert.is(table.count, 0);
});

topics("with long names work and are not remembered", () => {
  const table = new TopicTable();
  const find = finder(table);
  const long = "t".repeat(TOPIC_NAME_REMEMBERED_BYTES_MAX + 1);
  assert.is(find(long)!.name, long);
  assert.is(find(`${long}2`)!.name, `${long}2`);
  assert.is(find(long)!.name, long);
  assert.is(table.count, 0);
});

topics("that come once, a million of them, neither grow the table nor drive out those that keep coming", () => {
  const table = new TopicTable(4096);
  const find = finder(table);
  const regular = Array.from({ length: 2000 }, (_, i) => `sensors/site/device${i}/temperature`);
  const first = regular.map((name) => find(name)!);
  regular.forEach((name) => find(name));
  let held = 0;
  let slowestMs = 0;
  for (let flood = 0, turn = 0; flood < 1_000_000; turn++) {
    const beganMs = performance.now();
    for (let i = 0; i < 500; i++) find(`flood/${flood++}/some/longer/name`);
    slowestMs = Math.max(slowestMs, performance.now() - beganMs);
    for (let i = 0; i < 1000; i++) find(regular[(turn * 1000 + i) % regular.length]!);
    held = Math.max(held, table.bytesHeld);
  }
  assert.is(table.count, 4096);
  assert.ok(held < 2 * 1024 * 1024, `${held} bytes`);
  // One turn forgets 500 topics, each in a few steps of the hand, and may copy the arena once.
  assert.ok(slowestMs < 250, `${slowestMs} ms`);
  regular.forEach((name, index) => assert.is(find(name), first[index], `${name} has been forgotten`));
});

topics("are bounded by their bytes as well", () => {
  const table = new TopicTable(100_000, 64 * 1024);
  const find = finder(table);
  for (let i = 0; i < 5000; i++) find(`${i}/${"long".repeat(100)}`);
  assert.ok(table.count > 100 && table.count < 64 * 2.6, `${table.count} topics`);
});

topics("a hundred thousand take little memory", () => {
  const table = new TopicTable();
  const find = finder(table);
  for (let i = 0; i < 100_000; i++) find(`sensors/north/device-${i}/temp`);
  assert.is(table.count, 100_000);
  assert.ok(table.bytesHeld / table.count < 150, `${table.bytesHeld / table.count} bytes each`);
});

topics("chosen to share a bucket are not searched for long", () => {
  // Names whose hashes agree in their low 16 bits are in one bucket of any table of up to 65,536.
  const wanted = hashTopic("start") & 0xffff;
  const sharing: string[] = [];
  for (let i = 0; sharing.length < 3 * BUCKET_TOPICS_MAX; i++) {
    const name = `c/${i}`;
    if ((hashTopic(name) & 0xffff) === wanted) sharing.push(name);
  }
  const table = new TopicTable();
  const find = finder(table);
  for (const name of sharing) assert.is(find(name)!.name, name);
  assert.is(table.count, BUCKET_TOPICS_MAX);
  for (const name of sharing) assert.is(find(name)!.name, name);
});
