import { createDecoder } from "@weir/agent/decode/create-decoder";
import type { DecodeSink } from "@weir/agent/decode/decoder";
import { KEY_BYTES_MAX, KEYS_MAX, KeyTable } from "@weir/agent/decode/key-table";
import { newTopic } from "@weir/agent/decode/topic";
import * as fc from "fast-check";
import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";

const test = suite("decode: keys by their bytes");

/** What the table says of a key as it would stand in a message, between others. */
function findIn(table: KeyTable, key: string): number {
  const bytes = Buffer.from(`{"${key}":1,"next":2}`);
  return table.find(bytes, 2, 2 + Buffer.byteLength(key));
}

test("finds the keys it was given and no others", () => {
  const table = new KeyTable();
  assert.is(findIn(table, "temp"), -1);
  const keys = ["temp", "rpm", "temp_1", "te", "Öl", "日本", "😀", "k".repeat(KEY_BYTES_MAX)];
  assert.equal(
    keys.map((key) => table.add(key)),
    keys.map((_, index) => index),
  );
  for (const [index, key] of keys.entries()) {
    assert.is(table.add(key), index, "the second time too");
    assert.is(findIn(table, key), index);
  }
  for (const key of ["t", "tem", "tempo", "rpn", "Ol", "", "k".repeat(KEY_BYTES_MAX - 1)])
    assert.is(findIn(table, key), -1);
});

test("knows by name alone what JSON may write in several ways or put in another order", () => {
  const table = new KeyTable();
  for (const key of ["0", "17", 'a"b', "a\\b", "\ud800", "a}", "a]", "k".repeat(KEY_BYTES_MAX + 1)]) {
    const number = table.add(key);
    assert.ok(number >= 0);
    assert.is(table.numberOf(key), number);
    assert.is(findIn(table, key), -1, key);
  }
});

test("never takes one key for another, also when it is full", () => {
  const table = new KeyTable();
  for (let i = 0; i < KEYS_MAX; i++) assert.is(table.add(`key-${i}`), i);
  assert.is(table.add("one-more"), -1);
  assert.is(table.add("key-7"), 7);
  let found = 0;
  for (let i = 0; i < KEYS_MAX; i++) {
    const number = findIn(table, `key-${i}`);
    assert.ok(number === i || number === -1);
    if (number === i) found++;
  }
  assert.ok(found > 0.99 * KEYS_MAX, `${found} of ${KEYS_MAX}`);
  fc.assert(fc.property(fc.string(), (key) => assert.is(findIn(table, JSON.stringify(key).slice(1, -1)), -1)));
});

test("decodes on, to the same series, with more keys than are kept", () => {
  const names = new Map<string, number>();
  const told: string[] = [];
  const sink: DecodeSink = {
    resolve(site, device, metric) {
      const name = `${site}/${device}/${metric}`;
      if (!names.has(name)) names.set(name, names.size);
      return names.get(name)!;
    },
    push: (series, tsMs, value) => void told.push(`${series} ${tsMs} ${value}`),
    reject: (reason) => void told.push(`!${reason}`),
  };
  const mapping = {
    template: "plant/{device}",
    format: "auto",
    timeUnit: "ms",
    site: "a",
    device: "",
    metric: "",
  } as const;
  const decoder = createDecoder([mapping]);
  const topics = Array.from({ length: 70 }, (_, i) => newTopic(`plant/${i}`));
  const rounds = [1, 2, 3].map(() => {
    for (const [i, topic] of topics.entries()) {
      const values = Array.from({ length: 300 }, (_, k) => `"key-${i}-${k}":${k}`).join(",");
      const bytes = Buffer.from(`{"ts":1700000000123,"values":{${values}}}`);
      decoder(topic, bytes, 0, bytes.length, 1, sink);
    }
    return told.splice(0);
  });
  assert.equal(rounds[0]!.slice(0, 2), ["0 1700000000123 0", "1 1700000000123 1"]);
  assert.is(rounds[0]!.length, 70 * 300);
  assert.equal(rounds[1], rounds[0]);
  assert.equal(rounds[2], rounds[0]);
});
