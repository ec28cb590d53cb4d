import type { FieldChange } from "@weir/aggregator/report-changes";
import { DEVICES_LISTED_MAX, METRICS_LISTED_MAX, reportChanges } from "@weir/aggregator/report-changes";
import { canonicalJson } from "@weir/shared/model/canonical-json";
import type { DailyReport, DeviceReport, MetricReport } from "@weir/shared/model/report";
import fc from "fast-check";
import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";
import { createFakeQueries } from "./http-fake.ts";

const test = suite("report changes");

const report: DailyReport = createFakeQueries(Date.parse("2025-06-12T14:00:00Z")).reportOf("2025-06-11")!;

function withDevice(name: string, change: (device: DeviceReport) => DeviceReport): DailyReport {
  return { ...report, devices: report.devices.map((one) => (one.device === name ? change(one) : one)) };
}

function metricOf(device: DeviceReport, name: string, over: Partial<MetricReport>): DeviceReport {
  return { ...device, metrics: device.metrics.map((one) => (one.metric === name ? { ...one, ...over } : one)) };
}

test("names the fields that differ, with before and after, by device and metric", () => {
  const before = withDevice("pump-7", (device) => {
    const earlier = { ...device, readings: 100, healthParts: { ...device.healthParts, drift: 1 } };
    return metricOf(earlier, "oil_pressure", { p99: 4, drift: 0.5 });
  });
  const pump = report.devices.find(({ device }) => device === "pump-7")!;
  const changes = reportChanges(before, report);
  assert.equal(changes.devices, [
    {
      site: "brno",
      device: "pump-7",
      change: "changed",
      fields: [
        { field: "healthParts.drift", before: 1, after: pump.healthParts.drift },
        { field: "readings", before: 100, after: pump.readings },
      ],
      metrics: [
        {
          metric: "oil_pressure",
          change: "changed",
          fields: [
            { field: "p99", before: 4, after: 5 },
            { field: "drift", before: 0.5, after: null },
          ],
        },
      ],
      metricsLeftOut: 0,
    },
  ]);
  assert.equal([changes.fields, changes.devicesLeftOut], [[], 0]);
  assert.is(changes.summary, `1 device changed: pump-7 readings 100 → ${pump.readings}`);
});

test("names devices and metrics that came and went, and what changed in completeness and lineage", () => {
  const [first, second, ...others] = report.devices;
  const before: DailyReport = { ...report, devices: [first!, ...others] };
  const after: DailyReport = {
    ...report,
    devices: [
      second!,
      ...others.map((device, i) => (i === 0 ? { ...device, metrics: device.metrics.slice(1) } : device)),
    ],
    completeness: { ...report.completeness, rejected: { json_malformed: 14, time_late: 2 } },
    lineage: { ...report.lineage, thresholdVersions: [3], sources: report.lineage.sources.slice(1) },
  };
  const changes = reportChanges(before, after);
  assert.equal(
    changes.devices.map(({ device, change, metrics }) => [device, change, metrics.map((metric) => metric.change)]),
    [
      [first!.device, "gone", []],
      [second!.device, "added", []],
      [others[0]!.device, "changed", ["gone"]],
    ],
  );
  const fields = new Map(changes.fields.map((change: FieldChange) => [change.field, [change.before, change.after]]));
  assert.equal(fields.get("completeness.rejected.time_ahead"), [3, null]);
  assert.equal(fields.get("completeness.rejected.time_late"), [null, 2]);
  assert.equal(fields.get("lineage.thresholdVersions"), ["2, 3", "3"]);
  assert.ok(fields.has("lineage.sources.gw-brno-1.readings"));
  assert.match(changes.summary, /^3 devices changed: .*(added|gone)/);
});

const leaf = fc.integer({ min: 0, max: 2 });
const metricArb = fc.record({ metric: fc.constantFrom("a", "b"), count: leaf, p50: leaf, drift: fc.option(leaf) });
const deviceArb = fc.record({
  device: fc.constantFrom("x", "y", "z"),
  readings: leaf,
  trend: fc.record({ days: leaf, slopePerDay: fc.option(leaf) }),
  metrics: fc.array(metricArb, { maxLength: 3 }),
});
const reportArb = fc
  .record({
    devices: fc.uniqueArray(deviceArb, { maxLength: 3, selector: ({ device }) => device }),
    readings: leaf,
    rejected: fc.dictionary(fc.constantFrom("r", "s"), leaf),
    versions: fc.uniqueArray(leaf, { maxLength: 2 }),
    agents: fc.uniqueArray(fc.constantFrom("g", "h"), { maxLength: 2 }),
  })
  .map(({ devices, readings, rejected, versions, agents }) => {
    const sorted = (all: readonly string[]): string[] => all.toSorted();
    const [one] = report.devices;
    const full = devices
      .toSorted((a, b) => (a.device < b.device ? -1 : 1))
      .map((over) => ({
        ...one!,
        ...over,
        metrics: over.metrics
          .toSorted((a, b) => (a.metric < b.metric ? -1 : 1))
          .map((metric) => ({ ...one!.metrics[0]!, ...metric })),
      }));
    const sources = sorted(agents).map((agent) => ({ agent, firstTsMs: 1, lastTsMs: 2, readings }));
    return {
      ...report,
      devices: full as unknown as DeviceReport[],
      completeness: { ...report.completeness, rejected },
      lineage: { operatorVersion: 2, thresholdVersions: versions.toSorted((a, b) => a - b), sources },
    };
  });

test("is empty where two reports are the same but for their revision, and only there", () => {
  fc.assert(
    fc.property(reportArb, reportArb, fc.boolean(), (before, other, isSame) => {
      const after = { ...(isSame ? (structuredClone(before) as DailyReport) : other), revision: before.revision + 1 };
      const differ = canonicalJson({ ...after, revision: 0 }) !== canonicalJson({ ...before, revision: 0 });
      const { fields, devices, summary } = reportChanges(before, after);
      assert.is(fields.length + devices.length > 0, differ);
      assert.is(summary !== "", differ);
      for (const { fields: ofDevice, metrics } of devices) assert.ok(ofDevice.length + metrics.length > 0);
    }),
    { numRuns: 1000 },
  );
});

test("takes metrics of one name, of two agents, in their order", () => {
  const twice = (first: number, second: number): DailyReport =>
    withDevice("pump-7", (device) => {
      const [metric] = device.metrics;
      return { ...device, metrics: [first, second].map((count) => ({ ...metric!, count })) };
    });
  const [pump] = reportChanges(twice(1, 5), twice(2, 5)).devices;
  assert.equal(
    pump?.metrics.map(({ fields }) => fields),
    [[{ field: "count", before: 1, after: 2 }]],
  );
});

test("is bounded for a fleet that changed altogether, and says how much more there is", () => {
  const [one] = report.devices;
  const fleet = (delta: number): DailyReport => ({
    ...report,
    devices: Array.from({ length: 3000 }, (_, i) => ({
      ...one!,
      device: `d${"x".repeat(100)}${i}`,
      health: 90 - (i === 2999 ? delta * 50 : delta),
      metrics: Array.from({ length: i === 0 ? 200 : 40 }, (_m, n) => ({
        ...one!.metrics[0]!,
        metric: `m${String(n).padStart(4, "0")}`,
        count: 10 + delta,
      })),
    })),
  });
  const { devices, devicesLeftOut, summary } = reportChanges(fleet(0), fleet(1));
  assert.ok(devices.length <= DEVICES_LISTED_MAX);
  const fields = devices.flatMap((device) => [device.fields, ...device.metrics.map((metric) => metric.fields)].flat());
  assert.ok(fields.length <= 1000 + METRICS_LISTED_MAX, `${fields.length} fields`);
  assert.is(devices.length + devicesLeftOut, 3000);
  assert.match(devices[0]!.device, /x2999$/, "the one that moved most comes first");
  const wide = devices.find(({ device }) => device.endsWith("x0"))!;
  assert.equal([wide.metrics.length, wide.metricsLeftOut], [METRICS_LISTED_MAX, 200 - METRICS_LISTED_MAX]);
  assert.match(summary, /^3000 devices changed: /);
  assert.ok(summary.length <= 400);
  assert.ok(JSON.stringify(devices).length < 200_000);
});

test("says in words what a report of no changed devices has changed", () => {
  const after = { ...report, completeness: { ...report.completeness, ratio: 0.987654321 } };
  const before = { ...report, completeness: { ...report.completeness, ratio: 0.5 } };
  assert.is(reportChanges(before, after).summary, "completeness.ratio 0.5 → 0.98765");
  const source = { ...report.lineage.sources[0]!, lastTsMs: Date.UTC(2025, 5, 11) };
  const moved = { ...report, lineage: { ...report.lineage, sources: [source, report.lineage.sources[1]!] } };
  assert.match(reportChanges(report, moved).summary, /lastTsMs \d{4}-.*Z → 2025-06-11T00:00:00.000Z/);
});
