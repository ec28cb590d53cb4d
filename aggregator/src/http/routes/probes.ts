import type { FastifyInstance } from "fastify";
import type { Queries } from "../../queries.ts";
import { responses } from "../schemas.ts";

const status = { type: "object", required: ["status"], properties: { status: { type: "string" } } };

/** /healthz: the process answers; /readyz: it can do its work; /metrics: its counters. httpMetrics: those of http/. */
export function installProbes(app: FastifyInstance, queries: Queries, httpMetrics: () => string): void {
  app.get(
    "/healthz",
    { schema: { summary: "The process answers", tags: ["probes"], response: responses(status) } },
    () => ({
      status: "ok",
    }),
  );
  app.get(
    "/readyz",
    { schema: { summary: "The store answers", tags: ["probes"], response: { 200: status, 503: status } } },
    (_request, reply) => {
      const ready = queries.ready();
      return reply.code(ready ? 200 : 503).send({ status: ready ? "ready" : "not ready" });
    },
  );
  app.get(
    "/metrics",
    { schema: { summary: "Counters, Prometheus text format", tags: ["probes"], produces: ["text/plain"] } },
    (_request, reply) => {
      const metrics = queries.metrics();
      const separator = metrics === "" || metrics.endsWith("\n") ? "" : "\n";
      return reply.type("text/plain; version=0.0.4; charset=utf-8").send(metrics + separator + httpMetrics());
    },
  );
}
