import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";
import { runSeeds } from "./in-process.ts";

const test = suite("faults, in one process, more seeds", { timeoutMs: 20 * 60_000 });

/** The first of these comes after those of the quick test. */
const FIRST = 31;
const SEEDS = Number(process.env["WEIR_FAULT_SEEDS"] ?? 300);

test(`${SEEDS} seeds`, () => {
  assert.ok(runSeeds(FIRST, SEEDS).readings > 0);
});
