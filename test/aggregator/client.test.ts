import { runClient } from "@weir/aggregator/client";
import { createHttpServer } from "@weir/aggregator/http/server";
import type { HttpServer } from "@weir/aggregator/http/server";
import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";
import { createFakeQueries } from "./http-fake.ts";

const test = suite("aggregator client");

const NOW_MS = Date.parse("2025-06-12T14:00:00Z");

let http: HttpServer;

test.before.each(async () => {
  http = await createHttpServer(createFakeQueries(NOW_MS), { host: "127.0.0.1", port: 0, log: () => {} });
});
test.after.each(() => http.close());

function print(command: string, ...positionals: string[]): Promise<string> {
  const settings = { "http.host": "", "http.port": 0, "http.password": "" } as Parameters<typeof runClient>[3];
  return runClient(command, { url: http.address }, positionals, settings);
}

test("agents says which devices are in quarantine, how far ahead and since when", async () => {
  const lines = (await print("agents")).split("\n");
  assert.match(lines[0]!, /quarantined$/);
  assert.match(lines[2]!, /^gw-leipzig-1 .* 2$/);
  assert.equal(lines.slice(4), [
    "gw-leipzig-1: leipzig/press-02 is in quarantine, clock 52.0 s ahead, 1431 readings refused since 2025-06-12T13:48:00.000Z",
    "gw-leipzig-1: leipzig/press-99 is in quarantine, clock 7260.0 s ahead, 1 reading refused since 2025-06-12T13:48:00.000Z",
  ]);
});

test("alerts tells those held back from those that fire", async () => {
  const states = (await print("alerts"))
    .split("\n")
    .slice(1)
    .map((line) => line.split("  ")[0]);
  assert.is(states.filter((state) => state === "held back").length, 2);
  assert.ok(states.includes("firing"));
});

test("report lists what the newest revision of a day changed", async () => {
  assert.match(await print("report"), /2025-06-10\s+revision 2\s.*2 devices changed: pump-7 readings/);
});
