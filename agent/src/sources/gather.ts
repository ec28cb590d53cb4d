/**
 * Lets sockets that are ready gather under load, as network cards coalesce interrupts.
 *
 * A socket read costs some microseconds however little there is to read. Where many small reads come every second, the
 * thread sleeps some milliseconds after a round of them; meanwhile the kernel takes in what comes, and the next round
 * reads it in fewer and larger pieces. Where it does not (so many connections that hardly any has sent again), sleeping
 * stops. Nothing else runs in the thread while it sleeps.
 */

/** Reads a second above which sleeping begins. */
export const GATHER_READS_PER_S = 5_000;
/** Average bytes of a read below which sleeping begins. */
export const GATHER_READ_BYTES: number = 16 * 1024;
/** How long the thread sleeps after a round of reads, ms. */
export const GATHER_SLEEP_MS = 2;
/** How long reads are counted before it is decided anew, ms. */
const WINDOW_MS = 50;
/** Where sleeping has brought nothing it is tried again after this, ms. */
const RETRY_MS = 10_000;

/** Ends the sleep of the thread of a Gather from another thread, and keeps it from going to sleep until awake(). */
export function rouse(pillow: Int32Array): void {
  Atomics.store(pillow, 0, 1);
  Atomics.notify(pillow, 0);
}

/** One thread's, for all sockets it reads. */
export class Gather {
  readonly #sleepMs: number;
  /** One word: 0 while there is nothing to get up for. Waiting for it to change is how the thread sleeps. */
  readonly pillow: Int32Array<SharedArrayBuffer> = new Int32Array(new SharedArrayBuffer(4));
  #scheduled = false;
  #reads = 0;
  #bytes = 0;
  #windowBeganMs = 0;
  #isSleeping = false;
  /** What came in the last window without sleeping: bytes a second and a read. */
  #bytesPerSAwake = 0;
  #bytesPerReadAwake = 0;
  /** Bytes a read in the last window with sleeping. */
  #bytesPerReadAsleep = 0;
  #retryAtMs = 0;
  #sleeps = 0;

  constructor(sleepMs: number = GATHER_SLEEP_MS) {
    this.#sleepMs = sleepMs;
  }

  /** To be called when what rouse() was for has been seen to. */
  awake(): void {
    Atomics.store(this.pillow, 0, 0);
  }

  /** Sleeps since start. */
  get sleeps(): number {
    return this.#sleeps;
  }

  /** To be called at each read of a socket, with the bytes read. */
  note(bytes: number): void {
    this.#reads++;
    this.#bytes += bytes;
    if (this.#scheduled) return;
    this.#scheduled = true;
    // Immediates run when the poll is over: all sockets that were ready have been read.
    setImmediate(this.#roundOver);
  }

  readonly #roundOver = (): void => {
    this.#scheduled = false;
    const nowMs = performance.now();
    if (nowMs - this.#windowBeganMs >= WINDOW_MS) this.#decide(nowMs);
    if (!this.#isSleeping) return;
    this.#sleeps++;
    Atomics.wait(this.pillow, 0, 0, this.#sleepMs);
  };

  #decide(nowMs: number): void {
    const seconds = (nowMs - this.#windowBeganMs) / 1000;
    const bytesPerS = this.#bytes / seconds;
    const bytesPerRead = this.#bytes / this.#reads;
    if (this.#isSleeping) {
      this.#bytesPerReadAsleep = bytesPerRead;
      // Reads are few by now, so it is by the bytes that the load is seen to have gone.
      const isOver = bytesPerS < this.#bytesPerSAwake / 2;
      const isFutile = bytesPerRead < this.#bytesPerReadAwake * 2;
      if (isFutile) this.#retryAtMs = nowMs + RETRY_MS;
      this.#isSleeping = !isOver && !isFutile;
    } else {
      this.#bytesPerSAwake = bytesPerS;
      this.#bytesPerReadAwake = bytesPerRead;
      const isLoaded = this.#reads / seconds > GATHER_READS_PER_S && bytesPerRead < GATHER_READ_BYTES;
      // It may have looked futile while what came was changing.
      const mayBring = nowMs >= this.#retryAtMs || bytesPerRead < this.#bytesPerReadAsleep / 2;
      this.#isSleeping = isLoaded && mayBring;
    }
    this.#windowBeganMs = nowMs;
    this.#reads = 0;
    this.#bytes = 0;
  }
}
