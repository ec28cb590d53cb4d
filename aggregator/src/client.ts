import { CodedError, errorMessage } from "@weir/shared/errors";
import type { Values } from "@weir/shared/config/settings";
import type { DailyReport } from "@weir/shared/model/report";
import type { AgentView, AlertView, ReportListing, ThresholdListing } from "./queries.ts";
import type { aggregatorSettings } from "./settings.ts";

type Options = Readonly<Record<string, string | true>>;

/**
 * The commands that ask a running aggregator over its API. Returns what to print.
 * Throws CodedError USAGE, UNREACHABLE or REFUSED.
 */
export async function runClient(
  command: string,
  options: Options,
  positionals: readonly string[],
  settings: Values<typeof aggregatorSettings>,
): Promise<string> {
  const base =
    typeof options.url === "string" ? options.url : `http://${settings["http.host"]}:${settings["http.port"]}`;
  const ask = createAsk(base, settings["http.password"]);
  const json = options.json === true;
  switch (command) {
    case "report":
      return showReport(ask, positionals[0], options.recompute === true, json);
    case "alerts": {
      const state = typeof options.state === "string" ? `?state=${encodeURIComponent(options.state)}` : "";
      const text = await ask("GET", `/api/alerts${state}`);
      return json ? text : alertTable(JSON.parse(text) as AlertView[]);
    }
    case "agents": {
      const text = await ask("GET", "/api/agents");
      return json ? text : agentTable(JSON.parse(text) as AgentView[]);
    }
    default:
      return changeThresholds(ask, positionals, options, json);
  }
}

type Ask = (method: "GET" | "POST", path: string, body?: unknown) => Promise<string>;

function createAsk(base: string, password: string): Ask {
  return async (method, path, body) => {
    const authorization = `Basic ${Buffer.from(`weir:${password}`).toString("base64")}`;
    let response: Response;
    try {
      response = await fetch(new URL(path, base), {
        method,
        headers: {
          ...(password === "" ? {} : { authorization }),
          ...(body === undefined ? {} : { "content-type": "application/json" }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    } catch (error) {
      const cause = error instanceof Error && error.cause ? error.cause : error;
      throw new CodedError(
        "UNREACHABLE",
        `No aggregator at ${base}: ${errorMessage(cause)}. Is it running? See --url.`,
        {
          cause: error,
        },
      );
    }
    const text = await response.text();
    if (response.ok) return text;
    throw new CodedError("REFUSED", `${method} ${path}: ${refusal(text, response.status)}`);
  };
}

function refusal(text: string, status: number): string {
  try {
    return (JSON.parse(text) as { error: { message: string } }).error.message;
  } catch {
    return `HTTP status ${status}`;
  }
}

async function showReport(ask: Ask, day: string | undefined, recompute: boolean, json: boolean): Promise<string> {
  if (day === undefined) {
    const text = await ask("GET", "/api/reports/daily");
    if (json) return text;
    const rows = (JSON.parse(text) as ReportListing[]).map(
      ({ day: name, revision, devices, worstHealth, changeSummary }) => [
        name,
        revision === 0 ? "not issued yet" : `revision ${revision}`,
        String(devices),
        String(worstHealth ?? ""),
        changeSummary ?? "",
      ],
    );
    return table(["day", "issued", "devices", "worst health", "changed by the newest revision"], rows);
  }
  const text = await ask("GET", `/api/reports/daily/${encodeURIComponent(day)}${recompute ? "?recompute=1" : ""}`);
  if (json) return text;
  const report = JSON.parse(text) as DailyReport;
  const rows = report.devices.map((device) => [
    `${device.site}/${device.device}`,
    String(device.health),
    `${(100 * device.availability).toFixed(1)} %`,
    String(device.readings),
    String(device.alerts),
    String(device.breaches),
    device.trend.daysUntilCritical === null ? "" : `${device.trend.daysUntilCritical} d to critical`,
  ]);
  const head = `${report.day} (${report.timezone}), revision ${report.revision}, complete ${(100 * report.completeness.ratio).toFixed(1)} %`;
  return `${head}\n${table(["device", "health", "available", "readings", "alerts", "breaches", "trend"], rows)}`;
}

async function changeThresholds(
  ask: Ask,
  positionals: readonly string[],
  options: Options,
  json: boolean,
): Promise<string> {
  const [action, version] = positionals;
  if (action === "train") {
    const days = Number(options.days ?? 30);
    const note = typeof options.note === "string" ? options.note : "";
    return thresholdText(await ask("POST", "/api/thresholds/train", { days, note }), json);
  }
  if (action === "publish" && version !== undefined) {
    return thresholdText(await ask("POST", `/api/thresholds/${encodeURIComponent(version)}/publish`, {}), json);
  }
  if (action !== undefined) throw new CodedError("USAGE", "thresholds takes nothing, train, or publish and a number.");
  return thresholdText(await ask("GET", "/api/thresholds"), json);
}

function thresholdText(text: string, json: boolean): string {
  if (json) return text;
  const parsed = JSON.parse(text) as ThresholdListing | ThresholdListing[];
  const rows = [parsed]
    .flat()
    .map((one) => [
      String(one.version),
      one.state,
      new Date(one.effectiveFromMs).toISOString(),
      String(one.rules),
      String(one.series),
      one.agents.join(", "),
      one.note,
    ]);
  return table(["version", "state", "effective from", "rules", "series", "agents", "note"], rows);
}

function alertTable(alerts: readonly AlertView[]): string {
  const rows = alerts.map((alert) => [
    alert.inhibited ? "held back" : alert.state,
    alert.severity,
    `${alert.site}/${alert.device}/${alert.metric}`,
    `${alert.kind} ${alert.value}`,
    new Date(alert.startedAtMs).toISOString(),
    alert.ackedBy ?? "",
  ]);
  return table(["state", "severity", "series", "worst", "started", "acknowledged by"], rows);
}

function agentTable(agents: readonly AgentView[]): string {
  const sum = (counts: Readonly<Record<string, number>>): string =>
    String(Object.values(counts).reduce((total, count) => total + count, 0));
  const rows = agents.map(({ agent, connected, version, thresholdVersion, series, ledger, quarantined }) => [
    agent,
    connected ? "connected" : "away",
    version,
    String(thresholdVersion ?? ""),
    String(series),
    String(ledger.stored),
    String(ledger.duplicates),
    sum(ledger.rejected),
    sum(ledger.dropped),
    String(quarantined.length),
  ]);
  const head = ["agent", "state", "version", "thresholds", "series", "stored", "duplicates", "rejected", "dropped"];
  return [table([...head, "quarantined"], rows), ...agents.flatMap(quarantineLines)].join("\n");
}

function quarantineLines({ agent, quarantined }: AgentView): string[] {
  return quarantined.map(({ site, device, aheadMs, readings, sinceMs }) => {
    const ahead = `clock ${(aheadMs / 1000).toFixed(1)} s ahead`;
    const refused = `${readings} ${readings === 1 ? "reading" : "readings"} refused since ${new Date(sinceMs).toISOString()}`;
    return `${agent}: ${site}/${device} is in quarantine, ${ahead}, ${refused}`;
  });
}

function table(head: readonly string[], rows: ReadonlyArray<readonly string[]>): string {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd();
  return [line(head), ...rows.map(line)].join("\n");
}
