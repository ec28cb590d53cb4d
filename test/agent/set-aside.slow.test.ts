import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";
import { survives } from "./set-aside-fixture.ts";

const test = suite("a damaged data file, many ways", { timeoutMs: 600_000 });

test("is run on or set aside, and never stops two starts", async () => {
  const seen = await survives(1000, 1600);
  assert.ok(seen["set aside"] > 200 && seen.ran > 100, JSON.stringify(seen));
});
