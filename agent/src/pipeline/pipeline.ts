import type { Alert } from "@weir/shared/model/alert";
import type { ThresholdVersion } from "@weir/shared/model/thresholds";
import type { Decoder } from "../decode/decoder.ts";
import type { Source } from "../sources/source.ts";
import type { Store } from "../store/store.ts";
import type { CommitClock } from "./commit-timer.ts";
import type { CoreOptions } from "./core.ts";
import { Core } from "./core.ts";
import type { IntakeOptions } from "./intake.ts";
import { Intake } from "./intake.ts";

/** Bounds and lengths of both halves. */
export type PipelineOptions = CoreOptions & IntakeOptions;

/** What a pipeline tells; see CoreHooks. */
export interface PipelineHooks extends CommitClock {
  emitted(): void;
  alerts(alerts: readonly Alert[]): void;
  warn(message: string): void;
}

/** Intake and core on one thread: a commit holds up the sockets while it lasts, and nothing is handed across. */
export class Pipeline {
  readonly intake: Intake;
  readonly core: Core;

  /** Recovers the core from the store. */
  constructor(store: Store, decode: Decoder, options: PipelineOptions, hooks: PipelineHooks) {
    this.core = new Core(store, options, {
      ...hooks,
      committed: (columns) => this.intake.committed(columns),
    });
    this.intake = new Intake(decode, this.core.names, options, hooks, (batch) => this.core.commit(batch));
  }

  /** Tells who is to be told of seals and commits. */
  serve(sources: readonly Source[]): void {
    this.intake.serve(sources);
  }

  /** The group commit of what has come, after what the disk refused before. */
  commit(): void {
    this.core.retry();
    this.intake.commit();
  }

  /** Commits, and enters the clock in the log. */
  tick(): void {
    this.commit();
    this.core.tick();
  }

  /** Commits, and brings the checkpoint to the head of the log. */
  checkpoint(): void {
    this.commit();
    this.core.checkpoint();
  }

  /** Commits, checkpoints, and compacts the log whole. */
  compact(): void {
    this.checkpoint();
    this.core.compact();
  }

  /** Commits and enters a threshold version in the log. */
  addThresholds(version: ThresholdVersion): void {
    this.commit();
    this.core.addThresholds(version);
  }

  /** Commits, checkpoints and stops; nothing may come by the intake afterwards. */
  close(): void {
    this.commit();
    this.intake.close();
    this.core.close();
  }
}
