import { chromium } from "playwright-core";
import { createHttpServer } from "@weir/aggregator/http/server";
import { createFakeQueries } from "../aggregator/http-fake.ts";
const only = process.argv[2];
const queries = createFakeQueries(Date.now(), { alerts: 60 });
const http = await createHttpServer(queries, { host: "127.0.0.1", port: 0 });
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox","--disable-gpu","--disable-background-networking","--disable-component-update","--disable-sync","--no-first-run"] });
const pages: Record<string,string> = { device24: "#/devices/brno/pump-7", alerts: "#/alerts", devices: "#/devices", device: "#/devices/brno/pump-7", reports: "#/reports", agents: "#/agents", thresholds: "#/thresholds", threshold: "#/thresholds/3" };
for (const [size, width, height] of [["desktop", 1280, 800], ["phone", 390, 844]] as const) for (const scheme of ["light", "dark"] as const) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, deviceScaleFactor: 1 });
  const page = await context.newPage();
  page.on("console", (m) => { if (m.type() === "error" || m.type() === "warning") console.log(size, m.text()); });
  page.on("pageerror", (e) => console.log("PAGEERROR", e.message));
  for (const [name, hash] of Object.entries(pages)) {
    if (only && only !== name) continue;
    await page.goto(`${http.address}/${hash}`);
    await page.locator('[data-testid="connection"][data-state="live"]').waitFor();
    await page.waitForTimeout(500);
    if (name === "device24") { await page.getByRole("button", { name: "24 h" }).click(); await page.waitForTimeout(600); }
    const over = await page.evaluate("document.documentElement.scrollWidth - innerWidth") as number;
    if (over > 0) console.log("OVERFLOW", size, name, over);
    await page.screenshot({ path: `/tmp/shots/${size}-${scheme}-${name}.png`, fullPage: name === "device" || name === "reports" });
  }
  await context.close();
}
await browser.close(); await http.close();
