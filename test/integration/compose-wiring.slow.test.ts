import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { parse } from "yaml";
import type { AgentView } from "@weir/aggregator/queries";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/ports.ts";
import type { TestProcess } from "../support/processes.ts";
import { runToEnd, startWeir } from "../support/processes.ts";
import { repositoryRoot } from "../support/repository.ts";
import { requireServer, startInfluxd, startMosquitto } from "../support/servers.ts";
import { suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";

/**
 * The wiring of compose.yaml on Debian's servers: its environments and files, with the names of its network and its
 * paths put in their place.
 */
const test = suite("compose wiring", { timeoutMs: 120_000 });

interface Compose {
  readonly services: Readonly<Record<string, { readonly environment?: Readonly<Record<string, string>> }>>;
}

const PASSWORD = "a password";
const TOKEN = "a token";

if (requireServer("mosquitto") && requireServer("influxd")) {
  test("sim to broker to agent to aggregator to InfluxDB, with token and password", async () => {
    const [mosquitto, influxd, folder] = [await startMosquitto(), await startInfluxd(), tempFolder("weir-compose-")];
    const [httpPort, mqttPort] = [await freePort(), await freePort()];
    const limits = await runToEnd(process.execPath, [
      join(repositoryRoot, "firmware-sim", "dist", "main.js"),
      "limits",
    ]);
    writeFileSync(join(folder, "initial-thresholds.json"), limits.stdout);
    const places: ReadonlyArray<readonly [string | RegExp, string]> = [
      ["mqtt://mosquitto:1883", mosquitto.url],
      ["http://influxdb:8086", influxd.url],
      ["ws://aggregator:8080", `ws://127.0.0.1:${httpPort}`],
      ["/etc/weir/limits", folder],
      ["/var/lib/weir", folder],
      [/\$\{WEIR_PASSWORD:[^}]*\}/, PASSWORD],
      [/\$\{WEIR_UPLINK_TOKEN:[^}]*\}/, TOKEN],
      [/\$\{WEIR_TIMEZONE:-([^}]*)\}/, "$1"],
    ];
    const here = (text: string): string => places.reduce((result, [name, place]) => result.replace(name, place), text);
    const compose = parse(readFileSync(join(repositoryRoot, "compose.yaml"), "utf8"), { merge: true }) as Compose;
    const start = (
      program: "agent" | "aggregator" | "firmware-sim",
      args: readonly string[],
      moved = {},
    ): Promise<TestProcess> => {
      const service = program === "firmware-sim" ? "sim" : program;
      const given = Object.entries(compose.services[service]?.environment ?? {});
      const env = { ...Object.fromEntries(given.map(([name, value]) => [name, here(value)])), ...moved };
      return startWeir(program, args, { env, from: "dist" });
    };

    const aggregator = await start("aggregator", ["run"], { WEIR_AGGREGATOR_HTTP_PORT: String(httpPort) });
    await aggregator.waitForOutput(/Dashboard and API/);
    const file = join(folder, "agent.toml");
    writeFileSync(file, here(readFileSync(join(repositoryRoot, "agent", "compose", "agent.toml"), "utf8")));
    const agent = await start("agent", ["run", "-c", file], { WEIR_AGENT_LISTEN_PORT: String(mqttPort) });
    await agent.waitForOutput(/Connected to the aggregator/);
    await eventually(() => assert.match(mosquitto.log(), /weir-compose-1/));
    const sim = await start("firmware-sim", ["run"]);

    const url = `http://127.0.0.1:${httpPort}`;
    assert.is((await fetch(`${url}/api/agents`)).status, 401);
    const authorization = `Basic ${Buffer.from(`weir:${PASSWORD}`).toString("base64")}`;
    await eventually(
      async () => {
        const agents = (await (await fetch(`${url}/api/agents`, { headers: { authorization } })).json()) as AgentView[];
        assert.is(agents[0]?.agent, "compose");
        assert.ok(agents[0]!.ledger.stored > 0);
        const answer = await influxd.query("SELECT count(mean) FROM readings", "weir");
        assert.ok(Number(answer.results[0]?.series?.[0]?.values[0]?.[1] ?? 0) >= 39, "every series has a point");
      },
      { timeoutMs: 40_000, intervalMs: 250 },
    );
    for (const process of [sim, agent, aggregator]) assert.is((await process.stop()).code, 0);
    await mosquitto.stop();
    await influxd.stop();
  });
}
