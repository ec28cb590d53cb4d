import type { ThresholdListing } from "@weir/aggregator/queries";
import type { Band, ThresholdVersion } from "@weir/shared/model/thresholds";
import { fetchThreshold, fetchThresholds, publishThresholds, trainThresholds } from "../api.ts";
import { fill, h } from "../dom.ts";
import { errorMessage, toast } from "../feedback.ts";
import { count, fullTime, time, value, words } from "../format.ts";
import { thresholdHref } from "../links.ts";
import type { Page } from "../page.ts";
import { empty, load, throttle } from "../page.ts";

/** Series of a version on show, at most; the API gives all. */
const SERIES_ROWS_MAX = 500;

/** What agents acknowledge is fetched again at most this often, ms. */
const REFRESH_INTERVAL_MS = 1000;

/** Threshold versions: who has which, training and publishing. */
export function createThresholdsPage(): Page {
  const place = h("div", { class: "card flush", "aria-busy": "true" });
  const refresh = (): Promise<void> =>
    load(place, async () => {
      const versions = (await fetchThresholds()).toSorted((a, b) => b.version - a.version);
      fill(place, versions.length === 0 ? noVersions() : versionTable(versions, () => void refresh()));
    });
  const again = throttle(REFRESH_INTERVAL_MS, () => void refresh());
  return {
    title: "Thresholds",
    element: h(
      "section",
      {},
      h("div", { class: "page-head" }, h("h1", { tabindex: "-1" }, "Thresholds")),
      trainForm(() => void refresh()),
      place,
    ),
    refresh,
    onLive(event) {
      if (event.type === "agent") again.call();
    },
    close: () => again.stop(),
  };
}

function noVersions(): HTMLElement {
  return empty(
    "No thresholds yet",
    "Without bands nothing is a breach. Train a version from the last days, then publish it to the agents.",
  );
}

function trainForm(done: () => void): HTMLElement {
  const days = h("input", { type: "number", min: 1, max: 366, value: 14, required: true });
  const note = h("input", { type: "text", maxlength: 500, placeholder: "Why (optional)" });
  const submit = h("button", { type: "submit", class: "primary" }, "Train");
  const form = h(
    "form",
    { class: "card form-row" },
    h("label", {}, "Days of history", days),
    h("label", { class: "grow" }, "Note", note),
    submit,
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit.disabled = true;
    void train(days.valueAsNumber, note, done).finally(() => {
      submit.disabled = false;
    });
  });
  return form;
}

async function train(days: number, note: HTMLInputElement, done: () => void): Promise<void> {
  try {
    const trained = await trainThresholds(days, note.value.trim());
    toast(`Version ${trained.version} is trained and kept as a draft.`, "done");
    note.value = "";
    done();
  } catch (error) {
    toast(`Not trained: ${errorMessage(error)}`, "problem");
  }
}

function versionTable(versions: readonly ThresholdListing[], done: () => void): HTMLElement {
  const nowMs = Date.now();
  const body = h("tbody");
  for (const listing of versions) {
    const isDraft = listing.state === "draft";
    const effective = isDraft ? "–" : time(listing.effectiveFromMs, nowMs);
    body.append(
      h(
        "tr",
        { "data-testid": "threshold-row", "data-version": listing.version },
        h("th", { scope: "row" }, h("a", { href: thresholdHref(listing.version) }, `v${listing.version}`)),
        h("td", { "data-label": "State" }, h("span", { class: `pill ${isDraft ? "plain" : "good"}` }, listing.state)),
        h(
          "td",
          { class: "nowrap", title: isDraft ? "" : fullTime(listing.effectiveFromMs), "data-label": "In force from" },
          effective,
        ),
        h(
          "td",
          { class: "nowrap", title: fullTime(listing.createdAtMs), "data-label": "Made" },
          time(listing.createdAtMs, nowMs),
        ),
        h("td", { class: "wrap", "data-label": "Note" }, listing.note || "–"),
        h("td", { class: "number", "data-label": "Series" }, count(listing.series)),
        h("td", { class: "number", "data-label": "Rules" }, count(listing.rules)),
        h("td", { title: listing.agents.join(", "), "data-label": "Agents that have it" }, agentsPart(listing.agents)),
        h("td", { class: "number" }, isDraft ? publishButton(listing, done) : ""),
      ),
    );
  }
  const head = h("tr", {});
  for (const title of ["Version", "State", "In force from", "Made", "Note", "Series", "Rules", "Agents", ""]) {
    head.append(h("th", { scope: "col", class: title === "Series" || title === "Rules" ? "number" : "" }, title));
  }
  return h("table", { class: "stack" }, h("thead", {}, head), body);
}

function agentsPart(agents: readonly string[]): string {
  if (agents.length === 0) return "none";
  return agents.length <= 2 ? agents.join(", ") : `${count(agents.length)} agents`;
}

function publishButton(listing: ThresholdListing, done: () => void): HTMLElement {
  const button = h("button", { type: "button", class: "small", "data-testid": "publish-button" }, "Publish");
  button.addEventListener("click", () => {
    confirmPublish(listing, () => {
      button.disabled = true;
      void publish(listing.version, done).finally(() => {
        button.disabled = false;
      });
    });
  });
  return button;
}

async function publish(version: number, done: () => void): Promise<void> {
  try {
    await publishThresholds(version);
    toast(`Version ${version} is on its way to the agents.`, "done");
    done();
  } catch (error) {
    toast(`Not published: ${errorMessage(error)}`, "problem");
  }
}

function confirmPublish({ version, series, rules }: ThresholdListing, confirmed: () => void): void {
  const close = (): void => dialog.remove();
  const dialog = h(
    "dialog",
    { onclose: close },
    h("h2", {}, `Publish version ${version}?`),
    h(
      "p",
      {},
      `All agents will judge readings by its ${count(series)} series and ${count(rules)} rules, beginning a little ahead of now.`,
    ),
    h(
      "form",
      { method: "dialog", class: "actions" },
      h("button", {}, "Cancel"),
      h("button", { class: "primary", "data-testid": "publish-confirm", onclick: confirmed }, "Publish"),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
}

/** One version with its rules and bands. */
export function createThresholdPage(version: number): Page {
  const place = h("div", { "aria-busy": "true" });
  return {
    title: `Thresholds v${version}`,
    element: h(
      "section",
      {},
      h("p", { class: "crumbs" }, h("a", { href: "#/thresholds" }, "Thresholds"), " / "),
      h("div", { class: "page-head" }, h("h1", { tabindex: "-1" }, `Version ${version}`)),
      place,
    ),
    refresh: () =>
      load(place, async () => {
        fill(place, ...versionParts(await fetchThreshold(version)));
      }),
    onLive: () => {},
    close: () => {},
  };
}

function versionParts(version: ThresholdVersion): HTMLElement[] {
  const nowMs = Date.now();
  const facts = h("dl", { class: "facts card" });
  for (const [name, text] of [
    ["In force from", time(version.effectiveFromMs, nowMs)],
    ["Made", time(version.createdAtMs, nowMs)],
    ["Time zone", version.timezone],
    ["Note", version.note || "–"],
  ] as const) {
    facts.append(h("div", {}, h("dt", {}, name), h("dd", {}, text)));
  }
  const rules = version.rules.map(({ match, band }) => bandRow(match.site, match.device, match.metric, band));
  const series = version.series.slice(0, SERIES_ROWS_MAX).map((entry) => {
    return bandRow(
      entry.site,
      entry.device,
      words(entry.metric),
      entry.band,
      entry.hourOfWeek ? "168 bands by hour of week" : "",
    );
  });
  const left = version.series.length - series.length;
  return [
    facts,
    h("h2", {}, "Series"),
    series.length === 0 ? h("p", { class: "muted" }, "None: every band comes from a rule.") : bandTable(series),
    ...(left > 0 ? [h("p", { class: "muted note" }, `${count(left)} more in the API's answer.`)] : []),
    h("h2", {}, "Rules"),
    rules.length === 0 ? h("p", { class: "muted" }, "None.") : bandTable(rules),
  ];
}

function bandTable(rows: readonly HTMLElement[]): HTMLElement {
  const head = h("tr", {});
  for (const title of ["Site", "Device", "Metric"]) head.append(h("th", { scope: "col" }, title));
  for (const title of ["Critical low", "Warning low", "Warning high", "Critical high"]) {
    head.append(h("th", { scope: "col", class: "number" }, title));
  }
  return h("div", { class: "card flush scroll" }, h("table", {}, h("thead", {}, head), h("tbody", {}, ...rows)));
}

function bandRow(site: string, device: string, metric: string, band: Band, note = ""): HTMLElement {
  const row = h("tr", { title: note }, h("td", {}, site), h("td", {}, device), h("td", {}, metric));
  for (const limit of [band.criticalLow, band.warningLow, band.warningHigh, band.criticalHigh]) {
    row.append(h("td", { class: "number" }, limit === null ? "–" : value(limit)));
  }
  return row;
}
