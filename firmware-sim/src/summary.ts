import type { SenderCounts } from "./sender.ts";

/** What a run or a replay came to, as `--json` prints it. */
export interface Summary {
  /** Messages published, duplicates included. */
  readonly messages: number;
  /** Readings in them, each counted once however often it was sent. */
  readonly readings: number;
  /** Messages acknowledged by the server; null with QoS 0. */
  readonly acknowledged: number | null;
  /** Messages whose acknowledgement did not come within mqtt.ack_timeout. */
  readonly missing: number;
  readonly refused: number;
  /** Messages published a second time or more on purpose; `messages` holds them too. */
  readonly duplicates: number;
  /** Messages sent again after a lost connection, not in `messages`. */
  readonly resent: number;
  readonly reconnects: number;
  readonly durationMs: number;
  /** What only one command counts, such as `faults` or `badRows`. */
  readonly details: Readonly<Record<string, number>>;
}

/** Puts a summary together. missing: what Sender.drain found. */
export function summarize(
  counts: SenderCounts,
  qos: number,
  missing: number,
  own: Pick<Summary, "readings" | "duplicates" | "durationMs" | "details">,
): Summary {
  const { messages, refused, resent, reconnects } = counts;
  const acknowledged = qos === 0 ? null : counts.acknowledged;
  return { messages, acknowledged, missing, refused, resent, reconnects, ...own };
}

/** The exit code that a summary deserves: 1 where messages are missing or refused. */
export function exitCodeOf(summary: Summary): 0 | 1 {
  return summary.missing > 0 || summary.refused > 0 || (summary.details.unsent ?? 0) > 0 ? 1 : 0;
}

/** A summary for a person: a line of what was sent, a line of what became of it, a line of the rest. */
export function summaryText(summary: Summary): string {
  const { messages, readings, duplicates, acknowledged, missing, refused, resent, reconnects, durationMs } = summary;
  const perSecond = durationMs > 0 ? Math.round((messages * 1000) / durationMs) : 0;
  const fate =
    acknowledged === null
      ? "QoS 0: the server acknowledges nothing."
      : `Acknowledged ${acknowledged} of ${messages}; ${missing} missing, ${refused} refused.`;
  const rest = { resent, reconnects, ...summary.details };
  return [
    `Sent ${messages} messages (${duplicates} of them duplicates) with ${readings} readings in ${seconds(durationMs)}: ${perSecond} messages/s.`,
    fate,
    `${Object.entries(rest)
      .map(([name, count]) => `${name} ${count}`)
      .join(", ")}.`,
  ].join("\n");
}

/** The summary as one line of JSON, the details beside the rest. */
export function summaryJson({ details, ...summary }: Summary): string {
  return JSON.stringify({ ...summary, ...details });
}

/** Milliseconds as seconds with one decimal. */
export function seconds(durationMs: number): string {
  return `${(durationMs / 1000).toFixed(1)} s`;
}
