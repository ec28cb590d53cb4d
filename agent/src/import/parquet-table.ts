import { CodedError, errorMessage } from "@weir/shared/errors";
import { asyncBufferFromFile, parquetMetadataAsync, parquetScan, parquetSchema } from "hyparquet";
import type { AsyncBuffer, DecodedArray, FileMetaData, SchemaElement } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import type { RowChunk, Table, TableColumn } from "./table.ts";

/** Rows read at a time where the file has an index of its pages; without one, a whole row group is. */
const ROWS_AT_ONCE = 262_144;

/** Times as ms: the library's own Dates cost an object each. Rounded down, as parts of a ms are everywhere. */
const PARSERS = {
  timestampFromMilliseconds: Number,
  timestampFromMicroseconds: (micros: bigint): number => Math.floor(Number(micros) / 1e3),
  timestampFromNanoseconds: (nanos: bigint): number => Number(nanos / 1_000_000n),
  dateFromDays: (days: number): number => days * 86_400_000,
};

/** Opens a Parquet file. Columns within columns are left out. Throws CodedError BAD_IMPORT. */
export async function openParquet(path: string): Promise<Table> {
  try {
    const file = await asyncBufferFromFile(path);
    const metadata = await parquetMetadataAsync(file);
    const columns = parquetSchema(metadata).children.flatMap(({ element, children }) =>
      children.length === 0 && element.repetition_type !== "REPEATED" ? [columnOf(element)] : [],
    );
    const all = columns.map((_, index) => index);
    const table: Table = {
      format: "Parquet",
      columns,
      first: undefined,
      chunks: (skip, wanted) => chunksOf(path, file, metadata, columns, skip, wanted, ROWS_AT_ONCE),
    };
    for await (const chunk of chunksOf(path, file, metadata, columns, 0, all, 1)) {
      return { ...table, first: chunk.row(0).slice(0) as readonly unknown[] };
    }
    return table;
  } catch (error) {
    if (error instanceof CodedError) throw error;
    throw new CodedError("BAD_IMPORT", `${path} cannot be read as Parquet: ${errorMessage(error)}.`, { cause: error });
  }
}

function columnOf({ name, type, converted_type, logical_type }: SchemaElement): TableColumn {
  if (logical_type?.type === "TIMESTAMP") return { name, time: logical_type.isAdjustedToUTC ? "utc" : "local" };
  // The older ways to write a time mean UTC.
  if (converted_type === "TIMESTAMP_MILLIS" || converted_type === "TIMESTAMP_MICROS") return { name, time: "utc" };
  if (logical_type?.type === "TIME" || converted_type === "TIME_MILLIS" || converted_type === "TIME_MICROS") {
    return { name, time: "of day" };
  }
  if (type === "INT96") return { name, time: "utc" };
  if (converted_type === "DATE" || logical_type?.type === "DATE") return { name, time: "local" };
  return { name };
}

async function* chunksOf(
  path: string,
  file: AsyncBuffer,
  metadata: FileMetaData,
  columns: readonly TableColumn[],
  skip: number,
  wanted: readonly number[],
  rowsAtOnce: number,
): AsyncGenerator<RowChunk> {
  const names = wanted.map((column) => columns[column]!.name);
  const rows = Number(metadata.num_rows);
  try {
    const scan = await parquetScan({ file, metadata, columns: names, compressors, parsers: PARSERS });
    for (const { rowStart, rowEnd } of stretches(metadata, rowsAtOnce)) {
      if (rowEnd <= skip) continue;
      const from = Math.max(rowStart, skip);
      const fields: unknown[] = columns.map(() => null);
      const data: DecodedArray[] = [];
      for (const column of names) data.push(await scan.readColumn({ column, rowStart: from, rowEnd }));
      yield {
        count: rowEnd - from,
        share: rowEnd / rows,
        row: (index) => {
          for (let i = 0; i < wanted.length; i++) fields[wanted[i]!] = data[i]![index];
          return fields;
        },
      };
    }
  } catch (error) {
    throw new CodedError("IMPORT_FILE", `Cannot read on in ${path}: ${errorMessage(error)}.`, { cause: error });
  }
}

/** What is read in one go: row groups, or parts of one where its pages can be found alone. */
function* stretches(
  metadata: FileMetaData,
  rowsAtOnce: number,
): Generator<{ readonly rowStart: number; readonly rowEnd: number }> {
  let groupStart = 0;
  for (const group of metadata.row_groups) {
    const groupEnd = groupStart + Number(group.num_rows);
    const hasIndex = group.columns.every(({ offset_index_offset }) => offset_index_offset !== undefined);
    const step = hasIndex ? rowsAtOnce : Infinity;
    for (let rowStart = groupStart; rowStart < groupEnd; rowStart += step) {
      yield { rowStart, rowEnd: Math.min(groupEnd, rowStart + step) };
    }
    groupStart = groupEnd;
  }
}
