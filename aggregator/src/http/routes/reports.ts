import type { FastifyInstance } from "fastify";
import type { Queries, ReportFormat } from "../../queries.ts";
import { gone, notFound } from "../errors.ts";
import { parseDay } from "../params.ts";
import { REPORT_CSP } from "../report-html.ts";
import { ref, refs, responses } from "../schemas.ts";

interface ReportRoute {
  Params: { readonly day: string };
  Querystring: { readonly recompute?: "0" | "1" };
}

/** The highest revision that can be asked for. */
const REVISION_MAX = 2 ** 31 - 1;

const tags = ["reports"];
const dayParams = { type: "object", properties: { day: { type: "string", description: "YYYY-MM-DD, plant time" } } };

/** Daily reports: listed, and each as canonical JSON, CSV and a page. */
export function installReports(app: FastifyInstance, queries: Queries): void {
  app.get(
    "/api/reports/daily",
    { schema: { summary: "Days that have readings, newest first", tags, response: responses(refs("ReportListing")) } },
    () => queries.reportDays(),
  );

  const install = (format: ReportFormat, media: string, headersOf: (day: string) => Record<string, string>): void => {
    const isJson = format === "json";
    app.get<ReportRoute>(
      `/api/reports/daily/:day${isJson ? "" : `.${format}`}`,
      {
        schema: {
          summary: `Health of every device on a day, as ${isJson ? "canonical JSON" : format.toUpperCase()}`,
          tags,
          produces: [media],
          params: dayParams,
          querystring: {
            type: "object",
            additionalProperties: false,
            properties: {
              recompute: { type: "string", enum: ["0", "1"], description: "1: by the batch path, now" },
            },
          },
          response: responses(isJson ? ref("DailyReport") : { type: "string" }, 400, 404, 503),
        },
      },
      async ({ params, query }, reply) => {
        const day = parseDay("day", params.day);
        const found = await queries.report(day, { recompute: query.recompute === "1", format });
        if (!found) throw notFound(`No device has readings on ${day}.`);
        // RFC 8288, RFC 5829.
        reply.header("link", `</api/reports/daily/${day}/revisions>; rel="version-history"`);
        return reply.type(media).headers(headersOf(day)).send(bufferOf(found));
      },
    );
  };

  // The bytes as they are: serialized again they would only be promised to be the same.
  install("json", "application/json", () => ({}));
  install("csv", "text/csv", (day) => ({
    "content-disposition": `attachment; filename="weir-health-${day}.csv"`,
    "content-type": "text/csv; charset=utf-8; header=present",
  }));
  install("html", "text/html", () => ({
    "content-security-policy": REPORT_CSP,
    "content-type": "text/html; charset=utf-8",
  }));

  app.get<{ Params: ReportRoute["Params"] & { readonly revision: number } }>(
    "/api/reports/daily/:day/revisions/:revision",
    {
      schema: {
        summary: "A day's report as a revision of it was issued, canonical JSON",
        tags,
        params: {
          type: "object",
          properties: { ...dayParams.properties, revision: { type: "integer", minimum: 1, maximum: REVISION_MAX } },
        },
        response: responses(ref("DailyReport"), 400, 404, 410),
      },
    },
    ({ params: { day: text, revision } }, reply) => {
      const day = parseDay("day", text);
      const found = queries.revision(day, revision);
      if (!found) throw notFound(`No revision ${revision} of the report of ${day} was issued.`);
      if (found.length === 0) {
        throw gone(`Revision ${revision} of the report of ${day} is no longer kept; see reports.revisions_max.`);
      }
      return reply.type("application/json").send(bufferOf(found));
    },
  );

  app.get<{ Params: ReportRoute["Params"] }>(
    "/api/reports/daily/:day/revisions",
    {
      schema: {
        summary: "What each revision of a day's report changed, newest first",
        tags,
        params: dayParams,
        response: responses(ref("ReportRevisions"), 400, 404),
      },
    },
    ({ params }) => {
      const day = parseDay("day", params.day);
      const found = queries.revisions(day);
      if (!found) throw notFound(`No device has readings on ${day}.`);
      return found;
    },
  );
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
