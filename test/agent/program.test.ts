import { writeFileSync } from "node:fs";
import { join } from "node:path";
import mqtt from "mqtt";
import * as assert from "uvu/assert";
import { startAgent } from "../support/pipeline-processes.ts";
import type { ProcessEnd } from "../support/processes.ts";
import { runToEnd, sourceFlags } from "../support/processes.ts";
import { repositoryRoot } from "../support/repository.ts";
import { suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";

const test = suite("weir-agent, the program");

const MAIN = join(repositoryRoot, "agent", "src", "main.ts");

function agent(...args: string[]): Promise<ProcessEnd & { stdout: string; stderr: string }> {
  return runToEnd(process.execPath, [...sourceFlags, MAIN, ...args]);
}

test("reports every bad setting at once, each with its line, and exits 2", async () => {
  const file = join(tempFolder(), "agent.toml");
  writeFileSync(file, '[listen]\nport = 99999\nhots = "x"\n\n[[broker]]\nqos = 7\n');
  const end = await agent("run", "-c", file);
  assert.is(end.code, 2);
  assert.match(end.stderr, /agent\.toml:2: listen\.port must be between 0 and 65535, is 99999/);
  assert.match(end.stderr, /agent\.toml:3: unknown setting listen\.hots; did you mean listen\.host\?/);
  assert.match(end.stderr, /agent\.toml:6: qos must be between 0 and 1, is 7/);
});

test("settings that contradict each other are refused by name, exit 2", async () => {
  const folder = tempFolder();
  const nothing = await agent("run", "--listen.enabled", "false", "--data.dir", folder);
  assert.is(nothing.code, 2);
  assert.match(nothing.stderr, /Nothing to take readings from/);
  const window = await agent("run", "--window.length", "7m", "--data.dir", folder);
  assert.is(window.code, 2);
  assert.match(window.stderr, /window\.length/);
});

test("replay and status say what is missing rather than make a file", async () => {
  const folder = tempFolder();
  for (const args of [["replay", "--day", "2026-01-01"], ["status"]]) {
    const end = await agent(...args, "--data.dir", folder);
    assert.is(end.code, 1);
    assert.match(end.stderr, /Cannot open .*agent\.db: check data\.dir/);
  }
  assert.is((await agent("replay", "--data.dir", folder)).code, 2);
});

test("a second agent on the same data is refused, a replay beside the first is not", async () => {
  const running = await startAgent({});
  const second = await agent("run", "--data.dir", running.folder, "--listen.port", "0");
  assert.is(second.code, 1);
  assert.match(second.stderr, /Another agent is running on .*: stop it, or set data\.dir/);
  const status = await agent("status", "--data.dir", running.folder);
  assert.is(status.code, 0, status.stderr);
  running.process.signal("SIGKILL");
  await running.process.ended;
  const again = await running.again();
  assert.is((await again.process.stop()).code, 0);
});

test("a device whose password is not in the file is refused, one whose is gets in", async () => {
  const folder = tempFolder();
  const hashed = await runToEnd("sh", [
    "-c",
    `echo right | ${process.execPath} --import tsx --conditions=source ${MAIN} password press`,
  ]);
  const file = join(folder, "passwords");
  writeFileSync(file, hashed.stdout);
  const running = await startAgent({ "listen.anonymous": "false", "listen.password_file": file });
  const url = `mqtt://127.0.0.1:${running.mqttPort}`;
  const connect = (password: string): Promise<mqtt.MqttClient> =>
    mqtt.connectAsync(url, { username: "press", password, reconnectPeriod: 0, connectTimeout: 5000 }, false);
  await connect("wrong").then(
    () => assert.unreachable("let in with a wrong password"),
    (error: unknown) => assert.match(String(error), /Connection refused/),
  );
  await (await connect("right")).endAsync();
  await running.process.stop();
});
