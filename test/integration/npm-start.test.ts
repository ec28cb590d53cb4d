import { join } from "node:path";
import * as assert from "uvu/assert";
import type { AgentView } from "@weir/aggregator/queries";
import type { AlertView } from "@weir/shared/model/alert";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/ports.ts";
import { runToEnd, startProcess } from "../support/processes.ts";
import { repositoryRoot } from "../support/repository.ts";
import { suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";

const test = suite("npm start", { timeoutMs: 120_000 });

test("shows an alert within a minute, stops cleanly on Ctrl-C, and its day's report can be replayed", async () => {
  const [port, mqttPort, data] = [await freePort(), await freePort(), tempFolder("weir-demo-")];
  const env = { PORT: String(port), MQTT_PORT: String(mqttPort), WEIR_DATA: data };
  const demo = await startProcess("npm", ["start"], { env: { ...env, WEIR_SIM_FAULTS_FIRST_AFTER: "3s" } });
  await demo.waitForOutput(new RegExp(`http://127\\.0\\.0\\.1:${port}`), { timeoutMs: 60_000 });
  const url = `http://127.0.0.1:${port}`;
  const alerts = await eventually(
    async () => {
      const list = (await (await fetch(`${url}/api/alerts`)).json()) as AlertView[];
      assert.ok(list.length > 0, "no alert yet");
      return list;
    },
    { timeoutMs: 60_000, intervalMs: 250 },
  );
  assert.is(alerts[0]!.state, "firing");
  const before = (await (await fetch(`${url}/api/agents`)).json()) as AgentView[];
  assert.ok(before[0]!.connected);
  demo.signal("SIGINT");
  assert.is((await demo.ended).code, 0, demo.stderr());
  assert.match(demo.stdout(), /Acknowledged (\d+) of \1; 0 missing/);

  // Started again without the fleet, on the same data: what was there is there, live as by replay.
  const again = await startProcess("npm", ["start"], { env: { ...env, SIM: "off" } });
  await again.waitForOutput(new RegExp(`http://127\\.0\\.0\\.1:${port}`), { timeoutMs: 60_000 });
  const day = new Date(alerts[0]!.startedAtMs).toISOString().slice(0, 10);
  const main = join(repositoryRoot, "agent", "dist", "main.js");
  // The day goes on: what is expected of it moves with each clock tick, which takes a moment to the aggregator.
  await eventually(
    async () => {
      const replay = await runToEnd(process.execPath, [
        main,
        "replay",
        "--day",
        day,
        "--data.dir",
        join(data, "agent"),
      ]);
      assert.match(replay.stdout, '"day"');
      assert.is(await (await fetch(`${url}/api/reports/daily/${day}`)).text(), replay.stdout);
      assert.is(await (await fetch(`${url}/api/reports/daily/${day}?recompute=1`)).text(), replay.stdout);
    },
    { timeoutMs: 30_000, intervalMs: 250 },
  );
  again.signal("SIGTERM");
  assert.is((await again.ended).code, 0);
});

test("a port in use is one clear sentence", async () => {
  const [port, mqttPort, data] = [await freePort(), await freePort(), tempFolder("weir-demo-")];
  const env = { PORT: String(port), MQTT_PORT: String(mqttPort), WEIR_DATA: data, SIM: "off" };
  const demo = await startProcess("npm", ["start"], { env });
  await demo.waitForOutput(/Weir is running/, { timeoutMs: 60_000 });
  const second = await runToEnd("npm", ["start"], { env });
  assert.is(second.code, 1);
  assert.match(second.stderr, new RegExp(`Port ${port} .* is in use`));
  assert.match(second.stderr, /PORT=/);
  demo.signal("SIGTERM");
  await demo.ended;
});
