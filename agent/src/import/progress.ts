/** Where progress is shown. */
export interface ProgressOutput {
  readonly isTTY?: boolean | undefined;
  write(text: string): unknown;
}

/** Between two looks of a terminal's bar, and between two lines elsewhere, ms. */
const BAR_EVERY_MS = 200;
const LINE_EVERY_MS = 5_000;
const BAR_WIDTH = 24;

/** Shows how far a long work has come: a bar on a terminal, elsewhere a line now and then. */
export class Progress {
  readonly #out: ProgressOutput;
  readonly #now: () => number;
  readonly #startMs: number;
  #shownMs: number;
  #startShare = 0;
  #isBarOpen = false;

  /** now: the clock, ms. */
  constructor(out: ProgressOutput, now: () => number) {
    this.#out = out;
    this.#now = now;
    this.#startMs = now();
    this.#shownMs = this.#startMs;
  }

  /** share: of all there is, 0 to 1; rows: since the start. Called often; shows itself when it is time. */
  update(share: number, rows: number): void {
    // What an earlier run had done is passed over faster: the time left goes by the rows of this one.
    if (rows === 0) this.#startShare = share;
    const nowMs = this.#now();
    if (nowMs - this.#shownMs < (this.#out.isTTY ? BAR_EVERY_MS : LINE_EVERY_MS)) return;
    this.#shownMs = nowMs;
    const seconds = (nowMs - this.#startMs) / 1000;
    const done = share - this.#startShare;
    const left = done > 0 ? `, ${duration((seconds * (1 - share)) / done)} left` : "";
    const rate = Math.round(rows / seconds).toLocaleString("en-US");
    const text = `${Math.floor(share * 100)} %, ${rows.toLocaleString("en-US")} rows, ${rate} rows/s${left}`;
    if (!this.#out.isTTY) {
      this.#out.write(`${text}\n`);
      return;
    }
    const filled = Math.round(share * BAR_WIDTH);
    this.#out.write(`\r[${"#".repeat(filled)}${"-".repeat(BAR_WIDTH - filled)}] ${text}\u001b[K`);
    this.#isBarOpen = true;
  }

  /** Clears the bar: something else is printed next. */
  clear(): void {
    if (this.#isBarOpen) this.#out.write("\r\u001b[K");
    this.#isBarOpen = false;
  }
}

/** 0:42, 12:03, 1:02:03. */
function duration(seconds: number): string {
  const whole = Math.ceil(seconds);
  const two = (number: number): string => String(number).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}
