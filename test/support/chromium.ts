import { chromium } from "playwright-core";
import type { Browser } from "playwright-core";
import { atEnd } from "./at-end.ts";
import { serverPath } from "./servers.ts";

// Nothing of the browser's own may reach for the network, and QUIC would only be a second way in.
const ARGS: readonly string[] = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
  "--disable-quic",
];

/** Starts the system's Chromium (CHROMIUM_PATH, else Debian's) headless; it is closed when the tests are over. */
export async function launchChromium(): Promise<Browser> {
  const browser = await chromium.launch({ executablePath: serverPath("chromium"), args: [...ARGS] });
  atEnd(() => browser.close());
  return browser;
}
