import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { basename, join } from "node:path";
import { runToEnd } from "./processes.ts";
import { isCi, repositoryRoot } from "./repository.ts";
import { skipWith } from "./suite.ts";
import { tempFolder } from "./temp.ts";

/**
 * What a disk may hold after the power went, from what a program did to its files.
 *
 * test/power/disk-journal.c, preloaded into a program, writes down every change of the files in one folder and every
 * sync. A sync makes durable what was written before it began; of the rest, each cut keeps what a seed says: nothing,
 * everything, the first part, some writes, some sectors. Names of files are changes of the folder, and durable once
 * that is synced.
 */

/** One thing that a program did. Numbers of files are those of the journal; 0 is the folder. */
export type DiskEvent = { readonly timeMs: number } & (
  | { readonly kind: "open"; readonly file: number; readonly name: string; readonly made: boolean }
  | { readonly kind: "write"; readonly file: number; readonly offset: number; readonly bytes: Buffer }
  | { readonly kind: "truncate"; readonly file: number; readonly size: number }
  | { readonly kind: "syncBegun" | "synced"; readonly file: number }
  | { readonly kind: "rename"; readonly name: string; readonly to: string }
  | { readonly kind: "unlink"; readonly name: string }
  | { readonly kind: "sent"; readonly localPort: number; readonly remotePort: number; readonly bytes: Buffer }
);

/** What programs do to one folder, run one after the other and not killed: a change may be on its way to the journal. */
export interface DiskJournal {
  readonly folder: string;
  /** Environment for the next of them. */
  nextEnv(): Readonly<Record<string, string>>;
  /** Sets the programs' clock, also of one that runs, so far ahead of the machine's, ms; at first it is right. */
  setClock(aheadMs: number): void;
  /** All that has happened so far. Throws for what the journal cannot follow. */
  read(): DiskHistory;
}

/** What was done to a folder. before: its files when the journal began, by name. */
export interface DiskHistory {
  readonly before: ReadonlyMap<string, Buffer>;
  readonly events: readonly DiskEvent[];
}

/** Which syncs count, by their index among the events: a disk that lies ignores some. */
export type Honours = (event: number) => boolean;

const COMPILER = "/usr/bin/cc";

/** Whether there is a C compiler. Without one the tests are skipped, and say so; with CI=true that is an error. */
export function requireCompiler(): boolean {
  if (process.platform === "linux" && existsSync(COMPILER)) return true;
  const remedy = `${COMPILER} on Linux is missing; install it with: apt-get install gcc libc6-dev`;
  if (isCi()) throw new Error(`Tests of power loss must run where CI=true, but ${remedy}`);
  skipWith("tests of power loss", remedy);
  return false;
}

let library: Promise<string> | undefined;

/** A journal of the files directly in the folder. */
export async function createDiskJournal(folder: string): Promise<DiskJournal> {
  library ??= compile();
  const preload = await library;
  const journals: string[] = [];
  const to = tempFolder("weir-journal-");
  const clock = join(to, "clock");
  writeFileSync(clock, Buffer.alloc(8));
  const path = realpathSync(folder);
  const before = new Map(readdirSync(path).map((name) => [name, readFileSync(join(path, name))]));
  return {
    folder: path,
    nextEnv() {
      const journal = join(to, String(journals.length));
      journals.push(journal);
      return { LD_PRELOAD: preload, POWER_FOLDER: path, POWER_JOURNAL: journal, POWER_CLOCK: clock };
    },
    setClock(aheadMs) {
      const bytes = Buffer.alloc(8);
      bytes.writeBigInt64LE(BigInt(aheadMs));
      // In place: programs see it as memory.
      const file = openSync(clock, "r+");
      writeSync(file, bytes);
      closeSync(file);
    },
    read: () => ({ before, events: journals.flatMap((journal) => readEvents(readFileSync(journal), path)) }),
  };
}

async function compile(): Promise<string> {
  const to = join(tempFolder("weir-shim-"), "disk-journal.so");
  const from = join(repositoryRoot, "test", "power", "disk-journal.c");
  const end = await runToEnd(COMPILER, ["-O2", "-shared", "-fPIC", "-o", to, from, "-ldl", "-lpthread"]);
  if (end.code !== 0) throw new Error(`Cannot compile ${from}: ${end.stderr}`);
  return to;
}

/** Bytes of a record before its data; the format is in disk-journal.c. */
const HEAD_BYTES = 40;

function readEvents(journal: Buffer, folder: string): DiskEvent[] {
  const events: DiskEvent[] = [];
  for (let at = 0; at + HEAD_BYTES <= journal.length;) {
    const end = at + HEAD_BYTES + Number(journal.readBigUInt64LE(at + 32));
    // The last record may be on its way.
    if (end > journal.length) break;
    events.push(eventOf(journal.subarray(at, end), folder));
    at = end;
  }
  return events;
}

function eventOf(record: Buffer, folder: string): DiskEvent {
  const kind = String.fromCharCode(record[0]!);
  const timeMs = Number(record.readBigUInt64LE(8)) / 1e6;
  const [a, b] = [Number(record.readBigUInt64LE(16)), Number(record.readBigUInt64LE(24))];
  const bytes = record.subarray(HEAD_BYTES);
  const [name = "", to = ""] = kind === "O" || kind === "U" || kind === "R" ? namesIn(bytes, folder) : [];
  switch (kind) {
    case "O":
      return { kind: "open", timeMs, file: a, name, made: record.readUInt32LE(4) === 1 };
    case "W":
      return { kind: "write", timeMs, file: a, offset: b, bytes };
    case "T":
      return { kind: "truncate", timeMs, file: a, size: b };
    case "B":
      return { kind: "syncBegun", timeMs, file: a };
    case "S":
      return { kind: "synced", timeMs, file: a };
    case "R":
      return { kind: "rename", timeMs, name, to };
    case "U":
      return { kind: "unlink", timeMs, name };
    case "N":
      return { kind: "sent", timeMs, localPort: a, remotePort: b, bytes };
    default:
      throw new Error(`The program did what the journal does not follow: ${bytes.toString()}`);
  }
}

function namesIn(bytes: Buffer, folder: string): string[] {
  return bytes
    .toString()
    .split("\0")
    .map((path) => {
      const name = basename(path);
      if (join(folder, name) !== path) throw new Error(`The journal does not follow ${path}: it is not in ${folder}`);
      return name;
    });
}

type FileChange = { readonly offset: number; readonly bytes: Buffer } | { readonly size: number };
type NameChange = { readonly name: string; readonly file: DiskFile | undefined };

/** What is durable, and what is not yet, in order. syncing: how much of it was there when the sync under way began. */
class Changes<T> {
  pending: T[] = [];
  #syncing = 0;

  begin(): void {
    this.#syncing = this.pending.length;
  }

  /** Returns what the sync has made durable. */
  end(): T[] {
    const done = this.pending.splice(0, this.#syncing);
    this.#syncing = 0;
    return done;
  }
}

class Contents {
  bytes: Buffer;
  size: number;

  /** bytes: copied. */
  constructor(bytes: Buffer = Buffer.alloc(0)) {
    this.bytes = Buffer.from(bytes);
    this.size = bytes.length;
  }

  write(offset: number, bytes: Buffer): void {
    this.resize(Math.max(this.size, offset + bytes.length));
    bytes.copy(this.bytes, offset);
  }

  resize(size: number): void {
    if (size > this.bytes.length) {
      const grown = Buffer.alloc(Math.max(size, this.bytes.length * 2, 65_536));
      this.bytes.copy(grown, 0, 0, this.size);
      this.bytes = grown;
    }
    // What is cut off reads as zeros when the file grows again.
    if (size < this.size) this.bytes.fill(0, size, this.size);
    this.size = size;
  }

  copy(): Contents {
    return new Contents(this.bytes.subarray(0, this.size));
  }
}

interface DiskFile {
  readonly durable: Contents;
  readonly changes: Changes<FileChange>;
}

function newFile(bytes?: Buffer): DiskFile {
  return { durable: new Contents(bytes), changes: new Changes() };
}

/** Sectors are written whole or not at all, which SQLite relies on. */
const SECTOR_BYTES = 512;

/** How much of what was not synced survives. */
type Survival = "nothing" | "everything" | "first" | "writes" | "sectors";
const SURVIVALS: readonly Survival[] = ["nothing", "everything", "first", "writes", "writes", "sectors", "sectors"];

/** The disk of a program, as it goes through the events of its journal. */
export class Disk {
  readonly #events: readonly DiskEvent[];
  readonly #honours: Honours;
  readonly #files = new Map<number, DiskFile>();
  /** By name, as the program sees them. */
  readonly #names = new Map<string, DiskFile>();
  readonly #durableNames = new Map<string, DiskFile>();
  readonly #nameChanges = new Changes<NameChange>();
  #at = 0;

  constructor({ before, events }: DiskHistory, honours: Honours = () => true) {
    this.#events = events;
    this.#honours = honours;
    for (const [name, bytes] of before) this.#durableNames.set(name, newFile(bytes));
    for (const [name, file] of this.#durableNames) this.#names.set(name, file);
  }

  /** Goes on to where the first `count` events have happened. */
  advance(count: number): void {
    while (this.#at < count) {
      this.#apply(this.#events[this.#at]!, this.#at);
      this.#at++;
    }
  }

  /**
   * Writes into an empty folder what the disk may hold if the power goes now, as `random` draws it; says how much of
   * what was not synced survives.
   */
  writeTo(folder: string, random: () => number): Survival {
    const survival = SURVIVALS[Math.floor(random() * SURVIVALS.length)]!;
    const names = new Map(this.#durableNames);
    for (const { name, file } of survivors(this.#nameChanges.pending, survival, random)) {
      if (file) names.set(name, file);
      else names.delete(name);
    }
    mkdirSync(folder, { recursive: true });
    for (const [name, file] of names) {
      // Memory that has the form of a file: after a power cut it is gone, or anything at all.
      if (name.endsWith("-shm")) {
        if (random() < 0.5) writeFileSync(join(folder, name), noise(32_768, random));
      } else writeFileSync(join(folder, name), contentsAfter(file, survival, random));
    }
    return survival;
  }

  #apply(event: DiskEvent, index: number): void {
    switch (event.kind) {
      case "open":
        this.#open(event);
        break;
      case "write":
        this.#file(event.file).changes.pending.push({ offset: event.offset, bytes: event.bytes });
        break;
      case "truncate":
        this.#file(event.file).changes.pending.push({ size: event.size });
        break;
      case "syncBegun":
        (event.file === 0 ? this.#nameChanges : this.#file(event.file).changes).begin();
        break;
      case "synced":
        if (this.#honours(index)) this.#sync(event.file);
        break;
      case "rename":
        this.#link(event.to, this.#names.get(event.name)!);
        this.#unlink(event.name);
        break;
      case "unlink":
        this.#unlink(event.name);
        break;
      case "sent":
        break;
    }
  }

  #sync(number: number): void {
    if (number === 0) {
      for (const { name, file } of this.#nameChanges.end()) {
        if (file) this.#durableNames.set(name, file);
        else this.#durableNames.delete(name);
      }
      return;
    }
    const { durable, changes } = this.#file(number);
    for (const change of changes.end()) applyChange(durable, change);
  }

  #open({ file: number, name, made }: Extract<DiskEvent, { kind: "open" }>): void {
    const file = made ? newFile() : this.#names.get(name);
    if (!file) throw new Error(`${name} was there, and the journal does not know it`);
    this.#files.set(number, file);
    if (made) this.#link(name, file);
  }

  #file(number: number): DiskFile {
    const file = this.#files.get(number);
    if (!file) throw new Error(`The journal tells of file ${number}, which was never opened`);
    return file;
  }

  #link(name: string, file: DiskFile): void {
    this.#names.set(name, file);
    this.#nameChanges.pending.push({ name, file });
  }

  #unlink(name: string): void {
    this.#names.delete(name);
    this.#nameChanges.pending.push({ name, file: undefined });
  }
}

function applyChange(contents: Contents, change: FileChange): void {
  if ("size" in change) contents.resize(change.size);
  else contents.write(change.offset, change.bytes);
}

/** Those of some changes that are on the disk. Names are changed in order; of two files', either may come first. */
function survivors<T>(pending: readonly T[], survival: Survival, random: () => number): readonly T[] {
  if (survival === "nothing") return [];
  if (survival === "everything") return pending;
  if (survival === "first") return pending.slice(0, Math.floor(random() * (pending.length + 1)));
  const share = [0.1, 0.5, 0.9][Math.floor(random() * 3)]!;
  return pending.filter(() => random() < share);
}

function contentsAfter(file: DiskFile, survival: Survival, random: () => number): Buffer {
  const { pending } = file.changes;
  const contents = file.durable.copy();
  const kept = survival === "sectors" ? pending : survivors(pending, survival, random);
  const share = [0.1, 0.5, 0.9][Math.floor(random() * 3)]!;
  kept.forEach((change, i) => {
    const isTorn = survival === "sectors" || (survival === "first" && i === kept.length - 1) || random() < 0.05;
    if ("size" in change || survival === "everything" || !isTorn) applyChange(contents, change);
    else writeTorn(contents, change, share, random);
  });
  // The size is known to the disk apart from the contents; what was not written is zeros, or what was there before.
  if (random() < 0.5) {
    const sizeBefore = contents.size;
    let sizeMax = sizeBefore;
    for (const change of pending) if ("bytes" in change) sizeMax = Math.max(sizeMax, endOf(change));
    contents.resize(sizeBefore + Math.floor(random() * (sizeMax - sizeBefore + 1)));
    if (random() < 0.5) contents.write(sizeBefore, noise(contents.size - sizeBefore, random));
  }
  return contents.bytes.subarray(0, contents.size);
}

function endOf({ offset, bytes }: { readonly offset: number; readonly bytes: Buffer }): number {
  return offset + bytes.length;
}

/** Writes some of the sectors that a write covers, or parts of. */
function writeTorn(
  contents: Contents,
  change: { readonly offset: number; readonly bytes: Buffer },
  share: number,
  random: () => number,
): void {
  const end = endOf(change);
  for (let from = change.offset; from < end;) {
    const to = Math.min(end, (Math.floor(from / SECTOR_BYTES) + 1) * SECTOR_BYTES);
    if (random() < share) contents.write(from, change.bytes.subarray(from - change.offset, to - change.offset));
    from = to;
  }
}

function noise(length: number, random: () => number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) bytes[i] = random() * 256;
  return bytes;
}

/** Honours no sync at all: a disk that says it has written what it has not. */
export const honourNothing: Honours = () => false;

/**
 * Honours a sync of the write-ahead log only where pages are then moved from it into the database, and that of its
 * header, with which it begins anew: what SQLite does at synchronous=NORMAL.
 */
export function honoursOfNormal(events: readonly DiskEvent[]): Honours {
  const nameOf = new Map<number, string>();
  const ignored = new Set<number>();
  let isHeader = false;
  let commitSync: number | undefined;
  events.forEach((event, index) => {
    if (event.kind === "open") nameOf.set(event.file, event.name);
    const isLog = "file" in event && nameOf.get(event.file)?.endsWith("-wal") === true;
    if (event.kind === "synced" && isLog && !isHeader) commitSync = index;
    if (event.kind !== "write") return;
    // Where the log goes on, it was synced for a commit; where the database is written, for that.
    if (isLog && commitSync !== undefined) ignored.add(commitSync);
    commitSync = undefined;
    isHeader = isLog && event.offset === 0;
  });
  return (index) => !ignored.has(index);
}
