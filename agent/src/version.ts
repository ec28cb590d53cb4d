import { readFileSync } from "node:fs";

/** Version of this package, as the aggregator's fleet view shows it. */
export const SOFTWARE_VERSION: string = readVersion();

function readVersion(): string {
  const json: unknown = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  return (json as { version: string }).version;
}
