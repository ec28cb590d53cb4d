import { closeSync, openSync, readSync, statSync } from "node:fs";
import { CodedError, errorMessage } from "@weir/shared/errors";
import type { Table } from "./table.ts";

/**
 * Opens a table by what the file begins with: Parquet, gzip (of CSV), or else CSV. Throws CodedError BAD_IMPORT for a
 * file that cannot be read or is none of them.
 */
export async function openTable(path: string): Promise<Table> {
  const head = headOf(path);
  const magic = head.toString("latin1", 0, 4);
  // Loaded only here: an agent that runs has no use for their libraries.
  if (magic === "PAR1") return (await import("./parquet-table.ts")).openParquet(path);
  if (magic === "PARE") throw new CodedError("BAD_IMPORT", `${path} is encrypted Parquet, which is not read here.`);
  if (head.includes(0) && !magic.startsWith("\u001f\u008b")) {
    throw new CodedError("BAD_IMPORT", `${path} is neither CSV in UTF-8, packed by gzip or not, nor Parquet.`);
  }
  return (await import("./csv-table.ts")).openCsv(path, magic.startsWith("\u001f\u008b"));
}

function headOf(path: string): Buffer {
  try {
    // Such as a pipe, which could only be read once: it is looked at before it is imported, and again after a stop.
    if (!statSync(path).isFile()) {
      throw new Error("it is no regular file; write what is to be imported to one first");
    }
    const file = openSync(path, "r");
    try {
      const head = Buffer.alloc(512);
      return head.subarray(0, readSync(file, head, 0, head.length, 0));
    } finally {
      closeSync(file);
    }
  } catch (error) {
    throw new CodedError("BAD_IMPORT", `Cannot read ${path}: ${errorMessage(error)}.`, { cause: error });
  }
}
