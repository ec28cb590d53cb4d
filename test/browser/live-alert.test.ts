import { writeFileSync } from "node:fs";
import { join } from "node:path";
import mqtt from "mqtt";
import * as assert from "uvu/assert";
import { launchChromium } from "../support/chromium.ts";
import { startAgent, startAggregator } from "../support/pipeline-processes.ts";
import { runToEnd } from "../support/processes.ts";
import { repositoryRoot } from "../support/repository.ts";
import { requireServer } from "../support/servers.ts";
import { suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";

const test = suite("a live alert on the dashboard", { timeoutMs: 90_000 });

if (requireServer("chromium")) {
  test("arrives without reload, can be acknowledged, and stays acknowledged after reload", async () => {
    const build = await runToEnd("npx", ["tsc", "-b", "aggregator/web"], { cwd: repositoryRoot });
    assert.is(build.code, 0, build.stdout);
    const rules = join(tempFolder(), "rules.json");
    writeFileSync(rules, JSON.stringify({ rules: [{ match: {}, band: { warningHigh: 80, criticalHigh: 95 } }] }));
    const aggregator = await startAggregator({ "thresholds.initial_file": rules });
    const agent = await startAgent({ "uplink.url": aggregator.uplinkUrl });
    const device = await mqtt.connectAsync(`mqtt://127.0.0.1:${agent.mqttPort}`);
    const send = (value: number): Promise<unknown> =>
      device.publishAsync("sensors/plant/oven-1/temperature", JSON.stringify({ ts: Date.now(), value }), { qos: 1 });
    await send(70);

    const browser = await launchChromium();
    const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
    const problems: string[] = [];
    page.on("pageerror", (error) => problems.push(error.message));
    page.on("console", (message) => {
      if (message.type() === "error") problems.push(message.text());
    });
    await page.goto(aggregator.url);
    await page.locator('[data-testid="connection"][data-state="live"]').waitFor();
    assert.is(await page.getByTestId("alert-row").count(), 0);
    await page.evaluate(() => Object.assign(window, { loadedOnce: true }));

    await send(99.5);
    const row = page.getByTestId("alert-row").first();
    await row.waitFor();
    assert.match(await row.innerText(), /oven-1/);
    assert.match(await row.innerText(), /99\.5/);
    assert.is(await page.evaluate(() => "loadedOnce" in window), true, "the page was not reloaded");

    await row.getByTestId("ack-button").click();
    await row.getByTestId("acked").waitFor();
    assert.ok((await aggregator.alerts())[0]!.ackedBy);
    await page.reload();
    await page.getByTestId("alert-row").first().getByTestId("acked").waitFor();
    assert.is(await page.getByTestId("ack-button").count(), 0);

    await page.goto(`${aggregator.url}/#/devices/plant/oven-1`);
    await page.getByTestId("chart").first().waitFor();
    assert.equal(problems, []);
    await browser.close();
    await device.endAsync();
    await agent.process.stop();
    await aggregator.process.stop();
  });
}
