import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createReplayClock } from "@weir/firmware-sim/replay";
import * as assert from "uvu/assert";
import { eventually } from "../support/eventually.ts";
import { runToEnd, sourceFlags } from "../support/processes.ts";
import type { ProcessEnd } from "../support/processes.ts";
import { repositoryRoot } from "../support/repository.ts";
import { requireServer, startMosquitto } from "../support/servers.ts";
import type { TestServer } from "../support/servers.ts";
import { suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";
import { keepEverything, subscribeAll } from "./subscriber.ts";
import type { Subscriber } from "./subscriber.ts";

const test = suite("weir-sim replay", { timeoutMs: 60_000 });

const START_MS = 1_780_000_000_000;

function csvFile(text: string): string {
  const file = join(tempFolder(), "machine.csv");
  writeFileSync(file, text);
  return file;
}

function replay(args: readonly string[]): Promise<ProcessEnd & { stdout: string; stderr: string }> {
  const main = join(repositoryRoot, "firmware-sim", "src", "main.ts");
  return runToEnd(process.execPath, [...sourceFlags, main, "replay", ...args]);
}

let openServer: TestServer | undefined;
let openSubscriber: Subscriber | undefined;

async function startBroker(): Promise<{ url: string; subscriber: Subscriber }> {
  const server = await startMosquitto({ configLines: keepEverything });
  const subscriber = await subscribeAll(server.url);
  openServer = server;
  openSubscriber = subscriber;
  return { url: server.url, subscriber };
}

test.after.each(async () => {
  await openSubscriber?.close();
  await openServer?.stop();
  openSubscriber = undefined;
  openServer = undefined;
});

test("kept times are the file's, due as the speed says", () => {
  const clock = createReplayClock({ speed: 60, shiftToNow: false });
  assert.equal(clock.place(600_000, START_MS), { sentTsMs: 600_000, dueMs: START_MS });
  assert.equal(clock.place(660_000, START_MS + 3), { sentTsMs: 660_000, dueMs: START_MS + 1000 });
  assert.equal(clock.place(540_000, START_MS + 3), { sentTsMs: 540_000, dueMs: START_MS - 1000 });
  clock.restart();
  assert.equal(clock.place(600_000, START_MS + 5000), { sentTsMs: 600_000, dueMs: START_MS + 5000 });
  assert.is(createReplayClock({ speed: Infinity, shiftToNow: false }).place(5, START_MS).dueMs, START_MS);
});

test("shifted times advance with the clock and never lie ahead of when they are sent", () => {
  const clock = createReplayClock({ speed: 60, shiftToNow: true });
  assert.equal(clock.place(600_000, START_MS), { sentTsMs: START_MS, dueMs: START_MS });
  assert.equal(clock.place(660_000, START_MS + 3), { sentTsMs: START_MS + 1000, dueMs: START_MS + 1000 });
  const fast = createReplayClock({ speed: 1_000_000, shiftToNow: true });
  const placed = [0, 1000, 2000, 2000, 3000].map((tsMs) => fast.place(tsMs, START_MS));
  assert.equal(
    placed.map(({ sentTsMs }) => sentTsMs - START_MS),
    [0, 1, 2, 2, 3],
  );
  assert.ok(placed.every(({ sentTsMs, dueMs }) => dueMs >= sentTsMs));
});

test("bad options are reported all at once and exit 2", async () => {
  const args = [
    "--speed",
    "fast",
    "--times",
    "0",
    "--from",
    "noon",
    "--device",
    "a/b",
    "--shift-to-now",
    "--keep-time",
  ];
  const { code, stderr } = await replay([join(tempFolder(), "none.csv"), ...args]);
  assert.is(code, 2);
  for (const part of ["--speed", "--times", "--from", "--device", "--shift-to-now", "cannot read"]) {
    assert.ok(stderr.includes(part), `${part} is not in\n${stderr}`);
  }
});

if (requireServer("mosquitto")) {
  test("sends every good row with its time and names the bad ones by line", async () => {
    const { url, subscriber } = await startBroker();
    const file = csvFile(
      'timestamp,value\n2014-07-01 00:00:00,1.5\nnonsense,2\n"2014-07-01T00:05:00Z","3"\n1404173400,x\n1404173400,4\n',
    );
    const flags = ["--mqtt.url", url, "--device", "m-1", "--speed", "max", "--json"];
    const { code, stdout, stderr } = await replay([file, ...flags]);
    assert.is(code, 0, stderr);
    const startMs = Date.UTC(2014, 6, 1);
    await eventually(() => assert.is(subscriber.messages.length, 3));
    assert.equal(subscriber.messages, [
      { topic: "sensors/plant-1/m-1/value", payload: `{"ts":${startMs},"value":1.5}` },
      { topic: "sensors/plant-1/m-1/value", payload: `{"ts":${startMs + 300_000},"value":3}` },
      { topic: "sensors/plant-1/m-1/value", payload: `{"ts":${startMs + 600_000},"value":4}` },
    ]);
    const { rows, badRows, messages, acknowledged } = JSON.parse(stdout) as Record<string, number>;
    assert.equal({ rows, badRows, messages, acknowledged }, { rows: 5, badRows: 2, messages: 3, acknowledged: 3 });
    assert.ok(
      stderr.includes(`${file}:3: "nonsense" is not a time`) && stderr.includes(`${file}:5: value is "x"`),
      stderr,
    );
  });

  test("sends each message and the whole file as often as asked, within the times asked for", async () => {
    const { url, subscriber } = await startBroker();
    const rows = Array.from({ length: 100 }, (_, i) => `${1_700_000_000 + i},${i}`).join("\n");
    const file = csvFile(`timestamp,value\n${rows}`);
    const often = ["--repeat-each", "3", "--times", "2", "--readings-per-message", "20", "--speed", "0"];
    const part = ["--from", "1700000010", "--to", "1700000060", "--metric", "load", "--site", "east"];
    const { code, stdout } = await replay([file, "--mqtt.url", url, ...often, ...part, "--json"]);
    assert.is(code, 0);
    // 50 rows make 3 messages, two full and one with the rest; 3 times each, 2 passes.
    await eventually(() => assert.is(subscriber.messages.length, 18));
    assert.ok(subscriber.messages.every(({ topic }) => topic === "sensors/east/machine/load"));
    const times = new Map<number, number>();
    for (const { value } of subscriber.readings()) times.set(value, (times.get(value) ?? 0) + 1);
    assert.equal(
      [...times.keys()].toSorted((a, b) => a - b),
      Array.from({ length: 50 }, (_, i) => 10 + i),
    );
    assert.ok([...times.values()].every((count) => count === 6));
    const { readings, duplicates, filtered } = JSON.parse(stdout) as Record<string, number>;
    assert.equal({ readings, duplicates, filtered }, { readings: 100, duplicates: 12, filtered: 100 });
  });

  test("several columns are several metrics, one message each or all in one", async () => {
    const { url, subscriber } = await startBroker();
    const file = csvFile("time,rpm,temp\n1700000000,1480,60\n1700000001,,61\n");
    await replay([file, "--mqtt.url", url, "--speed", "max", "--device", "m"]);
    await replay([file, "--mqtt.url", url, "--speed", "max", "--device", "m", "--fleet.topic", "sensors/all/{device}"]);
    await eventually(() => assert.is(subscriber.messages.length, 5));
    assert.equal(subscriber.messages, [
      { topic: "sensors/plant-1/m/rpm", payload: '{"ts":1700000000000,"value":1480}' },
      { topic: "sensors/plant-1/m/temp", payload: '{"ts":1700000000000,"value":60}' },
      { topic: "sensors/plant-1/m/temp", payload: '{"ts":1700000001000,"value":61}' },
      { topic: "sensors/all/m", payload: '{"ts":1700000000000,"values":{"rpm":1480,"temp":60}}' },
      { topic: "sensors/all/m", payload: '{"ts":1700000001000,"values":{"temp":61}}' },
    ]);
  });

  test("shifted to now, an hour of the file streams in real time at its speed", async () => {
    const { url, subscriber } = await startBroker();
    const rows = Array.from({ length: 60 }, (_, i) => `${1_400_000_000 + i * 60},${i}`).join("\n");
    const beginMs = Date.now();
    const { code } = await replay([
      csvFile(`timestamp,value\n${rows}`),
      "--mqtt.url",
      url,
      "--shift-to-now",
      "--speed",
      "3600",
    ]);
    const endMs = Date.now();
    assert.is(code, 0);
    await eventually(() => assert.is(subscriber.messages.length, 60));
    const times = subscriber.readings().map(({ tsMs }) => tsMs);
    assert.ok(times[0]! >= beginMs && times.at(-1)! <= endMs);
    times.forEach((tsMs, i) => assert.ok(Math.abs(tsMs - times[0]! - (i * 1000) / 60) <= 1));
  });

  test("a file without a header is refused with a word about it", async () => {
    const { url } = await startBroker();
    const { code, stderr } = await replay([csvFile("2014-07-01 00:00:00,1.5\n"), "--mqtt.url", url]);
    assert.is(code, 1);
    assert.match(stderr, /first line is data/);
  });
}
