import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DEVICE_KINDS } from "@weir/firmware-sim/catalog";
import type { Limits } from "@weir/firmware-sim/catalog";
import type { TruthLine } from "@weir/firmware-sim/truth";
import type { BandRule } from "@weir/shared/model/thresholds";
import * as assert from "uvu/assert";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/ports.ts";
import { runToEnd, startWeir, sourceFlags } from "../support/processes.ts";
import type { ProcessEnd } from "../support/processes.ts";
import { repositoryRoot } from "../support/repository.ts";
import { requireServer, startMosquitto } from "../support/servers.ts";
import type { TestServer } from "../support/servers.ts";
import { suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";
import { keepEverything, subscribeAll } from "./subscriber.ts";
import type { Arrival, Subscriber } from "./subscriber.ts";

const test = suite("weir-sim run", { timeoutMs: 60_000 });

interface JsonSummary {
  messages: number;
  readings: number;
  acknowledged: number | null;
  missing: number;
  duplicates: number;
  resent: number;
  reconnects: number;
  faults: number;
  unsent: number;
}

function runSim(
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<ProcessEnd & { stdout: string; stderr: string }> {
  const main = join(repositoryRoot, "firmware-sim", "src", "main.ts");
  return runToEnd(process.execPath, [...sourceFlags, main, ...args], { env });
}

async function summaryOf(args: readonly string[]): Promise<JsonSummary> {
  const { code, stdout, stderr } = await runSim([...args, "--json"]);
  assert.is(code, 0, stderr);
  return JSON.parse(stdout) as JsonSummary;
}

let openServer: TestServer | undefined;
let openSubscriber: Subscriber | undefined;

async function startBroker(persistence: boolean = false): Promise<{ server: TestServer; subscriber: Subscriber }> {
  const server = await startMosquitto({ configLines: keepEverything, persistence });
  const subscriber = await subscribeAll(server.url);
  openServer = server;
  openSubscriber = subscriber;
  return { server, subscriber };
}

test.after.each(async () => {
  await openSubscriber?.close();
  await openServer?.stop();
  openSubscriber = undefined;
  openServer = undefined;
});

function timesSeen(messages: Subscriber["messages"]): Map<string, number> {
  const seen = new Map<string, number>();
  for (const { topic, payload } of messages)
    seen.set(`${topic} ${payload}`, (seen.get(`${topic} ${payload}`) ?? 0) + 1);
  return seen;
}

test("bad settings are reported all at once, each with its place, and exit 2", async () => {
  const file = join(tempFolder(), "sim.toml");
  writeFileSync(file, "[fleet]\ndevices = 12\nrat = 5\n\n[mqtt]\nqos = 3\n");
  const { code, stderr } = await runSim(["run", "-c", file, "--fleet.topic", "a/{plant}"], {
    WEIR_SIM_FLEET_SEED: "many",
  });
  assert.is(code, 2);
  for (const part of [
    `${file}:3: unknown setting fleet.rat`,
    `${file}:6: mqtt.qos`,
    "WEIR_SIM_FLEET_SEED: ",
    "{plant}",
  ]) {
    assert.ok(stderr.includes(part), `${part} is not in\n${stderr}`);
  }
});

test("settings that do not go together are reported, and exit 2", async () => {
  const { code, stderr } = await runSim([
    "--fleet.rate",
    "100000",
    "--fleet.payload",
    "number",
    "--fleet.topic",
    "x/{device}",
  ]);
  assert.is(code, 2);
  assert.match(stderr, /fleet\.rate must be at most 19500/);
  assert.match(stderr, /fleet\.payload number needs \{metric\}/);
});

test("help and limits need no server", async () => {
  const help = await runSim(["--help"]);
  assert.is(help.code, 0);
  assert.match(help.stdout, /replay/);
  const limits = await runSim(["limits", "--fleet.devices", "10", "--fleet.rate", "64"]);
  const { rules } = JSON.parse(limits.stdout) as { rules: BandRule[] };
  assert.is(
    rules.length,
    DEVICE_KINDS.reduce((sum, kind) => sum + kind.metrics.length, 0),
  );
  assert.is(rules[0]?.band.intervalMs, 500);
});

test("gives up with a word about it when there is no server", async () => {
  const url = `mqtt://127.0.0.1:${await freePort()}`;
  const { code, stderr } = await runSim(["run", "--mqtt.url", url, "--mqtt.connect_timeout", "500ms"]);
  assert.is(code, 1);
  assert.match(stderr, /Not connected to .* within mqtt\.connect_timeout = 500 ms: .*ECONNREFUSED/);
});

if (requireServer("mosquitto")) {
  for (const [qos, protocol] of [
    [0, 4],
    [1, 4],
    [1, 5],
    [2, 4],
  ] as const) {
    test(`every reading arrives once with QoS ${qos} and protocol ${protocol}`, async () => {
      const { server, subscriber } = await startBroker();
      const flags = ["--mqtt.qos", `${qos}`, "--mqtt.protocol", `${protocol}`, "--mqtt.connections", "3"];
      const rate = ["--fleet.count", "2000", "--fleet.rate", "4000"];
      const summary = await summaryOf(["run", "--mqtt.url", server.url, ...flags, ...rate]);
      assert.is(summary.readings, 2000);
      assert.is(summary.messages, 2000);
      assert.is(summary.acknowledged, qos === 0 ? null : 2000);
      await eventually(() => assert.is(subscriber.messages.length, 2000));
      assert.is(timesSeen(subscriber.messages).size, 2000);
    });
  }

  test("every message arrives twice when duplicated, packed messages count their readings", async () => {
    const { server, subscriber } = await startBroker();
    const flags = ["--fleet.duplicate", "1", "--fleet.readings_per_message", "7", "--fleet.jitter", "3ms"];
    const rate = ["--fleet.count", "1000", "--fleet.rate", "4000"];
    const summary = await summaryOf(["run", "--mqtt.url", server.url, ...flags, ...rate]);
    assert.is(summary.readings, 1000);
    assert.is(summary.duplicates, summary.messages / 2);
    assert.is(summary.acknowledged, summary.messages);
    await eventually(() => assert.is(subscriber.messages.length, summary.messages));
    const seen = timesSeen(subscriber.messages);
    assert.ok([...seen.values()].every((times) => times === 2));
    assert.is(subscriber.readings().length, 2000);
    assert.is(seen.size, Math.ceil(1000 / 7));
  });

  test("messages held back arrive late, and none is missing", async () => {
    const { server, subscriber } = await startBroker();
    const late = ["--fleet.out_of_order", "0.3", "--fleet.out_of_order_by", "300ms", "--faults.enabled", "off"];
    const summary = await summaryOf([
      "run",
      "--mqtt.url",
      server.url,
      ...late,
      "--fleet.rate",
      "1000",
      "--fleet.count",
      "1500",
    ]);
    assert.is(summary.readings, 1500);
    assert.is(summary.unsent, 0);
    await eventually(() => assert.is(subscriber.messages.length, 1500));
    const times = subscriber.readings().map(({ tsMs }) => tsMs);
    const outOfOrder = times.filter((tsMs, i) => i > 0 && tsMs < times[i - 1]!).length;
    assert.ok(outOfOrder > 150, `${outOfOrder} of ${times.length} are out of order`);
    assert.is(timesSeen(subscriber.messages).size, 1500);
  });

  test("SIGTERM drains and exits 0", async () => {
    const { server, subscriber } = await startBroker();
    const sim = await startWeir("firmware-sim", ["run", "--mqtt.url", server.url, "--fleet.rate", "2000", "--json"]);
    await eventually(() => assert.ok(subscriber.messages.length > 200));
    const { code } = await sim.stop();
    assert.is(code, 0, sim.stderr());
    const summary = JSON.parse(sim.stdout()) as JsonSummary;
    assert.is(summary.missing, 0);
    assert.is(summary.acknowledged, summary.messages);
    await eventually(() => assert.is(subscriber.messages.length, summary.messages));
  });

  test("loses no reading when the server restarts in the middle", async () => {
    const { server, subscriber } = await startBroker(true);
    const args = ["run", "--mqtt.url", server.url, "--fleet.rate", "4000", "--fleet.count", "12000", "--json"];
    const sim = await startWeir("firmware-sim", args);
    await eventually(() => assert.ok(subscriber.messages.length > 1000));
    await server.restart();
    const { code } = await sim.ended;
    assert.is(code, 0, sim.stderr());
    const summary = JSON.parse(sim.stdout()) as JsonSummary;
    assert.is(summary.readings, 12_000);
    assert.is(summary.reconnects, 1);
    assert.is(summary.missing, 0);
    await eventually(() => assert.is(timesSeen(subscriber.messages).size, 12_000));
  });

  test("the ground truth is what the data shows, and nothing else is out of limits", async () => {
    const { server, subscriber } = await startBroker();
    const file = join(tempFolder(), "truth.jsonl");
    // 40 devices, 10 readings a second of each metric, a fault every 4 s of each device.
    const fleet = ["--fleet.devices", "40", "--fleet.rate", "1280", "--fleet.duration", "8s", "--truth.file", file];
    const faults = ["--faults.mean_interval", "4s", "--faults.first_after", "1s"];
    const summary = await summaryOf(["run", "--mqtt.url", server.url, ...fleet, ...faults]);
    await eventually(() => assert.is(subscriber.messages.length, summary.messages));

    const truth = readFileSync(file, "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as TruthLine);
    assert.is(truth.length, summary.faults);
    assert.equal([...new Set(truth.map(({ kind }) => kind))].toSorted(), ["drift", "dropout", "spike", "stuck"]);
    const arrivals = subscriber.readings();
    for (const fault of truth)
      checkShows(
        fault,
        arrivals.filter((arrival) => concerns(fault, arrival)),
      );
    for (const arrival of arrivals) {
      if (truth.some((fault) => concerns(fault, arrival))) continue;
      const { warningLow, warningHigh } = limitsOf(arrival.device, arrival.metric);
      const healthy = arrival.value <= (warningHigh ?? Infinity) && arrival.value >= (warningLow ?? -Infinity);
      assert.ok(healthy, `${arrival.topic} is ${arrival.value} without a fault`);
    }
    checkSilences(arrivals, truth);
  });
}

function concerns(fault: TruthLine, { device, metric, tsMs }: Arrival): boolean {
  const sameSeries = fault.device === device && (fault.metric === "*" || fault.metric === metric);
  return sameSeries && tsMs >= fault.startMs && tsMs < fault.endMs;
}

function limitsOf(device: string, metric: string): Limits {
  const kind = DEVICE_KINDS.find(({ name }) => device.startsWith(`${name}-`))!;
  return kind.metrics.find(({ name }) => name === metric)!.limits;
}

/** shown: the readings of the fault's series within its time. */
function checkShows(fault: TruthLine, shown: readonly Arrival[]): void {
  const what = JSON.stringify(fault);
  if (fault.kind === "dropout") {
    assert.is(shown.length, 0, what);
    return;
  }
  assert.ok(shown.length > 0, what);
  const values = shown.map(({ value }) => value);
  if (fault.kind === "stuck") {
    assert.is(new Set(values).size, 1, what);
    return;
  }
  const { criticalLow, criticalHigh } = limitsOf(fault.device, fault.metric);
  const grownMs = fault.kind === "drift" ? 0.7 * (fault.endMs - fault.startMs) : 0;
  for (const { value, tsMs } of shown) {
    if (tsMs < fault.startMs + grownMs) continue;
    assert.ok(value > (criticalHigh ?? Infinity) || value < (criticalLow ?? -Infinity), `${value} under ${what}`);
  }
}

/** Where a series is silent for longer than its interval, the truth names a dropout. */
function checkSilences(arrivals: readonly Arrival[], truth: readonly TruthLine[]): void {
  const last = new Map<string, number>();
  let silences = 0;
  for (const { topic, device, tsMs } of arrivals) {
    const beforeMs = last.get(topic) ?? tsMs;
    last.set(topic, tsMs);
    if (tsMs - beforeMs <= 101) continue;
    silences++;
    const named = truth.some(
      (fault) =>
        fault.kind === "dropout" &&
        fault.device === device &&
        fault.startMs <= beforeMs + 101 &&
        fault.endMs >= tsMs - 101,
    );
    assert.ok(named, `${topic} is silent from ${beforeMs} to ${tsMs} without a dropout`);
  }
  assert.ok(silences > 0);
}
