import type { ReportRevision } from "../queries.ts";
import type { DeviceChange, FieldChange } from "../report-changes.ts";
import { fieldText } from "../report-changes.ts";
import type { Html } from "./html.ts";
import { html } from "./html.ts";

/** Revisions and, of each, devices that the page lists, at most; the API gives more. */
const REVISIONS_SHOWN_MAX = 10;
const DEVICES_SHOWN_MAX = 20;

/** What each revision of a report changed, newest first; nothing where there is only the first. */
export function revisionsPart(revisions: readonly ReportRevision[]): Html {
  const changed = revisions.filter(({ changes }) => changes !== null);
  if (changed.length === 0) return html``;
  const left = changed.length - REVISIONS_SHOWN_MAX;
  return html`<h2>Revisions</h2>
    ${changed.slice(0, REVISIONS_SHOWN_MAX).map(revisionPart)}
    ${left > 0 ? html`<p class="muted">${left} earlier revisions are in the API's answer.</p>` : ""}`;
}

function revisionPart({ revision, issuedAtMs, completenessBefore, completeness, changes }: ReportRevision): Html {
  if (!changes) return html``;
  const { fields, devices, devicesLeftOut } = changes;
  const left = devicesLeftOut + Math.max(0, devices.length - DEVICES_SHOWN_MAX);
  const before = completenessBefore === null ? "" : `, completeness ${percent(completenessBefore.ratio)} before and`;
  return html`<section>
    <p>
      <strong>Revision ${revision}</strong>
      <span class="muted"> ${new Date(issuedAtMs).toISOString()}${before} ${percent(completeness.ratio)} since </span>
    </p>
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th class="name">What</th>
            <th class="name">Field</th>
            <th>Before</th>
            <th>After</th>
          </tr>
        </thead>
        <tbody>
          ${fields.map((field) => row("the report", field))} ${devices.slice(0, DEVICES_SHOWN_MAX).flatMap(deviceRows)}
        </tbody>
      </table>
    </div>
    ${left > 0 ? html`<p class="muted">${left} more devices changed.</p>` : ""}
  </section> `;
}

function deviceRows({ site, device, change, fields, metrics }: DeviceChange): Html[] {
  const name = `${site} / ${device}${change === "changed" ? "" : `, ${change}`}`;
  return [
    ...fields.map((field) => row(name, field)),
    ...metrics.flatMap((metric) => metric.fields.map((field) => row(`${name}, ${metric.metric}`, field))),
  ];
}

function row(what: string, { field, before, after }: FieldChange): Html {
  return html`<tr>
    <td class="name">${what}</td>
    <td class="name">${field}</td>
    <td>${fieldText(field, before, 6)}</td>
    <td>${fieldText(field, after, 6)}</td>
  </tr> `;
}

function percent(share: number): string {
  return `${(Math.floor(share * 10_000) / 100).toFixed(2)} %`;
}
