import type { FastifyInstance } from "fastify";
import type { Queries } from "../../queries.ts";
import { notFound } from "../errors.ts";
import type { RangeQuery } from "../params.ts";
import { parseRange, SERIES_POINTS_DEFAULT_MAX, SERIES_POINTS_MAX } from "../params.ts";
import { ref, refs, responses } from "../schemas.ts";

interface DeviceParams {
  readonly site: string;
  readonly device: string;
}

const tags = ["fleet"];
const name = { type: "string", minLength: 1 };
const deviceParams = { type: "object", properties: { site: name, device: name } };

/** Agents, devices, and the readings of one series. */
export function installFleet(app: FastifyInstance, queries: Queries): void {
  app.get("/api/agents", { schema: { summary: "Agents", tags, response: responses(refs("Agent")) } }, () =>
    queries.agents(),
  );

  app.get("/api/devices", { schema: { summary: "Devices", tags, response: responses(refs("Device")) } }, () =>
    queries.devices(),
  );

  app.get<{ Params: DeviceParams }>(
    "/api/devices/:site/:device",
    { schema: { summary: "One device", tags, params: deviceParams, response: responses(ref("DeviceDetail"), 404) } },
    ({ params }) => knownDevice(queries, params),
  );

  app.get<{ Params: DeviceParams & { readonly metric: string }; Querystring: RangeQuery }>(
    "/api/series/:site/:device/:metric",
    {
      schema: {
        summary: "Readings of a series in steps",
        tags,
        params: { type: "object", properties: { ...deviceParams.properties, metric: name } },
        querystring: {
          type: "object",
          additionalProperties: false,
          properties: {
            from: { type: "string", description: "ISO 8601 or epoch ms; default: a day before to" },
            to: {
              type: "string",
              description: "ISO 8601 or epoch ms, exclusive; default: just after the newest reading",
            },
            step: {
              type: "string",
              description:
                `such as 10s, 5m, 1h, or ms; default: at most ${SERIES_POINTS_DEFAULT_MAX} points; ` +
                `at most ${SERIES_POINTS_MAX} points are answered`,
            },
          },
        },
        response: responses(ref("SeriesColumns"), 400, 404),
      },
    },
    ({ params, query }) => {
      const { site, device, metric } = params;
      const series = knownDevice(queries, params).series.find((entry) => entry.metric === metric);
      if (!series) throw notFound(`Device ${site}/${device} has no metric "${metric}".`);
      const columns = queries.series(site, device, metric, parseRange(query, series.lastTsMs));
      if (!columns) throw notFound(`There is no series ${site}/${device}/${metric}.`);
      return columns;
    },
  );
}

function knownDevice(queries: Queries, { site, device }: DeviceParams): NonNullable<ReturnType<Queries["device"]>> {
  const found = queries.device(site, device);
  if (!found) throw notFound(`No agent has ever named a device ${site}/${device}.`);
  return found;
}
