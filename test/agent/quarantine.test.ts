import { join } from "node:path";
import fc from "fast-check";
import * as assert from "uvu/assert";
import type { Batch } from "@weir/agent/pipeline/batch";
import { createColumns } from "@weir/agent/pipeline/batch";
import { Quarantine, QUARANTINED_MAX } from "@weir/agent/pipeline/quarantine";
import { describeStatus } from "@weir/agent/status";
import type { QuarantineRow } from "@weir/agent/store/quarantine";
import { countQuarantined, readQuarantined, RELEASED_KEPT_MAX, writeQuarantine } from "@weir/agent/store/quarantine";
import type { SeriesKey } from "@weir/shared/model/reading";
import type { QuarantinedDevice } from "@weir/shared/wire/messages";
import { suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";
import { NOW_MS } from "./pipeline-fixture.ts";
import { Hosted, reading } from "./set-aside-fixture.ts";
import { newDataFile, openStore } from "./store-fixture.ts";

const test = suite("quarantine of devices whose clocks are ahead");

/** Two series of each device: series 2n and 2n + 1 are those of device n. */
function namesOf(devices: number): SeriesKey[] {
  return Array.from({ length: devices * 2 }, (_, i) => ({ site: "s", device: `d${i >> 1}`, metric: `m${i % 2}` }));
}

/** A batch of readings in time, and of series whose readings were refused. */
function batchOf(inTime: readonly number[], ahead: readonly number[], stamped: readonly number[] = []): Batch {
  const readings = createColumns(inTime.length + stamped.length);
  for (const series of [...inTime, ...stamped]) {
    readings.stamped[readings.count] = readings.count < inTime.length ? 0 : 1;
    readings.series[readings.count++] = series;
  }
  const refused = ahead.map((series) => ({ series, readings: 3, aheadMs: 120_000 + series }));
  return { readings, sources: ["test"], series: [], deadLetters: [], ledger: [], ahead: refused };
}

test("a device is in quarantine from its first reading ahead to its first in time, on any of its series", () => {
  const lines: string[] = [];
  const quarantine = new Quarantine(namesOf(3), [], (line) => lines.push(line));
  quarantine.note(batchOf([0, 1, 2, 4], []), 1000);
  quarantine.note(batchOf([0, 4], [2]), 2000);
  quarantine.note(batchOf([0], [2]), 3000);
  const device = { site: "s", device: "d1", sinceMs: 2000, lastMs: 3000, aheadMs: 120_002, readings: 6 };
  assert.equal(quarantine.shown(10), [device]);
  quarantine.note(batchOf([2, 3], [3]), 4000);
  assert.is(quarantine.size, 1, "one batch says both: it is not over");
  quarantine.note(batchOf([0, 4], [], [2, 3]), 5000);
  assert.is(quarantine.size, 1, "readings without a time of their own say nothing of its clock");
  quarantine.note(batchOf([0, 3], []), 6000);
  assert.is(quarantine.size, 0);
  assert.equal(quarantine.changes(), [{ ...device, lastMs: 4000, aheadMs: 120_003, readings: 9, releasedMs: 6000 }]);
  assert.is(lines.length, 2);
  assert.match(lines[0]!, /s\/d1 is in quarantine: its clock is 120\.0 s ahead/);
  assert.match(lines[1]!, /s\/d1 is in time again; 9 of its readings were refused/);
});

test("who is in quarantine is what a plain model says, whatever the batches", () => {
  const series = fc.array(fc.nat({ max: 11 }), { maxLength: 6 });
  fc.assert(
    fc.property(fc.array(fc.tuple(series, series), { maxLength: 30 }), (batches) => {
      const names = namesOf(4);
      const quarantine = new Quarantine(names, [], () => {});
      const model = new Set<string>();
      const nameOf = (one: number): string => `d${one >> 1}`;
      batches.forEach(([inTime, ahead], i) => {
        // Series of two more devices are registered on the way.
        const fresh =
          i === 5
            ? namesOf(6)
                .slice(8)
                .map((key, at) => ({ ...key, index: 8 + at }))
            : [];
        const known = i < 5 ? 8 : 12;
        const batch = batchOf(
          inTime.filter((one) => one < known),
          [...new Set(ahead)].filter((one) => one < known),
        );
        quarantine.note({ ...batch, series: fresh }, i);
        names.push(...fresh.map(({ index: _, ...key }) => key));
        const refused = new Set(batch.ahead!.map((one) => nameOf(one.series)));
        for (const one of inTime) if (one < known && !refused.has(nameOf(one))) model.delete(nameOf(one));
        for (const device of refused) model.add(device);
        const shown = quarantine.shown(100).map(({ device }) => device);
        assert.equal(shown.toSorted(), [...model].toSorted());
      });
    }),
  );
});

test("a fleet of wrong clocks is bounded: devices, lines and rows", () => {
  const lines: string[] = [];
  const devices = QUARANTINED_MAX + 500;
  const quarantine = new Quarantine(namesOf(devices), [], (line) => lines.push(line));
  quarantine.note(
    batchOf(
      [],
      Array.from({ length: devices }, (_, i) => i * 2),
    ),
    1000,
  );
  assert.is(quarantine.size, QUARANTINED_MAX);
  assert.is(quarantine.unknownReadings, 500 * 3);
  assert.is(lines.length, 10);
  quarantine.note(
    batchOf(
      Array.from({ length: devices }, (_, i) => i * 2),
      [],
    ),
    61_000,
  );
  assert.is(quarantine.size, 0);
  assert.is(lines.length, 21);
  assert.match(lines[10]!, /^990 more devices entered or left/);
  const store = openStore(newDataFile());
  for (let round = 0; round < 3; round++) {
    const rows: QuarantineRow[] = quarantine
      .changes()
      .map((row) => ({ ...row, device: `${row.device}-${round}`, releasedMs: 1000 + round }));
    writeQuarantine(store.sql, rows);
  }
  assert.ok(store.sql.number("SELECT count(*) FROM quarantine")! <= RELEASED_KEPT_MAX * 2);
  store.close();
});

test("where there is no more room, devices that have sent nothing for a day give way, and no others", () => {
  const quarantine = new Quarantine(namesOf(QUARANTINED_MAX + 2), [], () => {});
  const all = Array.from({ length: QUARANTINED_MAX }, (_, i) => i * 2);
  quarantine.note(batchOf([], all), 0);
  const dayMs = 86_400_000;
  quarantine.note(batchOf([], all.slice(10)), dayMs - 1);
  const [one, other] = [QUARANTINED_MAX * 2, QUARANTINED_MAX * 2 + 2];
  quarantine.note(batchOf([], [one]), dayMs - 1);
  assert.is(quarantine.size, QUARANTINED_MAX);
  assert.not.ok(quarantine.shown(Infinity).some(({ device }) => device === `d${one / 2}`));
  quarantine.settle();
  quarantine.note(batchOf([], [one, other]), dayMs + 60_000);
  assert.is(quarantine.size, QUARANTINED_MAX - 10 + 2);
  const changes = quarantine.changes();
  assert.is(changes.filter(({ releasedMs }) => releasedMs === dayMs + 60_000).length, 10);
  assert.equal(
    quarantine
      .shown(2)
      .map(({ device }) => device)
      .toSorted(),
    [`d${one / 2}`, `d${other / 2}`].toSorted(),
  );
});

test("rows come back as they were, and only those that are still in quarantine", () => {
  const store = openStore(newDataFile());
  const row = { site: "s", device: "d1", sinceMs: 1, lastMs: 5, aheadMs: 90_000, readings: 7, releasedMs: null };
  const other = { ...row, device: "d2", lastMs: 9 };
  writeQuarantine(store.sql, [row, other, { ...row, device: "d3", releasedMs: 8 }]);
  const { releasedMs: _, ...device } = row;
  const newest: QuarantinedDevice = { ...device, device: "d2", lastMs: 9 };
  assert.equal(readQuarantined(store.sql, 10), [newest, device]);
  assert.is(countQuarantined(store.sql), 2);
  const again = new Quarantine(namesOf(3), readQuarantined(store.sql, 10), () => {});
  assert.equal(again.shown(10), [newest, device]);
  assert.equal(again.changes(), []);
  again.note(batchOf([3], []), 20);
  assert.equal(again.changes(), [{ ...row, releasedMs: 20 }]);
  writeQuarantine(store.sql, again.changes());
  again.settle();
  assert.equal(again.changes(), []);
  assert.equal(readQuarantined(store.sql, 10), [newest]);
  store.close();
});

test("an agent refuses the readings, keeps the device over a restart, and lets it go when its clock is right", async () => {
  const folder = join(tempFolder(), "data");
  let nowMs = NOW_MS;
  const start = (): Hosted => new Hosted(folder, {}, () => nowMs);
  const stop = (hosted: Hosted): Promise<void> => {
    hosted.commit();
    return hosted.host.close();
  };
  let agent = start();
  agent.send("t/s/wrong/m", { ts: NOW_MS, value: 1 });
  agent.send("t/s/right/m", { ts: NOW_MS, value: 1 });
  agent.commit();
  nowMs += 1000;
  agent.send("t/s/wrong/m", { ts: NOW_MS + 86_400_000, value: 2 });
  agent.send("t/s/right/m", { ts: NOW_MS + 1000, value: 2 });
  await stop(agent);
  agent = start();
  agent.send("t/s/right/m", { ts: NOW_MS + 1001, value: 3 });
  agent.send("t/s/wrong/m", { ts: NOW_MS + 86_400_001, value: 3 });
  await stop(agent);
  const told = reading(folder, (store) => JSON.parse(describeStatus(store, true)) as Status);
  assert.is(told.quarantinedDevices, 1);
  const { sinceMs: _, lastMs: __, ...device } = told.quarantined[0]!;
  assert.equal(device, { site: "s", device: "wrong", aheadMs: 86_400_001 - 1000, readings: 2 });
  assert.match(
    reading(folder, (store) => describeStatus(store, false)),
    /s\/wrong since .*: 2 readings refused/,
  );
  // Nobody else's readings suffer from it.
  const stored = told.ledger.filter(({ reason }) => reason === "stored" || reason === "rejected.time_ahead");
  assert.equal(
    stored.map(({ count }) => count),
    [2, 4],
  );
  agent = start();
  agent.send("t/s/wrong/m", { ts: NOW_MS + 500, value: 4 });
  await stop(agent);
  assert.match(agent.lines.join(), /s\/wrong is in time again; 2 of its readings were refused/);
  assert.match(
    reading(folder, (store) => describeStatus(store, false)),
    /in quarantine, their clocks ahead: none/,
  );
});

interface Status {
  readonly quarantinedDevices: number;
  readonly quarantined: QuarantinedDevice[];
  readonly ledger: Array<{ readonly reason: string; readonly count: number }>;
}
