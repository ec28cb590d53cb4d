import type { QuarantinedDevice } from "@weir/shared/wire/messages";
import { QUARANTINED_SHOWN } from "@weir/shared/wire/messages";
import { countQuarantined, readQuarantined } from "./store/quarantine.ts";
import type { Store } from "./store/store.ts";

/** Dead letters shown. */
const DEAD_LETTERS_SHOWN = 10;

/** Devices in quarantine shown as text; JSON has QUARANTINED_SHOWN of them. */
const QUARANTINED_LINES = 10;

/** What a data file holds, as JSON or as text for a person. */
export function describeStatus(store: Store, json: boolean): string {
  const ledger = store.ledger().map(({ source, reason, count }) => ({ source, reason, count }));
  const deadLetters = store.deadLetters(DEAD_LETTERS_SHOWN).map(({ head, ...letter }) => ({
    ...letter,
    head: Buffer.from(head).toString("utf8").slice(0, 120),
  }));
  const status = {
    agent: String(store.meta("agent") ?? ""),
    incarnation: store.incarnation,
    logEntries: store.lastSeq,
    logBytes: store.logBytes,
    outboxBytes: store.outboxBytes,
    series: store.allSeries().length,
    thresholdVersions: store.thresholdVersions(Number.MAX_SAFE_INTEGER).map(({ version }) => version),
    quarantinedDevices: countQuarantined(store.sql),
    quarantined: readQuarantined(store.sql, QUARANTINED_SHOWN),
    ledger,
    deadLetters,
  };
  if (json) return JSON.stringify(status);
  const lines = [
    `Agent ${status.agent}: ${status.series} series, ${status.logEntries} log entries in ${status.logBytes} bytes.`,
    `Outbox: ${status.outboxBytes} bytes wait for the aggregator.`,
    `Threshold versions: ${status.thresholdVersions.join(", ") || "none"}.`,
    `Devices in quarantine, their clocks ahead: ${status.quarantinedDevices || "none"}.`,
    ...status.quarantined.slice(0, QUARANTINED_LINES).map(quarantineLine),
    "Ledger, in readings:",
    ...ledger.map(({ source, reason, count }) => `  ${source.padEnd(24)} ${reason.padEnd(32)} ${count}`),
    deadLetters.length > 0 ? "Newest dead letters:" : "No dead letters.",
    ...deadLetters.map(
      ({ atMs, topic, reason, bytes, head }) =>
        `  ${new Date(atMs).toISOString()} ${reason} ${topic} (${bytes} bytes): ${JSON.stringify(head)}`,
    ),
  ];
  return lines.join("\n");
}

function quarantineLine({ site, device, sinceMs, lastMs, aheadMs, readings }: QuarantinedDevice): string {
  const [since, last] = [sinceMs, lastMs].map((ms) => new Date(ms).toISOString());
  return `  ${site}/${device} since ${since}, last ${last}, ${(aheadMs / 1000).toFixed(1)} s ahead: ${readings} readings refused`;
}
