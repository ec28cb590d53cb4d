import type Database from "better-sqlite3";

/** A connection to the agent's file, with statements prepared once. Synchronous. */
export class Sql {
  readonly #db: Database.Database;
  readonly #statements = new Map<string, Database.Statement>();

  constructor(db: Database.Database) {
    this.#db = db;
  }

  all<T>(sql: string, ...values: unknown[]): T[] {
    return this.#statement(sql).all(...values) as T[];
  }

  get<T>(sql: string, ...values: unknown[]): T | undefined {
    return this.#statement(sql).get(...values) as T | undefined;
  }

  /** Rows one by one. Nothing may be written by this connection before the last of them. */
  each<T>(sql: string, ...values: unknown[]): IterableIterator<T> {
    return this.#statement(sql).iterate(...values) as IterableIterator<T>;
  }

  /** The number that a query of one column answers with; undefined where it has no row, or null. */
  number(sql: string, ...values: unknown[]): number | undefined {
    const value = this.#statement(sql)
      .pluck(true)
      .get(...values);
    return typeof value === "number" ? value : undefined;
  }

  /** Returns how many rows changed. */
  run(sql: string, ...values: unknown[]): number {
    return this.#statement(sql).run(...values).changes;
  }

  /** Runs work in a transaction: all of it, or, when it throws, nothing. */
  transaction<T>(work: () => T): T {
    return this.#db.transaction(work)();
  }

  close(): void {
    this.#db.close();
  }

  #statement(sql: string): Database.Statement {
    let statement = this.#statements.get(sql);
    if (!statement) this.#statements.set(sql, (statement = this.#db.prepare(sql)));
    return statement;
  }
}
