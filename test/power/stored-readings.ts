import { BlockColumns, decodeBlockInto } from "@weir/agent/store/block-codec";
import type { Store } from "@weir/agent/store/store";
import type { RecordedRun } from "./recorded-run.ts";
import { IMPORTED_FROM, readingOf } from "./recorded-run.ts";

/** Which readings a file holds, in blocks, pieces or chunks. Throws for one that is there twice, or was never sent. */
export function readingsOf(store: Store, { imported, fromMs }: Pick<RecordedRun, "imported" | "fromMs">): Uint8Array {
  const stored = new Uint8Array(IMPORTED_FROM + imported);
  const columns = new BlockColumns();
  const keys = store.allSeries();
  const sql = "SELECT body FROM log WHERE kind = 1 UNION ALL SELECT body FROM pieces UNION ALL SELECT body FROM chunks";
  for (const { body } of store.sql.all<{ body: Buffer }>(sql)) {
    const { count, series, tsMs, value } = decodeBlockInto(body, columns);
    for (let i = 0; i < count; i++) {
      const number = Math.abs(value[i]!);
      const expected = readingOf(number, fromMs);
      const key = keys[series[i]!]!;
      const isIt = expected.tsMs === tsMs[i] && expected.value === value[i];
      if (!isIt || expected.topic !== `s/${key.site}/${key.device}/${key.metric}`) {
        throw new Error(`The log holds ${value[i]} at ${tsMs[i]} of ${key.device}, which nobody sent`);
      }
      if (stored[number] === 1) throw new Error(`Reading ${number} is in the log twice`);
      stored[number] = 1;
    }
  }
  return stored;
}
