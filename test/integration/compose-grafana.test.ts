import { readFileSync } from "node:fs";
import { join } from "node:path";
import { aggregatorSettings } from "@weir/aggregator/settings";
import { INFLUX_MEASUREMENT } from "@weir/aggregator/stores/influx";
import * as assert from "uvu/assert";
import { parse } from "yaml";
import { repositoryRoot } from "../support/repository.ts";
import { requireServer, startInfluxd } from "../support/servers.ts";
import type { TestInfluxd } from "../support/servers.ts";
import { suite } from "../support/suite.ts";

/** Grafana's data source and dashboard: every query of theirs is put to a real InfluxDB. */
const test = suite("Grafana provisioning", { timeoutMs: 60_000 });

interface Dashboard {
  templating: { list: Array<{ name: string; query: string; datasource: { uid: string } }> };
  panels: Array<{ title: string; datasource: { uid: string }; targets: Array<{ query: string }> }>;
}

const read = (path: string): string => readFileSync(join(repositoryRoot, "aggregator/grafana", path), "utf8");
const dashboard = JSON.parse(read("dashboards/weir.json")) as Dashboard;
const [source] = (
  parse(read("provisioning/datasources/weir.yaml")) as {
    datasources: Array<{ uid: string; url: string; type: string; jsonData: { dbName: string; version: string } }>;
  }
).datasources;

test("the data source is the database that compose.yaml gives the aggregator", () => {
  const compose = parse(readFileSync(join(repositoryRoot, "compose.yaml"), "utf8"), { merge: true }) as {
    services: {
      aggregator: { environment: Record<string, string> };
      influxdb: { environment: Record<string, string> };
    };
  };
  const { aggregator, influxdb } = compose.services;
  assert.is(source!.url, aggregator.environment["WEIR_AGGREGATOR_INFLUX_URL"]);
  assert.is(source!.jsonData.dbName, aggregator.environment["WEIR_AGGREGATOR_INFLUX_DATABASE"]);
  assert.is(source!.jsonData.dbName, influxdb.environment["INFLUXDB_DB"]);
  assert.is(source!.jsonData.dbName, aggregatorSettings["influx.database"].default);
});

test("every panel and variable asks this data source", () => {
  const uids = [...dashboard.panels, ...dashboard.templating.list].map(({ datasource }) => datasource.uid);
  assert.ok(uids.length >= 8);
  assert.equal(new Set(uids), new Set([source!.uid]));
});

if (requireServer("influxd")) {
  test("every panel shows the window summaries as they are", async () => {
    const influxd = await startInfluxd();
    await fill(influxd);
    const shown: Record<string, unknown[][]> = {};
    for (const { title, targets } of dashboard.panels) {
      for (const [index, { query }] of targets.entries()) {
        const { results } = await influxd.query(
          fillIn(query, { site: "plant-1", device: "pump-1", metric: "pressure" }),
          "d",
        );
        shown[`${title} ${index}`] = (results[0]?.series ?? []).flatMap(({ values }) =>
          values.map(([, value]) => [value]),
        );
      }
    }
    assert.equal(shown, {
      // (1 × 10 + 3 × 20) / 4, not the mean of the means.
      "Mean 0": [[17.5]],
      "Lowest and highest 0": [[8]],
      "Lowest and highest 1": [[25]],
      "Breaches 0": [[3]],
      "Readings 0": [[4]],
      "Change within a window 0": [[1]],
    });
    await influxd.stop();
  });

  test("the variables offer what is there, each within the ones before", async () => {
    const influxd = await startInfluxd();
    await fill(influxd);
    const offered: Record<string, unknown[]> = {};
    const chosen: Record<string, string> = {};
    for (const { name, query } of dashboard.templating.list) {
      const { results } = await influxd.query(fillIn(query, chosen), "d");
      offered[name] = (results[0]?.series?.[0]?.values ?? []).map(([, value]) => value);
      chosen[name] = String(offered[name].at(-1));
    }
    assert.equal(offered, { site: ["plant-1", "plant-2"], device: ["fan-1"], metric: ["speed"] });
    await influxd.stop();
  });
}

/** Two windows of one series within one step of the charts, and a series of another site. */
async function fill(influxd: TestInfluxd): Promise<void> {
  await influxd.query("CREATE DATABASE d");
  const points = [
    "site=plant-1,device=pump-1,metric=pressure count=1i,min=10,max=10,mean=10,first=10,last=10,breaches=1i 60000",
    "site=plant-1,device=pump-1,metric=pressure count=3i,min=8,max=25,mean=20,first=18,last=20,breaches=2i 120000",
    "site=plant-2,device=fan-1,metric=speed count=9i,min=1,max=1,mean=1,first=1,last=1,breaches=0i 60000",
  ];
  const body = points.map((point) => `${INFLUX_MEASUREMENT},${point}`).join("\n");
  const response = await fetch(`${influxd.url}/write?db=d&precision=ms`, { method: "POST", body });
  assert.is(response.status, 204, await response.text());
}

/** As Grafana fills in a query: the variables, the dashboard's time range, and the step of its charts. */
function fillIn(query: string, variables: Readonly<Record<string, string>>): string {
  const filled = Object.entries(variables).reduce((text, [name, value]) => text.replaceAll(`$${name}`, value), query);
  return filled.replaceAll("$timeFilter", "time >= 0 AND time < 3600000ms").replaceAll("$__interval", "1h");
}
