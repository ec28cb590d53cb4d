import type { IncomingMessage } from "node:http";
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { Auth, Identity } from "./auth.ts";
import { PERSON_LENGTH_MAX, SESSION_COOKIE, SESSION_MS } from "./auth.ts";
import { HttpError } from "./errors.ts";
import { loginPage } from "./login-page.ts";
import type { OriginRules } from "./origin.ts";
import { checkOrigin, hostName, isLoopbackHost } from "./origin.ts";

/** Paths that hold nothing of anybody's, so that probes and the login page work before a login. */
const OPEN_PATHS: ReadonlySet<string> = new Set(["/healthz", "/readyz", "/login", "/favicon.svg"]);
const OPEN_PREFIX = "/assets/";

/** What the login form sends; JSON of the same shape does as well. */
const LOGIN_BODY = {
  type: ["object", "null"],
  properties: { name: { type: "string" }, password: { type: "string" } },
};

export interface Access {
  /** Undefined: no password is set, everybody on this machine may do everything. */
  readonly auth: Auth | undefined;
  readonly rules: OriginRules;
  /** True when the server listens on loopback. */
  readonly onLoopback: boolean;
}

/**
 * Lets a WebSocket upgrade in, or throws HttpError 403 for a foreign origin, 401 without a login. session: false for
 * paths whose handler checks who is there in its own way.
 */
export function admitUpgrade(access: Access, request: IncomingMessage, session: boolean): Identity | undefined {
  checkOrigin(request.headers, true, access.rules);
  if (!session || !access.auth) return undefined;
  const identity = access.auth.identify(request.headers, request.socket.remoteAddress ?? "");
  if (!identity) throw unauthorized();
  return identity;
}

/** The name of whoever sent a request, as they gave it; undefined without a password. */
export function personOf(access: Access, request: FastifyRequest): string | undefined {
  return access.auth?.identify(request.headers, request.ip)?.name || undefined;
}

/** Guards every route, and adds /login and /logout where there is a password. */
export function installAccess(app: FastifyInstance, access: Access): void {
  const { auth, rules } = access;
  app.addHook("onRequest", async (request, reply) => {
    const changes = request.method !== "GET" && request.method !== "HEAD";
    checkOrigin(request.headers, changes, rules);
    const path = request.url.replace(/\?.*$/s, "");
    if (!auth || isOpen(path, access, request)) return;
    if (auth.identify(request.headers, request.ip)) return;
    if (request.method === "GET" && (path === "/" || request.headers["sec-fetch-mode"] === "navigate")) {
      return reply.redirect("/login");
    }
    // A browser that asks by script would show a password box of its own at this header; scripts want it.
    if (request.headers["sec-fetch-mode"] === undefined) reply.header("www-authenticate", 'Basic realm="Weir"');
    throw unauthorized();
  });
  if (auth) installLogin(app, auth);
}

function installLogin(app: FastifyInstance, auth: Auth): void {
  app.addContentTypeParser("application/x-www-form-urlencoded", { parseAs: "string" }, (_request, body, done) => {
    done(null, Object.fromEntries(new URLSearchParams(String(body))));
  });
  app.get("/login", { schema: { hide: true } }, (_request, reply) => reply.type("text/html").send(loginPage("")));
  app.post<{ Body: { readonly name?: string; readonly password?: string } | null }>(
    "/login",
    { schema: { hide: true, body: LOGIN_BODY } },
    (request, reply) => {
      const name = (request.body?.name ?? "").trim().slice(0, PERSON_LENGTH_MAX);
      let cookie: string | undefined;
      try {
        cookie = auth.login(name, request.body?.password ?? "", request.ip);
      } catch (error) {
        if (!(error instanceof HttpError)) throw error;
        return reply.code(error.status).header("retry-after", "60").type("text/html").send(loginPage(error.message));
      }
      if (cookie === undefined) return reply.code(401).type("text/html").send(loginPage("That is not the password."));
      return reply.header("set-cookie", sessionCookie(cookie, SESSION_MS / 1000, request)).redirect("/", 303);
    },
  );
  app.post("/logout", { schema: { hide: true } }, (request, reply) =>
    reply.header("set-cookie", sessionCookie("", 0, request)).redirect("/login", 303),
  );
}

function sessionCookie(value: string, maxAgeSeconds: number, request: FastifyRequest): string {
  const secure = request.protocol === "https" || request.headers["x-forwarded-proto"] === "https" ? "; Secure" : "";
  return `${SESSION_COOKIE}=${value}; Path=/; HttpOnly; SameSite=Strict; Max-Age=${maxAgeSeconds}${secure}`;
}

function isOpen(path: string, access: Access, request: FastifyRequest): boolean {
  if (OPEN_PATHS.has(path) || path.startsWith(OPEN_PREFIX)) return true;
  // A scraper on this machine needs no password; one that comes through a proxy on it does.
  const direct = request.headers["x-forwarded-for"] === undefined && request.headers.forwarded === undefined;
  return path === "/metrics" && access.onLoopback && direct && isLoopbackHost(hostName(request.headers.host));
}

function unauthorized(): HttpError {
  return new HttpError(
    401,
    "LOGIN_REQUIRED",
    "Log in at /login, or send the password by HTTP Basic with any user name.",
  );
}
