import { readFile } from "node:fs/promises";
import type { Server } from "node:http";
import fastifySwagger from "@fastify/swagger";
import fastifySwaggerUi from "@fastify/swagger-ui";
import { CodedError, errorMessage } from "@weir/shared/errors";
import type { FastifyInstance } from "fastify";
import fastify from "fastify";
import type { Queries } from "../queries.ts";
import type { Access } from "./access.ts";
import { admitUpgrade, installAccess } from "./access.ts";
import { createAuth } from "./auth.ts";
import { createErrorHandler, notFound } from "./errors.ts";
import type { LiveHub } from "./live.ts";
import { createLiveHub, LIVE_BUFFER_BYTES_MAX } from "./live.ts";
import { isLoopbackHost } from "./origin.ts";
import { FAVICON_FILE, installPages } from "./pages.ts";
import { installAlerts } from "./routes/alerts.ts";
import { installFleet } from "./routes/fleet.ts";
import { installProbes } from "./routes/probes.ts";
import { installReports } from "./routes/reports.ts";
import { installThresholds } from "./routes/thresholds.ts";
import { NAMED_SCHEMAS } from "./schemas.ts";
import type { UpgradeHandler } from "./upgrades.ts";
import { routeUpgrades } from "./upgrades.ts";

/** Bytes of a request's body, at most: everything that is posted here is small. */
const BODY_BYTES_MAX: number = 64 * 1024;

/** How long a client may take to send a request, ms. */
const REQUEST_TIMEOUT_MS = 30_000;

/** Characters of one part of a path, at most: an alert's id holds three names, each up to 9 characters a letter. */
const PATH_PART_LENGTH_MAX = 4096;

const PING_INTERVAL_MS_DEFAULT = 15_000;

/** No page of ours loads, frames or sends anything to anywhere else. */
const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; " +
  "form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  "content-security-policy": CSP,
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  // Not no-referrer: with it browsers send "Origin: null" from our own login form.
  "referrer-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
};

export interface HttpServerOptions {
  /** Address to listen on, such as 127.0.0.1; anything but loopback needs a password. */
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** Empty or absent: none, everybody on this machine may do everything. */
  readonly password?: string;
  /** Names beside loopback under which the server is asked, such as behind a proxy, without ports. */
  readonly allowedHosts?: readonly string[];
  /** Where errors that are ours are told, a line each; standard error by default. */
  readonly log?: (line: string) => void;
  readonly nowMs?: () => number;
  /** See live.ts. */
  readonly pingIntervalMs?: number;
  readonly liveBufferBytesMax?: number;
  /** Folder of the dashboard's built scripts. */
  readonly scriptsRoot?: string;
}

export interface HttpServer {
  /** Where it can be reached, such as http://127.0.0.1:8080. */
  readonly address: string;
  readonly server: Server;
  /**
   * Hands WebSocket upgrades of a path to handler, once requests from pages of other origins are refused. Who is there
   * is the handler's to check; an HttpError it throws becomes the answer.
   */
  onUpgrade(path: string, handler: UpgradeHandler): void;
  /** Ends watchers and connections, then resolves. */
  close(): Promise<void>;
}

/**
 * Serves the API, /live and the dashboard; resolves when it listens.
 *
 * Throws CodedError PASSWORD_REQUIRED for a host beyond loopback without a password, and LISTEN_FAILED where the address
 * cannot be had.
 */
export async function createHttpServer(queries: Queries, options: HttpServerOptions): Promise<HttpServer> {
  const { host, port, password = "", log = logToStderr, nowMs = Date.now } = options;
  const onLoopback = isLoopbackHost(host);
  if (!onLoopback && password === "") {
    throw new CodedError(
      "PASSWORD_REQUIRED",
      `Refusing to listen on ${host} without a password: anybody who reaches it could read and change everything. ` +
        "Set http.password, or listen on 127.0.0.1.",
    );
  }
  const allowedHosts = new Set((options.allowedHosts ?? []).map((name) => name.toLowerCase()));
  const auth = password === "" ? undefined : createAuth(password, nowMs);
  const access: Access = { auth, onLoopback, rules: { password: auth !== undefined, allowedHosts } };
  const hub = createLiveHub(queries, {
    pingIntervalMs: options.pingIntervalMs ?? PING_INTERVAL_MS_DEFAULT,
    bufferBytesMax: options.liveBufferBytesMax ?? LIVE_BUFFER_BYTES_MAX,
    nowMs,
  });
  const app = createApp(log);
  try {
    await installRoutes(app, queries, access, hub, options);
    const addUpgrade = routeUpgrades(app.server, log);
    addUpgrade("/live", (request, socket, head) => {
      hub.upgrade(request, socket, head, admitUpgrade(access, request, true));
    });
    await listen(app, host, port);
    return {
      address: addressOf(app, host),
      server: app.server,
      onUpgrade: (path, handler) =>
        addUpgrade(path, (request, socket, head) => {
          admitUpgrade(access, request, false);
          handler(request, socket, head);
        }),
      async close() {
        hub.close();
        await app.close();
      },
    };
  } catch (error) {
    hub.close();
    await app.close();
    throw error;
  }
}

function createApp(log: (line: string) => void): FastifyInstance {
  const app = fastify({
    logger: false,
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: REQUEST_TIMEOUT_MS,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: PATH_PART_LENGTH_MAX },
    // A parameter that is not known is a mistake to tell, not one to drop.
    ajv: { customOptions: { removeAdditional: false, coerceTypes: true, allErrors: false, allowUnionTypes: true } },
  });
  // Answers are what Queries gives; a serializer made of the schema would drop what the schema has not been told of.
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));
  app.setErrorHandler(createErrorHandler(log));
  app.setNotFoundHandler((request) => {
    throw notFound(`There is nothing at ${request.method} ${request.url.replace(/\?.*$/s, "")}.`);
  });
  app.addHook("onRequest", async (request, reply) => {
    reply.headers(SECURITY_HEADERS);
    if (!request.url.startsWith("/assets/")) reply.header("cache-control", "no-store");
  });
  return app;
}

async function installRoutes(
  app: FastifyInstance,
  queries: Queries,
  access: Access,
  hub: LiveHub,
  { scriptsRoot }: HttpServerOptions,
): Promise<void> {
  for (const schema of NAMED_SCHEMAS) app.addSchema(schema);
  installAccess(app, access);
  await app.register(fastifySwagger, {
    openapi: {
      info: {
        title: "Weir aggregator",
        version: "1",
        description: "Alerts, devices, series, daily health reports and thresholds. Live changes: WebSocket /live.",
      },
      components: { securitySchemes: { password: { type: "http", scheme: "basic" } } },
      ...(access.auth ? { security: [{ password: [] }] } : {}),
    },
    refResolver: {
      buildLocalReference: (json, _base, _fragment, index) =>
        typeof json.$id === "string" ? json.$id : `schema${index}`,
    },
  });
  await app.register(fastifySwaggerUi, {
    routePrefix: "/api/docs",
    uiConfig: { validatorUrl: null },
    theme: { title: "Weir API" },
    logo: { type: "image/svg+xml", content: await readFile(FAVICON_FILE), href: "/", target: "_self" },
    // Swagger UI styles its elements inline; it shows only what we wrote.
    staticCSP: CSP.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'"),
  });
  installProbes(app, queries, () => httpMetrics(hub, access));
  installFleet(app, queries);
  installAlerts(app, queries, access);
  installReports(app, queries);
  installThresholds(app, queries);
  await installPages(app, scriptsRoot);
}

async function listen(app: FastifyInstance, host: string, port: number): Promise<void> {
  try {
    await app.listen({ host, port });
  } catch (error) {
    throw new CodedError(
      "LISTEN_FAILED",
      `Cannot listen on ${host} port ${port}: ${errorMessage(error)}. Stop what holds the port, or set http.port.`,
      { cause: error },
    );
  }
}

function addressOf(app: FastifyInstance, host: string): string {
  const address = app.server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

function httpMetrics(hub: LiveHub, { auth }: Access): string {
  const { watchers, slowClosed, refused } = hub.status();
  return [
    metric("weir_live_watchers", "gauge", "Dashboards connected to /live.", watchers),
    metric("weir_live_slow_closed_total", "counter", "Watchers of /live closed for reading too slowly.", slowClosed),
    metric("weir_live_refused_total", "counter", "Watchers of /live refused because there were too many.", refused),
    metric("weir_login_failures_total", "counter", "Wrong passwords.", auth?.failures ?? 0),
  ].join("");
}

function metric(name: string, type: "gauge" | "counter", help: string, value: number): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${name} ${value}\n`;
}

function logToStderr(line: string): void {
  process.stderr.write(`${line}\n`);
}
