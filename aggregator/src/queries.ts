import type { AlertView as AckedAlert } from "@weir/shared/model/alert";
import type { Completeness } from "@weir/shared/model/report";
import type { ThresholdVersion } from "@weir/shared/model/thresholds";
import type { QuarantinedDevice } from "@weir/shared/wire/messages";
import type { ReportChanges } from "./report-changes.ts";

/**
 * What the HTTP API and the dashboard ask of the aggregator, and nothing more: the seam between http/ and the stores,
 * so that neither has to live in the other's process.
 */
export interface Queries {
  agents(): readonly AgentView[];
  devices(): Promise<readonly DeviceView[]>;
  /** One device with its metrics; undefined when no agent has ever named it. */
  device(site: string, device: string): DeviceDetail | undefined;
  /** Columns of one series, a row a step that has readings; undefined for an unknown series. Times in ms. */
  series(site: string, device: string, metric: string, range: SeriesRange): SeriesColumns | undefined;
  /** Newest first. */
  alerts(filter: AlertFilter): readonly AlertView[];
  /** Marks an alert as seen by somebody; undefined when there is no such alert. A second ack keeps the first. */
  acknowledge(id: string, by: string): AlertView | undefined;
  /** Days that have readings, newest first. */
  reportDays(): readonly ReportListing[];
  /**
   * The report of a day in UTF-8; undefined when the day has no readings. recompute: by the batch path, from the stored
   * partials, now. Rejects with CodedError BATCH_BUSY when too many are being made, BATCH_ENDED when making it failed.
   */
  report(
    day: string,
    options: { readonly recompute: boolean; readonly format: ReportFormat },
  ): Promise<Uint8Array | undefined>;
  /** Canonical bytes of an issued revision; empty: no longer kept; undefined: never issued. */
  revision(day: string, revision: number): Uint8Array | undefined;
  /** What each revision of a day's report changed; undefined when the day has no readings. */
  revisions(day: string): ReportRevisions | undefined;
  thresholds(): readonly ThresholdListing[];
  threshold(version: number): ThresholdVersion | undefined;
  /**
   * Trains a new version from the last `days` days and keeps it as a draft. Rejects with CodedError NO_HISTORY, and as
   * report() does.
   */
  train(options: { readonly days: number; readonly note: string }): Promise<ThresholdListing>;
  /** Broadcasts a version. effectiveFromMs null: a little ahead of now. Throws CodedError UNKNOWN_VERSION. */
  publish(version: number, options: { readonly effectiveFromMs: number | null }): ThresholdListing;
  /** True when the store answers and the schema is current. */
  ready(): boolean;
  /** Prometheus text format 0.0.4. */
  metrics(): string;
  /** Calls listener for everything that changes from now on; returns how to stop. */
  subscribe(listener: (event: LiveEvent) => void): () => void;
}

/** An alert as the API shows it. */
export interface AlertView extends AckedAlert {
  /**
   * A silence alert that is firing while its agent is away: that the device is silent is not known, as nothing could be
   * heard of it. It is held back: shown, and not counted as firing.
   */
  readonly inhibited: boolean;
}

export interface AgentView {
  readonly agent: string;
  readonly connected: boolean;
  /** Connected, and what it had to tell of alerts since it was away is here. */
  readonly caughtUp: boolean;
  /** While it is not connected, it is offline since then; null: it has never been. */
  readonly lastSeenMs: number | null;
  readonly version: string;
  /** The newest threshold version the agent has acknowledged; null: none. */
  readonly thresholdVersion: number | null;
  readonly series: number;
  readonly readings: number;
  /** The agent's ledger since it was installed. */
  readonly ledger: {
    readonly stored: number;
    readonly duplicates: number;
    readonly rejected: Readonly<Record<string, number>>;
    readonly dropped: Readonly<Record<string, number>>;
  };
  /** Numbers of its inner life by name, as it last told them. */
  readonly gauges: Readonly<Record<string, number>>;
  /** Devices whose clocks run ahead of the agent's, as it last told them. */
  readonly quarantined: readonly QuarantinedDevice[];
  /** Silence alerts of its devices that are held back while it is away. */
  readonly inhibitedAlerts: number;
}

/** That a device's readings are refused because its clock runs ahead of its agent's. Times are the agent's, ms. */
export interface Quarantine extends Omit<QuarantinedDevice, "site" | "device"> {
  readonly agent: string;
}

export interface DeviceView {
  readonly site: string;
  readonly device: string;
  readonly agent: string;
  readonly metrics: readonly string[];
  readonly firstTsMs: number;
  readonly lastTsMs: number;
  /** The device's own watermark: its newest accepted event time, ms. No other device moves it. */
  readonly watermarkMs: number;
  /** Alerts that are firing and not held back. */
  readonly firing: number;
  /** Health of the newest report, null before the first. */
  readonly health: number | null;
  /** Null: its readings are taken. */
  readonly quarantine: Quarantine | null;
}

/** A device with its series, by metric. */
export interface DeviceDetail extends DeviceView {
  readonly series: ReadonlyArray<{ readonly metric: string; readonly lastTsMs: number; readonly lastValue: number }>;
}

/** From fromMs up to, not including, toMs; steps begin at multiples of stepMs. Windows are as long as the agent's. */
export interface SeriesRange {
  readonly fromMs: number;
  readonly toMs: number;
  readonly stepMs: number;
}

/** Columns of equal length; low and high are the warning limits in force at each step, null where there are none. */
export interface SeriesColumns {
  readonly site: string;
  readonly device: string;
  readonly metric: string;
  readonly stepMs: number;
  readonly tsMs: readonly number[];
  readonly count: readonly number[];
  readonly min: readonly number[];
  readonly max: readonly number[];
  readonly mean: readonly number[];
  readonly breaches: readonly number[];
  readonly low: ReadonlyArray<number | null>;
  readonly high: ReadonlyArray<number | null>;
}

export interface AlertFilter {
  readonly state?: string;
  readonly site?: string;
  readonly device?: string;
  /** Only those held back, or only others; see AlertView. */
  readonly inhibited?: boolean;
  /** Alerts that began or changed at or after this time, ms. */
  readonly sinceMs?: number;
  readonly limit: number;
}

export interface ReportListing {
  readonly day: string;
  /** 0: not issued yet; the report of such a day is made when asked for. */
  readonly revision: number;
  readonly issuedAtMs: number | null;
  readonly devices: number;
  /** The lowest health of the day's devices; null when not issued yet. */
  readonly worstHealth: number | null;
  /** What the newest revision changed, in words; null: there is none but the first. */
  readonly changeSummary: string | null;
}

/** One issue of a day's report. */
export interface ReportRevision {
  readonly revision: number;
  readonly issuedAtMs: number;
  /** Of the revision before; null: this is the first. */
  readonly completenessBefore: Completeness | null;
  readonly completeness: Completeness;
  /** Against the revision before; null: this is the first. */
  readonly changes: ReportChanges | null;
}

export interface ReportRevisions {
  readonly day: string;
  /** How many there are; 0: the day's report was not issued yet. */
  readonly total: number;
  /** The newest, newest first. */
  readonly revisions: readonly ReportRevision[];
}

/** json: canonical JSON, whose bytes are promised; csv and html: of the same content. */
export type ReportFormat = "json" | "csv" | "html";

export interface ThresholdListing {
  readonly version: number;
  readonly state: "draft" | "published";
  readonly effectiveFromMs: number;
  readonly createdAtMs: number;
  readonly note: string;
  readonly rules: number;
  readonly series: number;
  /** Agents that have acknowledged it. */
  readonly agents: readonly string[];
}

/** What /live sends, one JSON text a frame. */
export type LiveEvent =
  | { readonly type: "alert"; readonly alert: AlertView }
  | { readonly type: "agent"; readonly agent: AgentView }
  /** New data of a series up to lastTsMs: charts fetch what they lack. */
  | {
      readonly type: "series";
      readonly site: string;
      readonly device: string;
      readonly metrics: readonly string[];
      readonly lastTsMs: number;
    }
  /** A report was issued. summary: what the revision changed, in words; null: it is the first. */
  | { readonly type: "report"; readonly day: string; readonly revision: number; readonly summary: string | null };
