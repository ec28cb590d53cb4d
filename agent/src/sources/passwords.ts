import { createHmac, randomBytes, scrypt, scryptSync, timingSafeEqual } from "node:crypto";
import { CodedError } from "@weir/shared/errors";

/**
 * Passwords of devices.
 *
 *   file = *( user ":" "scrypt$" salt "$" hash LF | "#" comment LF | LF )
 *
 * salt and hash are base64url without padding; hash is scrypt (Percival 2009, RFC 7914) of the password's bytes with
 * N = 16384, r = 8, p = 1, 32 bytes.
 */

const HASH_BYTES = 32;
const SALT_BYTES = 16;
/** scrypt runs at one time: each takes 16 MiB and a thread of the pool that file access needs as well. */
export const PASSWORD_CHECKS_MAX = 2;

interface PasswordEntry {
  readonly salt: Buffer;
  readonly hash: Buffer;
}

/** Users and their hashed passwords. */
export type PasswordEntries = ReadonlyMap<string, PasswordEntry>;

/** The part of a password file's line after `user:`. salt: random bytes, never the same twice. */
export function hashPassword(password: string, salt: Uint8Array = randomBytes(SALT_BYTES)): string {
  const hash = scryptSync(password, salt, HASH_BYTES);
  return `scrypt$${Buffer.from(salt).toString("base64url")}$${hash.toString("base64url")}`;
}

/** Reads a password file. name: for messages. Throws CodedError PASSWORD_FILE with the line that is wrong. */
export function parsePasswordFile(name: string, text: string): PasswordEntries {
  const entries = new Map<string, PasswordEntry>();
  text.split(/\r?\n/).forEach((line, index) => {
    if (line === "" || line.startsWith("#")) return;
    const match = /^([^:]+):scrypt\$([\w-]+)\$([\w-]+)$/.exec(line);
    const [user, salt, hash] = match ? match.slice(1) : [];
    const bad = (problem: string): CodedError => new CodedError("PASSWORD_FILE", `${name}:${index + 1}: ${problem}.`);
    if (user === undefined || salt === undefined || hash === undefined) throw bad("not user:scrypt$salt$hash");
    if (entries.has(user)) throw bad(`user ${JSON.stringify(user)} comes twice`);
    const entry = { salt: Buffer.from(salt, "base64url"), hash: Buffer.from(hash, "base64url") };
    if (entry.hash.length !== HASH_BYTES) throw bad(`the hash has ${entry.hash.length} bytes, not ${HASH_BYTES}`);
    entries.set(user, entry);
  });
  return entries;
}

/** Whether a password is the user's: at once where it has been right before, else after an scrypt in the background. */
export type PasswordCheck = (user: string, password: Uint8Array) => boolean | Promise<boolean>;

/**
 * Makes a check. What was right is remembered under a key that lives only in this process, so that a thousand devices
 * coming back after a network failure do not cost a thousand scrypts. An unknown user takes as long as a known one.
 * sessionKey: random bytes.
 */
export function createPasswordCheck(entries: PasswordEntries, sessionKey: Uint8Array = randomBytes(32)): PasswordCheck {
  const remembered = new Map<string, Buffer>();
  const nobody: PasswordEntry = { salt: Buffer.alloc(SALT_BYTES), hash: Buffer.alloc(HASH_BYTES) };
  const waiting: Array<() => void> = [];
  let running = 0;

  const verify = async (user: string, password: Uint8Array, fingerprint: Buffer): Promise<boolean> => {
    if (running >= PASSWORD_CHECKS_MAX) await new Promise<void>((resolve) => waiting.push(resolve));
    else running++;
    try {
      const entry = entries.get(user) ?? nobody;
      const hash = await scryptOf(password, entry.salt);
      const right = timingSafeEqual(hash, entry.hash) && entry !== nobody;
      if (right) remembered.set(user, fingerprint);
      return right;
    } finally {
      // The turn goes to the next in line, so `running` stays as it is.
      const next = waiting.shift();
      if (next) next();
      else running--;
    }
  };
  return (user, password) => {
    const fingerprint = createHmac("sha256", sessionKey).update(user).update("\0").update(password).digest();
    const known = remembered.get(user);
    if (known && timingSafeEqual(known, fingerprint)) return true;
    return verify(user, Uint8Array.from(password), fingerprint);
  };
}

function scryptOf(password: Uint8Array, salt: Uint8Array): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(password, salt, HASH_BYTES, (error, hash) => (error ? reject(error) : resolve(hash)));
  });
}
