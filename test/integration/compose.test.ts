import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { agentEnvPrefix, agentSections, agentSettings } from "@weir/agent/settings";
import { aggregatorEnvPrefix, aggregatorSettings } from "@weir/aggregator/settings";
import { simEnvPrefix, simSettings } from "@weir/firmware-sim/settings";
import { loadSettings } from "@weir/shared/config/settings";
import type { SectionsTable, SettingsTable } from "@weir/shared/config/settings";
import * as assert from "uvu/assert";
import { parse } from "yaml";
import { runToEnd } from "../support/processes.ts";
import { repositoryRoot } from "../support/repository.ts";
import { requireServer, startMosquitto } from "../support/servers.ts";
import { suite } from "../support/suite.ts";

/** compose.yaml and the Dockerfiles against the programs and files they speak of; no container is started. */
const test = suite("compose.yaml", { timeoutMs: 60_000 });

interface Service {
  image: string;
  build?: { context: string; dockerfile: string };
  command?: string[];
  environment?: Record<string, string>;
  volumes?: string[];
  ports?: string[];
  depends_on?: Record<string, { condition: string }>;
  healthcheck?: { test: string[] };
  restart: string;
  deploy?: { resources?: { limits?: { cpus?: string; memory?: string } } };
  logging?: { options?: Record<string, string> };
}

interface Program {
  table: SettingsTable;
  sections: SectionsTable;
  envPrefix: string;
}

const PROGRAMS: Readonly<Record<string, Program>> = {
  "agent/Dockerfile": { table: agentSettings, sections: agentSections, envPrefix: agentEnvPrefix },
  "aggregator/Dockerfile": { table: aggregatorSettings, sections: {}, envPrefix: aggregatorEnvPrefix },
  "firmware-sim/Dockerfile": { table: simSettings, sections: {}, envPrefix: simEnvPrefix },
};
/** What the person who starts it has to say. */
const VARIABLES: Readonly<Record<string, string>> = { WEIR_PASSWORD: "p", WEIR_UPLINK_TOKEN: "t" };

const read = (path: string): string => readFileSync(join(repositoryRoot, path), "utf8");
const composeFile = parse(read("compose.yaml"), { merge: true }) as {
  services: Record<string, Service>;
  volumes: Record<string, unknown>;
};
const services = Object.entries(composeFile.services);

/** A value of compose.yaml with its ${VARIABLES} filled in. Throws on one that has neither value nor default. */
function fillIn(value: string): string {
  return value.replace(/\$\{(\w+)(?::([-?])([^}]*))?\}/g, (_, name: string, kind: string | undefined, text: string) => {
    const given = VARIABLES[name];
    if (given !== undefined) return given;
    if (kind === "-") return text;
    throw new Error(`compose.yaml asks for ${name}, which nobody is told to set`);
  });
}

function environment(service: Service): Record<string, string> {
  return Object.fromEntries(Object.entries(service.environment ?? {}).map(([name, value]) => [name, fillIn(value)]));
}

/** The settings of one of our services as its program would read them, problems included. */
function settingsOf(service: Service): ReturnType<typeof loadSettings> {
  const { table, sections, envPrefix } = PROGRAMS[service.build!.dockerfile]!;
  const configAt = service.command?.indexOf("-c") ?? -1;
  const inside = configAt < 0 ? undefined : service.command![configAt + 1]!;
  const mount = bindMounts(service).find(({ target }) => target === inside);
  if (inside !== undefined && mount === undefined) throw new Error(`${inside} is not mounted`);
  const file = mount === undefined ? {} : { file: { name: mount.source, text: read(mount.source) } };
  return loadSettings(table, sections, { ...file, env: environment(service), envPrefix });
}

function bindMounts(service: Service): Array<{ source: string; target: string }> {
  return (service.volumes ?? [])
    .map((volume) => volume.split(":"))
    .filter(([source]) => source!.startsWith("."))
    .map(([source, target]) => ({ source: source!, target: target! }));
}

test("every setting in the environment or a file is one its program knows, with a value it takes", () => {
  const ours = services.filter(([, { build }]) => build !== undefined);
  assert.equal(ours.map(([name]) => name).toSorted(), ["agent", "aggregator", "limits", "sim"]);
  for (const [name, service] of ours) {
    assert.equal(settingsOf(service).problems, [], name);
    const strangers = Object.keys(environment(service)).filter(
      (variable) => !variable.startsWith(PROGRAMS[service.build!.dockerfile]!.envPrefix),
    );
    assert.equal(strangers, [], name);
  }
});

test("the parts find each other", () => {
  const { agent, aggregator, sim } = composeFile.services as Record<"agent" | "aggregator" | "sim", Service>;
  const agentValues = settingsOf(agent).values;
  const aggregatorValues = settingsOf(aggregator).values;
  const uplink = new URL(String(agentValues["uplink.url"]));
  assert.is(uplink.hostname, "aggregator");
  assert.is(uplink.port, String(aggregatorValues["http.port"]));
  assert.is(agentValues["uplink.token"], "t");
  assert.is(aggregatorValues["uplink.token"], "t");
  const broker = settingsOf(agent).sections["broker"]![0]!;
  for (const url of [String(broker["url"]), String(settingsOf(sim).values["mqtt.url"])]) {
    assert.is(new URL(url).hostname, "mosquitto");
    assert.match(read("agent/compose/mosquitto.conf"), new RegExp(`^listener ${new URL(url).port}$`, "m"));
  }
  assert.is(new URL(String(aggregatorValues["influx.url"])).hostname, "influxdb");
});

test("what listens beyond loopback asks for a password and a token", () => {
  const { values } = settingsOf(composeFile.services["aggregator"]!);
  assert.is(values["http.host"], "0.0.0.0");
  assert.is(values["http.password"], "p");
  assert.is(values["uplink.token"], "t");
  for (const secret of ["WEIR_PASSWORD", "WEIR_UPLINK_TOKEN"]) {
    assert.not.match(read("compose.yaml"), new RegExp(`\\$\\{${secret}(?!:\\?)`), `${secret} must have no default`);
  }
});

test("ports are published on this machine only, and none twice", () => {
  const published = services.flatMap(([, { ports }]) => ports ?? []);
  for (const port of published) assert.match(port, /^127\.0\.0\.1:\d+:\d+$/);
  const hostPorts = published.map((port) => port.split(":")[1]);
  assert.is(new Set(hostPorts).size, hostPorts.length);
});

test("published ports are the ones the programs listen on", () => {
  const containerPort = (name: string): string => composeFile.services[name]!.ports![0]!.split(":")[2]!;
  const { agent, aggregator } = composeFile.services as Record<"agent" | "aggregator", Service>;
  assert.is(containerPort("aggregator"), String(settingsOf(aggregator).values["http.port"]));
  assert.is(containerPort("agent"), String(settingsOf(agent).values["listen.port"]));
  for (const [workspace, name] of [
    ["agent", "agent"],
    ["aggregator", "aggregator"],
  ] as const) {
    assert.match(read(`${workspace}/Dockerfile`), `EXPOSE ${containerPort(name)}\n`);
    assert.match(read(`${workspace}/compose/healthcheck.mjs`), containerPort(name));
  }
});

test("files that are mounted or built from exist; volumes are declared, and all of them used", () => {
  const used = new Set<string>();
  for (const [name, service] of services) {
    for (const { source } of bindMounts(service)) {
      assert.ok(existsSync(join(repositoryRoot, source)), `${name} mounts ${source}`);
    }
    for (const volume of service.volumes ?? []) if (!volume.startsWith(".")) used.add(volume.split(":")[0]!);
    if (service.build === undefined) continue;
    assert.is(service.build.context, ".");
    assert.ok(existsSync(join(repositoryRoot, service.build.dockerfile)), service.build.dockerfile);
  }
  assert.equal([...used].toSorted(), Object.keys(composeFile.volumes).toSorted());
});

test("images are pinned to a version", () => {
  for (const [name, { image }] of services) assert.match(image, /:\d+\.\d+\.\d+$/, name);
  const { version } = JSON.parse(read("package.json")) as { version: string };
  for (const [name, { build, image }] of services)
    if (build !== undefined) assert.ok(image.endsWith(`:${version}`), name);
});

test("services are bounded, restart, and wait only for what can tell that it is ready", () => {
  for (const [name, service] of services) {
    const { cpus, memory } = service.deploy?.resources?.limits ?? {};
    assert.ok(cpus !== undefined && memory !== undefined, `${name} has no bound`);
    assert.ok(service.logging?.options?.["max-size"] !== undefined, `the log of ${name} has no bound`);
    assert.is(service.restart, name === "limits" ? "no" : "unless-stopped", name);
    for (const [other, { condition }] of Object.entries(service.depends_on ?? {})) {
      const dependency = composeFile.services[other];
      assert.ok(dependency !== undefined, `${name} waits for ${other}, which is not there`);
      if (condition === "service_healthy")
        assert.ok(dependency.healthcheck !== undefined, `${other} has no health check`);
    }
  }
});

for (const dockerfile of Object.keys(PROGRAMS)) {
  test(`${dockerfile} copies files that are there, runs as nobody special, and stays on a Node we support`, () => {
    const lines = read(dockerfile).replaceAll("\\\n", " ").split("\n");
    const from = lines.filter((line) => line.startsWith("FROM "));
    assert.is(from.length, 2);
    for (const line of from) assert.match(line, /^FROM node:22-bookworm-slim\b/);
    const sources = lines
      .filter((line) => line.startsWith("COPY ") && !line.includes("--from="))
      .flatMap((line) => line.split(/\s+/).slice(1, -1));
    const missing = sources.filter((source) => !existsSync(join(repositoryRoot, source)));
    assert.equal(missing, []);
    const admitted = read(".dockerignore")
      .split("\n")
      .filter((line) => line.startsWith("!"))
      .map((line) => line.slice(1));
    const shutOut = sources.filter(
      (source) => !admitted.some((path) => source === path || source.startsWith(`${path}/`)),
    );
    assert.equal(shutOut, [], ".dockerignore keeps them from the build");
    assert.is(lines.filter((line) => line === "USER node").length, 1);
  });
}

if (requireServer("mosquitto")) {
  test("the broker takes its configuration", async () => {
    const lines = read("agent/compose/mosquitto.conf").split("\n");
    // The support server brings its own listener and folder.
    const configLines = lines.filter((line) => !/^(?:listener|allow_anonymous|persistence(?:_location)?) /.test(line));
    const mosquitto = await startMosquitto({ configLines, persistence: true });
    await mosquitto.stop();
  });
}

// Docker has no part in the tests otherwise; where its compose plugin is at hand, it has its say too.
const plugin = await runToEnd("docker", ["compose", "version"]).catch(() => undefined);
if (plugin?.code === 0) {
  test("docker compose accepts the file", async () => {
    const { code, stderr } = await runToEnd("docker", ["compose", "config", "--quiet"], { env: VARIABLES });
    assert.is(code, 0, stderr);
  });
}
