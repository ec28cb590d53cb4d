import type { BatchCounters } from "./batch/queue.ts";
import type { AgentView } from "./queries.ts";

/** One sample of a metric in Prometheus' text format. */
interface Sample {
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Counts that the aggregator exposes beside those of its agents. */
export interface AggregatorCounters {
  readonly frames: number;
  readonly frameFailures: number;
  /** Without those held back. */
  readonly alertsFiring: number;
  readonly alertsInhibited: number;
  readonly series: number;
  /** Readings in the hour cells: each reading that arrived here, once. */
  readonly summarisedReadings: number;
  /** See FrameStore. */
  readonly lateReplacements: number;
  readonly influxPending: number;
  readonly influxPoints: number;
  readonly influxFailures: number;
  /** Bodies of superseded reports, since the start. */
  readonly revisionsDropped: number;
  readonly batch: BatchCounters;
}

/** All metrics in Prometheus' text format 0.0.4. */
export function renderMetrics(counters: AggregatorCounters, agents: readonly AgentView[]): string {
  return [
    family("weir_frames_total", "counter", "Frames of agents applied.", [{ value: counters.frames }]),
    family("weir_frame_failures_total", "counter", "Groups of frames that could not be applied.", [
      { value: counters.frameFailures },
    ]),
    family("weir_alerts_firing", "gauge", "Alerts that are firing and not held back.", [
      { value: counters.alertsFiring },
    ]),
    family("weir_alerts_inhibited", "gauge", "Silence alerts held back because their agent is away.", [
      { value: counters.alertsInhibited },
    ]),
    family("weir_series", "gauge", "Series that have a name here.", [{ value: counters.series }]),
    family("weir_summarised_readings", "gauge", "Readings in the summaries stored here.", [
      { value: counters.summarisedReadings },
    ]),
    family("weir_late_replacements_total", "counter", "Windows judged anew after they had been deleted here.", [
      { value: counters.lateReplacements },
    ]),
    family("weir_influx_pending", "gauge", "Window cells not yet in InfluxDB.", [{ value: counters.influxPending }]),
    family("weir_influx_points_total", "counter", "Points written to InfluxDB.", [{ value: counters.influxPoints }]),
    family("weir_influx_failures_total", "counter", "Writes to InfluxDB that failed.", [
      { value: counters.influxFailures },
    ]),
    family("weir_report_revisions_dropped_total", "counter", "Superseded reports that are no longer kept.", [
      { value: counters.revisionsDropped },
    ]),
    ...batchFamilies(counters.batch),
    family(
      "weir_agent_connected",
      "gauge",
      "1 while the agent is connected.",
      agents.map(({ agent, connected }) => ({ labels: { agent }, value: Number(connected) })),
    ),
    family("weir_agent_readings_total", "counter", "Readings by what became of them.", agents.flatMap(ledgerSamples)),
    family(
      `weir_agent_${QUARANTINED}`,
      "gauge",
      "Devices whose readings are refused because their clocks run ahead.",
      // A status names only so many of them; an agent that has more may tell how many.
      agents.map(({ agent, quarantined, gauges }) => ({
        labels: { agent },
        value: gauges[QUARANTINED] ?? quarantined.length,
      })),
    ),
    ...gaugeFamilies(agents),
  ].join("");
}

function batchFamilies({ waiting, done, failed, refused, ended }: BatchCounters): string[] {
  const doneHelp = "Reports and trainings made on their thread.";
  return [
    family("weir_batch_waiting", "gauge", "Reports and trainings that wait to be made.", [{ value: waiting }]),
    family("weir_batch_done_total", "counter", doneHelp, [{ value: done }]),
    family("weir_batch_failed_total", "counter", "Reports and trainings that failed.", [{ value: failed }]),
    family("weir_batch_refused_total", "counter", "Those refused because too many waited.", [{ value: refused }]),
    family("weir_batch_ended_total", "counter", "Threads for them that ended before their time.", [{ value: ended }]),
  ];
}

const QUARANTINED = "quarantined_devices";

/** Names under weir_agent_ that say something else here. */
const OWN_NAMES: ReadonlySet<string> = new Set(["connected", "readings_total", QUARANTINED]);

/** A family for each name that any agent gives a number; those that end in _total only grow. */
function gaugeFamilies(agents: readonly AgentView[]): string[] {
  const samples = new Map<string, Sample[]>();
  for (const { agent, gauges } of agents) {
    for (const [name, value] of Object.entries(gauges)) {
      if (OWN_NAMES.has(name)) continue;
      const known = samples.get(name) ?? [];
      known.push({ labels: { agent }, value });
      samples.set(name, known);
    }
  }
  return [...samples.keys()].toSorted().map((name) => {
    const type = name.endsWith("_total") ? "counter" : "gauge";
    return family(`weir_agent_${name}`, type, "As the agent last told it.", samples.get(name)!);
  });
}

function ledgerSamples({ agent, ledger }: AgentView): Sample[] {
  const sample = (outcome: string, reason: string, value: number): Sample => ({
    labels: { agent, outcome, reason },
    value,
  });
  return [
    sample("stored", "", ledger.stored),
    sample("duplicate", "", ledger.duplicates),
    ...Object.entries(ledger.rejected).map(([reason, count]) => sample("rejected", reason, count)),
    ...Object.entries(ledger.dropped).map(([reason, count]) => sample("dropped", reason, count)),
  ];
}

function family(name: string, type: "counter" | "gauge", help: string, samples: readonly Sample[]): string {
  const lines = samples.map(({ labels, value }) => {
    const pairs = Object.entries(labels ?? {}).map(([key, text]) => `${key}="${escapeLabel(text)}"`);
    return `${name}${pairs.length > 0 ? `{${pairs.join(",")}}` : ""} ${value}\n`;
  });
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join("")}`;
}

function escapeLabel(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
