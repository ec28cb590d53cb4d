import { setTimeout as delay } from "node:timers/promises";
import * as assert from "uvu/assert";
import { Store } from "@weir/agent/store/store";
import { join } from "node:path";
import { DeviceClient } from "../support/device-client.ts";
import { eventually } from "../support/eventually.ts";
import { startAgent, startAggregator } from "../support/pipeline-processes.ts";
import { freePort } from "../support/ports.ts";
import { Random } from "../support/random.ts";
import { suite } from "../support/suite.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { tempFolder } from "../support/temp.ts";

const test = suite("partials that a full outbox has no room for", { timeoutMs: 240_000 });

const DAY = "2026-02-03";
const START_MS = Date.parse(`${DAY}T08:00:00Z`);
const DEVICES = 150;
const METRICS = 20;
const MINUTES = 60;
const TOPIC = '[[topic]]\ntemplate = "sensors/{site}/{device}"\n';

test("are made again from the log, whenever the agent is killed", async () => {
  const random = new Random(Number(process.env["WEIR_SEED"] ?? 1));
  const aggregator = await startAggregator();
  const proxy = await TcpProxy.start(Number(new URL(aggregator.url).port));
  const mqttPort = await freePort();
  const folder = tempFolder("weir-owed-");
  const settings = {
    "uplink.url": `ws://127.0.0.1:${proxy.port}/uplink`,
    "listen.port": String(mqttPort),
    "outbox.bytes_max": "1MiB",
    "checkpoint.interval": "300ms",
  };
  let agent = await startAgent(settings, TOPIC, folder);
  const kill = async (): Promise<void> => {
    await agent.process.kill();
    agent = await startAgent(settings, TOPIC, folder);
  };
  const owed = (): number => {
    const store = new Store(join(folder, "agent.db"), { readonly: true });
    const readings = store.waitingRefolds().reduce((sum, request) => sum + request.owed, 0);
    store.close();
    return readings;
  };
  const client = new DeviceClient(mqttPort, "fleet", true);
  let most = 0;
  for (let minute = 0; minute < MINUTES; minute++) {
    if (minute === 5) {
      proxy.mode = "refusing";
      proxy.cut();
    }
    for (let device = 0; device < DEVICES; device++) {
      const values = Object.fromEntries(
        Array.from({ length: METRICS }, (_, i) => [`m${i}`, random.between(0, 999) / 8]),
      );
      client.publish(
        `sensors/plant/dev-${device}`,
        JSON.stringify({ ts: START_MS + minute * 60_000 + device, values }),
      );
    }
    await eventually(() => assert.ok(client.pending < 50), { timeoutMs: 20_000, intervalMs: 5 });
    await delay(150);
    if (minute > 20 && random.chance(0.2)) await kill();
    most = Math.max(most, owed());
  }
  await eventually(() => assert.is(client.pending, 0), { timeoutMs: 20_000 });
  await delay(1000);
  most = Math.max(most, owed());
  assert.ok(most > 1000, `${most} were owed`);
  proxy.mode = "open";
  for (let i = 0; i < 8; i++) {
    await delay(random.between(50, 900));
    if (random.chance(0.3)) proxy.cut();
    else await kill();
  }
  const expected = DEVICES * METRICS * MINUTES;
  await eventually(() => assert.is(owed(), 0), { timeoutMs: 90_000, intervalMs: 500 });
  await eventually(
    async () => {
      const report = await aggregator.json<{ devices: Array<{ readings: number }> }>(
        `/api/reports/daily/${DAY}?recompute=1`,
      );
      assert.is(
        report.devices.reduce((sum, { readings }) => sum + readings, 0),
        expected,
      );
    },
    { timeoutMs: 30_000, intervalMs: 500 },
  );
  console.log("most owed", most, "of", expected);
  client.close();
  await agent.process.stop({ graceMs: 20_000 });
  const live = await aggregator.text(`/api/reports/daily/${DAY}`);
  const { dropped } = (JSON.parse(live) as { completeness: { dropped: object } }).completeness;
  assert.equal(dropped, {});
  assert.is(await aggregator.text(`/api/reports/daily/${DAY}?recompute=1`), live);
  assert.is(await agent.replay(DAY), live);
  await aggregator.process.stop();
  await proxy.close();
});
