import type { FastifyInstance } from "fastify";
import type { Queries } from "../../queries.ts";
import { notFound } from "../errors.ts";
import { TIME_MS_MAX } from "../params.ts";
import { ref, refs, responses } from "../schemas.ts";

/** Days of history a version is trained from: when nobody says, and at most. */
export const TRAIN_DAYS_DEFAULT = 14;
export const TRAIN_DAYS_MAX = 366;

/** Characters in the note of a version, at most. */
const NOTE_LENGTH_MAX = 500;

interface VersionParams {
  readonly version: number;
}

const tags = ["thresholds"];
const params = { type: "object", properties: { version: { type: "integer", minimum: 0 } } };

/** Threshold versions: listed, shown, trained and published. */
export function installThresholds(app: FastifyInstance, queries: Queries): void {
  app.get(
    "/api/thresholds",
    { schema: { summary: "Threshold versions", tags, response: responses(refs("ThresholdListing")) } },
    () => queries.thresholds(),
  );

  app.get<{ Params: VersionParams }>(
    "/api/thresholds/:version",
    {
      schema: {
        summary: "One threshold version",
        tags,
        params,
        response: responses(ref("ThresholdVersion"), 400, 404),
      },
    },
    ({ params: { version } }) => {
      const found = queries.threshold(version);
      if (!found) throw notFound(`There is no threshold version ${version}.`);
      return found;
    },
  );

  app.post<{ Body: { readonly days?: number; readonly note?: string } | null }>(
    "/api/thresholds/train",
    {
      schema: {
        summary: "Train a version from history and keep it as a draft",
        tags,
        body: {
          type: ["object", "null"],
          additionalProperties: false,
          properties: {
            days: { type: "integer", minimum: 1, maximum: TRAIN_DAYS_MAX, default: TRAIN_DAYS_DEFAULT },
            note: { type: "string", maxLength: NOTE_LENGTH_MAX },
          },
        },
        response: responses(ref("ThresholdListing"), 400, 409, 503),
      },
    },
    ({ body }) => {
      const days = body?.days ?? TRAIN_DAYS_DEFAULT;
      return queries.train({ days, note: body?.note ?? `trained from ${days} days` });
    },
  );

  app.post<{ Params: VersionParams; Body: { readonly effectiveFromMs?: number | null } | null }>(
    "/api/thresholds/:version/publish",
    {
      schema: {
        summary: "Broadcast a version to the agents",
        tags,
        params,
        body: {
          type: ["object", "null"],
          additionalProperties: false,
          properties: {
            effectiveFromMs: {
              type: ["integer", "null"],
              minimum: 0,
              maximum: TIME_MS_MAX,
              description: "event time from which it judges, ms; null: a little ahead of now",
            },
          },
        },
        response: responses(ref("ThresholdListing"), 400, 404, 409),
      },
    },
    ({ params: { version }, body }) => queries.publish(version, { effectiveFromMs: body?.effectiveFromMs ?? null }),
  );
}
