import type { Block } from "@weir/shared/model/reading";
import { BLOCK_READINGS_MAX } from "@weir/shared/model/reading";

/** Collects readings into columns. One message may take it past BLOCK_READINGS_MAX; the payload bound ends that. */
export class BlockBuilder implements Block {
  count = 0;
  series: Uint32Array = new Uint32Array(BLOCK_READINGS_MAX);
  tsMs: Float64Array = new Float64Array(BLOCK_READINGS_MAX);
  value: Float64Array = new Float64Array(BLOCK_READINGS_MAX);
  stamped: Uint8Array = new Uint8Array(BLOCK_READINGS_MAX);
  /** Which source each reading came from, for the ledger. */
  source: Uint8Array = new Uint8Array(BLOCK_READINGS_MAX);

  push(series: number, tsMs: number, value: number, stamped: boolean, source: number): void {
    if (this.count === this.series.length) this.#grow();
    this.series[this.count] = series;
    this.tsMs[this.count] = tsMs;
    this.value[this.count] = value;
    this.stamped[this.count] = stamped ? 1 : 0;
    this.source[this.count] = source;
    this.count++;
  }

  /** Keeps only the rows for which `keep` is 1, in order. */
  retain(keep: Uint8Array): void {
    let kept = 0;
    for (let i = 0; i < this.count; i++) {
      if (keep[i] === 0) continue;
      this.series[kept] = this.series[i]!;
      this.tsMs[kept] = this.tsMs[i]!;
      this.value[kept] = this.value[i]!;
      this.stamped[kept] = this.stamped[i]!;
      this.source[kept] = this.source[i]!;
      kept++;
    }
    this.count = kept;
  }

  #grow(): void {
    const rows = this.series.length * 2;
    const grown = <T extends Uint32Array | Float64Array | Uint8Array>(from: T, to: T): T => {
      to.set(from);
      return to;
    };
    this.series = grown(this.series, new Uint32Array(rows));
    this.tsMs = grown(this.tsMs, new Float64Array(rows));
    this.value = grown(this.value, new Float64Array(rows));
    this.stamped = grown(this.stamped, new Uint8Array(rows));
    this.source = grown(this.source, new Uint8Array(rows));
  }
}
