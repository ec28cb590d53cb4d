import type { AgentView, AlertView } from "@weir/aggregator/queries";
import { fetchAgents } from "./api.ts";
import { h, reconcile } from "./dom.ts";
import { ago, count, fullTime, time } from "./format.ts";

/** Lines of gateways that are away, at most; the agents page has all. */
const LINES_MAX = 6;

/** Watchers are told again of about so many alerts when a gateway comes or goes; of one with more they fetch them. */
const RETOLD_MAX = 200;

/** What a page knows of gateways: who is away, and so why alerts are held back. */
export interface Gateways {
  /** A line for each gateway that is away; empty where all are there. */
  readonly element: HTMLElement;
  /** Fetches what is known of all of them now. */
  refresh(): Promise<void>;
  /** Takes a change. draw: reasons are others now; fetch: and more alerts have changed than watchers are told of. */
  onAgent(agent: AgentView): "same" | "draw" | "fetch";
  /** Why an alert is held back; undefined: it is not. */
  reasonOf(alert: AlertView): string | undefined;
  tick(nowMs: number): void;
}

/** Gateways nothing is known of until they are fetched. */
export function createGateways(): Gateways {
  const agents = new Map<string, AgentView>();
  const lines = new Map<string, HTMLElement>();
  /** What came over /live since the newest fetch began: newer than what that fetch brings. */
  let during = new Map<string, AgentView>();
  const element = h("ul", {
    class: "gateways",
    "data-testid": "gateways-away",
    "aria-label": "Gateways that are away",
  });

  const draw = (nowMs: number): void => {
    const away = [...agents.values()].filter(isAway).toSorted(mostHeldFirst);
    const shown = away.slice(0, LINES_MAX).map((agent) => {
      const text = lineText(agent, nowMs);
      let line = lines.get(agent.agent);
      if (line?.dataset["text"] !== text) lines.set(agent.agent, (line = gatewayLine(agent, text)));
      return line;
    });
    const left = away.length - shown.length;
    if (left > 0) {
      const more = h("a", { href: "#/agents" }, `${count(left)} more gateways are away`);
      shown.push(h("li", { class: "gateway" }, more));
    }
    element.hidden = shown.length === 0;
    reconcile(element, shown);
  };
  return {
    element,
    async refresh() {
      const own = new Map<string, AgentView>();
      during = own;
      const fetched = await fetchAgents();
      agents.clear();
      for (const agent of [...fetched, ...own.values()]) agents.set(agent.agent, agent);
      draw(Date.now());
    },
    onAgent(agent) {
      const before = agents.get(agent.agent);
      agents.set(agent.agent, agent);
      during.set(agent.agent, agent);
      const isSame = agent.connected === before?.connected && agent.caughtUp === before.caughtUp;
      // Most of what agents say is that they go on as they did.
      if (isSame) return "same";
      draw(Date.now());
      const held = Math.max(agent.inhibitedAlerts, before?.inhibitedAlerts ?? 0);
      return agent.caughtUp !== before?.caughtUp && held > RETOLD_MAX ? "fetch" : "draw";
    },
    reasonOf(alert) {
      if (!alert.inhibited) return undefined;
      const agent = agents.get(alert.agent);
      if (!agent) return `gateway ${alert.agent} is away`;
      if (agent.connected) return `gateway ${alert.agent} is catching up`;
      const since = agent.lastSeenMs === null ? "" : ` since ${time(agent.lastSeenMs, Date.now())}`;
      return `gateway ${alert.agent} is offline${since}`;
    },
    tick: draw,
  };
}

function isAway({ connected, caughtUp, inhibitedAlerts }: AgentView): boolean {
  return !connected || (!caughtUp && inhibitedAlerts > 0);
}

function mostHeldFirst(a: AgentView, b: AgentView): number {
  return b.inhibitedAlerts - a.inhibitedAlerts || (a.agent < b.agent ? -1 : 1);
}

function lineText({ connected, lastSeenMs, inhibitedAlerts }: AgentView, nowMs: number): string {
  const since = lastSeenMs === null ? "" : ` since ${time(lastSeenMs, nowMs)}, ${ago(lastSeenMs, nowMs)}`;
  const state = connected ? "is back and catching up" : `is offline${since}`;
  if (inhibitedAlerts === 0) return `${state}.`;
  const alerts = `${count(inhibitedAlerts)} silence ${inhibitedAlerts === 1 ? "alert is" : "alerts are"}`;
  return `${state}. ${alerts} held back.`;
}

function gatewayLine({ agent, connected, lastSeenMs }: AgentView, text: string): HTMLElement {
  const title = lastSeenMs === null ? undefined : `Last seen ${fullTime(lastSeenMs)}`;
  return h(
    "li",
    { class: "gateway", "data-testid": "gateway-away", "data-agent": agent, "data-text": text, title },
    h("span", { class: `pill ${connected ? "plain" : "critical"}` }, connected ? "catching up" : "offline"),
    h("span", {}, "Gateway ", h("a", { class: "name", href: "#/agents" }, agent), ` ${text}`),
  );
}
