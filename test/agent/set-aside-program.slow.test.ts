import { cpSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import mqtt from "mqtt";
import * as assert from "uvu/assert";
import { setAsideFiles } from "@weir/agent/store/set-aside";
import { eventually } from "../support/eventually.ts";
import { startAgent, startAggregator, waitForReadings } from "../support/pipeline-processes.ts";
import type { ProcessEnd } from "../support/processes.ts";
import { runToEnd, sourceFlags } from "../support/processes.ts";
import { freePort } from "../support/ports.ts";
import { repositoryRoot } from "../support/repository.ts";
import { suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";
import { copyOfSample, overwrite, PARTS, reading } from "./set-aside-fixture.ts";

const test = suite("weir-agent with a damaged data file", { timeoutMs: 60_000 });

const MAIN = join(repositoryRoot, "agent", "src", "main.ts");

function agent(...args: string[]): Promise<ProcessEnd & { stdout: string; stderr: string }> {
  return runToEnd(process.execPath, [...sourceFlags, MAIN, ...args]);
}

/** A data folder whose file has no header any more. */
function damagedFolder(): string {
  const folder = tempFolder();
  cpSync(copyOfSample(), folder, { recursive: true });
  for (const part of PARTS) overwrite(join(folder, part), 0, new Uint8Array(100).fill(0x55));
  return folder;
}

/** Makes what an agent that runs has in memory no longer what its file holds: the next series' number is taken. */
function contradict(folder: string): void {
  const db = new Database(join(folder, "agent.db"));
  db.exec("INSERT INTO series SELECT coalesce(max(idx), -1) + 1, 'x', 'x', 'x', 0 FROM series");
  db.close();
}

function valuesIn(folder: string): number[] {
  return reading(folder, (store) => {
    const values: number[] = [];
    for (const entry of store.entries(0)) {
      if (entry.kind === "block") values.push(...entry.block.value.subarray(0, entry.block.count));
    }
    return values;
  });
}

for (const threads of ["1", "2"]) {
  test(`${threads} threads: ends with 1 and says where the file is; the next start goes on`, async () => {
    const folder = damagedFolder();
    const settings = ["--data.dir", folder, "--listen.port", "0", "--ingest.threads", threads];
    const end = await agent("run", ...settings);
    assert.is(end.code, 1, end.stderr);
    assert.match(end.stderr, /^weir-agent: The data file \S+agent\.db is damaged: .*not a database/);
    assert.match(end.stderr, /It is now \S+agent\.db\.corrupt-\d{8}T\d{6}Z, and a new file is in its place/);
    assert.match(end.stderr, /at least 1 readings/);
    assert.not.match(end.stderr, /^\s+at /m);
    assert.is(setAsideFiles(join(folder, "agent.db")).length, 1);
    const again = await startAgent({ "ingest.threads": threads }, "", folder);
    await (await mqtt.connectAsync(`mqtt://127.0.0.1:${again.mqttPort}`)).endAsync();
    assert.equal(await again.process.stop(), { code: 0, signal: null });
    assert.is(setAsideFiles(join(folder, "agent.db")).length, 1);
  });

  test(`${threads} threads: fresh goes on at once, and while it runs loses nothing that was not acknowledged`, async () => {
    const mqttPort = await freePort();
    const settings = {
      "listen.port": String(mqttPort),
      "ingest.threads": threads,
      "data.on_corrupt": "fresh",
      "log.age_max": "3650d",
    };
    const folder = damagedFolder();
    const running = await startAgent(settings, "", folder);
    assert.match(running.process.stdout(), /is damaged: .*goes on with the new file/);
    const device = await mqtt.connectAsync(`mqtt://127.0.0.1:${mqttPort}`, {
      reconnectPeriod: 100,
      clean: false,
      clientId: "d",
    });
    const send = (metric: string, value: number): Promise<unknown> =>
      device.publishAsync(`sensors/s/d/${metric}`, JSON.stringify({ ts: Date.now(), value }), { qos: 1 });
    await send("a", 1);
    contradict(folder);
    await Promise.all([send("b", 2), send("c", 3), send("a", 4)]);
    await send("a", 5);
    await device.endAsync();
    assert.match(running.process.stdout(), /UNIQUE constraint failed: series\.idx/);
    assert.is((await running.process.stop()).code, 0);
    assert.equal(
      valuesIn(folder).toSorted((a, b) => a - b),
      [2, 3, 4, 5],
    );
    assert.is(setAsideFiles(join(folder, "agent.db")).length, 2);
  });
}

for (const threads of ["1", "2"]) {
  test(`${threads} threads: the aggregator goes on with the new file, and counts nothing twice`, async () => {
    const aggregator = await startAggregator();
    const mqttPort = await freePort();
    const running = await startAgent({
      "listen.port": String(mqttPort),
      "ingest.threads": threads,
      "data.on_corrupt": "fresh",
      "uplink.url": aggregator.uplinkUrl,
    });
    const device = await mqtt.connectAsync(`mqtt://127.0.0.1:${mqttPort}`, { reconnectPeriod: 100 });
    const send = (metric: string): Promise<unknown> =>
      device.publishAsync(`sensors/s/d/${metric}`, JSON.stringify({ ts: Date.now(), value: 1 }), { qos: 1 });
    await send("a");
    await waitForReadings(aggregator, 1);
    contradict(running.folder);
    await send("b");
    await send("a");
    await device.endAsync();
    assert.match(running.process.stdout(), /goes on with the new file/);
    await waitForReadings(aggregator, 3);
    await running.process.stop();
    assert.is((await aggregator.devices())[0]?.device, "d");
    await waitForReadings(aggregator, 3);
  });
}

test("a frame of the outbox that a disk has changed is not sent, and does not keep the rest from the aggregator", async () => {
  const aggregator = await startAggregator();
  const settings = { "data.on_corrupt": "fresh", "log.age_max": "3650d", "time.ahead_max": "365d" };
  const folder = tempFolder();
  cpSync(copyOfSample(), folder, { recursive: true });
  const db = new Database(join(folder, "agent.db"));
  const row = db.prepare("SELECT seq, body FROM outbox WHERE lane = 'data' ORDER BY seq LIMIT 1 OFFSET 3").get() as {
    seq: number;
    body: Buffer;
  };
  row.body[row.body.length - 1]! ^= 1;
  db.prepare("UPDATE outbox SET body = ? WHERE lane = 'data' AND seq = ?").run(row.body, row.seq);
  db.close();
  const running = await startAgent({ ...settings, "uplink.url": aggregator.uplinkUrl }, "", folder);
  await running.process.waitForOutput(/is damaged: frame \d+ of data in the outbox is not as it was written/);
  const { mqttPort } = await running.process
    .waitForOutput(/goes on with the new file[\s\S]*MQTT endpoint .*:(\d+)/)
    .then(([, port]) => ({ mqttPort: Number(port) }));
  const device = await mqtt.connectAsync(`mqtt://127.0.0.1:${mqttPort}`);
  await device.publishAsync("sensors/s/new/a", "1", { qos: 1 });
  await device.endAsync();
  await eventually(async () => assert.ok((await aggregator.devices()).some(({ device: name }) => name === "new")), {
    timeoutMs: 20_000,
  });
  await running.process.stop();
  const lost = reading(folder, (store) => store.ledger()).find(({ reason }) => reason === "lost.data_file");
  assert.ok(lost && lost.count > 0, JSON.stringify(lost));
});

test("an import that meets damage sets the file aside, and the next goes on", async () => {
  const folder = tempFolder();
  cpSync(copyOfSample(), folder, { recursive: true });
  const db = new Database(join(folder, "agent.db"));
  const { seq, body, tsMs } = db
    .prepare("SELECT seq, body, min_ts AS tsMs FROM log WHERE kind = 1 ORDER BY seq LIMIT 1")
    .get() as { seq: number; body: Buffer; tsMs: number };
  body[body.length - 1]! ^= 1;
  db.prepare("UPDATE log SET body = ? WHERE seq = ?").run(body, seq);
  db.close();
  const file = join(tempFolder(), "late.csv");
  writeFileSync(file, `time,site,device,metric,value\n${tsMs},s,d,metric-0,-77.5\n`);
  const args = ["import", file, "--data.dir", folder, "--log.age_max", "3650d"];
  const end = await agent(...args);
  assert.is(end.code, 1, end.stdout);
  assert.match(end.stderr, /is damaged: .*its checksum is another.* a new file is in its place.*Import again/);
  assert.is(setAsideFiles(join(folder, "agent.db")).length, 1);
  const again = await agent(...args);
  assert.not.match(again.stderr, /damaged/);
});

test("exit ends a running agent with 1, its connections without an acknowledgement", async () => {
  const running = await startAgent({ "data.on_corrupt": "exit" });
  const device = await mqtt.connectAsync(`mqtt://127.0.0.1:${running.mqttPort}`, { reconnectPeriod: 0 });
  await device.publishAsync("sensors/s/d/a", "1", { qos: 1 });
  contradict(running.folder);
  let acknowledged = false;
  device.publish("sensors/s/d/b", "2", { qos: 1 }, (error) => (acknowledged = !error));
  assert.is((await running.process.ended).code, 1);
  assert.match(running.process.stderr(), /^weir-agent: The data file .* The agent ends now/);
  assert.not(acknowledged);
  await eventually(() => assert.not(device.connected));
  device.end(true);
});
