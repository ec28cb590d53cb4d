import { resolve } from "node:path";
import { parseArgs } from "node:util";
import type { BuiltProgram } from "./programs.ts";

/** The bench's command line. */
export interface BenchOptions {
  readonly agents: readonly BuiltProgram[];
  readonly aggregator: string;
  /** Beginnings of names of scenarios; empty: all. */
  readonly only: readonly string[];
  readonly quick: boolean;
  readonly seconds: number;
  readonly rounds: number;
  readonly rate: number;
  readonly publishers: number;
  readonly peers: boolean;
  /** Where CPU profiles of the agents go; empty: none are made. */
  readonly profile: string;
  /** Before each run, how long to wait for an idle machine, at most, s. */
  readonly calm: number;
  readonly list: boolean;
}

export const BENCH_HELP = `npm run bench -- [options]

  --quick              the main scenarios, in under two minutes
  --only A,B           scenarios of these names, or all whose names begin so; --list prints them
  --agent NAME=PATH    dist/main.js of an agent; several are compared, run in turn (default: this repository's)
  --aggregator PATH    dist/main.js of the aggregator (default: this repository's)
  --seconds N          length of a throughput run (default 10, quick 2)
  --rounds N           runs of each scenario and target; medians are shown (default 1)
  --rate N             readings a second of the paced scenarios (default 100000)
  --publishers N       publisher processes (default 1)
  --no-peers           agents alone
  --profile FOLDER     CPU profiles of the agents
  --calm N             wait up to N s before each run until nothing else is running
  --list               print the scenarios and end`;

/** Parses the command line. root: of the project. Throws an Error that names what is wrong. */
export function parseBenchOptions(args: readonly string[], root: string): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    strict: true,
    allowNegative: true,
    options: {
      quick: { type: "boolean", default: false },
      only: { type: "string", default: "" },
      agent: { type: "string", multiple: true, default: [] },
      aggregator: { type: "string", default: resolve(root, "aggregator/dist/main.js") },
      seconds: { type: "string" },
      rounds: { type: "string", default: "1" },
      rate: { type: "string", default: "100000" },
      publishers: { type: "string", default: "1" },
      peers: { type: "boolean", default: true },
      profile: { type: "string", default: "" },
      calm: { type: "string", default: "0" },
      list: { type: "boolean", default: false },
    },
  });
  const agents = values.agent.map((text) => {
    const cut = text.indexOf("=");
    if (cut < 1) throw new Error(`--agent ${text}: write NAME=PATH`);
    return { name: text.slice(0, cut), main: resolve(text.slice(cut + 1)) };
  });
  return {
    agents: agents.length > 0 ? agents : [{ name: "weir", main: resolve(root, "agent/dist/main.js") }],
    aggregator: resolve(values.aggregator),
    only: values.only === "" ? [] : values.only.split(","),
    quick: values.quick,
    seconds: positive("seconds", values.seconds ?? (values.quick ? "2" : "10")),
    rounds: positive("rounds", values.rounds),
    rate: positive("rate", values.rate),
    publishers: positive("publishers", values.publishers),
    peers: values.peers,
    profile: values.profile === "" ? "" : resolve(values.profile),
    calm: Number(values.calm) || 0,
    list: values.list,
  };
}

/** A number above 0. */
export function positive(name: string, text: string): number {
  const value = Number(text);
  if (!(value > 0) || value === Infinity) throw new Error(`--${name} ${text}: give a number above 0`);
  return value;
}
