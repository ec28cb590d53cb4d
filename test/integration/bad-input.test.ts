import mqtt from "mqtt";
import * as assert from "uvu/assert";
import { join } from "node:path";
import { Store } from "@weir/agent/store/store";
import { eventually } from "../support/eventually.ts";
import { startAgent, startAggregator, waitForReadings } from "../support/pipeline-processes.ts";
import { suite } from "../support/suite.ts";

const test = suite("bad input", { timeoutMs: 60_000 });

const BASE_MS = Date.parse("2026-05-01T12:00:00Z");
const TOPIC = "sensors/plant/mixer/torque";

interface Bad {
  readonly topic?: string;
  readonly payload: string | Buffer;
  readonly reason: string;
}

/** Everything that a device, a person or a network can do wrong, and the word for it. */
const BAD: readonly Bad[] = [
  { payload: '{"ts":1,"value":', reason: "json_malformed" },
  { payload: "twenty", reason: "number_malformed" },
  { payload: '{"value":NaN}', reason: "json_malformed" },
  { payload: "NaN", reason: "not_finite" },
  { payload: `{"ts":${BASE_MS},"value":null}`, reason: "not_finite" },
  { payload: `{"ts":${BASE_MS},"value":1e999}`, reason: "not_finite" },
  { payload: `{"ts":${BASE_MS},"value":1e300}`, reason: "value_out_of_range" },
  { payload: Buffer.alloc(1_000_000, "7"), reason: "payload_too_large" },
  { payload: "", reason: "payload_empty" },
  { topic: "somewhere/else", payload: "1", reason: "topic_unmapped" },
  { payload: `{"ts":"yesterday","value":1}`, reason: "time_malformed" },
  { payload: `{"ts":${Date.parse("1970-01-02T00:00:00Z")},"value":1}`, reason: "time_before_floor" },
  { payload: `{"ts":${Date.parse("2099-01-01T00:00:00Z")},"value":1}`, reason: "time_ahead" },
];

test("each bad message is counted by reason and kept; the good ones around it all arrive; the process lives", async () => {
  const aggregator = await startAggregator();
  // A time in milliseconds by configuration: with auto, a day after 1970 would be read as seconds or milliseconds by size.
  const toml = '[[topic]]\ntemplate = "sensors/{site}/{device}/{metric}"\ntime_unit = "ms"\n';
  const agent = await startAgent({ "uplink.url": aggregator.uplinkUrl, "ingest.threads": "1" }, toml);
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${agent.mqttPort}`);
  let good = 0;
  const sendGood = async (): Promise<void> => {
    const payload = JSON.stringify({ ts: BASE_MS + good * 1000, value: good });
    good++;
    await client.publishAsync(TOPIC, payload, { qos: 1 });
  };
  for (const { topic = TOPIC, payload } of BAD) {
    await sendGood();
    await client.publishAsync(topic, payload, { qos: 1 });
  }
  await sendGood();
  assert.ok(client.connected);
  await waitForReadings(aggregator, good);
  const expected: Record<string, number> = {};
  for (const { reason } of BAD) expected[reason] = (expected[reason] ?? 0) + 1;
  await eventually(async () => {
    const { ledger } = (await aggregator.agents())[0]!;
    assert.equal(ledger, { stored: good, duplicates: 0, rejected: expected, dropped: {} });
  });
  const report = await aggregator.report("2026-05-01");
  assert.is(report.devices[0]!.metrics[0]!.count, good);
  const metrics = await aggregator.text("/metrics");
  for (const [reason, count] of Object.entries(expected)) {
    assert.match(metrics, `outcome="rejected",reason="${reason}"} ${count}\n`);
  }
  await client.endAsync();
  assert.ok(agent.process.isRunning());
  assert.is((await agent.process.stop()).code, 0);

  const store = new Store(join(agent.folder, "agent.db"), { readonly: true });
  const letters = store.deadLetters(100).toReversed();
  assert.equal(
    letters.map(({ reason }) => reason),
    BAD.map(({ reason }) => reason),
  );
  assert.equal(
    letters.map(({ topic }) => topic),
    BAD.map(({ topic = TOPIC }) => topic),
  );
  const malformed = letters[0]!;
  assert.is(Buffer.from(malformed.head).toString(), '{"ts":1,"value":');
  const huge = letters.find(({ reason }) => reason === "payload_too_large")!;
  assert.ok(huge.head.length <= 4096);
  store.close();
  // Losses stand in the report of the day they happened on.
  const today = new Date().toISOString().slice(0, 10);
  assert.ok(!(await aggregator.reportDays()).some(({ day }) => day === today), "no reading of today was sent");
  await aggregator.process.stop();
});
