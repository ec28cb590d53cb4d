import { readFileSync } from "node:fs";
import { join } from "node:path";
import { countSeries, createDevices } from "@weir/firmware-sim/fleet";
import { fleetProblems, intervalMs, simEnvPrefix, simSettings } from "@weir/firmware-sim/settings";
import type { SimSettings } from "@weir/firmware-sim/settings";
import { loadSettings, settingsReference } from "@weir/shared/config/settings";
import * as assert from "uvu/assert";
import { repositoryRoot } from "../support/repository.ts";
import { suite } from "../support/suite.ts";

const test = suite("firmware-sim settings");

function settingsOf(flags: Record<string, string>): SimSettings {
  const { values, problems } = loadSettings(simSettings, {}, { env: {}, flags, envPrefix: simEnvPrefix });
  assert.equal(problems, []);
  return values;
}

function problemsOf(flags: Record<string, string>): string[] {
  return fleetProblems(settingsOf(flags)).map(({ message }) => message);
}

test("the defaults go together, and report each metric once a second", () => {
  assert.equal(problemsOf({}), []);
  assert.is(intervalMs(settingsOf({})), 1000);
});

test("the interval shares the rate among the series", () => {
  for (const devices of [1, 4, 5, 12, 103]) {
    const series = createDevices(1, devices, undefined).reduce((sum, device) => sum + device.signals.length, 0);
    assert.is(countSeries(devices), series);
    const settings = settingsOf({ "fleet.devices": `${devices}`, "fleet.rate": "100" });
    assert.is(intervalMs(settings), series * 10);
  }
});

test("settings that do not go together are named", () => {
  const cases: Array<[Record<string, string>, RegExp]> = [
    [{ "fleet.rate": "19501" }, /fleet\.rate must be at most 19500/],
    [{ "fleet.topic": "sensors/{site}" }, /fleet\.topic needs \{device\}/],
    [{ "fleet.topic": "sensors/{device}/#" }, /fleet\.topic holds a wildcard/],
    [{ "fleet.payload": "number", "fleet.readings_per_message": "2" }, /readings_per_message must be 1/],
    [{ "faults.kinds": "spike,fire" }, /faults\.kinds holds "fire"/],
    [{ "faults.kinds": "" }, /faults\.kinds is empty/],
    [{ "fleet.rate": "1", "faults.mean_interval": "1m" }, /faults\.mean_interval must be at least 312000ms/],
    [{ "fleet.site": "a/b" }, /fleet\.site/],
    [{ "mqtt.cert_file": "c.pem" }, /mqtt\.key_file go together/],
  ];
  for (const [flags, message] of cases) {
    const problems = problemsOf(flags);
    assert.is(problems.length, 1, JSON.stringify(problems));
    assert.match(problems[0] ?? "", message);
  }
  assert.equal(problemsOf({ "fleet.rate": "19500" }), []);
});

test("the readme's table of settings is the one the program has", () => {
  const readme = readFileSync(join(repositoryRoot, "firmware-sim", "README.md"), "utf8");
  const [, table = ""] = readme.split("a test compares -->\n");
  // The formatter pads the columns.
  const plain = (text: string): string => text.trim().replaceAll(/ +/g, " ").replaceAll(/-{3,}/g, "---");
  assert.is(plain(table), plain(settingsReference(simSettings, {}, simEnvPrefix)));
});
