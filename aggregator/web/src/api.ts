import type {
  AgentView,
  AlertView,
  DeviceDetail,
  DeviceView,
  ReportListing,
  ReportRevisions,
  SeriesColumns,
  SeriesRange,
  ThresholdListing,
} from "@weir/aggregator/queries";
import type { ThresholdVersion } from "@weir/shared/model/thresholds";

/** Alerts asked for at one time, at most; as many as the API gives. */
export const ALERTS_LIMIT = 1000;

/** What the API said went wrong, or that it could not be asked. */
export class ApiError extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.name = "ApiError";
    this.code = code;
  }
}

/** Which alerts; empty: any. */
export interface AlertQuery {
  readonly state: string;
  readonly site: string;
  readonly device: string;
  /** "true" or "false": only those held back, or only others. */
  readonly inhibited: string;
}

/** The query that every alert answers. */
export const ANY_ALERT: AlertQuery = { state: "", site: "", device: "", inhibited: "" };

/** All agents. */
export function fetchAgents(): Promise<AgentView[]> {
  return getJson("/api/agents");
}

/** All devices. */
export function fetchDevices(): Promise<DeviceView[]> {
  return getJson("/api/devices");
}

/** One device. Rejects with ApiError 404 for one that nobody named. */
export function fetchDevice(site: string, device: string): Promise<DeviceDetail> {
  return getJson(`/api/devices/${path(site, device)}`);
}

/** Columns of one series. */
export function fetchSeries(site: string, device: string, metric: string, range: SeriesRange): Promise<SeriesColumns> {
  const { fromMs, toMs, stepMs } = range;
  return getJson(`/api/series/${path(site, device, metric)}?from=${fromMs}&to=${toMs}&step=${stepMs}`);
}

/** Alerts, newest first, at most `limit`. */
export function fetchAlerts(query: AlertQuery, limit: number = ALERTS_LIMIT): Promise<AlertView[]> {
  const params = new URLSearchParams({ limit: String(limit) });
  for (const [name, text] of Object.entries(query)) if (text !== "") params.set(name, text);
  return getJson(`/api/alerts?${params}`);
}

/** by: the person's name; "": whoever is logged in. */
export function acknowledge(id: string, by: string): Promise<AlertView> {
  return postJson(`/api/alerts/${path(id)}/ack`, by === "" ? {} : { by });
}

/** Days with readings, newest first. */
export function fetchReportDays(): Promise<ReportListing[]> {
  return getJson("/api/reports/daily");
}

/** The bytes of a report, as text. */
export async function fetchReport(day: string, recompute: boolean): Promise<string> {
  return (await request(`/api/reports/daily/${path(day)}${recompute ? "?recompute=1" : ""}`, {})).text();
}

/** What each revision of a day's report changed. */
export function fetchRevisions(day: string): Promise<ReportRevisions> {
  return getJson(`/api/reports/daily/${path(day)}/revisions`);
}

/** All versions, newest first. */
export function fetchThresholds(): Promise<ThresholdListing[]> {
  return getJson("/api/thresholds");
}

/** One version, whole. */
export function fetchThreshold(version: number): Promise<ThresholdVersion> {
  return getJson(`/api/thresholds/${version}`);
}

/** Trains a draft from the last `days` days. */
export function trainThresholds(days: number, note: string): Promise<ThresholdListing> {
  return postJson("/api/thresholds/train", note === "" ? { days } : { days, note });
}

/** Publishes a draft, in force a little ahead of now. */
export function publishThresholds(version: number): Promise<ThresholdListing> {
  return postJson(`/api/thresholds/${version}/publish`, { effectiveFromMs: null });
}

function path(...parts: readonly string[]): string {
  return parts.map(encodeURIComponent).join("/");
}

async function getJson<T>(url: string): Promise<T> {
  return (await (await request(url, {})).json()) as T;
}

async function postJson<T>(url: string, body: unknown): Promise<T> {
  const headers = { "content-type": "application/json" };
  return (await (await request(url, { method: "POST", headers, body: JSON.stringify(body) })).json()) as T;
}

async function request(url: string, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, init);
  } catch {
    throw new ApiError("UNREACHABLE", "The aggregator cannot be reached.");
  }
  if (response.ok) return response;
  if (response.status === 401) location.assign("/login");
  const body = (await response.json().catch(() => null)) as { error?: { code: string; message: string } } | null;
  throw new ApiError(
    body?.error?.code ?? "FAILED",
    body?.error?.message ?? `The aggregator answered ${response.status}.`,
  );
}
