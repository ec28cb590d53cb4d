import { createHttpServer } from "@weir/aggregator/http/server";
import type { HttpServer, HttpServerOptions } from "@weir/aggregator/http/server";
import { CodedError } from "@weir/shared/errors";
import { canonicalJson } from "@weir/shared/model/canonical-json";
import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";
import type { FakeQueries } from "./http-fake.ts";
import { createFakeQueries, fakeAlert } from "./http-fake.ts";

const NOW_MS = Date.parse("2025-06-12T14:00:00Z");
const DAY_MS = 86_400_000;

/** A day with two revisions in the fake plant. */
const REVISED = "2025-06-10";

const test = suite("aggregator http api");

let queries: FakeQueries;
let http: HttpServer;
let logged: string[];

async function start(options: Partial<HttpServerOptions> = {}): Promise<void> {
  queries = createFakeQueries(NOW_MS);
  logged = [];
  http = await createHttpServer(queries, { host: "127.0.0.1", port: 0, log: (line) => logged.push(line), ...options });
}

test.before.each(() => start());
test.after.each(() => http.close());

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly json: any;
}

async function call(path: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(http.address + path, { redirect: "manual", ...init });
  const text = await response.text();
  const isJson = (response.headers.get("content-type") ?? "").includes("application/json");
  return { status: response.status, headers: response.headers, text, json: isJson ? JSON.parse(text) : undefined };
}

function post(path: string, body?: unknown): Promise<Answer> {
  if (body === undefined) return call(path, { method: "POST" });
  return call(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
}

function assertError(answer: Answer, status: number, code: string, message: RegExp): void {
  assert.is(answer.status, status, answer.text);
  assert.equal(Object.keys(answer.json), ["error"]);
  assert.is(answer.json.error.code, code);
  assert.match(answer.json.error.message, message);
}

test("answers probes", async () => {
  assert.equal((await call("/healthz")).json, { status: "ok" });
  assert.is((await call("/readyz")).status, 200);
  queries.isReady = false;
  assert.is((await call("/readyz")).status, 503);
  assert.is((await call("/healthz")).status, 200);
});

test("adds its own counters to the metrics", async () => {
  const { text, headers } = await call("/metrics");
  assert.match(headers.get("content-type") ?? "", /^text\/plain; version=0.0.4/);
  assert.match(text, /^weir_readings_total 12$/m);
  assert.match(text, /^weir_live_watchers 0$/m);
});

test("lists agents and devices as the queries give them", async () => {
  assert.equal((await call("/api/agents")).json, queries.agents());
  assert.equal((await call("/api/devices")).json, await queries.devices());
  assert.equal((await call("/api/devices/brno/pump-7")).json, queries.device("brno", "pump-7"));
});

test("says which device is not there", async () => {
  assertError(await call("/api/devices/brno/pump%209"), 404, "NOT_FOUND", /brno\/pump 9/);
});

test("answers a series over the day that ends with its newest reading when no range is named", async () => {
  const { json } = await call("/api/series/brno/pump-7/oil_pressure");
  const newestTsMs = queries.device("brno", "pump-7")!.lastTsMs;
  assert.equal(queries.asked, [{ fromMs: newestTsMs + 1 - DAY_MS, toMs: newestTsMs + 1, stepMs: 120_000 }]);
  assert.ok(json.tsMs.length > 0 && json.tsMs.length <= 1000);
  assert.equal(json, queries.series("brno", "pump-7", "oil_pressure", queries.asked[0] as never));
});

test("takes times as ISO 8601 and as milliseconds, steps as durations and as milliseconds", async () => {
  await call("/api/series/brno/pump-7/oil_pressure?from=2025-06-12T12:00:00Z&to=2025-06-12T15:00:00%2B02:00&step=1m");
  const fromMs = Date.parse("2025-06-12T12:00:00Z");
  await call(`/api/series/brno/pump-7/oil_pressure?from=${fromMs}&to=${fromMs + 3_600_000}&step=60000`);
  assert.equal(queries.asked[0], { fromMs, toMs: fromMs + 3_600_000, stepMs: 60_000 });
  assert.equal(queries.asked[1], queries.asked[0]);
});

test("chooses a step that gives at most 1,000 points for any range", async () => {
  for (const rangeMs of [1, 999, 60_000, 900_000, 3_600_000, DAY_MS, 7 * DAY_MS, 400 * DAY_MS, 3650 * DAY_MS]) {
    await call(`/api/series/brno/pump-7/oil_pressure?from=${NOW_MS - rangeMs}&to=${NOW_MS}`);
    const { stepMs } = queries.asked.at(-1) as { stepMs: number };
    assert.ok(Math.ceil(rangeMs / stepMs) + 1 <= 1000, `${rangeMs} ms in steps of ${stepMs} ms`);
  }
});

test("names the parameter of a series that is wrong", async () => {
  const path = "/api/series/brno/pump-7/oil_pressure";
  assertError(await call(`${path}?from=yesterday`), 400, "BAD_PARAMETER", /^from: "yesterday"/);
  assertError(await call(`${path}?to=2025-13-01`), 400, "BAD_PARAMETER", /^to: /);
  assertError(await call(`${path}?from=-5`), 400, "BAD_PARAMETER", /^from: /);
  assertError(await call(`${path}?from=2000&to=1000`), 400, "BAD_PARAMETER", /^from: must be before to/);
  assertError(await call(`${path}?from=0&to=2025-01-01`), 400, "BAD_PARAMETER", /^from: the range is/);
  assertError(await call(`${path}?step=soon`), 400, "BAD_PARAMETER", /^step: "soon"/);
  assertError(await call(`${path}?step=0`), 400, "BAD_PARAMETER", /^step: /);
  assertError(await call(`${path}?step=1s`), 400, "BAD_PARAMETER", /^step: would give 86401 points/);
  assertError(await call(`${path}?stepp=1m`), 400, "BAD_PARAMETER", /^stepp: no such parameter/);
  assertError(await call("/api/series/brno/pump-7/colour"), 404, "NOT_FOUND", /no metric "colour"/);
  assertError(await call("/api/series/brno/none/oil_pressure"), 404, "NOT_FOUND", /brno\/none/);
});

test("filters alerts", async () => {
  const all = (await call("/api/alerts")).json;
  assert.equal(all, queries.alerts({ limit: 200 }));
  const { json } = await call("/api/alerts?state=resolved&site=brno&device=pump-8&limit=2&since=2025-01-01");
  const sinceMs = Date.parse("2025-01-01");
  assert.equal(json, queries.alerts({ state: "resolved", site: "brno", device: "pump-8", sinceMs, limit: 2 }));
  assert.ok(json.length > 0 && json.length < all.length);
});

test("names the parameter of alerts that is wrong", async () => {
  assertError(await call("/api/alerts?state=burning"), 400, "BAD_PARAMETER", /^state: /);
  assertError(await call("/api/alerts?limit=0"), 400, "BAD_PARAMETER", /^limit: /);
  assertError(await call("/api/alerts?limit=1001"), 400, "BAD_PARAMETER", /^limit: /);
  assertError(await call("/api/alerts?limit=many"), 400, "BAD_PARAMETER", /^limit: /);
  assertError(await call("/api/alerts?since=x"), 400, "BAD_PARAMETER", /^since: /);
});

test("acknowledges an alert by its encoded id, and keeps the first name", async () => {
  const alert = fakeAlert(NOW_MS, { site: "50 % süd", device: "a&b?c" });
  queries.push(alert);
  const path = `/api/alerts/${encodeURIComponent(alert.id)}/ack`;
  assert.equal((await post(path, { by: "Anna" })).json, { ...alert, ackedBy: "Anna", ackedAtMs: NOW_MS });
  assert.is((await post(path, { by: "Ben" })).json.ackedBy, "Anna");
});

test("acknowledges without a body, and with the longest id", async () => {
  const name = "ü".repeat(128);
  const alert = fakeAlert(NOW_MS, { site: name, device: name, metric: name });
  queries.push(alert);
  const answer = await post(`/api/alerts/${encodeURIComponent(alert.id)}/ack`);
  assert.is(answer.json.ackedBy, "operator");
});

test("refuses an acknowledgement that makes no sense", async () => {
  const path = `/api/alerts/${encodeURIComponent(queries.alerts({ limit: 1 })[0]!.id)}/ack`;
  assertError(await post("/api/alerts/a%2Fb/ack", {}), 404, "NOT_FOUND", /alert a\/b/);
  assertError(await post(path, { by: "x".repeat(65) }), 400, "BAD_PARAMETER", /^by: /);
  assertError(await post(path, { by: " " }), 400, "BAD_PARAMETER", /^by: is empty/);
  assertError(await post(path, { who: "Anna" }), 400, "BAD_PARAMETER", /^who: no such parameter/);
  const malformed = { method: "POST", headers: { "content-type": "application/json" }, body: "{" };
  assertError(await call(path, malformed), 400, "BAD_REQUEST", /JSON/i);
  const huge = {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify("x".repeat(70_000)),
  };
  assertError(await call(path, huge), 413, "BAD_REQUEST", /large/);
});

test("answers a report as its canonical bytes", async () => {
  assert.equal((await call("/api/reports/daily")).json, queries.reportDays());
  const { text, headers } = await call("/api/reports/daily/2025-06-11");
  assert.is(text, canonicalJson(queries.reportOf("2025-06-11")));
  assert.is(canonicalJson(JSON.parse(text)), text);
  assert.match(headers.get("content-type") ?? "", /^application\/json/);
});

test("recomputes a report when asked", async () => {
  await call("/api/reports/daily/2025-06-11?recompute=1");
  await call("/api/reports/daily/2025-06-11.csv?recompute=1");
  await call("/api/reports/daily/2025-06-11.html");
  assert.equal(
    queries.asked,
    [true, true, false].map((recompute) => ({ day: "2025-06-11", recompute })),
  );
});

test("answers reports as CSV and as a page", async () => {
  const csv = await call("/api/reports/daily/2025-06-11.csv");
  assert.match(csv.headers.get("content-type") ?? "", /^text\/csv/);
  assert.match(csv.headers.get("content-disposition") ?? "", /weir-health-2025-06-11.csv/);
  assert.is(csv.text.trimEnd().split("\r\n").length, 1 + 7 * 3);
  const page = await call("/api/reports/daily/2025-06-11.html");
  assert.match(page.headers.get("content-type") ?? "", /^text\/html/);
  assert.match(page.text, /brno \/ pump-7/);
  assert.match(page.headers.get("content-security-policy") ?? "", /style-src 'sha256-/);
});

test("answers what each revision changed, and reports lead to it", async () => {
  for (const suffix of ["", ".csv", ".html"]) {
    const { headers } = await call(`/api/reports/daily/${REVISED}${suffix}`);
    assert.is(headers.get("link"), `</api/reports/daily/${REVISED}/revisions>; rel="version-history"`);
  }
  const { json } = await call(`/api/reports/daily/${REVISED}/revisions`);
  assert.equal(json, queries.revisions(REVISED));
  assert.equal([json.total, json.revisions.length, json.revisions[1].changes], [2, 2, null]);
  assert.match(json.revisions[0].changes.summary, /2 devices changed: .*readings/);
  const listed = (await call("/api/reports/daily")).json.find((one: { day: string }) => one.day === REVISED);
  assert.is(listed.changeSummary, json.revisions[0].changes.summary);
  const page = (await call(`/api/reports/daily/${REVISED}.html`)).text;
  assert.match(page, /<h2>Revisions<\/h2>[\s\S]*Revision 2[\s\S]*brno \/ pump-7[\s\S]*readings/);
  assert.not.match((await call("/api/reports/daily/2025-06-11.html")).text, /Revisions/);
  assertError(await call("/api/reports/daily/2001-01-01/revisions"), 404, "NOT_FOUND", /2001-01-01/);
  assertError(await call("/api/reports/daily/2025-02-30/revisions"), 400, "BAD_PARAMETER", /^day: /);
});

test("answers a revision as it was issued; one that is no longer kept is gone", async () => {
  const at = `/api/reports/daily/${REVISED}/revisions`;
  assert.is((await call(`${at}/2`)).text, canonicalJson(queries.reportOf(REVISED)));
  assertError(await call(`${at}/1`), 410, "GONE", /Revision 1 .*reports\.revisions_max/);
  assertError(await call(`${at}/3`), 404, "NOT_FOUND", /No revision 3/);
  assertError(await call(`${at}/0`), 400, "BAD_PARAMETER", /^revision: /);
  assertError(await call("/api/reports/daily/2025-02-30/revisions/1"), 400, "BAD_PARAMETER", /^day: /);
});

test("says when to ask again where too many reports are being made", async () => {
  for (const path of ["/api/reports/daily/2025-06-11", "/api/reports/daily/2025-06-11.html?recompute=1"]) {
    queries.failNext = new CodedError("BATCH_BUSY", "16 reports or trainings wait.");
    const answer = await call(path);
    assertError(answer, 503, "BATCH_BUSY", /16 reports/);
    assert.is(answer.headers.get("retry-after"), "10");
  }
  queries.failNext = new CodedError("BATCH_BUSY", "16 reports or trainings wait.");
  assertError(await post("/api/thresholds/train"), 503, "BATCH_BUSY", /16/);
});

test("lists alerts held back, or only others, when asked", async () => {
  const held = (await call("/api/alerts?inhibited=true")).json;
  assert.equal(
    held.map(({ device, inhibited }: { device: string; inhibited: boolean }) => [device, inhibited]),
    [
      ["fan-north", true],
      ["fan-north", true],
    ],
  );
  const others = (await call("/api/alerts?inhibited=false")).json;
  assert.ok(others.every(({ inhibited }: { inhibited: boolean }) => !inhibited));
  assert.is((await call("/api/alerts")).json.length, held.length + others.length);
  assertError(await call("/api/alerts?inhibited=maybe"), 400, "BAD_PARAMETER", /^inhibited: /);
});

test("tells a day that is none from a day without readings", async () => {
  for (const suffix of ["", ".csv", ".html"]) {
    assertError(await call(`/api/reports/daily/2025-02-30${suffix}`), 400, "BAD_PARAMETER", /^day: "2025-02-30"/);
    assertError(await call(`/api/reports/daily/2001-01-01${suffix}`), 404, "NOT_FOUND", /2001-01-01/);
  }
  assertError(await call("/api/reports/daily/2025-06-11?recompute=yes"), 400, "BAD_PARAMETER", /^recompute: /);
});

test("lists, trains and publishes thresholds", async () => {
  assert.equal((await call("/api/thresholds")).json, queries.thresholds());
  assert.equal((await call("/api/thresholds/3")).json, queries.threshold(3));
  assert.is((await post("/api/thresholds/train", { days: 7, note: "n" })).json.version, 5);
  await post("/api/thresholds/train");
  assert.is((await post("/api/thresholds/4/publish", { effectiveFromMs: null })).json.state, "published");
  await post("/api/thresholds/4/publish", { effectiveFromMs: 1234 });
  assert.equal(queries.asked, [
    { train: 7 },
    { train: 14 },
    { publish: 4, effectiveFromMs: null },
    { publish: 4, effectiveFromMs: 1234 },
  ]);
});

test("refuses thresholds that make no sense", async () => {
  assertError(await call("/api/thresholds/99"), 404, "NOT_FOUND", /version 99/);
  assertError(await call("/api/thresholds/new"), 400, "BAD_PARAMETER", /^version: /);
  assertError(await post("/api/thresholds/train", { days: 0 }), 400, "BAD_PARAMETER", /^days: /);
  assertError(await post("/api/thresholds/99/publish"), 404, "UNKNOWN_VERSION", /version 99/);
  assertError(
    await post("/api/thresholds/3/publish", { effectiveFromMs: -1 }),
    400,
    "BAD_PARAMETER",
    /^effectiveFromMs: /,
  );
});

test("maps coded errors of the queries, and hides everything else", async () => {
  queries.failNext = new CodedError("NO_HISTORY", "No readings in the last 14 days.");
  assertError(await post("/api/thresholds/train"), 409, "NO_HISTORY", /14 days/);
  queries.failNext = new CodedError("BAD_TIMEZONE", "Unknown time zone.");
  assertError(await call("/api/alerts"), 400, "BAD_TIMEZONE", /zone/);
  assert.equal(logged, []);
  for (const error of [new Error("secret /path/to/db"), new CodedError("ASSERTION", "secret /path/to/db")]) {
    queries.failNext = error;
    const answer = await call("/api/alerts");
    assertError(answer, 500, "INTERNAL", /log/);
    assert.not.match(answer.text, /secret|http-api|\.ts/);
    assert.match(logged.pop() ?? "", /GET \/api\/alerts failed.*secret/s);
  }
});

test("answers unknown paths with an error in JSON", async () => {
  assertError(await call("/api/nothing?x=1"), 404, "NOT_FOUND", /GET \/api\/nothing\.$/);
  assertError(await post("/api/devices"), 404, "NOT_FOUND", /POST \/api\/devices/);
});

test("documents every route with all the fields of its answer", async () => {
  const { json: document } = await call("/api/docs/json");
  const answers: Record<string, unknown> = {
    "/healthz": (await call("/healthz")).json,
    "/readyz": (await call("/readyz")).json,
    "/api/agents": queries.agents(),
    "/api/devices": await queries.devices(),
    "/api/devices/{site}/{device}": queries.device("brno", "pump-7"),
    "/api/series/{site}/{device}/{metric}": (await call("/api/series/brno/pump-7/oil_pressure")).json,
    "/api/alerts": queries.alerts({ limit: 10 }),
    "/api/reports/daily": queries.reportDays(),
    "/api/reports/daily/{day}": queries.reportOf("2025-06-11"),
    "/api/reports/daily/{day}/revisions/{revision}": queries.reportOf("2025-06-11"),
    "/api/reports/daily/{day}/revisions": queries.revisions(REVISED),
    "/api/thresholds": queries.thresholds(),
    "/api/thresholds/{version}": queries.threshold(3),
  };
  const others = ["/metrics", "/api/alerts/{id}/ack", "/api/reports/daily/{day}.csv", "/api/reports/daily/{day}.html"];
  const posts = ["/api/thresholds/train", "/api/thresholds/{version}/publish"];
  assert.equal(Object.keys(document.paths).sort(), [...Object.keys(answers), ...others, ...posts].sort());
  for (const [path, value] of Object.entries(answers)) {
    const schema = document.paths[path].get.responses["200"].content["application/json"].schema;
    assertDescribed(document, schema, value, path);
  }
});

/** The schema knows every field of the value, and the value has every field the schema requires. */
// oxlint-disable-next-line typescript/no-explicit-any
function assertDescribed(document: any, given: any, value: any, where: string): void {
  const schema = given.$ref ? document.components.schemas[given.$ref.split("/").at(-1)] : given;
  const options = schema.anyOf ?? [schema];
  const types = new Set(options.flatMap((option: { type: string }) => option.type));
  if (value === null) {
    const isNullable = options.some((option: { nullable?: boolean }) => option.nullable);
    assert.ok(types.has("null") || isNullable, `${where} may be null`);
  } else if (Array.isArray(value)) {
    assert.ok(types.has("array"), `${where} is an array`);
    for (const item of value.slice(0, 50)) assertDescribed(document, schema.items, item, `${where}[]`);
  } else if (typeof value === "object") {
    for (const name of schema.required ?? []) assert.ok(name in value, `${where}.${name} is there`);
    for (const [name, member] of Object.entries(value)) {
      const described = schema.properties?.[name] ?? schema.additionalProperties;
      assert.ok(described, `${where}.${name} is described`);
      assertDescribed(document, described, member, `${where}.${name}`);
    }
  } else if (schema.enum) {
    assert.ok(schema.enum.includes(value), `${where} is one of ${schema.enum}`);
  } else {
    const type = typeof value === "number" && types.has("integer") ? "integer" : typeof value;
    if (type === "integer") assert.ok(Number.isInteger(value), `${where} is whole`);
    assert.ok(types.has(type), `${where} is a ${type}`);
  }
}

test("serves the dashboard from local files alone", async () => {
  for (const path of ["/assets/style.css", "/assets/uplot.js", "/assets/uplot.css", "/favicon.svg"]) {
    const { status, headers } = await call(path);
    assert.is(status, 200, path);
    assert.match(
      headers.get("content-type") ?? "",
      path.endsWith(".js") ? /javascript/ : path.endsWith(".css") ? /css/ : /svg/,
    );
    assert.is(headers.get("x-content-type-options"), "nosniff");
  }
  for (const path of ["/assets/js/..%2f..%2fpackage.json", "/assets/js/../../package.json", "/assets/js/none.js"]) {
    assert.is((await call(path)).status, 404, path);
  }
});

test("says that the dashboard has not been built", async () => {
  await http.close();
  await start({ scriptsRoot: "/nonexistent" });
  const { status, text } = await call("/");
  assert.is(status, 500);
  assert.match(text, /npm run build/);
});

test("sends headers that keep pages to themselves", async () => {
  for (const path of ["/api/alerts", "/api/nothing", "/favicon.svg"]) {
    const { headers } = await call(path);
    assert.match(headers.get("content-security-policy") ?? "", /default-src 'none'; script-src 'self'/, path);
    assert.is(headers.get("x-frame-options"), "DENY", path);
  }
  assert.match((await call("/api/docs/")).text, /swagger-ui/);
});

test("says what to do when the port is taken", async () => {
  const port = Number(new URL(http.address).port);
  try {
    await createHttpServer(queries, { host: "127.0.0.1", port });
    assert.unreachable();
  } catch (error) {
    assert.instance(error, CodedError);
    assert.is((error as CodedError).code, "LISTEN_FAILED");
    assert.match((error as CodedError).message, new RegExp(`127.0.0.1 port ${port}`));
  }
  assert.is(queries.listeners, 1);
});
