import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import mqtt from "mqtt";
import * as assert from "uvu/assert";
import type { AgentProcess, AggregatorProcess } from "../support/pipeline-processes.ts";
import { eventually } from "../support/eventually.ts";
import { exactMean } from "../support/exact-mean.ts";
import { startAgent, startAggregator, waitForReadings } from "../support/pipeline-processes.ts";
import { requireServer, startMosquitto } from "../support/servers.ts";
import { suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";

const test = suite("kill -9 in the middle", { timeoutMs: 120_000 });

const DAY = "2026-02-03";
const DAY_MS = Date.parse(`${DAY}T00:00:00Z`);
const DEVICES = 4;
const READINGS_EACH = 3000;

const RULES = {
  rules: [{ match: { metric: "temp" }, band: { warningHigh: 24.9, criticalHigh: 24.99, gapMs: 60_000 } }],
};

/** A day's readings of a device: a quarter of a minute apart, with excursions that breach. */
function readingsOf(device: number): Array<{ readonly ts: number; readonly value: number }> {
  return Array.from({ length: READINGS_EACH }, (_, i) => ({
    ts: DAY_MS + i * 15_000 + device,
    value: Math.round((20 + 5 * Math.sin((i + device * 100) / 50)) * 1000) / 1000,
  }));
}

/** Publishes every reading `copies` times at QoS 1; resolves when all are acknowledged, over reconnects. */
async function publishAll(url: string, copies: number, onHalf: () => void): Promise<void> {
  const client = await mqtt.connectAsync(url, { reconnectPeriod: 100, clientId: "fleet", clean: false });
  client.on("error", () => {});
  const waiting: Array<Promise<unknown>> = [];
  const total = DEVICES * READINGS_EACH;
  let sent = 0;
  for (let i = 0; i < READINGS_EACH; i++) {
    for (let device = 0; device < DEVICES; device++) {
      const payload = JSON.stringify(readingsOf(device)[i]);
      for (let copy = 0; copy < copies; copy++) {
        waiting.push(client.publishAsync(`sensors/plant/dev-${device}/temp`, payload, { qos: 1 }));
      }
      if (++sent === total / 2) onHalf();
    }
    // The client sends again one message an acknowledgement after a reconnect: few are in flight at a time.
    if (i % 50 === 49) await Promise.all(waiting.splice(0));
  }
  await Promise.all(waiting);
  await client.endAsync();
}

async function checkReports(aggregator: AggregatorProcess, agent: AgentProcess): Promise<void> {
  await waitForReadings(aggregator, DEVICES * READINGS_EACH);
  const live = await aggregator.text(`/api/reports/daily/${DAY}`);
  assert.is(await aggregator.text(`/api/reports/daily/${DAY}?recompute=1`), live);
  assert.is(await agent.replay(DAY), live);
  const report = await aggregator.report(DAY);
  assert.is(report.devices.length, DEVICES);
  for (const device of report.devices) {
    const values = readingsOf(Number(device.device.slice(4))).map(({ value }) => value);
    const [metric] = device.metrics;
    assert.is(metric!.count, READINGS_EACH);
    assert.is(metric!.mean, exactMean(values));
    assert.is(metric!.breaches, values.filter((value) => value > 24.9).length);
    assert.ok(device.alerts > 5);
  }
}

function rulesFile(): string {
  const file = join(tempFolder(), "rules.json");
  writeFileSync(file, JSON.stringify(RULES));
  return file;
}

test("own endpoint: every message twice at QoS 1, the agent killed half-way; live, batch and replay are the same bytes", async () => {
  const aggregator = await startAggregator({ "thresholds.initial_file": rulesFile() });
  let agent = await startAgent({ "uplink.url": aggregator.uplinkUrl, "ingest.threads": "2" });
  const fixed = { "uplink.url": aggregator.uplinkUrl, "listen.port": String(agent.mqttPort) };
  let killed: Promise<void> | undefined;
  const published = publishAll(`mqtt://127.0.0.1:${agent.mqttPort}`, 2, () => {
    killed = (async () => {
      agent.process.signal("SIGKILL");
      assert.is((await agent.process.ended).signal, "SIGKILL");
      agent = await startAgent(fixed, "", agent.folder);
    })();
  });
  await published;
  await killed;
  await checkReports(aggregator, agent);
  await eventually(async () => {
    const ledger = (await aggregator.agents())[0]!.ledger;
    assert.is(ledger.stored, DEVICES * READINGS_EACH);
    assert.ok(ledger.duplicates >= DEVICES * READINGS_EACH);
  });
  await agent.process.stop();
  await aggregator.process.stop();
});

if (requireServer("mosquitto")) {
  test("through mosquitto: the agent and then the aggregator killed; nothing acknowledged is lost, nothing counts twice", async () => {
    const mosquitto = await startMosquitto({
      configLines: ["max_queued_messages 1000000", "max_inflight_messages 1000"],
    });
    let aggregator = await startAggregator({ "thresholds.initial_file": rulesFile() });
    const port = new URL(aggregator.url).port;
    const toml = `[[broker]]\nurl = "${mosquitto.url}"\n`;
    const settings = { "listen.enabled": "false", "uplink.url": aggregator.uplinkUrl, "ingest.threads": "1" };
    let agent = await startAgent(settings, toml);
    await eventually(async () => assert.is((await aggregator.agents())[0]?.connected, true));
    // The session must be there before the first message, or the broker has nobody to keep it for.
    await eventually(() => assert.match(mosquitto.log(), /weir-gateway-1-1/));
    let killed: Promise<void> | undefined;
    await publishAll(mosquitto.url, 2, () => {
      killed = (async () => {
        agent.process.signal("SIGKILL");
        await agent.process.ended;
        aggregator.process.signal("SIGKILL");
        await aggregator.process.ended;
        agent = await agent.again();
        aggregator = await startAggregator({ "http.port": port }, aggregator.folder);
      })();
    });
    await killed;
    await checkReports(aggregator, agent);
    await agent.process.stop();
    await aggregator.process.stop();
    await mosquitto.stop();
  });
}

test("the agent's file says what the ledger says after a clean stop", async () => {
  const agent = await startAgent({});
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${agent.mqttPort}`);
  await client.publishAsync("sensors/plant/dev-0/temp", '{"ts":1770076800000,"value":1}', { qos: 1 });
  await client.publishAsync("sensors/plant/dev-0/temp", "not a number", { qos: 1 });
  await client.endAsync();
  const end = await agent.process.stop();
  assert.is(end.code, 0);
  assert.ok(readFileSync(join(agent.folder, "agent.db")).length > 0);
});
