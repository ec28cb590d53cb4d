import { generate } from "mqtt-packet";

/**
 * PUBLISH frames made once and patched before each use: time and decimals of every reading, and the packet id.
 *
 *   frame   = 0x30 | qos << 1, remaining length, topic length (2), topic, [packet id (2)], payload
 *   payload = reading | "[" reading *( "," reading ) "]"
 *   reading = {"ts":1760000000000,"value":20.123}        35 bytes, all of the same length
 *
 * Times have 13 digits until the year 2286. The third decimal is never 0, so that the text is the shortest one for the
 * number, as JSON.stringify would write it: 900 equally likely values a series.
 */

/** What the frames of one publishing connection are. */
export interface FrameShape {
  readonly qos: 0 | 1;
  readonly readingsPerMessage: number;
  /** First series of this connection, and how many it has. */
  readonly seriesFrom: number;
  readonly seriesCount: number;
}

/** Frames of equal length in one buffer, each series in turn: frame i is of series seriesFrom + i % seriesCount. */
export interface FrameTemplate {
  readonly bytes: Buffer;
  readonly frames: number;
  readonly frameBytes: number;
  readonly seriesCount: number;
  readonly readingsPerMessage: number;
  /** Where things stand in a frame; packetIdAt is -1 at QoS 0. */
  readonly packetIdAt: number;
  readonly firstTsAt: number;
  readonly firstDecimalsAt: number;
  /** Bytes from one reading of a message to the next. */
  readonly readingBytes: number;
}

const TS_PLACEHOLDER = "0000000000000";
const TS_DIGITS = TS_PLACEHOLDER.length;
const PACKET_IDS = 65_535;
const SERIES_PER_DEVICE = 10;

/** Topic of a series: ten metrics a device. All are equally long. */
export function topicOf(series: number): string {
  const device = String(Math.floor(series / SERIES_PER_DEVICE)).padStart(5, "0");
  return `sensors/plant/dev-${device}/m${series % SERIES_PER_DEVICE}`;
}

/** A template of at least `framesMin` frames, of a whole number of rounds over the series. */
export function createTemplate(shape: FrameShape, framesMin: number): FrameTemplate {
  const { qos, readingsPerMessage, seriesFrom, seriesCount } = shape;
  const rounds = Math.max(1, Math.ceil(framesMin / seriesCount));
  const round = Buffer.concat(Array.from({ length: seriesCount }, (_, i) => frameOf(seriesFrom + i, shape)));
  const frameBytes = round.length / seriesCount;
  const payload = round.indexOf('{"ts"');
  const isList = readingsPerMessage > 1;
  return {
    bytes: Buffer.concat(Array.from({ length: rounds }, () => round)),
    frames: rounds * seriesCount,
    frameBytes,
    seriesCount,
    readingsPerMessage,
    packetIdAt: qos === 0 ? -1 : payload - (isList ? 1 : 0) - 2,
    firstTsAt: round.indexOf(TS_PLACEHOLDER),
    firstDecimalsAt: round.indexOf(".000}") + 1,
    readingBytes: readingOf(0).length + 1,
  };
}

function readingOf(series: number): string {
  return `{"ts":${TS_PLACEHOLDER},"value":${10 + (series % 90)}.000}`;
}

function frameOf(series: number, { qos, readingsPerMessage }: FrameShape): Buffer {
  const reading = readingOf(series);
  const payload = readingsPerMessage === 1 ? reading : `[${Array(readingsPerMessage).fill(reading).join(",")}]`;
  const packet = { cmd: "publish", topic: topicOf(series), payload, qos, retain: false, dup: false } as const;
  return generate(qos === 0 ? packet : { ...packet, messageId: 1 });
}

/** Random decimals: three ASCII digits each, the last of them 1 to 9. */
const NOISE_COUNT = 1 << 16;
const noise = new Uint8Array(NOISE_COUNT * 3);
{
  let state = 0x9e3779b9;
  for (let i = 0; i < NOISE_COUNT; i++) {
    // xorshift32 (Marsaglia 2003), so that every run publishes the same values.
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    const random = state >>> 0;
    noise[i * 3] = 48 + (random % 10);
    noise[i * 3 + 1] = 48 + (Math.floor(random / 10) % 10);
    noise[i * 3 + 2] = 49 + (Math.floor(random / 100) % 9);
  }
}

/** Patches a template frame by frame. One for each connection: it knows how far that has come. */
export class FramePatcher {
  readonly #template: FrameTemplate;
  readonly #digits = new Uint8Array(TS_DIGITS);
  #tsMs = 0;
  #noiseAt: number;
  /** Index in the template of the next frame, and the packet id it gets. */
  #next = 0;
  #packetId = 1;

  /** seed: where in the random decimals this connection begins. */
  constructor(template: FrameTemplate, seed: number) {
    this.#template = template;
    this.#noiseAt = (seed * 7919) % NOISE_COUNT;
  }

  /** Frames that can be patched in one piece: up to the end of the template. */
  get room(): number {
    return this.#template.frames - this.#next;
  }

  /**
   * Makes the next `count` frames (at most `room`) ready and returns them. They are overwritten when the template comes
   * round. A series' times are strictly increasing: at least `fromMs`, and `stepMs` (0: the shortest) after its last.
   */
  take(count: number, fromMs: number, stepMs: number): Buffer {
    const { bytes, frameBytes, seriesCount, readingsPerMessage, packetIdAt } = this.#template;
    const from = this.#next;
    for (let i = from; i < from + count; i++) {
      if (i % seriesCount === 0) this.#setTime(Math.max(fromMs, this.#tsMs + Math.max(stepMs, readingsPerMessage)));
      const at = i * frameBytes;
      if (packetIdAt >= 0) {
        bytes[at + packetIdAt] = this.#packetId >> 8;
        bytes[at + packetIdAt + 1] = this.#packetId & 255;
        this.#packetId = this.#packetId === PACKET_IDS ? 1 : this.#packetId + 1;
      }
      if (readingsPerMessage === 1) this.#patchReading(at);
      else this.#patchReadings(at);
    }
    this.#next = from + count === this.#template.frames ? 0 : from + count;
    return bytes.subarray(from * frameBytes, (from + count) * frameBytes);
  }

  #patchReading(at: number): void {
    const { bytes, firstTsAt, firstDecimalsAt } = this.#template;
    const ts = at + firstTsAt;
    for (let i = 0; i < TS_DIGITS; i++) bytes[ts + i] = this.#digits[i]!;
    const decimals = at + firstDecimalsAt;
    const from = this.#noiseAt * 3;
    bytes[decimals] = noise[from]!;
    bytes[decimals + 1] = noise[from + 1]!;
    bytes[decimals + 2] = noise[from + 2]!;
    this.#noiseAt = (this.#noiseAt + 1) & (NOISE_COUNT - 1);
  }

  /** Readings of one message are 1 ms apart. */
  #patchReadings(at: number): void {
    const { readingsPerMessage, readingBytes } = this.#template;
    for (let i = 0; i < readingsPerMessage; i++) {
      this.#patchReading(at + i * readingBytes);
      this.#increment();
    }
    // The other series of this round begin where this one began.
    this.#setTime(this.#tsMs);
  }

  #setTime(tsMs: number): void {
    this.#tsMs = tsMs;
    let rest = tsMs;
    for (let i = TS_DIGITS - 1; i >= 0; i--) {
      const tenth = Math.floor(rest / 10);
      this.#digits[i] = 48 + rest - tenth * 10;
      rest = tenth;
    }
  }

  #increment(): void {
    let i = TS_DIGITS - 1;
    while (this.#digits[i] === 57) this.#digits[i--] = 48;
    this.#digits[i]!++;
  }
}
