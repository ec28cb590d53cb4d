import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { HttpServer, HttpServerOptions } from "@weir/aggregator/http/server";
import { createHttpServer } from "@weir/aggregator/http/server";
import { alertId } from "@weir/shared/model/alert";
import type { Browser, BrowserContext, Page } from "playwright-core";
import * as assert from "uvu/assert";
import type { FakeQueries } from "../aggregator/http-fake.ts";
import { createFakeQueries, fakeAlert } from "../aggregator/http-fake.ts";
import { launchChromium } from "../support/chromium.ts";
import { requireServer } from "../support/servers.ts";
import { suite } from "../support/suite.ts";

const REPOSITORY = fileURLToPath(new URL("../../", import.meta.url));

const hasChromium = requireServer("chromium");

const test = suite("dashboard", { timeoutMs: 60_000 });

let built = false;
let nowMs: number;
let queries: FakeQueries;
let http: HttpServer | undefined;
let browser: Browser | undefined;
let context: BrowserContext | undefined;
let page: Page;
let problems: string[];

async function start(options: Partial<HttpServerOptions> = {}): Promise<void> {
  http = await createHttpServer(queries, {
    host: "127.0.0.1",
    port: 0,
    log: (line) => problems.push(line),
    ...options,
  });
}

async function open(hash: string, viewport = { width: 1280, height: 800 }): Promise<void> {
  await page.setViewportSize(viewport);
  await page.goto(`${http!.address}/${hash}`);
  await connected();
}

async function connected(): Promise<void> {
  await page.locator('[data-testid="connection"][data-state="live"]').waitFor();
}

function row(id: string): ReturnType<Page["locator"]> {
  return page.locator(`[data-testid="alert-row"][data-alert-id="${id}"]`);
}

async function texts(testId: string): Promise<string[]> {
  await page.getByTestId(testId).first().waitFor();
  return page.getByTestId(testId).allInnerTexts();
}

async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const endMs = Date.now() + 15_000;
  while (!(await condition())) {
    if (Date.now() > endMs) throw new Error(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test.before.each(async () => {
  // The scripts are built from what is there now: yesterday's would test yesterday's dashboard.
  if (!built) execFileSync("npx", ["tsc", "-b", "aggregator/web"], { cwd: REPOSITORY, stdio: "inherit" });
  built = true;
  problems = [];
  nowMs = Date.now();
  queries = createFakeQueries(nowMs);
  await start();
  browser ??= await launchChromium();
  // A context of its own, so that no test finds another's cookies and names.
  context = await browser.newContext();
  page = await context.newPage();
  page.on("pageerror", (error) => problems.push(error.message));
  page.on("console", (message) => {
    // A connection that is refused is what some tests are about.
    if (message.type() === "error" && !message.text().includes("ERR_CONNECTION_REFUSED")) problems.push(message.text());
  });
  page.on("request", (request) => {
    if (!request.url().startsWith("http://127.0.0.1:")) problems.push(`asked another host: ${request.url()}`);
  });
});

test.after.each(async () => {
  await context?.close();
  context = undefined;
  await http?.close();
  http = undefined;
});

/** Adds a test where there is a browser; requireServer has said so where there is none. */
function browserTest(name: string, body: () => Promise<void>): void {
  if (hasChromium) test(name, body);
}

browserTest("shows a new alert without a reload, and its changes", async () => {
  await open("#/alerts");
  const before = (await texts("alert-row")).length;
  const alert = fakeAlert(nowMs, { device: "mixer-9", startedAtMs: nowMs - 2000 });
  await page.evaluate("window.stillTheSame = true");
  queries.push(alert);
  await row(alert.id).waitFor();
  assert.is(await page.getByTestId("alert-row").count(), before + 1);
  assert.is(await page.getByTestId("alert-row").first().getAttribute("data-alert-id"), alert.id, "newest first");
  assert.match(
    await row(alert.id).innerText(),
    /critical[\s\S]*mixer-9[\s\S]*bearing temperature[\s\S]*91\.37\s*above 74/i,
  );
  assert.match((await row(alert.id).getAttribute("class")) ?? "", /fresh/);
  await until("it is said aloud", async () => /mixer-9/.test((await page.locator("#announcer").textContent()) ?? ""));

  queries.push({ ...alert, state: "resolved", endedAtMs: nowMs });
  await row(alert.id).getByText("resolved").waitFor();
  assert.is(await page.getByTestId("alert-row").count(), before + 1);
  assert.ok(await page.evaluate("window.stillTheSame"));
  assert.equal(problems, []);
});

browserTest("acknowledges, and it stays after a reload", async () => {
  const alert = fakeAlert(nowMs);
  queries.push(alert);
  await open("#/alerts");
  await page.getByLabel("Acknowledging as").fill("Anna");
  await row(alert.id).getByTestId("ack-button").click();
  await row(alert.id).getByTestId("acked").waitFor();
  await page.reload();
  await row(alert.id).getByTestId("acked").waitFor();
  assert.match(await row(alert.id).innerText(), /✓ Anna/);
  assert.is(await row(alert.id).getByTestId("ack-button").count(), 0);
  assert.is(queries.alerts({ limit: 100 }).find(({ id }) => id === alert.id)!.ackedBy, "Anna");
  assert.equal(problems, []);
});

browserTest("reconnects by itself and fetches what it missed", async () => {
  await open("#/alerts");
  const port = Number(new URL(http!.address).port);
  await http!.close();
  await page.locator('[data-testid="connection"][data-state="offline"]').waitFor();
  const missed = fakeAlert(nowMs, { device: "missed-1" });
  queries.push(missed);
  await start({ port });
  await row(missed.id).waitFor();
  await connected();
  const later = fakeAlert(nowMs, { device: "later-1" });
  queries.push(later);
  await row(later.id).waitFor();
});

browserTest("filters by state, device and text", async () => {
  await open("#/alerts");
  await page.getByTestId("alert-row").first().waitFor();
  await page.getByTestId("filter-state").selectOption("firing");
  await until("only firing alerts", async () => (await page.getByTestId("alert-row").count()) === 5);
  await page.getByTestId("filter-device").selectOption("pump-7");
  await until("only its alerts", async () => (await page.getByTestId("alert-row").count()) === 1);
  await page.getByTestId("filter-text").fill("nothing like it");
  await page.getByText("No alert matches").waitFor();
  queries.push(fakeAlert(nowMs, { device: "other", startedAtMs: nowMs - 10 }));
  await page.getByRole("button", { name: "Clear filters" }).click();
  await until("all alerts", async () => (await page.getByTestId("alert-row").count()) === 28);
  assert.equal(problems, []);
});

browserTest("takes names of devices for text, whatever they are", async () => {
  const name = `<img src=x onerror="document.title='owned'"> & 100 % "ü"`;
  const alert = fakeAlert(nowMs, { site: name, device: name, metric: name, startedAtMs: nowMs - 1000 });
  queries.push(alert);
  await open("#/alerts");
  const shown = page.getByTestId("alert-row").first();
  assert.is(await shown.getAttribute("data-alert-id"), alert.id);
  assert.ok((await shown.innerText()).includes(name));
  await shown.getByTestId("ack-button").click();
  await shown.getByTestId("acked").waitFor();
  assert.is(await page.locator("img[src=x]").count(), 0);
  assert.equal(problems, []);
});

browserTest("holds a thousand alerts, and takes new ones quickly", async () => {
  for (let i = 0; i < 1000; i++) {
    const startedAtMs = nowMs - 3_600_000 - i * 1000;
    queries.push(
      fakeAlert(nowMs, { startedAtMs, id: alertId({ site: "s", device: `d${i}`, metric: "m" }, "high", startedAtMs) }),
    );
  }
  await open("#/alerts");
  await until("a thousand rows", async () => (await page.getByTestId("alert-row").count()) === 1000);
  const alerts = Array.from({ length: 50 }, (_, i) =>
    fakeAlert(nowMs, { device: `new-${i}`, startedAtMs: nowMs - 1000 + i }),
  );
  const startMs = performance.now();
  for (const alert of alerts) queries.push(alert);
  await row(alerts.at(-1)!.id).waitFor();
  const tookMs = performance.now() - startMs;
  assert.is(await page.getByTestId("alert-row").count(), 1000, "rows are bounded");
  assert.ok(tookMs < 3000, `50 alerts took ${Math.round(tookMs)} ms`);
  assert.equal(problems, []);
});

browserTest("draws a chart for each metric, for every range, and follows the readings", async () => {
  await open("#/devices");
  assert.is((await texts("device-row")).length, 8);
  await page.getByRole("link", { name: "pump-7" }).click();
  await until("three charts", async () => (await page.locator('[data-testid="chart"] canvas').count()) === 3);
  const chart = page.locator('[data-testid="chart"][data-metric="oil_pressure"]');
  assert.ok((await chart.locator("canvas").evaluate((canvas) => canvas.clientWidth)) > 600);
  for (const range of ["15 m", "24 h", "7 d", "All"]) {
    const asked = queries.asked.length;
    await page.getByRole("button", { name: range, exact: true }).click();
    await until(`${range} is fetched`, () => queries.asked.length >= asked + 3);
    await until(`${range} is drawn`, async () => Number(await chart.getAttribute("data-points")) > 50);
  }
  const asked = queries.asked.length;
  const lastTsMs = nowMs + 60_000;
  queries.emit({ type: "series", site: "brno", device: "pump-7", metrics: ["oil_pressure"], lastTsMs });
  await until("what is lacking is fetched", () => queries.asked.length === asked + 1);
  assert.is((queries.asked.at(-1) as { toMs: number }).toMs, lastTsMs + 1);
  assert.equal(problems, []);
});

browserTest("shows reports with their parts, and that live and batch agree", async () => {
  await open("#/reports");
  await page.getByTestId("report-table").waitFor();
  assert.is(await page.getByTestId("report-day").count(), 9);
  const text = await page.getByTestId("report-table").innerText();
  assert.ok(text.indexOf("pump-7") < text.indexOf("press-03"), "the worst first");
  await page.getByRole("button", { name: "Metrics of pump-7" }).click();
  await page.getByRole("rowheader", { name: "bearing temperature" }).waitFor();
  await page.getByRole("button", { name: "Check against the batch path" }).click();
  await page.getByText(/Live and batch agree/).waitFor();
  await page.getByTestId("report-day").nth(2).click();
  await page.getByText("revision 2 · Europe/Prague").waitFor();
  assert.equal(problems, []);
});

browserTest("shows agents, and their changes as they come", async () => {
  await open("#/agents");
  const card = page.locator('[data-agent="gw-ostrava-1"]');
  await card.getByText("disconnected").waitFor();
  const agent = queries.agents().find((candidate) => candidate.agent === "gw-ostrava-1")!;
  queries.emit({ type: "agent", agent: { ...agent, connected: true } });
  await card.getByText("connected", { exact: true }).waitFor();
  assert.equal(problems, []);
});

browserTest("holds silence back while its gateway is offline, says why, and lets it fire when it is back", async () => {
  const held = queries.alerts({ limit: 100, inhibited: true });
  assert.is(held.length, 2);
  await open("#/alerts");
  const away = page.locator('[data-testid="gateway-away"][data-agent="gw-ostrava-1"]');
  await away.getByText(/is offline since .* 2 silence alerts are held back/).waitFor();
  const shown = row(held[0]!.id);
  assert.match(
    (await shown.textContent()) ?? "",
    /silent\s*for more than 1 min[\s\S]*gateway gw-ostrava-1 is offline since[\s\S]*held back/,
  );
  assert.is(await shown.getAttribute("data-inhibited"), "true");
  const dimmed = await shown.locator(".cell-device").evaluate((cell) => Number(getComputedStyle(cell).opacity));
  assert.ok(dimmed < 1, "dimmed");
  const firing = (shownCount: string) => async () => (await page.locator("#firing-count").textContent()) === shownCount;
  await until("four fire, and one whose gateway is there", firing("5"));
  await page.getByTestId("filter-state").selectOption("held back");
  await until("only those held back", async () => (await page.getByTestId("alert-row").count()) === 2);

  await page.getByTestId("filter-state").selectOption("");
  const agent = queries.agents().find((one) => one.agent === "gw-ostrava-1")!;
  queries.emit({ type: "agent", agent: { ...agent, connected: true } });
  await away.getByText("is back and catching up").waitFor();
  await shown.getByText("gateway gw-ostrava-1 is catching up").waitFor();
  queries.emit({ type: "agent", agent: { ...agent, connected: true, caughtUp: true, inhibitedAlerts: 0 } });
  for (const alert of held) queries.push({ ...alert, inhibited: false });
  await shown.getByText("firing").waitFor();
  await until("no gateway is away", async () => (await away.count()) === 0);
  assert.is(await shown.getByTestId("held-back").count(), 0);
  await until("they count now", firing("7"));
  queries.push(held[0]!);
  await until("and no longer once it is held back again", firing("6"));
  assert.equal(problems, []);
});

browserTest("shows an alert of a kind it has not been told of", async () => {
  const alert = fakeAlert(nowMs, { kind: "stuck_sensor" as never, device: "mixer-9", startedAtMs: nowMs - 1000 });
  queries.push(alert);
  await open("#/alerts");
  assert.match(await row(alert.id).innerText(), /mixer-9[\s\S]*91\.37\s*stuck sensor/);
  assert.equal(problems, []);
});

browserTest("shows which devices' clocks run ahead: on the fleet's pages and on their own, as it changes", async () => {
  await open("#/agents");
  const card = page.locator('[data-agent="gw-leipzig-1"]');
  const entry = card.locator('[data-testid="quarantined"][data-device="leipzig/press-02"]');
  assert.match(await entry.innerText(), /press-02[\s\S]*clock 52 s ahead[\s\S]*1,431 readings refused since/);
  assert.match(await card.innerText(), /press-99[\s\S]*2 h 1 min ahead/);
  await page.goto(`${http!.address}/#/devices`);
  await page.getByTestId("clock-ahead").getByText("clock 52 s ahead").waitFor();
  await page.getByRole("link", { name: "press-02" }).click();
  const notice = page.getByTestId("quarantine");
  await notice.getByText("In quarantine: its clock is 52 s ahead").waitFor();
  const agent = queries.agents().find((one) => one.agent === "gw-leipzig-1")!;
  const [first] = agent.quarantined;
  queries.emit({ type: "agent", agent: { ...agent, quarantined: [{ ...first!, readings: 2000 }] } });
  await notice.getByText(/2,000 readings refused/).waitFor();
  queries.emit({ type: "agent", agent: { ...agent, quarantined: [] } });
  await until("it is out of quarantine", async () => (await notice.count()) === 0);
  assert.equal(problems, []);
});

browserTest("shows what a revision changed, and says so when one comes", async () => {
  await open("#/reports");
  await page.getByTestId("report-table").waitFor();
  assert.is(await page.getByTestId("revisions").count(), 0, "the present day has none");
  await page.getByTestId("report-day").nth(2).click();
  const revisions = page.getByTestId("revisions");
  await revisions.getByText("Revision 2").waitFor();
  assert.match(await revisions.innerText(), /was revised once[\s\S]*2 devices changed: pump-7 readings \d+ → \d+/);
  assert.match(
    await revisions.innerText(),
    /pump-7 brno[\s\S]*health\s+30\s+31\.5[\s\S]*bearing temperature: p99\s+72\.75\s+74/,
  );
  const summary = "1 device changed: pump-7 readings 100 → 120";
  queries.emit({ type: "report", day: "2026-03-14", revision: 3, summary });
  await page.getByText(`2026-03-14 was revised: revision 3, ${summary}`).waitFor();
  assert.equal(problems, []);
});

browserTest("a report's own page has its style, and what revisions changed", async () => {
  const day = queries.reportDays()[2]!.day;
  await page.setViewportSize({ width: 360, height: 740 });
  await page.goto(`${http!.address}/api/reports/daily/${day}.html`);
  await page.getByText("Revision 2", { exact: true }).waitFor();
  const align = await page
    .locator("td:not(.name)")
    .first()
    .evaluate((cell) => getComputedStyle(cell).textAlign);
  assert.is(align, "right", "the policy lets exactly its style in");
  assert.is(await page.evaluate<number>("document.documentElement.scrollWidth - innerWidth"), 0);
  assert.equal(problems, []);
});

browserTest("trains and publishes thresholds", async () => {
  await open("#/thresholds");
  assert.is((await texts("threshold-row")).length, 4);
  await page.getByRole("button", { name: "Train" }).click();
  const trained = page.locator('[data-testid="threshold-row"][data-version="5"]');
  await trained.getByTestId("publish-button").click();
  await page.getByTestId("publish-confirm").click();
  await trained.getByText("published").waitFor();
  assert.equal(queries.asked.at(-1), { publish: 5, effectiveFromMs: null });
  await trained.getByRole("link", { name: "v5" }).click();
  await page.getByRole("cell", { name: "compressor-2" }).first().waitFor();
  assert.equal(problems, []);
});

browserTest("asks for the password, and comes back to it when the login is over", async () => {
  await http!.close();
  await start({ password: "correct horse" });
  await page.goto(http!.address);
  await page.getByLabel("Your name").fill("Anna");
  await page.getByLabel("Password").fill("wrong");
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByText("That is not the password.").waitFor();
  await page.getByLabel("Password").fill("correct horse");
  await page.getByRole("button", { name: "Log in" }).click();
  await connected();
  const port = Number(new URL(http!.address).port);
  await http!.close();
  await start({ password: "correct horse", port });
  await page.getByLabel("Password").waitFor();
});

browserTest("fits a phone on every page", async () => {
  for (const hash of [
    "#/alerts",
    "#/devices",
    "#/devices/brno/pump-7",
    "#/devices/leipzig/press-02",
    "#/reports",
    `#/reports/${queries.reportDays()[2]!.day}`,
    "#/agents",
    "#/thresholds",
    "#/thresholds/3",
  ]) {
    await open(hash, { width: 360, height: 740 });
    await until(`${hash} is loaded`, async () => (await page.locator("main [aria-busy]").count()) === 0);
    const overPx = await page.evaluate<number>("document.documentElement.scrollWidth - innerWidth");
    assert.is(overPx, 0, `${hash} is ${overPx} px too wide`);
  }
  assert.equal(problems, []);
});

browserTest("says what to do where there is nothing yet", async () => {
  queries = Object.assign(createFakeQueries(nowMs, { alerts: 0 }), {
    devices: () => [],
    agents: () => [],
    reportDays: () => [],
    thresholds: () => [],
  });
  await http!.close();
  await start();
  for (const [hash, advice] of [
    ["#/alerts", /appear here by themselves/],
    ["#/devices", /weir-agent run/],
    ["#/reports", /A day has a report/],
    ["#/agents", /weir-agent install/],
    ["#/thresholds", /Train a version/],
  ] as const) {
    await open(hash);
    await page.getByTestId("empty").getByText(advice).waitFor();
  }
  assert.equal(problems, []);
});
