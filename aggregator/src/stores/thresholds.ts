import { CodedError } from "@weir/shared/errors";
import type { ThresholdVersion } from "@weir/shared/model/thresholds";
import type { ThresholdListing } from "../queries.ts";
import type { SqlDatabase } from "./database.ts";

interface Row {
  readonly version: number;
  readonly state: "draft" | "published";
  readonly body: string;
}

/** Threshold versions: drafts, which may still be given a start, and published ones, which never change. */
export class ThresholdStore {
  readonly #db: SqlDatabase;

  constructor(db: SqlDatabase) {
    this.#db = db;
  }

  /** Keeps a new version as a draft under the next number. */
  addDraft(draft: Omit<ThresholdVersion, "version">): ThresholdVersion {
    const highest = this.#db.get<{ version: number | null }>("SELECT max(version) AS version FROM thresholds")?.version;
    const version: ThresholdVersion = { ...draft, version: (highest ?? 0) + 1 };
    this.#write(version, "draft");
    return version;
  }

  /** Gives a draft its start and makes it final; a version that is published already is returned as it is. */
  publish(number: number, effectiveFromMs: number): ThresholdVersion {
    const row = this.#row(number);
    if (!row) throw new CodedError("UNKNOWN_VERSION", `There is no threshold version ${number}.`);
    const version = JSON.parse(row.body) as ThresholdVersion;
    if (row.state === "published") return version;
    const published = { ...version, effectiveFromMs };
    this.#write(published, "published");
    return published;
  }

  get(number: number): ThresholdVersion | undefined {
    const row = this.#row(number);
    return row && (JSON.parse(row.body) as ThresholdVersion);
  }

  /** Published versions by number. */
  published(): ThresholdVersion[] {
    const rows = this.#db.all<Row>("SELECT body FROM thresholds WHERE state = 'published' ORDER BY version");
    return rows.map(({ body }) => JSON.parse(body) as ThresholdVersion);
  }

  /** Newest first. */
  list(): ThresholdListing[] {
    return this.#db.all<Row>("SELECT version, state, body FROM thresholds ORDER BY version DESC").map((row) => {
      const version = JSON.parse(row.body) as ThresholdVersion;
      const sql = "SELECT agent FROM threshold_acks WHERE version = ? ORDER BY agent";
      return {
        version: row.version,
        state: row.state,
        effectiveFromMs: version.effectiveFromMs,
        createdAtMs: version.createdAtMs,
        note: version.note,
        rules: version.rules.length,
        series: version.series.length,
        agents: this.#db.all<{ agent: string }>(sql, row.version).map(({ agent }) => agent),
      };
    });
  }

  /** Notes that an agent has a version in its log. */
  acknowledged(agent: string, version: number): void {
    this.#db.run("INSERT OR IGNORE INTO threshold_acks VALUES (?, ?)", agent, version);
    this.#db.run(
      "UPDATE agents SET threshold_version = max(coalesce(threshold_version, 0), ?) WHERE agent = ?",
      version,
      agent,
    );
  }

  #row(number: number): Row | undefined {
    return this.#db.get<Row>("SELECT version, state, body FROM thresholds WHERE version = ?", number);
  }

  #write(version: ThresholdVersion, state: Row["state"]): void {
    const { effectiveFromMs, createdAtMs, note } = version;
    const sql = "REPLACE INTO thresholds VALUES (?, ?, ?, ?, ?, ?)";
    this.#db.run(sql, version.version, state, effectiveFromMs, createdAtMs, note, JSON.stringify(version));
  }
}
