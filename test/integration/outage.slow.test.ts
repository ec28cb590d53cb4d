import { writeFileSync } from "node:fs";
import { join } from "node:path";
import mqtt from "mqtt";
import * as assert from "uvu/assert";
import { WebSocket } from "ws";
import { eventually } from "../support/eventually.ts";
import { startAgent, startAggregator } from "../support/pipeline-processes.ts";
import { suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";

const test = suite("an outage of the uplink", { timeoutMs: 120_000 });

const ALERTS = 80;
const RULES = { rules: [{ match: { metric: "temp" }, band: { warningHigh: 10 } }] };

/** Names of devices in the order in which a dashboard hears of their alerts. */
function listen(url: string): { readonly devices: string[]; close(): void } {
  const devices: string[] = [];
  const socket = new WebSocket(`${url.replace("http", "ws")}/live`);
  socket.on("message", (data: Buffer) => {
    const message = JSON.parse(data.toString()) as { type: string; alert?: { device: string } };
    if (message.type === "alert") devices.push(message.alert!.device);
  });
  return { devices, close: () => socket.close() };
}

test("the agent works alone; afterwards the newest alerts are seen first, then all of them", async () => {
  const rules = join(tempFolder(), "rules.json");
  writeFileSync(rules, JSON.stringify(RULES));
  let aggregator = await startAggregator({ "thresholds.initial_file": rules });
  const port = new URL(aggregator.url).port;
  const agent = await startAgent({ "uplink.url": aggregator.uplinkUrl, "uplink.window_bytes": "1KiB" });
  await eventually(async () => assert.is((await aggregator.agents())[0]?.thresholdVersion, 1));
  aggregator.process.signal("SIGKILL");
  await aggregator.process.ended;

  // Local alerts go on: an operator panel at the gateway hears of each.
  const panel = await mqtt.connectAsync(`mqtt://127.0.0.1:${agent.mqttPort}`);
  const heard: string[] = [];
  panel.on("message", (topic) => heard.push(topic.split("/")[3]!));
  await panel.subscribeAsync("weir/alerts/#", { qos: 0 });
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${agent.mqttPort}`);
  for (let i = 0; i < ALERTS; i++) {
    // One commit each, and so one frame each.
    await client.publishAsync(`sensors/plant/dev-${i}/temp`, JSON.stringify({ ts: Date.now(), value: 20 }), { qos: 1 });
  }
  await eventually(() => assert.is(heard.length, ALERTS));

  aggregator = await startAggregator({ "http.port": port }, aggregator.folder);
  const watcher = listen(aggregator.url);
  await eventually(() => assert.is(new Set(watcher.devices).size, ALERTS), { timeoutMs: 60_000 });
  const first = watcher.devices.slice(0, 16).map((device) => Number(device.slice(4)));
  assert.is(first[0], ALERTS - 1, "the newest of all is seen first");
  assert.ok(
    first.every((number) => number >= ALERTS - 16),
    `then those next to it: ${first.join(" ")}`,
  );
  const alerts = await aggregator.alerts();
  assert.is(alerts.length, ALERTS);
  watcher.close();
  await panel.endAsync();
  await client.endAsync();
  await agent.process.stop();
  await aggregator.process.stop();
});
