import { connect } from "node:net";
import type { Socket } from "node:net";
import { createHttpServer } from "@weir/aggregator/http/server";
import type { HttpServer, HttpServerOptions } from "@weir/aggregator/http/server";
import * as assert from "uvu/assert";
import { WebSocket } from "ws";
import { suite } from "../support/suite.ts";
import type { FakeQueries } from "./http-fake.ts";
import { createFakeQueries, fakeAlert } from "./http-fake.ts";

const NOW_MS = Date.parse("2025-06-12T14:00:00Z");
const PASSWORD = "correct horse";

const test = suite("aggregator http live", { timeoutMs: 20_000 });

let queries: FakeQueries;
let http: HttpServer;
let clockMs: number;
let sockets: WebSocket[];

async function start(options: Partial<HttpServerOptions> = {}): Promise<void> {
  queries = createFakeQueries(NOW_MS);
  clockMs = NOW_MS;
  sockets = [];
  http = await createHttpServer(queries, {
    host: "127.0.0.1",
    port: 0,
    log: () => {},
    nowMs: () => clockMs,
    ...options,
  });
}

test.after.each(async () => {
  for (const socket of sockets) socket.terminate();
  await http.close();
});

interface Watcher {
  readonly socket: WebSocket;
  readonly messages: Array<Record<string, unknown>>;
  readonly closed: Promise<number>;
}

function watch(path = "/live", headers: Record<string, string> = {}): Promise<Watcher> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(http.address.replace("http", "ws") + path, { headers });
    sockets.push(socket);
    const messages: Array<Record<string, unknown>> = [];
    const closed = new Promise<number>((done) => socket.on("close", done));
    socket.on("unexpected-response", (_request, response) => reject(new Error(`status ${response.statusCode}`)));
    socket.on("error", reject);
    socket.on("message", (data) => {
      messages.push(JSON.parse((data as Buffer).toString()) as Record<string, unknown>);
      if (messages.length === 1) resolve({ socket, messages, closed });
    });
  });
}

async function refusal(path: string, headers: Record<string, string> = {}): Promise<string> {
  try {
    await watch(path, headers);
    return "let in";
  } catch (error) {
    return (error as Error).message;
  }
}

async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const endMs = Date.now() + 8000;
  while (!(await condition())) {
    if (Date.now() > endMs) throw new Error(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${http.address}/metrics`)).text();
  return Number(new RegExp(`^${name} (\\d+)$`, "m").exec(text)?.[1]);
}

test("says hello, then sends everything that changes, in order, to everybody", async () => {
  await start();
  const [one, two] = await Promise.all([watch(), watch()]);
  const alert = fakeAlert(NOW_MS);
  queries.push(alert);
  queries.emit({ type: "series", site: "brno", device: "pump-7", metrics: ["oil_pressure"], lastTsMs: 7 });
  queries.emit({ type: "report", day: "2025-06-11", revision: 2, summary: "1 device changed: a readings 1 → 2" });
  for (const { messages } of [one, two]) {
    await until("four messages", () => messages.length === 4);
    assert.equal(messages[0], { type: "hello", timeMs: NOW_MS, pingIntervalMs: 15_000 });
    assert.equal(messages[1], { type: "alert", alert });
    assert.equal(
      messages.slice(2).map((message) => message["type"]),
      ["series", "report"],
    );
  }
  assert.is(await metric("weir_live_watchers"), 2);
  one.socket.close();
  await until("one watcher", async () => (await metric("weir_live_watchers")) === 1);
});

test("refuses watchers from pages of another origin, and unknown paths", async () => {
  await start();
  assert.is(await refusal("/live", { origin: "https://evil.example" }), "status 403");
  assert.is(await refusal("/live", { host: "evil.example" }), "status 403");
  assert.is(await refusal("/nowhere"), "status 404");
  assert.is(await refusal("/live", { origin: http.address }), "let in");
});

test("needs the session where there is a password, and ends with it", async () => {
  await start({ password: PASSWORD, pingIntervalMs: 30 });
  assert.is(await refusal("/live"), "status 401");
  const basic = `Basic ${Buffer.from(`x:${PASSWORD}`).toString("base64")}`;
  assert.is(await refusal("/live", { authorization: basic }), "let in");
  const form = new URLSearchParams({ password: PASSWORD });
  const login = await fetch(`${http.address}/login`, { method: "POST", body: form, redirect: "manual" });
  const cookie = login.headers.getSetCookie()[0]!.split(";")[0]!;
  const { closed } = await watch("/live", { cookie });
  clockMs += 13 * 3_600_000;
  assert.is(await closed, 4401);
});

test("hands upgrades of other paths to their handler, unless a foreign page asks", async () => {
  await start({ password: PASSWORD });
  let handled = 0;
  http.onUpgrade("/uplink", (_request, socket) => {
    handled++;
    socket.end("HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n");
  });
  assert.is(await refusal("/uplink"), "status 418");
  assert.is(await refusal("/uplink", { origin: "https://evil.example" }), "status 403");
  assert.is(handled, 1);
});

/** A watcher that never reads after the handshake and never answers a ping. */
async function silentWatcher(): Promise<Socket> {
  const socket = connect(Number(new URL(http.address).port), "127.0.0.1");
  socket.on("error", () => {});
  socket.write(
    "GET /live HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
  );
  await new Promise((resolve) => socket.once("data", resolve));
  socket.pause();
  return socket;
}

test("closes a watcher that reads too slowly, counts it, and keeps the others", async () => {
  await start({ liveBufferBytesMax: 64 * 1024 });
  const slow = await silentWatcher();
  const quick = await watch();
  const event = { type: "series", site: "x".repeat(4000), device: "d", metrics: [], lastTsMs: 1 } as const;
  let sent = 0;
  await until("the slow one is closed", async () => {
    for (let i = 0; i < 100; i++) queries.emit(event);
    sent += 100;
    await until("the quick one has all", () => quick.messages.length === sent + 1);
    return (await metric("weir_live_slow_closed_total")) === 1;
  });
  await until("its socket is gone", async () => (await metric("weir_live_watchers")) === 1);
  assert.is(quick.socket.readyState, WebSocket.OPEN);
  slow.destroy();
});

test("drops a watcher that answers no ping", async () => {
  await start({ pingIntervalMs: 40 });
  const silent = await silentWatcher();
  const alive = await watch();
  await until("the silent one is gone", async () => (await metric("weir_live_watchers")) === 1);
  await new Promise((resolve) => setTimeout(resolve, 120));
  assert.is(alive.socket.readyState, WebSocket.OPEN);
  silent.destroy();
});

test("tells its watchers that it goes away", async () => {
  await start();
  const { closed } = await watch();
  await http.close();
  assert.is(await closed, 1001);
  assert.is(queries.listeners, 0);
});
