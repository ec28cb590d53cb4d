import { join } from "node:path";
import Database from "better-sqlite3";
import { CodedError } from "@weir/shared/errors";
import { makeFolder } from "./make-folder.ts";

/**
 * Keeps a data folder for one writing process: two would each number the log's entries. Held by the lock of a file of
 * its own, which goes with the process however it ends; readers of the data file are not in its way.
 *
 * Returns how to let go. Throws CodedError DATA_FOLDER_IN_USE, or NO_DATA_FILE where the folder cannot be written.
 */
export function lockDataFolder(folder: string): () => void {
  try {
    makeFolder(folder);
    const db = new Database(join(folder, "agent.lock"), { timeout: 0 });
    db.exec("BEGIN EXCLUSIVE");
    return () => void db.close();
  } catch (error) {
    if ((error as { code?: string }).code === "SQLITE_BUSY") {
      throw new CodedError("DATA_FOLDER_IN_USE", `Another agent is running on ${folder}: stop it, or set data.dir.`);
    }
    throw new CodedError("NO_DATA_FILE", `Cannot write to ${folder}: check data.dir and its permissions.`, {
      cause: error,
    });
  }
}
