import type { CommitBatch } from "@weir/agent/store/commit-batch";
import { Store } from "@weir/agent/store/store";
import { SqlDatabase } from "@weir/aggregator/stores/database";

/** Where a process dies: before a transaction is committed, so that it is taken back, or right after. */
export type DeathAt = "before" | "after";

/** What a write is answered with by a process that has died: nobody is there to see it. */
export class ProcessDied extends Error {}

/** The largest page count that SQLite takes: as good as no bound. */
const PAGES_UNBOUNDED = 2 ** 32 - 2;

/**
 * Decides what becomes of the writes of one connection. A process that died writes nothing any more, whatever its code
 * still does; only what was committed before is in the file.
 */
class WriteFate {
  died = false;
  /** Writes fail as on a disk that is full. */
  refuses = false;
  /** The process died right after the transaction that was under way: it is in the file. */
  diedAfterCommit = false;
  #deathAt: DeathAt = "before";
  #transactionsLeft = 0;
  #depth = 0;

  /** Has the process die at the n-th transaction from now. */
  arm(transactions: number, at: DeathAt): void {
    this.#transactionsLeft = transactions;
    this.#deathAt = at;
  }

  disarm(): void {
    this.#transactionsLeft = 0;
  }

  /** Runs a transaction; `begin` has the database do it, all or nothing. */
  transaction<T>(begin: (work: () => T) => T, work: () => T): T {
    if (this.#depth > 0) return begin(work);
    this.check();
    const isLast = this.#transactionsLeft > 0 && --this.#transactionsLeft === 0;
    this.#depth++;
    try {
      const result = begin(() => {
        const made = work();
        if (isLast && this.#deathAt === "before") this.#die();
        return made;
      });
      if (isLast) {
        this.diedAfterCommit = true;
        this.#die();
      }
      return result;
    } finally {
      this.#depth--;
    }
  }

  /** Throws where a write outside of a transaction would fail. */
  check(): void {
    if (this.#depth > 0) return;
    if (this.died) throw new ProcessDied("The process has died.");
    if (this.refuses) throw Object.assign(new Error("database or disk is full"), { code: "SQLITE_FULL" });
  }

  #die(): never {
    this.died = true;
    throw new ProcessDied("The process dies.");
  }
}

/** An agent's store whose process can die within any transaction, and whose disk can be full. */
export class FaultyStore extends Store {
  readonly fate: WriteFate = new WriteFate();
  readonly #onDurable: () => void;

  /** onDurable: a batch of messages is in the file. */
  constructor(path: string, onDurable: () => void) {
    super(path, { readonly: false });
    this.#onDurable = onDurable;
    const { sql, fate } = this;
    // No power is cut here, so nothing has to be waited for.
    sql.run("PRAGMA synchronous = OFF");
    const begin = sql.transaction.bind(sql);
    const write = sql.run.bind(sql);
    sql.transaction = <T>(work: () => T): T => fate.transaction((inner) => begin(inner), work);
    sql.run = (text, ...values): number => {
      fate.check();
      return write(text, ...values);
    };
  }

  override commit(batch: CommitBatch): void {
    // Whatever came of a message, it was received; nothing else changes that count.
    const holdsMessages = batch.ledger.some(({ reason }) => reason === "received");
    try {
      super.commit(batch);
    } catch (error) {
      if (holdsMessages && this.fate.diedAfterCommit) this.#onDurable();
      throw error;
    }
    if (holdsMessages) this.#onDurable();
  }

  /** Lets the file grow by this many pages more, at most: then SQLite itself says that the disk is full. */
  boundPages(more: number): void {
    const pages = this.sql.number("PRAGMA page_count") ?? 0;
    this.sql.all(`PRAGMA max_page_count = ${pages + more}`);
  }

  /** The disk has room again. */
  unbound(): void {
    this.fate.refuses = false;
    this.sql.all(`PRAGMA max_page_count = ${PAGES_UNBOUNDED}`);
  }
}

/** An aggregator's database whose process can die within any transaction. */
export class FaultyDatabase extends SqlDatabase {
  readonly fate: WriteFate = new WriteFate();

  constructor(path: string) {
    super(path, { readonly: false });
    this.run("PRAGMA synchronous = OFF");
  }

  override transaction<T>(work: () => T): T {
    return this.fate.transaction((inner) => super.transaction(inner), work);
  }

  override run(text: string, ...values: unknown[]): number {
    this.fate?.check();
    return super.run(text, ...values);
  }
}
