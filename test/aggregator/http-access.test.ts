import { request } from "node:http";
import { createHttpServer } from "@weir/aggregator/http/server";
import type { HttpServer, HttpServerOptions } from "@weir/aggregator/http/server";
import type { CodedError } from "@weir/shared/errors";
import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";
import { createFakeQueries } from "./http-fake.ts";

const PASSWORD = "correct horse";
const HOUR_MS = 3_600_000;

const test = suite("aggregator http access");

let http: HttpServer | undefined;
let clockMs: number;

async function start(options: Partial<HttpServerOptions> = {}): Promise<HttpServer> {
  clockMs = Date.parse("2025-06-12T14:00:00Z");
  const queries = createFakeQueries(clockMs);
  http = await createHttpServer(queries, {
    host: "127.0.0.1",
    port: 0,
    log: () => {},
    nowMs: () => clockMs,
    ...options,
  });
  return http;
}

test.after.each(async () => {
  await http?.close();
  http = undefined;
});

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** By node:http, since fetch sets Host, Origin and Sec-Fetch headers itself. */
function call(path: string, headers: Record<string, string> = {}, method = "GET", body?: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request(`${http!.address}${path}`, { method, headers }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text }));
    });
    sent.on("error", reject).end(body);
  });
}

function code(answer: Answer): string {
  return (JSON.parse(answer.body) as { error: { code: string } }).error.code;
}

function basic(password: string, name = "anna"): Record<string, string> {
  return { authorization: `Basic ${Buffer.from(`${name}:${password}`).toString("base64")}` };
}

function login(password: string, headers: Record<string, string> = {}): Promise<Answer> {
  const form = new URLSearchParams({ name: "Anna Ødegård", password }).toString();
  return call("/login", { "content-type": "application/x-www-form-urlencoded", ...headers }, "POST", form);
}

async function sessionCookie(): Promise<string> {
  const { headers } = await login(PASSWORD);
  return String(headers["set-cookie"]).split(";")[0]!;
}

test("refuses to listen beyond loopback without a password", async () => {
  for (const host of ["0.0.0.0", "::", "192.168.1.5", "example.org"]) {
    try {
      await start({ host });
      assert.unreachable(host);
    } catch (error) {
      assert.is((error as CodedError).code, "PASSWORD_REQUIRED", host);
      assert.match((error as CodedError).message, /http\.password/);
    }
  }
});

test("listens beyond loopback with a password, which everything but probes needs", async () => {
  await start({ host: "0.0.0.0", password: PASSWORD });
  for (const path of ["/healthz", "/readyz"]) assert.is((await call(path)).status, 200, path);
  for (const path of ["/metrics", "/api/alerts", "/api/docs/json", "/api/reports/daily/2025-06-11.html", "/none"]) {
    assert.is((await call(path)).status, 401, path);
    assert.is((await call(path, basic("wrong"))).status, 401, path);
  }
  assert.is((await call("/metrics", basic(PASSWORD))).status, 200);
  assert.match(String((await call("/api/alerts")).headers["www-authenticate"]), /^Basic/);
});

test("leaves the metrics open to a scraper on this machine only", async () => {
  await start({ password: PASSWORD });
  assert.is((await call("/metrics")).status, 200);
  assert.is((await call("/metrics", { "x-forwarded-for": "10.0.0.9" })).status, 401);
  assert.is((await call("/metrics", { host: "weir.example.org" })).status, 401);
  assert.is((await call("/api/alerts")).status, 401);
});

test("logs in by the form and knows the session by its cookie", async () => {
  await start({ password: PASSWORD });
  const page = await call("/", { "sec-fetch-mode": "navigate" });
  assert.is(page.status, 302);
  assert.is(page.headers["location"], "/login");
  assert.match((await call("/login")).body, /type="password"/);

  const wrong = await login("wrong");
  assert.is(wrong.status, 401);
  assert.is(wrong.headers["set-cookie"], undefined);

  const right = await login(PASSWORD);
  assert.is(right.status, 303);
  const cookie = String(right.headers["set-cookie"]);
  assert.match(cookie, /; HttpOnly; SameSite=Strict;/);
  assert.not.match(cookie, /Secure/);
  assert.match(String((await login(PASSWORD, { "x-forwarded-proto": "https" })).headers["set-cookie"]), /; Secure/);
  assert.is((await call("/api/alerts", { cookie: cookie.split(";")[0]! })).status, 200);
});

test("acknowledges under the name of the login", async () => {
  await start({ password: PASSWORD });
  const cookie = await sessionCookie();
  const [first, second] = JSON.parse((await call("/api/alerts", { cookie })).body) as Array<{ id: string }>;
  const byCookie = await call(`/api/alerts/${encodeURIComponent(first!.id)}/ack`, { cookie }, "POST");
  assert.match(byCookie.body, /"ackedBy":"Anna Ødegård"/);
  const byBasic = await call(`/api/alerts/${encodeURIComponent(second!.id)}/ack`, basic(PASSWORD, "cron"), "POST");
  assert.match(byBasic.body, /"ackedBy":"cron"/);
});

test("takes no forged, altered or old session", async () => {
  await start({ password: PASSWORD });
  const cookie = await sessionCookie();
  const [payload, signature] = cookie.slice("weir_session=".length).split(".");
  const later = Buffer.from(JSON.stringify({ name: "x", expiresAtMs: clockMs + 1e9 })).toString("base64url");
  for (const value of [`${later}.${signature}`, `${payload}.`, `${payload}`, `${payload}.${signature}x`, ".", ""]) {
    assert.is((await call("/api/alerts", { cookie: `weir_session=${value}` })).status, 401, value);
  }
  assert.is((await call("/api/alerts", { cookie: `other=1; ${cookie}` })).status, 200);
  clockMs += 12 * HOUR_MS;
  assert.is((await call("/api/alerts", { cookie })).status, 401);
});

test("ends a session at logout", async () => {
  await start({ password: PASSWORD });
  const { status, headers } = await call("/logout", { cookie: await sessionCookie() }, "POST");
  assert.is(status, 303);
  assert.match(String(headers["set-cookie"]), /^weir_session=; .*Max-Age=0/);
});

test("bounds wrong passwords a minute, also for the right one after them", async () => {
  await start({ password: PASSWORD });
  const cookie = await sessionCookie();
  for (let i = 0; i < 5; i++) assert.is((await login("wrong")).status, 401);
  for (let i = 0; i < 5; i++) assert.is((await call("/api/alerts", basic("wrong"))).status, 401);
  const refused = await login(PASSWORD);
  assert.is(refused.status, 429);
  assert.is(refused.headers["retry-after"], "60");
  assert.is((await call("/api/alerts", basic(PASSWORD))).status, 429);
  assert.is((await call("/api/alerts", { cookie })).status, 200, "sessions go on");
  assert.match((await call("/metrics")).body, /^weir_login_failures_total 10$/m);
  clockMs += 60_000;
  assert.is((await login(PASSWORD)).status, 303);
});

test("answers on loopback to loopback names only", async () => {
  await start({ allowedHosts: ["Plant.internal"] });
  for (const host of ["localhost", "127.0.0.1", "127.1.2.3:99", "[::1]:8080", "weir.localhost", "plant.internal:80"]) {
    assert.is((await call("/api/alerts", { host })).status, 200, host);
  }
  for (const host of [
    "evil.example",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "10.0.0.1",
    "localhost@evil.example",
  ]) {
    const answer = await call("/api/alerts", { host });
    assert.is(answer.status, 403, host);
    assert.is(code(answer), "HOST_REFUSED");
  }
});

test("takes nothing through a proxy from beyond loopback without a password", async () => {
  await start();
  assert.is(code(await call("/api/alerts", { "x-forwarded-for": "203.0.113.9" })), "PASSWORD_REQUIRED");
  assert.is((await call("/api/alerts", { "x-forwarded-for": "127.0.0.1" })).status, 200);
});

test("refuses changes asked by pages of another origin", async () => {
  const { address } = await start();
  const path = "/api/thresholds/train";
  for (const origin of ["https://evil.example", "http://localhost:1", "null", `${address}.evil.example`]) {
    const answer = await call(path, { origin }, "POST");
    assert.is(answer.status, 403, origin);
    assert.is(code(answer), "ORIGIN_REFUSED");
  }
  assert.is((await call(path, { "sec-fetch-site": "cross-site" }, "POST")).status, 403);
  assert.is((await call(path, { origin: address, "sec-fetch-site": "same-origin" }, "POST")).status, 200);
});

test("refuses reads by scripts of another site, but lets links to pages work", async () => {
  await start();
  assert.is((await call("/api/alerts", { "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors" })).status, 403);
  assert.is((await call("/api/alerts", { "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate" })).status, 200);
});
