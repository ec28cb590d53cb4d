import type { FastifyInstance } from "fastify";
import type { Queries } from "../../queries.ts";
import type { Access } from "../access.ts";
import { personOf } from "../access.ts";
import { PERSON_LENGTH_MAX } from "../auth.ts";
import { badParameter, notFound } from "../errors.ts";
import { parseTime } from "../params.ts";
import { ref, refs, responses } from "../schemas.ts";

/** Alerts in one answer: when nobody names a limit, and at most. */
export const ALERTS_LIMIT_DEFAULT = 200;
export const ALERTS_LIMIT_MAX = 1000;

/** Who acknowledged, where nobody says a name. */
const SOMEBODY = "operator";

interface AlertsQuery {
  readonly state?: string;
  readonly site?: string;
  readonly device?: string;
  readonly inhibited?: boolean;
  readonly since?: string;
  readonly limit: number;
}

const tags = ["alerts"];

/** Alerts, newest first, and their acknowledgement. */
export function installAlerts(app: FastifyInstance, queries: Queries, access: Access): void {
  app.get<{ Querystring: AlertsQuery }>(
    "/api/alerts",
    {
      schema: {
        summary: "Alerts, newest first",
        tags,
        querystring: {
          type: "object",
          additionalProperties: false,
          properties: {
            state: { type: "string", enum: ["firing", "resolved", "withdrawn"] },
            site: { type: "string", minLength: 1 },
            device: { type: "string", minLength: 1 },
            inhibited: {
              type: "boolean",
              description: "true: only those held back while their agent is away; false: only others; default: all",
            },
            since: { type: "string", description: "began or changed at or after; ISO 8601 or epoch ms" },
            limit: { type: "integer", minimum: 1, maximum: ALERTS_LIMIT_MAX, default: ALERTS_LIMIT_DEFAULT },
          },
        },
        response: responses(refs("Alert"), 400),
      },
    },
    ({ query: { since, ...filter } }) => {
      const sinceMs = parseTime("since", since);
      return queries.alerts(sinceMs === undefined ? filter : { ...filter, sinceMs });
    },
  );

  app.post<{ Params: { readonly id: string }; Body: { readonly by?: string } | null }>(
    "/api/alerts/:id/ack",
    {
      schema: {
        summary: "Mark an alert as seen by somebody; a second time keeps the first",
        tags,
        params: {
          type: "object",
          properties: {
            id: { type: "string", minLength: 1, description: "the alert's id, URL-encoded (it holds slashes)" },
          },
        },
        body: {
          type: ["object", "null"],
          additionalProperties: false,
          properties: {
            by: { type: "string", maxLength: PERSON_LENGTH_MAX, description: "default: the login's name" },
          },
        },
        response: responses(ref("Alert"), 400, 404),
      },
    },
    (request) => {
      const { id } = request.params;
      const given = request.body?.by?.trim();
      if (given === "") throw badParameter("by", "is empty; leave it out or write a name.");
      const alert = queries.acknowledge(id, given ?? personOf(access, request) ?? SOMEBODY);
      if (!alert) throw notFound(`There is no alert ${id}.`);
      return alert;
    },
  );
}
