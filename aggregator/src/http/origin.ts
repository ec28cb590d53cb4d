import type { IncomingHttpHeaders } from "node:http";
import { isIP } from "node:net";
import { HttpError } from "./errors.ts";

/**
 * Who may talk to the aggregator from within somebody's browser. On loopback there may be no password, so a page of
 * another origin must reach nothing: neither by its own name pointed at 127.0.0.1 (DNS rebinding; the Host header gives
 * it away) nor by sending requests to ours (CSRF, cross-site WebSockets; Origin and Sec-Fetch-Site give it away).
 */
export interface OriginRules {
  /** False: no password protects this server, so only loopback names may be asked for. */
  readonly password: boolean;
  /** Host names beside loopback under which the server may be asked, lower case, without ports. */
  readonly allowedHosts: ReadonlySet<string>;
}

/** True for an address or name that only this machine can reach. */
export function isLoopbackHost(host: string): boolean {
  const name = host.toLowerCase().replace(/^\[(.*)\]$/, "$1");
  if (name === "localhost" || name.endsWith(".localhost") || name === "::1") return true;
  return isIP(name) === 4 && name.startsWith("127.");
}

/** The name in a Host header, lower case, without its port; "" when there is none. */
export function hostName(header: string | undefined): string {
  return (header ?? "").toLowerCase().replace(/:\d+$/, "");
}

/**
 * Throws HttpError 403 where the request may come from a page of another origin, or from beyond loopback through a
 * proxy while no password is set. changes: true for a request that changes something, and for WebSockets, which
 * browsers let any page open.
 */
export function checkOrigin(headers: IncomingHttpHeaders, changes: boolean, rules: OriginRules): void {
  const host = hostName(headers.host);
  if (!rules.password) {
    if (!isLoopbackHost(host) && !rules.allowedHosts.has(host)) {
      throw new HttpError(
        403,
        "HOST_REFUSED",
        `This server answers to loopback names only, not to "${host}". Set a password or allow the host by name.`,
      );
    }
    if (forwardedFromAfar(headers)) {
      throw new HttpError(
        403,
        "PASSWORD_REQUIRED",
        "The request came through a proxy from beyond this machine; set a password to allow that.",
      );
    }
  }
  const fetchSite = headers["sec-fetch-site"];
  const navigation = headers["sec-fetch-mode"] === "navigate" && !changes;
  if (typeof fetchSite === "string" && fetchSite === "cross-site" && !navigation) throw crossOrigin("another site");
  if (changes && headers.origin !== undefined && !isOwnOrigin(headers.origin, headers.host, rules)) {
    throw crossOrigin(headers.origin);
  }
}

/** Browsers always say where a change comes from; programs that are no browsers send no Origin. */
function isOwnOrigin(origin: string, host: string | undefined, rules: OriginRules): boolean {
  if (!URL.canParse(origin)) return false;
  const url = new URL(origin);
  return url.host === (host ?? "").toLowerCase() || rules.allowedHosts.has(url.hostname);
}

function forwardedFromAfar(headers: IncomingHttpHeaders): boolean {
  const forwarded = headers["x-forwarded-for"];
  const addresses = (Array.isArray(forwarded) ? forwarded.join(",") : (forwarded ?? "")).split(",");
  return addresses.some((address) => {
    const trimmed = address.trim();
    return trimmed !== "" && !isLoopbackHost(trimmed.replace(/^::ffff:/, ""));
  });
}

function crossOrigin(from: string): HttpError {
  return new HttpError(
    403,
    "ORIGIN_REFUSED",
    `Requests from ${from} are refused: only this server's own pages may do this.`,
  );
}
