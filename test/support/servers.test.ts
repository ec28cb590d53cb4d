import { readFileSync } from "node:fs";
import { connect, connectAsync } from "mqtt";
import * as assert from "uvu/assert";
import { eventually } from "./eventually.ts";
import { runToEnd } from "./processes.ts";
import { requireServer, startInfluxd, startMosquitto } from "./servers.ts";
import { suite } from "./suite.ts";

const test = suite("servers for tests", { timeoutMs: 60_000 });

if (requireServer("mosquitto")) {
  test("mosquitto answers, keeps its port over a restart, and is gone after a stop", async () => {
    const mosquitto = await startMosquitto();
    const before = mosquitto.pid;
    await (await connectAsync(mosquitto.url)).endAsync();
    await mosquitto.restart();
    assert.is.not(mosquitto.pid, before);
    await (await connectAsync(mosquitto.url)).endAsync();
    await mosquitto.stop();
    assert.is(isAlive(mosquitto.pid), false);
  });

  test("mosquitto keeps a session over a restart with persistence", async () => {
    const mosquitto = await startMosquitto({ persistence: true });
    const session = { clientId: "keeper", clean: false, reconnectPeriod: 0 };
    const first = await connectAsync(mosquitto.url, session);
    await first.subscribeAsync("kept/#", { qos: 1 });
    await first.endAsync();
    await mosquitto.restart();
    const sender = await connectAsync(mosquitto.url);
    await sender.publishAsync("kept/one", "1", { qos: 1 });
    await sender.endAsync();
    const second = connect(mosquitto.url, session);
    const received = new Promise<string>((resolve) =>
      second.once("message", (_, payload) => resolve(payload.toString())),
    );
    assert.is(await received, "1");
    await second.endAsync();
    await mosquitto.stop();
  });

  test("mosquitto says why when its configuration is wrong", async () => {
    try {
      await startMosquitto({ configLines: ["no_such_option 1"] });
      assert.unreachable("it started");
    } catch (error) {
      assert.match((error as Error).message, "no_such_option");
    }
  });
}

if (requireServer("influxd")) {
  test("influxd takes points, and has them after a kill", async () => {
    const influxd = await startInfluxd();
    await influxd.query("CREATE DATABASE d");
    const response = await fetch(`${influxd.url}/write?db=d&precision=ms`, {
      method: "POST",
      body: "m,site=a v=1.5 1000",
    });
    assert.is(response.status, 204);
    await influxd.kill();
    await influxd.restart();
    const answer = await influxd.query("SELECT v FROM m", "d");
    assert.equal(answer.results[0]?.series?.[0]?.values, [[1000, 1.5]]);
    await influxd.stop();
    assert.is(isAlive(influxd.pid), false);
  });
}

test("a test process that ends early takes its servers along", async () => {
  const script = `
    import { startProcess } from "./test/support/processes.ts";
    const child = await startProcess("sleep", ["1000"]);
    console.log("pid " + child.pid);
    process.exit(0);
  `;
  const { stdout } = await runToEnd(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script]);
  const pid = Number(/pid (\d+)/.exec(stdout)?.[1]);
  assert.ok(pid > 0);
  await eventually(() => assert.is(isAlive(pid), false));
});

/** A process that has ended and that nobody has asked about yet (a zombie) is not alive. */
function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}
