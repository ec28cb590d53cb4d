import { writeFileSync } from "node:fs";
import { join } from "node:path";
import mqtt from "mqtt";
import * as assert from "uvu/assert";
import { startAgent, startAggregator, waitForReadings } from "../support/pipeline-processes.ts";
import type { ProcessEnd } from "../support/processes.ts";
import { runToEnd, sourceFlags } from "../support/processes.ts";
import { repositoryRoot } from "../support/repository.ts";
import { suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";

const test = suite("weir-aggregator, the program", { timeoutMs: 60_000 });

const MAIN = join(repositoryRoot, "aggregator", "src", "main.ts");

function run(...args: string[]): Promise<ProcessEnd & { stdout: string; stderr: string }> {
  return runToEnd(process.execPath, [...sourceFlags, MAIN, ...args]);
}

test("never beyond loopback without a password and a token; bad zones and rules are named; exit 2", async () => {
  const folder = tempFolder();
  const at = ["--data.dir", folder, "--http.port", "0"];
  const noToken = await run("run", ...at, "--http.host", "0.0.0.0", "--http.password", "secret");
  assert.is(noToken.code, 2);
  assert.match(noToken.stderr, /uplink\.token/);
  // A name that only begins like an address of this machine may be anybody's.
  const disguised = await run("run", ...at, "--http.host", "127.example.com", "--http.password", "secret");
  assert.is(disguised.code, 2);
  assert.match(disguised.stderr, /uplink\.token/);
  const noPassword = await run("run", ...at, "--http.host", "0.0.0.0", "--uplink.token", "secret");
  assert.is(noPassword.code, 2);
  assert.match(noPassword.stderr, /http\.password/);
  const noZone = await run("run", ...at, "--plant.timezone", "Mars/Olympus");
  assert.is(noZone.code, 2);
  assert.match(noZone.stderr, /Mars\/Olympus/);
  const rules = join(folder, "rules.json");
  writeFileSync(rules, '{"rules":[{"match":{},"band":{"warningHihg":3}}]}');
  const badRules = await run("run", ...at, "--thresholds.initial_file", rules);
  assert.is(badRules.code, 2);
  assert.match(badRules.stderr, /rules\[0\]\.band\.warningHihg/);
});

test("report, alerts, agents and thresholds in a terminal", async () => {
  const rules = join(tempFolder(), "rules.json");
  writeFileSync(rules, JSON.stringify({ rules: [{ match: { metric: "temp" }, band: { warningHigh: 10 } }] }));
  const aggregator = await startAggregator({ "thresholds.initial_file": rules });
  const agent = await startAgent({ "uplink.url": aggregator.uplinkUrl });
  const device = await mqtt.connectAsync(`mqtt://127.0.0.1:${agent.mqttPort}`);
  const firstMs = Date.parse("2026-06-01T08:00:00Z");
  for (let i = 0; i < 120; i++) {
    const payload = JSON.stringify({ ts: firstMs + i * 1000, value: i === 60 ? 12 : 5 + (i % 3) });
    await device.publishAsync("sensors/hall/press/temp", payload, { qos: 1 });
  }
  await device.endAsync();
  await waitForReadings(aggregator, 120);
  const at = ["--url", aggregator.url];
  assert.match((await run("report", ...at)).stdout, /2026-06-01\s+not issued yet/);
  assert.match((await run("report", "2026-06-01", ...at)).stdout, /hall\/press\s+\S+\s+\S+ %\s+120\s+1\s+1/);
  const json = await run("report", "2026-06-01", "--recompute", "--json", ...at);
  assert.is(json.stdout.trim(), await aggregator.text("/api/reports/daily/2026-06-01"));
  assert.match((await run("alerts", ...at)).stdout, /warning\s+hall\/press\/temp\s+high 12/);
  assert.match((await run("agents", ...at)).stdout, /gateway-1\s+connected\s+\S+\s+1\s+1\s+120/);
  assert.match((await run("thresholds", "train", "--days", "3", "--note", "first", ...at)).stdout, /2\s+draft.*first/s);
  assert.match((await run("thresholds", "publish", "2", ...at)).stdout, /2\s+published/);
  const missing = await run("thresholds", "publish", "9", ...at);
  assert.is(missing.code, 1);
  assert.match(missing.stderr, /There is no threshold version 9/);
  await agent.process.stop();
  await aggregator.process.stop();
  const away = await run("agents", ...at);
  assert.is(away.code, 1);
  assert.match(away.stderr, /No aggregator at http/);
});
