import { CodedError } from "@weir/shared/errors";
import type { BandRule, ThresholdVersion } from "@weir/shared/model/thresholds";
import type { ThresholdListing } from "../queries.ts";
import type { SqlDatabase } from "./database.ts";

interface Row {
  readonly version: number;
  readonly state: "draft" | "published";
  readonly body: string;
}

interface Listed {
  readonly version: number;
  readonly state: "draft" | "published";
  readonly effectiveFromMs: number;
  readonly createdAtMs: number;
  readonly note: string;
}

interface Lengths {
  readonly rules: number;
  readonly series: number;
}

const LISTED = `SELECT version, state, effective_from_ms AS effectiveFromMs, created_ms AS createdAtMs, note
  FROM thresholds WHERE version = ?`;

const LENGTHS = `SELECT json_array_length(body, '$.rules') AS rules, json_array_length(body, '$.series') AS series
  FROM thresholds WHERE version = ?`;

/** Drafts that are kept, at most, the newest: each may be megabytes. Published versions are kept for good. */
export const DRAFTS_MAX = 20;

/** Versions whose lengths are remembered, at most. */
const LENGTHS_MAX = 1000;

/** Threshold versions: drafts, which may still be given a start, and published ones, which never change. */
export class ThresholdStore {
  readonly #db: SqlDatabase;
  readonly #known = new Map<number, Lengths>();

  constructor(db: SqlDatabase) {
    this.#db = db;
  }

  /** Keeps a new version as a draft under the next number. */
  addDraft(draft: Omit<ThresholdVersion, "version">): ThresholdVersion {
    const version: ThresholdVersion = { ...draft, version: this.nextVersion() };
    this.#write(version, "draft");
    this.#dropOldDrafts();
    return version;
  }

  /**
   * Keeps a draft that was made elsewhere, as JSON in UTF-8 with its number; false, with nothing done, where there is one
   * of that number by now.
   */
  addDraftBody(draft: Omit<ThresholdVersion, "rules" | "series">, body: Uint8Array): boolean {
    const { version, effectiveFromMs, createdAtMs, note } = draft;
    const sql = "INSERT INTO thresholds VALUES (?, 'draft', ?, ?, ?, CAST(? AS TEXT)) ON CONFLICT DO NOTHING";
    return this.#db.transaction(() => {
      const isAdded = this.#db.run(sql, version, effectiveFromMs, createdAtMs, note, body) > 0;
      this.#dropOldDrafts();
      return isAdded;
    });
  }

  /** The number of the next draft. */
  nextVersion(): number {
    return (
      (this.#db.get<{ version: number | null }>("SELECT max(version) AS version FROM thresholds")?.version ?? 0) + 1
    );
  }

  /** Rules of the newest published version. */
  newestRules(): readonly BandRule[] {
    const sql = "SELECT body FROM thresholds WHERE state = 'published' ORDER BY version DESC LIMIT 1";
    const row = this.#db.get<{ body: string }>(sql);
    return row ? (JSON.parse(row.body) as ThresholdVersion).rules : [];
  }

  /** Published versions that are not among some known ones. */
  publishedAfter(known: readonly ThresholdVersion[]): ThresholdVersion[] {
    const numbers = new Set(known.map(({ version }) => version));
    const rows = this.#db.all<{ version: number }>("SELECT version FROM thresholds WHERE state = 'published'");
    const added = rows.filter(({ version }) => !numbers.has(version));
    return added.flatMap(({ version }) => this.get(version) ?? []);
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
    const rows = this.#db.all<{ version: number }>("SELECT version FROM thresholds ORDER BY version DESC");
    return rows.flatMap(({ version }) => this.listing(version) ?? []);
  }

  /** One version as it is listed; undefined when there is none. */
  listing(version: number): ThresholdListing | undefined {
    const row = this.#db.get<Listed>(LISTED, version);
    if (!row) return undefined;
    const sql = "SELECT agent FROM threshold_acks WHERE version = ? ORDER BY agent";
    const agents = this.#db.all<{ agent: string }>(sql, version).map(({ agent }) => agent);
    return { ...row, ...this.#lengths(version), agents };
  }

  /** How many rules and bands a version has, which never changes. Its body is long, so that it is read once. */
  #lengths(version: number): Lengths {
    let known = this.#known.get(version);
    if (known) return known;
    known = this.#db.get<Lengths>(LENGTHS, version)!;
    if (this.#known.size >= LENGTHS_MAX) this.#known.clear();
    this.#known.set(version, known);
    return known;
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

  #dropOldDrafts(): void {
    this.#db.run(
      `DELETE FROM thresholds WHERE state = 'draft' AND version <
       (SELECT version FROM thresholds WHERE state = 'draft' ORDER BY version DESC LIMIT 1 OFFSET ?)`,
      DRAFTS_MAX - 1,
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
