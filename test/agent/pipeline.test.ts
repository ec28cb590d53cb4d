import * as assert from "uvu/assert";
import { setTimeout as delay } from "node:timers/promises";
import { newTopic } from "@weir/agent/decode/topic";
import { decodeWindows } from "@weir/shared/wire/partial-codec";
import { eventually } from "../support/eventually.ts";
import { suite } from "../support/suite.ts";
import { BATCH_READINGS_MAX, Line, NOW_MS, version } from "./pipeline-fixture.ts";

const test = suite("pipeline");

let line: Line;
test.after.each(() => line.close());

function readings(): number {
  return line.frames("data").reduce((sum, frame) => {
    if (frame.kind !== "partials") return sum;
    return sum + decodeWindows(frame.windows).reduce((count, { partial }) => count + partial.count, 0);
  }, 0);
}

function balance(): { received: number; accounted: number } {
  const { received, stored, duplicates, rejected } = line.pipeline.core.ledger;
  return { received, accounted: stored + duplicates + Object.values(rejected).reduce((sum, count) => sum + count, 0) };
}

test("says committed only when everything accepted before is in the log", () => {
  line = new Line();
  let accepted = 0;
  const logged: number[] = [];
  line.onCommitted = () => logged.push(line.stored().length - accepted);
  const steps = [
    () => line.pipeline.commit(),
    () => line.pipeline.tick(),
    () => line.pipeline.checkpoint(),
    () => line.pipeline.addThresholds(version(1, NOW_MS, 10)),
    () => line.pipeline.close(),
  ];
  for (const step of steps) {
    line.send("m", NOW_MS - 1000 + accepted, 1);
    accepted++;
    step();
    assert.ok(logged.length > 0, "was told");
  }
  assert.equal(
    logged,
    logged.map(() => 0),
  );
});

test("commits by itself after the interval, duplicates and refused messages too", async () => {
  line = new Line({ commitIntervalMs: 5 });
  line.automatic = true;
  for (const send of [
    () => line.send("m", NOW_MS, 1),
    () => line.send("m", NOW_MS, 1),
    () => line.raw("nowhere", "1"),
  ]) {
    const before = line.events.length;
    send();
    assert.is(line.events.length, before);
    await eventually(() => assert.equal(line.events.slice(before), ["seal", "committed"]));
  }
  line.port("mqtt").refuse("frame_malformed", "", Buffer.from("x"));
  await eventually(() => assert.is(line.events.length, 8));
  assert.is(line.stored().length, 1);
});

test("holds sources back when the block is full, and commits it a turn later", async () => {
  line = new Line();
  line.automatic = true;
  let readOn = true;
  let sent = 0;
  while (readOn && sent < 2 * BATCH_READINGS_MAX) readOn = line.send("m", NOW_MS - 100_000 + sent, sent++);
  assert.is(sent, BATCH_READINGS_MAX);
  assert.equal(line.events, [], "nothing is told from within accept");
  await eventually(() => assert.equal(line.events, ["seal", "committed", "readOn"]));
  assert.is(line.stored().length, sent);
  assert.ok(line.send("m", NOW_MS, 0));
});

test("goes on filling a second batch while the first waits for the disk, and then holds sources back", async () => {
  line = new Line();
  line.automatic = true;
  line.store.full = true;
  let sent = 0;
  const fill = async (): Promise<void> => {
    while (line.send("m", NOW_MS - 100_000 + sent, sent++));
    await delay(20);
  };
  await fill();
  assert.equal(line.events, ["seal", "readOn"]);
  await fill();
  assert.equal(line.events, ["seal", "readOn"], "two batches are all that is held");
  line.store.full = false;
  await eventually(() => assert.is(line.stored().length, sent), { timeoutMs: 5000 });
  assert.equal(line.events, ["seal", "readOn", "committed", "seal", "committed", "readOn"]);
});

test("has sources shed QoS 0 after a while without room, counts what they drop, and calls it off", async () => {
  line = new Line({ batchReadingsMax: 256, shedAfterMs: 20 });
  line.automatic = true;
  line.store.full = true;
  let sent = 0;
  for (let batch = 0; batch < 2; batch++) {
    while (line.send("m", NOW_MS - 100_000 + sent, sent++));
    await delay(10);
  }
  await eventually(() => assert.is(line.events.at(-1), "shed"));
  const two = Buffer.from(`[{"ts":${NOW_MS},"value":1},{"ts":${NOW_MS},"value":2}]`);
  line.port("mqtt").drop(newTopic("t/s/d/new"), two, 0, two.length);
  line.port("mqtt").drop(newTopic("elsewhere"), two, 0, two.length);
  line.store.full = false;
  await eventually(() => assert.ok(line.events.includes("readOn", line.events.indexOf("shed"))), { timeoutMs: 5000 });
  line.pipeline.commit();
  const { received, stored, dropped } = line.pipeline.core.ledger;
  assert.equal({ received, stored, dropped }, { received: sent + 3, stored: sent, dropped: { overload: 3 } });
  assert.ok(line.send("new", NOW_MS, 1), "a series first seen in a dropped message is taken later");
  line.pipeline.commit();
  assert.is(line.stored().length, sent + 1);
});

test("loses nothing of a message that takes the block past its size", async () => {
  line = new Line();
  line.automatic = true;
  const half = BATCH_READINGS_MAX / 2 + 100;
  const many = (from: number): string =>
    JSON.stringify(Array.from({ length: half }, (_, i) => ({ ts: NOW_MS - from - i, value: i })));
  assert.ok(line.raw("t/s/d/m", many(0)));
  assert.not.ok(line.raw("t/s/d/m", many(half)));
  await eventually(() => assert.is(line.stored().length, 2 * half));
});

test("balances its ledger over duplicates and every reason to refuse, before and after a kill", () => {
  line = new Line({ seriesMax: 2 });
  line.send("a", NOW_MS, 1);
  line.send("a", NOW_MS, 1);
  line.send("b", NOW_MS, 1);
  line.send("c", NOW_MS, 1);
  line.send("a", NOW_MS + 60_000, 1);
  line.send("a", NOW_MS + 60_001, 1);
  line.send("a", Date.UTC(1999, 11, 31), 1);
  line.raw("t/s/d/a", "");
  line.raw("t/s/d/a", "12x");
  line.raw("t/s/d/a", '{"ts":1');
  line.raw("t/s/d/a", '{"x":1}');
  line.raw("t/s/d/a", '{"ts":"whenever","value":1}');
  line.raw("t/s/d/a", `{"ts":${NOW_MS},"value":1e300}`);
  line.raw("elsewhere", "1");
  line.raw("t/s//a", "1");
  line.raw("t/s/d/a", new Uint8Array(300_000).fill(49));
  line.port("mqtt").refuse("frame_malformed", "", Buffer.from("x"));
  line.pipeline.commit();
  const { stored, duplicates, rejected } = line.pipeline.core.ledger;
  assert.is(stored, 3);
  assert.is(duplicates, 1);
  assert.is(rejected["time_ahead"], 1);
  assert.is(rejected["time_before_floor"], 1);
  assert.is(rejected["series_limit"], 1);
  assert.is(rejected["name_invalid"], 1);
  assert.is(rejected["frame_malformed"], 1);
  assert.equal(balance(), { received: 17, accounted: 17 });
  line.pipeline.tick();
  line.send("a", NOW_MS - 5, 1);
  line.pipeline.tick();
  line.send("a", NOW_MS - 6, 1);
  line.restart();
  assert.equal(balance(), { received: 18, accounted: 18 });
  line.send("a", NOW_MS - 6, 1);
  line.pipeline.commit();
  assert.equal(balance(), { received: 19, accounted: 19 });
});

test("keeps a dead letter of each refused message: where from, why, how long, how it began", () => {
  line = new Line();
  line.raw("t/s/d/a", "this is no number at all", "broker-1");
  line.pipeline.commit();
  const [letter] = line.store.deadLetters(10);
  assert.equal(
    [letter?.source, letter?.topic, letter?.reason, letter?.bytes],
    ["broker-1", "t/s/d/a", "number_malformed", 24],
  );
  assert.is(Buffer.from(letter!.head).toString(), "this is no numbe");
});

test("bounds what a flood of bad messages writes between two checkpoints, and counts all of it", () => {
  line = new Line({ deadLetterCountMax: 300 });
  for (let commit = 0; commit < 40; commit++) {
    for (let i = 0; i < 300; i++) line.raw("t/s/d/a", "x");
    line.pipeline.commit();
  }
  assert.ok(line.store.deadLetters(1e6).length <= 600, String(line.store.deadLetters(1e6).length));
  line.pipeline.checkpoint();
  assert.is(line.store.deadLetters(1e6).length, 300);
  assert.is(line.pipeline.core.ledger.rejected["number_malformed"], 12_000);
  line.raw("t/s/d/a", "newest");
  line.pipeline.checkpoint();
  assert.is(Buffer.from(line.store.deadLetters(1)[0]!.head).toString(), "newest", "room again after the checkpoint");
});

test("ticks tell of each loss once, over restarts too", () => {
  line = new Line();
  line.raw("t/s/d/a", "x");
  line.raw("t/s/d/a", "x");
  line.pipeline.tick();
  line.pipeline.tick();
  line.restart();
  line.pipeline.tick();
  line.raw("elsewhere", "x");
  line.nowMs += 1000;
  line.pipeline.tick();
  assert.equal(
    line.ticks().map(({ rejected }) => rejected),
    [{ number_malformed: 2 }, {}, {}, { topic_unmapped: 1 }],
  );
  assert.is(line.ticks().at(-1)!.nowMs, NOW_MS + 1000);
  const sent = line.frames("data").filter((frame) => frame.kind === "tick");
  assert.equal(
    sent.map(({ kind: _, ...tick }) => tick),
    line.ticks().map(({ nowMs, rejected, dropped }) => ({ nowMs, rejected, dropped })),
  );
});

test("sends each reading in exactly one partial, whenever it is killed", () => {
  line = new Line();
  for (let i = 0; i < 60; i++) {
    line.send(`m${i % 3}`, NOW_MS - i * 1700, i);
    line.pipeline.commit();
    if (i % 7 === 0) line.restart();
    if (i % 13 === 0) line.pipeline.checkpoint();
    if (i % 26 === 0) line.restart();
  }
  line.pipeline.checkpoint();
  line.restart();
  line.pipeline.checkpoint();
  assert.is(readings(), 60);
});

test("names a series before its first partial, once, and counts it on after a kill", () => {
  line = new Line();
  line.send("a", NOW_MS, 1);
  line.restart();
  line.send("b", NOW_MS, 1);
  line.pipeline.commit();
  line.restart();
  line.send("a", NOW_MS, 1);
  line.send("b", NOW_MS + 1, 1);
  line.pipeline.checkpoint();
  const kinds = line.frames("data").map((frame) => (frame.kind === "series" ? frame.series : frame.kind));
  assert.equal(kinds, [[[0, "s", "d", "b"]], [[1, "s", "d", "a"]], "partials"]);
  assert.equal(line.pipeline.core.names[1], { site: "s", device: "d", metric: "a" });
});

test("a full dictionary refuses new series and goes on with the known ones", () => {
  line = new Line({ seriesMax: 2 });
  for (const metric of ["a", "b", "c", "d", "a"]) line.send(metric, NOW_MS + metric.charCodeAt(0), 1);
  line.pipeline.commit();
  assert.is(line.pipeline.intake.series, 2);
  assert.is(line.pipeline.core.ledger.rejected["series_limit"], 2);
  line.restart();
  assert.ok(line.send("b", NOW_MS, 5));
  line.pipeline.commit();
  assert.is(line.stored().length, 3);
});

test("shows local subscribers an alert only when it is durable", () => {
  line = new Line();
  line.pipeline.addThresholds(version(1, 0, 10));
  line.events.length = 0;
  line.send("m", NOW_MS, 11);
  assert.equal(line.alerts, []);
  line.pipeline.commit();
  assert.equal(line.events, ["seal", "committed", "alerts"]);
  assert.equal(
    line.alerts.map(({ state, value, thresholdVersion }) => [state, value, thresholdVersion]),
    [["firing", 11, 1]],
  );
  assert.is(line.frames("alerts").length, 1);
});

test("an episode goes on over a kill, and ends once", () => {
  line = new Line();
  line.pipeline.addThresholds(version(1, 0, 10));
  line.send("m", NOW_MS - 300_000, 11);
  line.pipeline.checkpoint();
  line.send("m", NOW_MS - 270_000, 25);
  line.pipeline.commit();
  line.restart();
  line.send("m", NOW_MS - 240_000, 12);
  line.send("m", NOW_MS, 1);
  line.pipeline.commit();
  const last = line.alerts.at(-1)!;
  assert.equal(
    [last.state, last.startedAtMs, last.endedAtMs, last.value, last.breaches, last.severity],
    ["resolved", NOW_MS - 300_000, NOW_MS - 240_000, 25, 3, "critical"],
  );
  assert.is(line.alerts.filter(({ state }) => state === "resolved").length, 1);
});

test("takes a threshold version once, however often it is sent", () => {
  line = new Line();
  for (let i = 0; i < 3; i++) line.pipeline.addThresholds(version(1, 0, 10));
  line.restart();
  line.pipeline.addThresholds(version(1, 0, 99));
  assert.equal(line.pipeline.core.thresholdVersions, [1]);
  assert.equal(line.store.thresholdVersions(1e9), [version(1, 0, 10)]);
});

test("a checkpoint writes only the pages in which something happened", () => {
  line = new Line({ seriesMax: 5000 });
  for (let i = 0; i < 3000; i++) line.send(`m${i}`, NOW_MS, 1);
  line.pipeline.checkpoint();
  const pages: number[][] = [];
  const commit = line.store.commit.bind(line.store);
  line.store.commit = (batch) => {
    if (batch.checkpoint) pages.push(batch.checkpoint.pages.map(({ page }) => page));
    commit(batch);
  };
  line.pipeline.checkpoint();
  line.send("m2500", NOW_MS + 1, 1);
  line.pipeline.checkpoint();
  line.send("m2500", NOW_MS - 1, 1);
  line.pipeline.checkpoint();
  assert.equal(pages, [[2], [2]]);
  assert.is(line.store.readCheckpoint().pages.length, 3);
});

/** The uplink is back: all is sent and made again, round by round. Returns readings by window as the aggregator has them. */
function sentUntilDone(): Map<number, number> {
  const counts = new Map<number, number>();
  for (let round = 0; round < 10; round++) {
    for (const frame of line.frames("data")) {
      if (frame.kind !== "partials") continue;
      for (const { windowStartMs, partial } of decodeWindows(frame.windows)) {
        counts.set(windowStartMs, partial.count + (frame.replace ? 0 : (counts.get(windowStartMs) ?? 0)));
      }
    }
    for (const lane of ["alerts", "data"] as const) {
      line.store.acknowledge(lane, line.store.frames(lane, 0, 1e9).at(-1)?.seq ?? 0);
    }
    line.pipeline.checkpoint();
  }
  return counts;
}

test("of a full outbox partials go and alerts stay; what went is made again from the log once there is room", () => {
  line = new Line({ outboxBytesMax: 8000 });
  line.pipeline.addThresholds(version(1, 0, 10));
  for (let i = 0; i < 30; i++) {
    line.send("m", NOW_MS - 3_000_000 + i * 61_000, 11);
    line.pipeline.checkpoint();
  }
  assert.is(line.warnings.filter((warning) => /Outbox is full/.test(warning)).length, 1);
  const owed = line.pipeline.core.gauges.refolds_owed_readings!;
  assert.ok(owed > 0);
  assert.is(readings() + owed, 30);
  // Nothing is lost of what the log still holds.
  assert.equal(line.pipeline.core.ledger.dropped, {});
  assert.is(new Set(line.alerts.map(({ id }) => id)).size, 30);
  const kept = line.frames("alerts").flatMap((frame) => (frame.kind === "alerts" ? frame.alerts : []));
  assert.is(new Set(kept.map(({ id }) => id)).size, 30);
  // A restart remembers.
  line.restart();
  assert.is(line.pipeline.core.gauges.refolds_owed_readings, owed);
  const counts = sentUntilDone();
  assert.is(line.pipeline.core.gauges.refolds_owed_readings, 0);
  assert.equal(
    [...counts.values()],
    Array.from({ length: 30 }, () => 1),
  );
});

test("what a full outbox had no room for and a trimmed log no longer holds is counted as lost", () => {
  line = new Line({ outboxBytesMax: 1000, logAgeMaxMs: 600_000 });
  for (let i = 0; i < 30; i++) {
    line.nowMs = NOW_MS + i * 61_000;
    line.send("m", line.nowMs, 1);
    line.pipeline.checkpoint();
  }
  assert.ok(line.store.wholeFromMs > NOW_MS);
  const sent = new Set<number>();
  for (let round = 0; round < 3; round++) {
    for (const frame of line.frames("data")) {
      if (frame.kind === "partials")
        for (const { windowStartMs } of decodeWindows(frame.windows)) sent.add(windowStartMs);
    }
    line.store.acknowledge("data", line.store.frames("data", 0, 1e6).at(-1)?.seq ?? 0);
    line.pipeline.checkpoint();
  }
  assert.is(line.pipeline.core.gauges.refolds_owed_readings, 0);
  const lost = line.pipeline.core.ledger.dropped["outbox_full"]!;
  assert.ok(sent.size < 30 && sent.size + lost >= 30, `${sent.size} sent and ${lost} lost of 30`);
  line.pipeline.tick();
  assert.is(line.ticks().at(-1)!.dropped["outbox_full"], lost);
});

test("what is lost of a full outbox is counted with that, whenever the process is killed", () => {
  line = new Line({ outboxBytesMax: 1000, logAgeMaxMs: 600_000 });
  for (let i = 0; i < 40; i++) {
    line.nowMs = NOW_MS + i * 61_000;
    line.send("m", line.nowMs, 1);
    line.pipeline.checkpoint();
    line.restart();
    let waiting = line.pipeline.core.gauges.refolds_owed_readings!;
    for (const frame of line.frames("data")) {
      if (frame.kind === "partials") for (const { partial } of decodeWindows(frame.windows)) waiting += partial.count;
    }
    assert.is(waiting + (line.pipeline.core.ledger.dropped["outbox_full"] ?? 0), i + 1);
  }
  assert.ok(line.pipeline.core.ledger.dropped["outbox_full"]! > 10);
});

test("what is owed of a series is made again though an alert fires that began before the log", () => {
  line = new Line({ outboxBytesMax: 1000, logAgeMaxMs: 1_800_000 });
  line.pipeline.addThresholds(version(1, 0, 10));
  for (let i = 0; i < 80; i++) {
    line.nowMs = NOW_MS + i * 60_000;
    line.send("m", line.nowMs, 11);
    line.pipeline.checkpoint();
    // The uplink is cut at a time when the log has long forgotten when the alert began.
    if (i < 60) for (const lane of ["alerts", "data"] as const) line.store.acknowledge(lane, 1e6 + i);
  }
  assert.ok(line.store.wholeFromMs > NOW_MS);
  assert.ok(line.pipeline.core.gauges.refolds_owed_readings! > 0);
  const counts = sentUntilDone();
  assert.equal(line.pipeline.core.ledger.dropped, {});
  for (let i = 60; i < 80; i++) assert.is(counts.get(NOW_MS + i * 60_000), 1, `${i}`);
  assert.is(new Set(line.alerts.map(({ id }) => id)).size, 1);
  assert.is(line.alerts.at(-1)!.state, "firing");
});

test("an outbox that is far too full is brought to its bound a little at a turn, and everything else goes on", () => {
  line = new Line({ outboxBytesMax: 1000, seriesMax: 1000, batchReadingsMax: 60_000 });
  for (let minute = 0; minute < 50; minute++) {
    for (let metric = 0; metric < 900; metric++) line.send(`m${metric}`, NOW_MS - minute * 60_000, metric);
    line.pipeline.commit();
  }
  const frames = (): number => line.frames("data").filter(({ kind }) => kind === "partials").length;
  line.nowMs += 10_000;
  line.pipeline.core.checkpointTurn();
  const most = frames();
  assert.ok(most > 100);
  const left: number[] = [];
  for (let turn = 0; line.store.outboxBytes > 1000 && frames() > 0; turn++) {
    line.pipeline.core.checkpointTurn();
    left.push(frames());
    assert.ok(turn < 100);
  }
  assert.ok(left.length > 4);
  left.reduce((before, now) => (assert.ok(before - now <= 16, `${before} to ${now} in one turn`), now), most);
  assert.is(line.pipeline.core.gauges.refolds_owed_readings, 45_000);
});

test("waits for no timer after it is closed", async () => {
  line = new Line({ commitIntervalMs: 5 });
  line.automatic = true;
  line.send("m", NOW_MS, 1);
  line.pipeline.close();
  const { length } = line.events;
  await delay(30);
  assert.is(line.events.length, length);
});
