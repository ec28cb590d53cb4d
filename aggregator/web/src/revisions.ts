import type { ReportRevision, ReportRevisions } from "@weir/aggregator/queries";
import type { DeviceChange, FieldChange, FieldValue } from "@weir/aggregator/report-changes";
import type { Child } from "./dom.ts";
import { h } from "./dom.ts";
import { count, fullTime, percent, time, value, words } from "./format.ts";
import { deviceHref } from "./links.ts";

/** Devices of one revision on show, at most; the API gives more. */
const DEVICES_SHOWN_MAX = 30;

/** What each revision of a report changed, newest first; nothing where there is only the first. */
export function revisionsPart({ day, total, revisions }: ReportRevisions): HTMLElement[] {
  const changed = revisions.filter(({ changes }) => changes !== null);
  if (changed.length === 0) return [];
  const parts = changed.map((revision, index) => revisionPart(revision, index === 0));
  const left = total - 1 - changed.length;
  return [
    h(
      "section",
      { class: "card revisions", "data-testid": "revisions" },
      h("h3", {}, `${day} was revised ${total === 2 ? "once" : `${count(total - 1)} times`}`),
      ...parts,
      left > 0 && h("p", { class: "muted" }, `What the ${count(left)} earlier revisions changed is not listed.`),
    ),
  ];
}

function revisionPart(
  { revision, issuedAtMs, completenessBefore, completeness, changes }: ReportRevision,
  open: boolean,
): HTMLElement {
  if (!changes) return h("div");
  const { summary, fields, fieldsLeftOut, devices, devicesLeftOut } = changes;
  const rows = [
    ...(fields.length > 0 ? [groupRow("The report")] : []),
    ...fields.map((field) => fieldRow(field)),
    ...devices.slice(0, DEVICES_SHOWN_MAX).flatMap(deviceRows),
  ];
  const left = devicesLeftOut + Math.max(0, devices.length - DEVICES_SHOWN_MAX);
  const head = h("tr", {}, h("th", { scope: "col" }, "What changed"));
  for (const title of ["Before", "After"]) head.append(h("th", { scope: "col", class: "number" }, title));
  const complete =
    completenessBefore === null || completenessBefore.ratio === completeness.ratio
      ? `complete ${percent(completeness.ratio)}`
      : `complete ${percent(completenessBefore.ratio)} → ${percent(completeness.ratio)}`;
  return h(
    "details",
    { "data-testid": "revision", "data-revision": revision, open },
    h(
      "summary",
      {},
      h("b", {}, `Revision ${revision}`),
      h("span", { class: "muted", title: fullTime(issuedAtMs) }, ` ${time(issuedAtMs, Date.now())} · ${complete}`),
      h("span", { class: "revision-summary wrap" }, summary),
    ),
    h("div", { class: "scroll" }, h("table", {}, h("thead", {}, head), h("tbody", {}, ...rows))),
    left > 0 && h("p", { class: "muted note" }, `${count(left)} more devices changed.`),
    fieldsLeftOut > 0 && h("p", { class: "muted note" }, `${count(fieldsLeftOut)} more fields changed.`),
  );
}

/** A row with the device's name, and below it one for each field. */
function deviceRows({ site, device, change, fields, metrics, metricsLeftOut }: DeviceChange): HTMLElement[] {
  const state = change === "changed" ? "" : `, ${change}`;
  const rows = [
    groupRow(h("a", { href: deviceHref(site, device) }, device), h("small", { class: "muted" }, ` ${site}${state}`)),
    ...fields.map((field) => fieldRow(field)),
    ...metrics.flatMap((metric) => {
      const kind = metric.change === "changed" ? "" : `, ${metric.change}`;
      return metric.fields.map((field) => fieldRow(field, `${words(metric.metric)}${kind}: `));
    }),
  ];
  if (metricsLeftOut > 0) rows.push(h("tr", {}, h("td", { colspan: 3 }, `${count(metricsLeftOut)} more metrics`)));
  return rows;
}

function groupRow(...name: readonly Child[]): HTMLElement {
  return h("tr", {}, h("th", { scope: "rowgroup", colspan: 3 }, ...name));
}

function fieldRow({ field, before, after }: FieldChange, prefix = ""): HTMLElement {
  return h(
    "tr",
    {},
    h("td", { class: "wrap" }, prefix, fieldName(field)),
    h("td", { class: "number muted" }, fieldValue(field, before)),
    h("td", { class: "number" }, fieldValue(field, after)),
  );
}

/** "healthParts.drift" as "health parts drift". */
function fieldName(field: string): string {
  if (!/^[\w.]+$/.test(field)) return field;
  return words(field.replaceAll(".", " ").replace(/([a-z])([A-Z])/g, "$1 $2")).toLowerCase();
}

function fieldValue(field: string, shown: FieldValue): string {
  if (shown === null || shown === "") return "–";
  if (typeof shown === "string") return shown;
  if (field.endsWith("TsMs")) return time(shown, Date.now());
  if (field === "availability" || field === "completeness.ratio") return percent(shown);
  return Number.isInteger(shown) ? count(shown) : value(shown);
}
