import { join } from "node:path";
import Database from "better-sqlite3";
import * as assert from "uvu/assert";
import { eventually } from "../support/eventually.ts";
import { startAgent } from "../support/pipeline-processes.ts";
import { freePort } from "../support/ports.ts";
import { suite } from "../support/suite.ts";

const test = suite("an agent whose sources are up or down");

/** What the clock ticks of a log say of the sources: was the time since the tick before watched? */
function watched(folder: string): boolean[] {
  const db = new Database(join(folder, "agent.db"), { readonly: true });
  const bodies = db.prepare("SELECT body FROM log WHERE kind = 3 ORDER BY seq").pluck(true).all() as Buffer[];
  db.close();
  return bodies.map((body) => (JSON.parse(body.toString()) as { watching: boolean }).watching);
}

for (const threads of ["1", "2"]) {
  test(`${threads} threads: its own endpoint is up when it listens`, async () => {
    const agent = await startAgent({ "ingest.threads": threads });
    await eventually(() => assert.ok(watched(agent.folder).includes(true)));
    await agent.process.stop();
  });

  test(`${threads} threads: a broker that cannot be reached makes no time watched, and so no device silent`, async () => {
    const toml = `[[broker]]\nurl = "mqtt://127.0.0.1:${await freePort()}"\n`;
    const agent = await startAgent({ "ingest.threads": threads }, toml);
    await eventually(() => assert.ok(watched(agent.folder).length >= 6));
    await agent.process.stop();
    assert.not(watched(agent.folder).includes(true));
  });
}
