import { createDevices } from "@weir/firmware-sim/fleet";
import { createLateQueue } from "@weir/firmware-sim/late-queue";
import { countChannels, createMessageMaker } from "@weir/firmware-sim/messages";
import type { MessageMaker, MessageOptions } from "@weir/firmware-sim/messages";
import { createPacer } from "@weir/firmware-sim/pacing";
import { createSchedule } from "@weir/firmware-sim/schedule";
import type { Schedule } from "@weir/firmware-sim/schedule";
import * as fc from "fast-check";
import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";

const test = suite("firmware-sim pacing");

const START_MS = 1_780_000_000_000;
const limits = { messagesPerTickMax: 1_000_000, behindMsMax: 600_000, endMs: Infinity };

test("sends what is due at each tick, at the rate asked for, however ticks fall", () => {
  const schedule = createSchedule({ channels: 50, intervalMs: 1, rowsPerMessage: 1 });
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 5, maxLength: 30 }), (gapsMs) => {
      const sent: number[] = [];
      const pacer = createPacer(schedule, START_MS, (n) => (sent.push(n), "sent"), limits);
      let nowMs = START_MS;
      for (const gapMs of gapsMs) {
        nowMs += gapMs;
        assert.is(pacer.tick(nowMs), "idle");
        assert.ok(Math.abs(sent.length - (nowMs - START_MS) * 50) <= 1, `${sent.length} after ${nowMs - START_MS} ms`);
      }
      sent.forEach((n, index) => assert.is(n, (sent[0] ?? 0) + index));
    }),
    { numRuns: 20 },
  );
});

test("a tick ends after its share, and the next goes on with the message after", () => {
  const schedule = createSchedule({ channels: 10, intervalMs: 10, rowsPerMessage: 1 });
  const sent: number[] = [];
  const pacer = createPacer(schedule, START_MS, (n) => (sent.push(n), "sent"), { ...limits, messagesPerTickMax: 30 });
  assert.is(pacer.tick(START_MS + 99.5), "more");
  assert.is(sent.length, 30);
  assert.is(pacer.tick(START_MS + 99.5), "more");
  assert.is(pacer.tick(START_MS + 99.5), "more");
  assert.is(pacer.tick(START_MS + 99.5), "idle");
  assert.is(sent.length, 100);
  assert.is(new Set(sent).size, 100);
});

test("a message without room is offered again, in order, and the slowdown is counted", () => {
  const schedule = createSchedule({ channels: 1, intervalMs: 10, rowsPerMessage: 1 });
  const sent: number[] = [];
  let room = 3;
  const pacer = createPacer(schedule, START_MS, (n) => (room-- > 0 ? (sent.push(n), "sent") : "full"), limits);
  assert.is(pacer.tick(START_MS + 95), "full");
  assert.is(sent.length, 3);
  assert.is(pacer.slowdowns, 1);
  assert.ok(pacer.behindMs >= 60 && pacer.behindMs <= 70, `behind by ${pacer.behindMs} ms`);
  room = 1000;
  assert.is(pacer.tick(START_MS + 95), "idle");
  assert.is(sent.length, 10);
  assert.is(pacer.behindMs, 0);
  assert.is(pacer.skipped, 0);
});

test("what is overdue by more than the bound is skipped and counted", () => {
  const schedule = createSchedule({ channels: 1, intervalMs: 10, rowsPerMessage: 1 });
  const sent: number[] = [];
  const pacer = createPacer(schedule, START_MS, (n) => (sent.push(n), "sent"), { ...limits, behindMsMax: 1000 });
  pacer.tick(START_MS + 10_000);
  assert.is(sent.length, 101);
  assert.is(pacer.skipped, 900);
});

test("messages due at the end are not sent, so a duration is half-open", () => {
  const schedule = createSchedule({ channels: 4, intervalMs: 100, rowsPerMessage: 1 });
  const sent: number[] = [];
  const pacer = createPacer(schedule, START_MS, (n) => (sent.push(n), "sent"), { ...limits, endMs: START_MS + 1000 });
  pacer.tick(START_MS + 5000);
  assert.is(sent.length, 40);
});

test("stops at once when the run is over", () => {
  const schedule = createSchedule({ channels: 1, intervalMs: 10, rowsPerMessage: 1 });
  let left = 5;
  const pacer = createPacer(schedule, START_MS, () => (left-- > 0 ? "sent" : "over"), limits);
  assert.is(pacer.tick(START_MS + 1000), "over");
  assert.is(pacer.slowdowns, 0);
});

test("late messages come out by time, and the queue holds no more than its bound", () => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, max: 1000, noNaN: true }), { maxLength: 80 }), (dueMs) => {
      const queue = createLateQueue(50);
      const held = dueMs.filter((due, n) => queue.hold(n, due));
      assert.is(queue.size, Math.min(50, dueMs.length));
      const out: number[] = [];
      for (let n = queue.due(500); n !== undefined; n = queue.due(500)) {
        out.push(dueMs[n]!);
        queue.drop();
      }
      assert.equal(
        out,
        held.filter((due) => due <= 500).toSorted((a, b) => a - b),
      );
      assert.is(queue.size, held.length - out.length);
    }),
  );
});

const messageOptions: MessageOptions = {
  site: "s",
  topic: "sensors/{site}/{device}/{metric}",
  payload: "json",
  seed: 1,
  jitterMs: 0,
};

function fleet(topic: string, intervalMs: number, rowsPerMessage: number, jitterMs = 0): [Schedule, MessageMaker] {
  const devices = createDevices(1, 5, undefined);
  const schedule = createSchedule({ channels: countChannels(devices, topic), intervalMs, rowsPerMessage });
  return [schedule, createMessageMaker(devices, { ...messageOptions, topic, jitterMs })];
}

interface Row {
  ts: number;
  value?: number;
  values?: Record<string, number>;
}

/** Messages as a receiver sees them: rows by topic, in order. */
function collect([schedule, maker]: [Schedule, MessageMaker], messages: number): Map<string, Row[]> {
  const rows = new Map<string, Row[]>();
  const from = schedule.firstAt(START_MS);
  for (let n = from; n < from + messages; n++) {
    const message = maker.make(schedule, n, Infinity)!;
    const parsed = JSON.parse(message.payload) as Row | Row[];
    const list = Array.isArray(parsed) ? parsed : [parsed];
    const readings = list.reduce((sum, row) => sum + (row.values ? Object.keys(row.values).length : 1), 0);
    assert.is(message.readings, readings);
    rows.set(message.topic, [...(rows.get(message.topic) ?? []), ...list]);
  }
  return rows;
}

test("every series reports once an interval, packed or not, with the same values", () => {
  const single = collect(fleet("sensors/{site}/{device}/{metric}", 500, 1), 16 * 40);
  assert.is(single.size, 16);
  assert.ok(single.has("sensors/s/pump-01/vibration"));
  for (const rows of single.values()) {
    assert.is(rows.length, 40);
    rows.forEach((row, i) => i > 0 && assert.is(row.ts - rows[i - 1]!.ts, 500));
  }
  const packed = collect(fleet("sensors/{site}/{device}/{metric}", 500, 8), 16 * 5);
  for (const rows of packed.values()) {
    assert.is(rows.length, 40);
    rows.forEach((row, i) => i > 0 && assert.is(row.ts - rows[i - 1]!.ts, 500));
  }
});

test("a topic without a metric carries all metrics of the device", () => {
  const rows = collect(fleet("d/{device}", 1000, 2), 5 * 3);
  assert.equal([...rows.keys()].toSorted(), [
    "d/compressor-01",
    "d/conveyor-01",
    "d/motor-01",
    "d/pump-01",
    "d/tank-01",
  ]);
  const pump = rows.get("d/pump-01")!;
  assert.is(pump.length, 6);
  assert.equal(Object.keys(pump[0]!.values!), ["vibration", "temperature", "pressure", "current"]);
});

test("no two readings of a series share a millisecond, at the highest rate and with jitter", () => {
  for (const jitterMs of [0, 1, 50]) {
    for (const intervalMs of [2, 2.7, 7.3]) {
      for (const rows of collect(fleet("{device}/{metric}", intervalMs, 5, jitterMs), 16 * 100).values()) {
        assert.is(new Set(rows.map(({ ts }) => ts)).size, rows.length, `${jitterMs} ms jitter, ${intervalMs} ms apart`);
        rows.forEach((row, i) => i > 0 && assert.ok(row.ts > rows[i - 1]!.ts));
      }
    }
  }
});

test("a message is cut to the readings that are still wanted", () => {
  const [schedule, maker] = fleet("sensors/{site}/{device}/{metric}", 1000, 10);
  const cut = maker.make(schedule, schedule.firstAt(START_MS), 3)!;
  assert.is(cut.readings, 3);
  assert.is((JSON.parse(cut.payload) as Row[]).length, 3);
  const [whole, wholeMaker] = fleet("d/{device}", 1000, 1);
  const n = Array.from({ length: 5 }, (_, i) => whole.firstAt(START_MS) + i).find((at) => whole.channelOf(at) === 0)!;
  const part = wholeMaker.make(whole, n, 2)!;
  assert.is(part.readings, 2);
  assert.equal(Object.keys((JSON.parse(part.payload) as Row).values!), ["vibration", "temperature"]);
});
