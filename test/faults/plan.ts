import type { Lane } from "@weir/shared/wire/messages";
import type { ThresholdVersion } from "@weir/shared/model/thresholds";
import type { DeathAt } from "../support/faulty-files.ts";

/** A number from a sensor at an event time, ms. */
export interface PlannedReading {
  readonly metric: string;
  readonly tsMs: number;
  readonly value: number;
}

/** How readings are written in a message. stamped: one reading without a time; garbage: nothing can be read from it. */
export type Form = "single" | "list" | "stamped" | "garbage";

export interface PlannedDevice {
  readonly site: string;
  readonly device: string;
  readonly metrics: readonly string[];
  /** The source by which its messages come. */
  readonly source: string;
  /** 0: sent once and forgotten; 1: sent again until acknowledged. */
  readonly qos: 0 | 1;
}

/** One thing that happens. Each says all that it needs, so that any of them can be left out. */
export type Happening =
  | {
      readonly kind: "send";
      readonly device: number;
      readonly form: Form;
      readonly readings: readonly PlannedReading[];
    }
  /** A device connects again and sends what was not acknowledged, in this order of its messages where one is given. */
  | { readonly kind: "resend"; readonly device: number; readonly shuffle: number | null }
  | { readonly kind: "commit" | "turn" | "checkpoint" | "compact" }
  /** watching: all sources were connected since the tick before. */
  | { readonly kind: "tick"; readonly watching: boolean }
  /** kill -9 of the agent: now, or within the n-th transaction from now. resend: devices notice at once. */
  | { readonly kind: "kill"; readonly resend: boolean }
  | { readonly kind: "killIn"; readonly transactions: number; readonly at: DeathAt }
  /** The agent's disk: writes fail, the file may grow by some pages, or there is room again. */
  | { readonly kind: "disk"; readonly state: "refuses" | "free" | number }
  /** A connection of the uplink. frames: how many of each lane are sent; restart: from the oldest unacknowledged one. */
  | {
      readonly kind: "ship";
      readonly lanes: readonly Lane[];
      readonly frames: number;
      readonly group: number;
      readonly lostAcks: boolean;
      readonly fromOldest: boolean;
    }
  | { readonly kind: "killAggregator" }
  | { readonly kind: "killAggregatorIn"; readonly transactions: number; readonly at: DeathAt }
  /** A version is published at the aggregator; a version arrives at the agent. */
  | { readonly kind: "publish" | "deliver"; readonly version: number }
  | { readonly kind: "issue"; readonly day: string };

/** What happens, and the gateway's clock then, ms. */
export type Step = Happening & { readonly nowMs: number };

/** A whole run: pure data, made from a seed. */
export interface Plan {
  readonly seed: number;
  readonly timezone: string;
  readonly batchReadingsMax: number;
  readonly windowMs: number;
  /** Compaction takes even few readings that have come just now. */
  readonly compactsSoon: boolean;
  /** The bound of the agent's outbox: small ones overflow, and the log has to make again what they had no room for. */
  readonly outboxBytesMax: number;
  /** What each look at the stop-watch takes, ms: in how many turns background work is done. */
  readonly stopwatchMs: number;
  readonly devices: readonly PlannedDevice[];
  readonly versions: readonly ThresholdVersion[];
  readonly steps: readonly Step[];
  /** Where the gateway's clock ends, ms. */
  readonly endMs: number;
}

/** Readings whose time is further ahead of the gateway's clock are refused, ms. */
export const AHEAD_MAX_MS = 60_000;
