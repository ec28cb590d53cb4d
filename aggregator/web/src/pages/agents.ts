import type { AgentView } from "@weir/aggregator/queries";
import { fetchAgents } from "../api.ts";
import { fill, h, setText } from "../dom.ts";
import { ago, count, fullTime, words } from "../format.ts";
import { thresholdHref } from "../links.ts";
import type { Page } from "../page.ts";
import { empty, load } from "../page.ts";
import { quarantineTable } from "../quarantine.ts";

/** The agents with their connections and ledgers. */
export function createAgentsPage(): Page {
  const agents = new Map<string, AgentView>();
  const seen = new Map<HTMLElement, number>();
  const place = h("div", { class: "cards", "aria-busy": "true" });
  let frame = 0;

  const render = (): void => {
    frame = 0;
    seen.clear();
    const sorted = [...agents.values()].toSorted((a, b) => a.agent.localeCompare(b.agent));
    fill(place, ...(sorted.length === 0 ? [noAgents()] : sorted.map((agent) => agentCard(agent, seen))));
    tick(Date.now());
  };
  const tick = (nowMs: number): void => {
    for (const [element, tsMs] of seen) setText(element, ago(tsMs, nowMs));
  };

  return {
    title: "Agents",
    element: h("section", {}, h("div", { class: "page-head" }, h("h1", { tabindex: "-1" }, "Agents")), place),
    refresh: () =>
      load(place, async () => {
        const fetched = await fetchAgents();
        agents.clear();
        for (const agent of fetched) agents.set(agent.agent, agent);
        render();
      }),
    onTick: tick,
    onLive(event) {
      if (event.type !== "agent") return;
      agents.set(event.agent.agent, event.agent);
      frame ||= requestAnimationFrame(render);
    },
    close: () => cancelAnimationFrame(frame),
  };
}

function agentCard(agent: AgentView, seen: Map<HTMLElement, number>): HTMLElement {
  const { ledger } = agent;
  const last = h("span", { title: agent.lastSeenMs === null ? undefined : fullTime(agent.lastSeenMs) }, "never");
  if (agent.lastSeenMs !== null) seen.set(last, agent.lastSeenMs);
  const version =
    agent.thresholdVersion === null
      ? h("span", { class: "muted" }, "none")
      : h("a", { href: thresholdHref(agent.thresholdVersion) }, `v${agent.thresholdVersion}`);
  return h(
    "article",
    { class: "card agent", "data-testid": "agent-card", "data-agent": agent.agent },
    h(
      "header",
      {},
      h("h2", {}, agent.agent),
      h(
        "span",
        { class: "pills" },
        agent.connected && !agent.caughtUp && h("span", { class: "pill plain" }, "catching up"),
        h(
          "span",
          { class: `pill ${agent.connected ? "good" : "critical"}` },
          agent.connected ? "connected" : "disconnected",
        ),
      ),
    ),
    h(
      "dl",
      { class: "facts" },
      fact("Last seen", last),
      fact("Thresholds", version),
      fact("Series", count(agent.series)),
      fact("Readings", count(agent.readings)),
      fact("Software", agent.version),
      ...(agent.inhibitedAlerts > 0 ? [fact("Silence alerts held back", count(agent.inhibitedAlerts))] : []),
    ),
    agent.quarantined.length > 0 && quarantineTable(agent.quarantined, Date.now()),
    h("h3", {}, "Ledger since installed"),
    h(
      "table",
      { class: "ledger" },
      h(
        "tbody",
        {},
        ledgerRow("stored", ledger.stored, "plain"),
        ledgerRow("duplicates, counted once", ledger.duplicates, "plain"),
        ...reasonRows("rejected", ledger.rejected, "warning"),
        ...reasonRows("dropped", ledger.dropped, "critical"),
      ),
    ),
  );
}

function fact(name: string, content: HTMLElement | string): HTMLElement {
  return h("div", {}, h("dt", {}, name), h("dd", {}, content));
}

function reasonRows(kind: string, counts: Readonly<Record<string, number>>, level: string): HTMLElement[] {
  const reasons = Object.entries(counts).filter(([, amount]) => amount > 0);
  if (reasons.length === 0) return [ledgerRow(kind, 0, "plain")];
  return reasons.map(([reason, amount]) => ledgerRow(`${kind}: ${words(reason)}`, amount, level));
}

function ledgerRow(name: string, amount: number, level: string): HTMLElement {
  return h("tr", {}, h("th", { scope: "row" }, name), h("td", { class: `number ${level}` }, count(amount)));
}

function noAgents(): HTMLElement {
  return empty(
    "No agents yet",
    "Install an agent on a gateway with weir-agent install, set its uplink to this server, and it appears here when it connects.",
  );
}
