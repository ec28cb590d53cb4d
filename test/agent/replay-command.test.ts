import * as assert from "uvu/assert";
import type { Alert } from "@weir/shared/model/alert";
import { canonicalJson } from "@weir/shared/model/canonical-json";
import { createPlant } from "../support/plant.ts";
import { suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";
import { agent } from "./import-fixture.ts";
import { version } from "./pipeline-fixture.ts";

const test = suite("weir-agent replay", { timeoutMs: 60_000 });

const DAY_MS = 86_400_000;
const FIRST_MS = Date.UTC(2026, 2, 10);

/** Readings on the 10th, 11th and 13th of March, with breaches, one of them at an hour past midnight UTC. */
function filledFolder(): {
  readonly folder: string;
  readonly alerts: readonly Alert[];
  readonly reports: readonly string[];
} {
  const folder = tempFolder();
  const plant = createPlant(folder, { nowMs: FIRST_MS + 6 * DAY_MS });
  plant.publish(version(1, 0, 10));
  for (const day of [0, 1, 3]) {
    for (let minute = 0; minute < 1440; minute++) {
      plant.send("s/hall/pump/temp", FIRST_MS + day * DAY_MS + minute * 60_000, minute % 300 === 60 ? 12 + day : 1);
    }
  }
  plant.send("s/hall/pump/temp", FIRST_MS, NaN);
  plant.tick(FIRST_MS + DAY_MS / 2, true);
  // The first, which breached, comes later again, this time the worse.
  plant.send("s/hall/pump/temp", FIRST_MS + 3_600_000 + 30_000, 14);
  plant.pipeline.checkpoint();
  plant.ship();
  const reports = ["2026-03-10", "2026-03-11", "2026-03-13"].map((day) => plant.reports(day).replay!);
  const alerts = plant.alerts();
  plant.close();
  return { folder, alerts, reports };
}

test("reports of some days, one a line; days without readings are skipped", async () => {
  const { folder, reports } = filledFolder();
  const all = await agent(folder, "replay", "--from", "2020-01-01", "--to", "2999-12-31");
  assert.is(all.code, 0, all.stderr);
  assert.is(all.stdout, reports.map((report) => `${report}\n`).join(""));
  const some = await agent(folder, "replay", "--from", "2026-03-11", "--to", "2026-03-12");
  assert.is(some.stdout, `${reports[1]}\n`);
  const one = await agent(folder, "replay", "--day", "2026-03-13");
  assert.is(one.stdout, reports[2]);
  assert.match(reports[0]!, /"rejected":\{"[a-z_]+":1\}/);
});

test("alerts that began in some days of the plant's time zone, one a line, by their start", async () => {
  const { folder, alerts } = filledFolder();
  assert.ok(alerts.length >= 15);
  const lines = (list: readonly Alert[]): string =>
    list
      .toSorted((a, b) => a.startedAtMs - b.startedAtMs)
      .map((alert) => `${canonicalJson(alert)}\n`)
      .join("");
  const all = await agent(folder, "replay", "--from", "2026-03-10", "--to", "2026-03-13", "--alerts");
  assert.is(all.code, 0, all.stderr);
  assert.is(all.stdout, lines(alerts));
  // In New York, what began before five o'clock UTC belongs to the day before.
  const local = await agent(folder, "replay", "--day", "2026-03-10", "--alerts", "--timezone", "America/New_York");
  const startMs = FIRST_MS + 4 * 3_600_000;
  const within = alerts.filter(({ startedAtMs }) => startedAtMs >= startMs && startedAtMs < startMs + DAY_MS);
  assert.ok(within.length > 0 && within.length < alerts.length);
  assert.is(local.stdout, lines(within));
});

test("what it cannot do is said in a line: exit 2 for what was asked wrongly, 1 for days without readings", async () => {
  const { folder } = filledFolder();
  const cases = [
    [[], 2, /replay needs --day YYYY-MM-DD, or --from and --to/],
    [["--from", "2026-03-10"], 2, /or --from and --to, both inclusive/],
    [["--from", "2026-03-12", "--to", "2026-03-10"], 2, /--from 2026-03-12 is after --to 2026-03-10/],
    [["--from", "2026-03-10", "--to", "2026-04-31"], 2, /2026-04-31 is not a day: write YYYY-MM-DD/],
    [["--day", "yesterday"], 2, /yesterday is not a day/],
    [["--day", "2026-03-10", "--to", "2026-03-10"], 2, /--day and --from, --to exclude each other/],
    [["--day", "2026-03-10", "--alerts", "--thresholds", "1"], 2, /--alerts and --thresholds exclude each other/],
    [["--day", "2026-03-10", "--json"], 2, /--json is for a backtest/],
    [["--day", "2026-03-10", "--timezone", "Nowhere"], 2, /Unknown time zone Nowhere/],
    [["--day", "2026-03-12"], 1, /The log holds no readings of 2026-03-12 \(UTC\)/],
    [["--from", "2025-01-01", "--to", "2025-12-31", "--alerts"], 1, /no readings from 2025-01-01 to 2025-12-31/],
  ] as const;
  const ends = await Promise.all(cases.map(([args]) => agent(folder, "replay", ...args)));
  cases.forEach(([args, code, problem], i) => {
    assert.match(ends[i]!.stderr, problem);
    assert.is(ends[i]!.code, code, args.join(" "));
    assert.is(ends[i]!.stdout, "");
  });
});
