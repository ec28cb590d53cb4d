import { readdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { SqlDatabase } from "@weir/aggregator/stores/database";
import type { CodedError } from "@weir/shared/errors";
import { runToEnd, sourceFlags } from "../support/processes.ts";
import { repositoryRoot } from "../support/repository.ts";
import { suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";
import { overwrite } from "../agent/set-aside-fixture.ts";

const test = suite("a damaged file of the aggregator");

/** A file with some rows in it, closed. */
function someFile(): string {
  const path = join(tempFolder(), "aggregator.db");
  const db = new SqlDatabase(path, { readonly: false });
  for (let day = 0; day < 500; day++) db.run("INSERT INTO days VALUES (?, 0)", `a day ${day}, of a long name`);
  db.close();
  return path;
}

function isDamaged(error: CodedError): boolean {
  return error.code === "DATA_FILE_DAMAGED" && /aggregator\.db is damaged: .*\.recover/.test(error.message);
}

test("is not begun anew, however short it is: the message says what to do", () => {
  for (const bytes of [0, 1, 50, 100, 5000, 30_000]) {
    const path = someFile();
    truncateSync(path, bytes);
    assert.throws(() => new SqlDatabase(path, { readonly: false }), isDamaged, `${bytes} bytes`);
    assert.throws(() => new SqlDatabase(path, { readonly: false }), isDamaged, `${bytes} bytes, again`);
  }
});

test("says so as well where it is only met later", () => {
  const path = someFile();
  const whole = new SqlDatabase(path, { readonly: true });
  const page = whole.get<{ page: number }>("SELECT rootpage AS page FROM sqlite_schema WHERE name = 'days'")!.page;
  whole.close();
  overwrite(path, (page - 1) * 4096, new Uint8Array(4096).fill(7));
  const db = new SqlDatabase(path, { readonly: false });
  assert.throws(() => db.all("SELECT * FROM days"), isDamaged);
  assert.throws(() => db.get("SELECT count(*) FROM days"), isDamaged);
  assert.throws(() => db.transaction(() => db.run("DELETE FROM days")), isDamaged);
  assert.is(db.get<{ count: number }>("SELECT count(*) AS count FROM agents")?.count, 0);
  db.close();
});

test("ends the program with 1 and the message, and stays as it was", async () => {
  const folder = tempFolder();
  writeFileSync(join(folder, "aggregator.db"), "");
  const main = join(repositoryRoot, "aggregator", "src", "main.ts");
  const args = [...sourceFlags, main, "run", "--http.port", "0", "--data.dir", folder];
  const end = await runToEnd(process.execPath, args);
  assert.is(end.code, 1);
  assert.match(end.stderr, /^weir-aggregator: \S+aggregator\.db is damaged: it is empty\. .*put back a backup/);
  assert.not.match(end.stderr, /^\s+at /m);
  assert.equal(readdirSync(folder), ["aggregator.db"]);
});
