import type { Measured } from "./result.ts";
import type { BuiltProgram } from "./programs.ts";
import type { Target } from "./targets.ts";

/** What a run of the bench was asked for. */
export interface BenchContext {
  /** Length of a throughput run, s. */
  readonly seconds: number;
  /** Readings a second of the paced scenarios. */
  readonly rate: number;
  readonly quick: boolean;
  /** Publisher processes. */
  readonly publishers: number;
  /** dist/main.js of the aggregator. */
  readonly aggregator: string;
  /** Arguments of Node for the agents. */
  readonly nodeArgs: readonly string[];
  /** A line about what is going on. */
  readonly log: (line: string) => void;
}

/** Something to measure. */
interface ScenarioFacts {
  readonly name: string;
  /** One line: what is done. */
  readonly about: string;
  readonly inQuick: boolean;
}

/** A scenario that agents and peers can both run. */
export interface LoadScenario extends ScenarioFacts {
  readonly kind: "load";
  /** Whom an agent is compared with. */
  readonly peer: Target;
  run(target: Target, context: BenchContext): Promise<Measured>;
}

/** A scenario that only an agent can run. */
export interface AgentScenario extends ScenarioFacts {
  readonly kind: "agent";
  run(agent: BuiltProgram, context: BenchContext): Promise<Measured>;
}

export type Scenario = LoadScenario | AgentScenario;
