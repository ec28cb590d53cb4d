import { readFileSync } from "node:fs";
import { CodedError, errorMessage } from "@weir/shared/errors";

/** Paths of PEM files; absent or "" where there is none. */
export interface TlsFiles {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** What the files hold, as node:tls takes it. */
export interface TlsMaterial {
  ca?: Buffer;
  cert?: Buffer;
  key?: Buffer;
}

/**
 * Reads the files that are named. whose: for messages, such as "The MQTT endpoint". Throws CodedError TLS_FILES where
 * one cannot be read, or a certificate comes without its key or the other way round.
 */
export function readTlsFiles(whose: string, files: TlsFiles): TlsMaterial {
  if (Boolean(files.cert) !== Boolean(files.key)) {
    const [has, lacks] = files.cert ? ["certificate", "key"] : ["key", "certificate"];
    throw new CodedError(
      "TLS_FILES",
      `${whose} has a TLS ${has} (${files.cert || files.key}) but no ${lacks}; give both.`,
    );
  }
  const material: TlsMaterial = {};
  for (const part of ["ca", "cert", "key"] as const) {
    const path = files[part];
    if (!path) continue;
    try {
      material[part] = readFileSync(path);
    } catch (error) {
      const message = `${whose} cannot read its TLS ${part} file: ${errorMessage(error)}`;
      throw new CodedError("TLS_FILES", message, { cause: error });
    }
  }
  return material;
}
