import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { HttpError } from "./errors.ts";

/** Wrong passwords from one address in a minute; after them even the right one waits. */
export const TRIES_PER_MINUTE_MAX = 10;

/** Addresses whose tries are remembered; the one longest silent is forgotten first. */
const ADDRESSES_MAX = 10_000;

const MINUTE_MS = 60_000;

/** How long a login lasts. */
export const SESSION_MS: number = 12 * 60 * MINUTE_MS;

/** Characters in the name a person gives at login or with an acknowledgement, at most. */
export const PERSON_LENGTH_MAX = 64;

/** Name of the cookie that carries a session. */
export const SESSION_COOKIE = "weir_session";

/** Who is asking. expiresAtMs: when the session ends; null: a request with its own credentials. */
export interface Identity {
  readonly name: string;
  readonly expiresAtMs: number | null;
}

export interface Auth {
  /**
   * Who sent a request with these headers, by session cookie or HTTP Basic; undefined: nobody we know. Throws HttpError
   * 429 after too many wrong passwords from the address.
   */
  identify(headers: IncomingHttpHeaders, address: string): Identity | undefined;
  /**
   * The value of a session cookie for the right password; undefined for a wrong one. name: how the person wants to be
   * known, shown on acknowledgements. Throws HttpError 429 as identify.
   */
  login(name: string, password: string, address: string): string | undefined;
  /** Wrong passwords so far. */
  readonly failures: number;
}

/**
 * One password for everybody, sessions as signed cookies. The key is random and lives as long as the process, so a
 * restart logs everybody out and nothing on disk can forge a session.
 */
export function createAuth(password: string, nowMs: () => number): Auth {
  const key = randomBytes(32);
  const digest = (text: string): Buffer => createHmac("sha256", key).update(text).digest();
  const expected = digest(password);
  const tries = createTries(nowMs);
  let failures = 0;

  const isRight = (candidate: string, address: string): boolean => {
    tries.check(address);
    // Digests have equal lengths, so the comparison tells nothing about the password's.
    if (timingSafeEqual(digest(candidate), expected)) return true;
    failures++;
    tries.failed(address);
    return false;
  };
  const sign = (payload: string): string => digest(`session:${payload}`).toString("base64url");

  const fromCookie = (header: string | undefined): Identity | undefined => {
    const value = cookieValue(header, SESSION_COOKIE);
    const [payload, signature] = value?.split(".") ?? [];
    if (payload === undefined || signature === undefined) return undefined;
    const given = Buffer.from(signature);
    const right = Buffer.from(sign(payload));
    if (given.length !== right.length || !timingSafeEqual(given, right)) return undefined;
    const session = JSON.parse(Buffer.from(payload, "base64url").toString()) as { name: string; expiresAtMs: number };
    return session.expiresAtMs > nowMs() ? session : undefined;
  };

  return {
    identify(headers, address) {
      const session = fromCookie(headers.cookie);
      if (session) return session;
      const basic = basicCredentials(headers.authorization);
      if (!basic || !isRight(basic.password, address)) return undefined;
      return { name: basic.name, expiresAtMs: null };
    },
    login(name, candidate, address) {
      if (!isRight(candidate, address)) return undefined;
      const payload = Buffer.from(JSON.stringify({ name, expiresAtMs: nowMs() + SESSION_MS })).toString("base64url");
      return `${payload}.${sign(payload)}`;
    },
    get failures() {
      return failures;
    },
  };
}

/** Wrong tries of each address in its current minute. */
function createTries(nowMs: () => number): { check(address: string): void; failed(address: string): void } {
  const byAddress = new Map<string, { startMs: number; count: number }>();
  const current = (address: string): { startMs: number; count: number } | undefined => {
    const entry = byAddress.get(address);
    return entry && nowMs() - entry.startMs < MINUTE_MS ? entry : undefined;
  };
  return {
    check(address) {
      if ((current(address)?.count ?? 0) < TRIES_PER_MINUTE_MAX) return;
      throw new HttpError(
        429,
        "TOO_MANY_TRIES",
        `${TRIES_PER_MINUTE_MAX} wrong passwords from this address within a minute; wait a minute and try again.`,
      );
    },
    failed(address) {
      const entry = current(address) ?? { startMs: nowMs(), count: 0 };
      entry.count++;
      byAddress.delete(address);
      byAddress.set(address, entry);
      const oldest = byAddress.keys().next();
      if (byAddress.size > ADDRESSES_MAX && !oldest.done) byAddress.delete(oldest.value);
    },
  };
}

function cookieValue(header: string | undefined, name: string): string | undefined {
  const prefix = `${name}=`;
  const pair = (header ?? "").split(";").find((part) => part.trim().startsWith(prefix));
  return pair?.trim().slice(prefix.length);
}

function basicCredentials(
  header: string | undefined,
): { readonly name: string; readonly password: string } | undefined {
  const match = /^Basic ([A-Za-z0-9+/=]+)$/i.exec(header ?? "");
  if (!match?.[1]) return undefined;
  const text = Buffer.from(match[1], "base64").toString();
  const colon = text.indexOf(":");
  return colon < 0 ? undefined : { name: text.slice(0, colon), password: text.slice(colon + 1) };
}
