import { csvField, reportCsv } from "@weir/aggregator/http/report-csv";
import { reportPage } from "@weir/aggregator/http/report-html";
import { reportChanges } from "@weir/aggregator/report-changes";
import type { DailyReport } from "@weir/shared/model/report";
import * as fc from "fast-check";
import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";
import { createFakeQueries } from "./http-fake.ts";

const test = suite("aggregator http report formats");

const report: DailyReport = createFakeQueries(Date.parse("2025-06-12T14:00:00Z")).reportOf("2025-06-11")!;

/** A reader of RFC 4180, by hand and slow. */
function parseCsv(text: string): string[][] {
  const rows: string[][] = [];
  for (let at = 0; at < text.length;) {
    const row: string[] = [];
    for (;;) {
      let field = "";
      if (text[at] === '"') {
        for (at++; !(text[at] === '"' && text[at + 1] !== '"'); at++) {
          if (text[at] === '"') at++;
          field += text[at];
        }
        at++;
      } else {
        while (at < text.length && text[at] !== "," && text[at] !== "\r") field += text[at++];
      }
      row.push(field);
      if (text[at] !== ",") break;
      at++;
    }
    at += 2;
    rows.push(row);
  }
  return rows;
}

function named(name: string): DailyReport {
  const [device] = report.devices;
  const [metric] = device!.metrics;
  return { ...report, devices: [{ ...device!, site: name, device: name, metrics: [{ ...metric!, metric: name }] }] };
}

test("writes a row a device and metric, numbers as they are", () => {
  const [header, ...rows] = parseCsv(reportCsv(report));
  const column = (name: string): number => header!.indexOf(name);
  assert.is(rows.length, report.devices.length * 3);
  const row = rows.find(
    (candidate) => candidate[column("device")] === "pump-7" && candidate[column("metric")] === "oil_pressure",
  )!;
  const device = report.devices.find((candidate) => candidate.device === "pump-7")!;
  const metric = device.metrics.find((candidate) => candidate.metric === "oil_pressure")!;
  assert.is(row.length, header!.length);
  assert.is(Number(row[column("mean")]), metric.mean);
  assert.is(Number(row[column("availability")]), device.availability);
  assert.is(row[column("drift")], "");
});

test("keeps any name in its field of the CSV", () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1, unit: "grapheme" }), (name) => {
      const row = parseCsv(reportCsv(named(name)))[1]!;
      const expected = /^[=+\-@\t\r]/.test(name) ? `'${name}` : name;
      assert.equal(row.slice(3, 6), [expected, expected, expected]);
    }),
  );
});

test("disarms texts that a spreadsheet would run", () => {
  assert.is(csvField('=HYPERLINK("http://x")'), `"'=HYPERLINK(""http://x"")"`);
  for (const text of ["+1", "-1", "@x", "\tx"]) assert.ok(csvField(text).startsWith("'"), text);
  assert.is(csvField(-1.5), "-1.5");
});

test("escapes any name in the page", () => {
  const attack = `"><img src=x onerror='alert(1)'>&amp;`;
  const page = reportPage(named(attack), []);
  assert.not.match(page, /<img/);
  assert.match(page, /&quot;&gt;&lt;img src=x onerror=&#39;alert\(1\)&#39;&gt;&amp;amp;/);
});

test("puts what revisions changed on the page, escaped, the newest of them", () => {
  const attack = "<img src=x>";
  const earlier = { ...named(attack).devices[0]!, readings: 1 };
  const changes = reportChanges({ ...report, devices: [earlier] }, named(attack));
  const { completeness } = report;
  const revisions = Array.from({ length: 14 }, (_, i) => {
    return { revision: 15 - i, issuedAtMs: i, completenessBefore: completeness, completeness, changes };
  });
  const page = reportPage(named(attack), revisions);
  assert.not.match(page, /<img/);
  assert.match(page, /Revision 15[\s\S]*&lt;img src=x&gt; \/ &lt;img src=x&gt;[\s\S]*readings[\s\S]*<td>1<\/td>/);
  assert.not.match(page, /Revision 5</);
  assert.match(page, /4 earlier revisions/);
});

test("rounds completeness down, so that only a whole day reads as 100 %", () => {
  const almost = { ...report, completeness: { ...report.completeness, ratio: 0.999999 } };
  assert.match(reportPage(almost, []), /99\.99 %/);
});

test("puts a device without metrics on the page and a report without devices nowhere wrong", () => {
  const empty: DailyReport = { ...report, devices: [] };
  assert.is(parseCsv(reportCsv(empty)).length, 1);
  assert.match(reportPage(empty, []), /No device has readings/);
});
