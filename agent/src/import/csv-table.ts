import { createReadStream, statSync } from "node:fs";
import type { Readable } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import { createGunzip } from "node:zlib";
import { CodedError, errorMessage } from "@weir/shared/errors";
import type { CsvRow } from "./csv-rows.ts";
import { CsvRows, delimiterOf } from "./csv-rows.ts";
import type { RowChunk, Table } from "./table.ts";

/** Bytes of one read of the file. */
const READ_BYTES = 262_144;
/** Characters looked at for a header and a first row, at most. */
const HEAD_CHARS_MAX: number = 2 ** 21;

/** Opens a CSV file, packed by gzip or not. Its first row must name the columns. Throws CodedError BAD_IMPORT. */
export async function openCsv(path: string, isGzip: boolean): Promise<Table> {
  const head = await headOf(path, isGzip);
  const delimiter = delimiterOf(head.text);
  const parser = new CsvRows(delimiter);
  const rows = parser.push(head.text);
  if (head.isWhole) rows.push(...parser.end());
  const [names, first] = rows;
  if (names === undefined || typeof names === "string") {
    throw new CodedError("BAD_IMPORT", `${path} holds no table: its first row must name the columns.`);
  }
  if (names.some((name) => name.includes("\ufffd"))) {
    throw new CodedError("BAD_IMPORT", `${path} is not UTF-8: convert it first, such as by iconv -t utf-8.`);
  }
  return {
    format: isGzip ? "CSV, packed" : "CSV",
    columns: names.map((name) => ({ name: name.trim() })),
    first: typeof first === "string" ? undefined : first,
    chunks: (skip) => chunksOf(path, isGzip, delimiter, skip),
  };
}

async function* chunksOf(path: string, isGzip: boolean, delimiter: string, skip: number): AsyncGenerator<RowChunk> {
  const { size } = statSync(path);
  const { stream, share } = openText(path, isGzip);
  const decoder = new StringDecoder("utf8");
  const parser = new CsvRows(delimiter);
  // The header is a row as well.
  let toSkip = skip + 1;
  const chunkOf = (rows: readonly CsvRow[]): RowChunk => {
    const from = Math.min(toSkip, rows.length);
    toSkip -= from;
    return { count: rows.length - from, share: share(), row: (index) => rows[from + index]! };
  };
  try {
    for await (const bytes of stream) yield chunkOf(parser.push(decoder.write(bytes as Buffer)));
    yield chunkOf(parser.push(decoder.end()));
    // Its last line may be half of one, which would be a wrong reading for good.
    if (statSync(path).size !== size) throw new Error("it is being written; import it again when it is whole");
    yield chunkOf(parser.end());
  } catch (error) {
    throw new CodedError("IMPORT_FILE", `Cannot read on in ${path}: ${errorMessage(error)}.`, { cause: error });
  } finally {
    stream.destroy();
  }
}

/** Enough of the text to hold the header and a row. */
async function headOf(path: string, isGzip: boolean): Promise<{ readonly text: string; readonly isWhole: boolean }> {
  const { stream } = openText(path, isGzip);
  const decoder = new StringDecoder("utf8");
  let text = "";
  try {
    for await (const bytes of stream) {
      text += decoder.write(bytes as Buffer);
      if (text.indexOf("\n", text.indexOf("\n") + 1) > 0 || text.length > HEAD_CHARS_MAX) {
        return { text, isWhole: false };
      }
    }
    return { text: text + decoder.end(), isWhole: true };
  } catch (error) {
    throw new CodedError("BAD_IMPORT", `Cannot read ${path}: ${errorMessage(error)}.`, { cause: error });
  } finally {
    stream.destroy();
  }
}

function openText(path: string, isGzip: boolean): { readonly stream: Readable; readonly share: () => number } {
  const { size } = statSync(path);
  const file = createReadStream(path, { highWaterMark: READ_BYTES });
  const share = (): number => (size === 0 ? 1 : Math.min(1, file.bytesRead / size));
  if (!isGzip) return { stream: file, share };
  const unpacked = createGunzip({ chunkSize: READ_BYTES });
  file.on("error", (error) => unpacked.destroy(error));
  unpacked.on("close", () => file.destroy());
  return { stream: file.pipe(unpacked), share };
}
