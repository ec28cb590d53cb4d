import type { Alert } from "@weir/shared/model/alert";
import type { SeriesKey } from "@weir/shared/model/reading";
import { CodedError, errorMessage } from "@weir/shared/errors";
import { PAGE_SERIES } from "@weir/shared/operators/columns";
import type { AgentStatus } from "@weir/shared/wire/messages";
import { QUARANTINED_SHOWN } from "@weir/shared/wire/messages";
import type { Clock } from "./clock.ts";
import { openClock } from "./clock.ts";
import type { Batch, ReadingColumns } from "./pipeline/batch.ts";
import type { CoreHooks } from "./pipeline/core.ts";
import { Core } from "./pipeline/core.ts";
import { Quarantine, QUARANTINED_MAX } from "./pipeline/quarantine.ts";
import { coreOptions } from "./pipeline-options.ts";
import type { AgentSettings } from "./settings.ts";
import { agentName, dataFile } from "./settings.ts";
import { isDamage, isUnreadable } from "./store/damage.ts";
import { readQuarantined, writeQuarantine } from "./store/quarantine.ts";
import { finishSetAside, setAside } from "./store/set-aside.ts";
import { Store } from "./store/store.ts";
import type { Uplink } from "./uplink.ts";
import { createUplink } from "./uplink.ts";
import { SOFTWARE_VERSION } from "./version.ts";

/** Waits at the end for the aggregator to acknowledge the outbox, at most, ms; what is left waits in the data file. */
const UPLINK_DRAIN_MS = 5_000;
/** Turns of the checkpoint in one of its intervals, at least, and the longest rest between two, ms. */
const CHECKPOINT_TURNS = 4;
const CHECKPOINT_TURN_MS_MAX = 50;

/** What the core tells those who feed it. */
export interface CoreEvents {
  /** The batch handed over last is durable. columns: lent with it. */
  readonly committed: (columns: ReadingColumns) => void;
  /** Alerts that are now durable. */
  readonly alerts: (alerts: readonly Alert[]) => void;
  /** A line for a person. */
  readonly log: (line: string) => void;
  /**
   * The core has ended by itself and commits nothing more. CodedError DATA_FILE_DAMAGED: the data file was damaged and
   * has been set aside; a core opened now begins with a new one.
   */
  readonly failed: (error: Error) => void;
}

/** The core with all that it needs, on this thread or another. */
export interface CoreHost {
  /** Names of the series that the data file held at the start, by index. */
  readonly names: readonly SeriesKey[];
  /** Commits a batch; committed() follows when it is durable. One at a time. */
  commit(batch: Batch): void;
  /** Tells whether all sources are up: while one is not, a device that says nothing is not silent. */
  watching(isWatching: boolean): void;
  /** Checkpoints, sends what can still be sent, closes the data file. */
  close(): Promise<void>;
  /** Ends at once, after failed(): nothing is written any more. */
  abandon(): Promise<void>;
}

/** The parts of a core that is open. */
interface OpenCore {
  readonly store: Store;
  readonly core: Core;
  readonly quarantine: Quarantine;
}

/**
 * Opens data file, core and uplink on this thread. A data file that is damaged is set aside, as settings say what then.
 * Throws CodedErrors of the store, and DATA_FILE_DAMAGED.
 */
export function openCoreHost(settings: AgentSettings, events: CoreEvents): CoreHost {
  const host = new LocalHost(settings, events);
  host.open();
  return host;
}

class LocalHost implements CoreHost {
  readonly #settings: AgentSettings;
  readonly #events: CoreEvents;
  readonly #clock: Clock;
  #opened!: OpenCore;
  #uplink: Uplink | undefined;
  readonly #timers: NodeJS.Timeout[] = [];
  #parted: Promise<void> | undefined;
  #isOver = false;

  constructor(settings: AgentSettings, events: CoreEvents) {
    this.#settings = settings;
    this.#events = events;
    this.#clock = openClock(events.log);
  }

  get names(): readonly SeriesKey[] {
    return this.#opened.core.names;
  }

  open(): void {
    const settings = this.#settings;
    const path = dataFile(settings);
    finishSetAside(path);
    try {
      this.#openCore(path);
    } catch (error) {
      if (!isDamage(error)) throw error;
      const damaged = this.#setAside(error);
      if (settings["data.on_corrupt"] === "exit") throw damaged;
      this.#events.log(damaged.message);
      this.#openCore(path);
    }
    const { store, core } = this.#opened;
    if (settings["uplink.url"] !== "") this.#uplink = this.#openUplink(store, core);
    const turnMs = Math.min(CHECKPOINT_TURN_MS_MAX, settings["checkpoint.interval"] / CHECKPOINT_TURNS);
    this.#timers.push(
      setInterval(() => this.#guard(() => core.checkpointTurn()), turnMs),
      setInterval(() => this.#guard(() => this.#tick()), settings["tick.interval"]),
    );
  }

  commit(batch: Batch): void {
    this.#guard(() => {
      this.#opened.quarantine.note(batch, this.#clock.now());
      this.#opened.core.commit(batch);
    });
  }

  watching(isWatching: boolean): void {
    this.#guard(() => this.#opened.core.watching(isWatching));
  }

  async close(): Promise<void> {
    if (this.#isOver) return;
    this.#stopTimers();
    this.#guard(() => this.#saveQuarantine());
    this.#guard(() => this.#opened.core.close());
    await this.#uplink?.close(UPLINK_DRAIN_MS);
    this.#guard(() => this.#opened.store.close());
    this.#isOver = true;
  }

  async abandon(): Promise<void> {
    this.#end();
    await this.#parted;
  }

  /** Recovers, and shows by a first entry that the file can be written. Throws DATA_FILE_DAMAGED where it cannot be read. */
  #openCore(path: string): void {
    let store: Store | undefined;
    try {
      store = new Store(path, { readonly: false });
      checkNumbers(store);
      const core = new Core(store, coreOptions(this.#settings), this.#hooks());
      const known = readQuarantined(store.sql, QUARANTINED_MAX);
      this.#opened = { store, core, quarantine: new Quarantine(core.names, known, this.#events.log) };
    } catch (error) {
      store?.close();
      if (!isUnreadable(error)) throw error;
      throw new CodedError("DATA_FILE_DAMAGED", errorMessage(error), { cause: error });
    }
    try {
      store.setMeta("agent", agentName(this.#settings));
      this.#opened.core.tick();
    } catch (error) {
      store.close();
      if (isDamage(error) || error instanceof CodedError) throw error;
      const message = `Cannot write ${path}: ${errorMessage(error)}. Check its permissions and the disk.`;
      throw new CodedError("NO_DATA_FILE", message, { cause: error });
    }
  }

  #hooks(): CoreHooks {
    const { committed, alerts, log } = this.#events;
    return {
      now: () => this.#clock.now(),
      later: (work, waitMs) => {
        const timer = setTimeout(() => this.#guard(work), waitMs);
        return () => clearTimeout(timer);
      },
      committed,
      emitted: () => this.#uplink?.wake(),
      alerts,
      warn: log,
    };
  }

  #tick(): void {
    this.#saveQuarantine();
    this.#opened.core.tick();
  }

  /** A disk that is full now has room for it later. */
  #saveQuarantine(): void {
    const { quarantine, store } = this.#opened;
    const changes = quarantine.changes();
    if (changes.length === 0) return;
    try {
      writeQuarantine(store.sql, changes);
      quarantine.settle();
    } catch (error) {
      if (isDamage(error)) throw error;
    }
  }

  /** Runs work unless the core has ended; a data file that is found to be damaged ends it. */
  #guard(work: () => void): void {
    if (this.#isOver) return;
    try {
      work();
    } catch (error) {
      // Damage that was met further in has ended it already, and the rest of the work had no file.
      if (this.#isOver) return;
      if (!isDamage(error)) throw error;
      this.#endDamaged(error);
    }
  }

  /** As #guard, for those to whom nothing is as good as no rows. */
  #guardedRows<T>(work: () => readonly T[]): readonly T[] {
    let rows: readonly T[] = [];
    this.#guard(() => void (rows = work()));
    return rows;
  }

  /** As #guard, for those who must know that it was not done. */
  #guarded<T>(work: () => T): T {
    if (this.#isOver) throw new CodedError("DATA_FILE_DAMAGED", "The data file is damaged; the agent begins anew.");
    try {
      return work();
    } catch (error) {
      if (isDamage(error)) this.#endDamaged(error);
      throw error;
    }
  }

  #endDamaged(error: unknown): void {
    if (this.#isOver) return;
    this.#end();
    try {
      this.#events.failed(this.#setAside(error));
    } catch (impossible) {
      this.#events.failed(impossible as Error);
    }
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#stopTimers();
    // The aggregator takes the next file's frames once this connection is gone.
    this.#parted = this.#uplink?.close(0);
    try {
      this.#opened.store.close();
    } catch {
      // It is given up in any case.
    }
  }

  #status(): AgentStatus {
    const { core, quarantine } = this.#opened;
    const { received: _, ...ledger } = core.ledger;
    const gauges = {
      ...core.gauges,
      clock_steps_total: this.#clock.steps,
      quarantined_devices: quarantine.size,
      quarantine_unknown_readings_total: quarantine.unknownReadings,
    };
    const quarantined = quarantine.shown(QUARANTINED_SHOWN);
    return { series: core.names.length, readings: core.readings, ledger, gauges, quarantined };
  }

  #stopTimers(): void {
    for (const timer of this.#timers) clearInterval(timer);
  }

  #setAside(error: unknown): CodedError {
    const settings = this.#settings;
    const { message } = setAside(dataFile(settings), errorMessage(error), {
      nowMs: this.#clock.now(),
      aheadMaxMs: settings["time.ahead_max"],
      keptMax: settings["data.corrupt_files_max"],
    });
    const next =
      settings["data.on_corrupt"] === "exit"
        ? "The agent ends now (data.on_corrupt is exit); started again, it goes on with the new file."
        : "The agent goes on with the new file (data.on_corrupt is fresh).";
    return new CodedError("DATA_FILE_DAMAGED", `${message} ${next}`, { cause: error });
  }

  #openUplink(store: Store, core: Core): Uplink {
    const settings = this.#settings;
    return createUplink(
      {
        frames: (...range) => this.#guardedRows(() => store.frames(...range)),
        newestFrames: (...range) => this.#guardedRows(() => store.newestFrames(...range)),
        acknowledge: (lane, throughSeq) => this.#guard(() => store.acknowledge(lane, throughSeq)),
      },
      {
        thresholds: (version) => this.#guarded(() => core.addThresholds(version)),
        thresholdVersions: () => core.thresholdVersions,
        timezone: (timezone) => this.#guard(() => store.setMeta("timezone", timezone)),
        reportIssued: (day, revision) => this.#guard(() => store.setMeta(`report ${day}`, revision)),
        seriesNames: (fromIndex) =>
          core.names
            .slice(fromIndex)
            .map(({ site, device, metric }, index) => [fromIndex + index, site, device, metric] as const),
        status: () => this.#status(),
        log: this.#events.log,
      },
      Math.random,
      {
        url: settings["uplink.url"],
        token: settings["uplink.token"],
        agent: agentName(settings),
        incarnation: store.incarnation,
        software: SOFTWARE_VERSION,
        windowBytes: settings["uplink.window_bytes"],
      },
    );
  }
}

/**
 * What is small and would lead far astray: the intake counts on series being numbered without gaps, and recovery makes
 * room for all pages up to the last. Throws CodedError DATA_FILE_DAMAGED.
 */
function checkNumbers({ sql }: Store): void {
  const damaged = (what: string): CodedError => new CodedError("DATA_FILE_DAMAGED", what);
  const series = sql.number("SELECT count(*) FROM series") ?? 0;
  const last = sql.number("SELECT max(idx) FROM series") ?? -1;
  if (last !== series - 1)
    throw damaged(`its data dictionary has ${series} series, the last of which is number ${last}`);
  const pages = Math.ceil(series / PAGE_SERIES);
  const page = sql.number("SELECT max(page) FROM state") ?? -1;
  if (page >= pages) throw damaged(`its checkpoint has a page ${page} of series, of ${pages}`);
  const odd = sql.number("SELECT count(*) FROM state WHERE typeof(page) <> 'integer' OR typeof(seq) <> 'integer'");
  if (odd) throw damaged(`${odd} pages of its checkpoint have no number`);
}
