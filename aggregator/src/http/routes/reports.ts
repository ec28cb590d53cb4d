import type { FastifyInstance, FastifyReply } from "fastify";
import type { Queries, ReportAnswer } from "../../queries.ts";
import { notFound } from "../errors.ts";
import { parseDay } from "../params.ts";
import { reportCsv } from "../report-csv.ts";
import { REPORT_CSP, reportPage } from "../report-html.ts";
import { ref, refs, responses } from "../schemas.ts";

interface ReportRoute {
  Params: { readonly day: string };
  Querystring: { readonly recompute?: "0" | "1" };
}

const tags = ["reports"];
const dayParams = { type: "object", properties: { day: { type: "string", description: "YYYY-MM-DD, plant time" } } };

/** Daily reports: listed, and each as canonical JSON, CSV and a page. */
export function installReports(app: FastifyInstance, queries: Queries): void {
  app.get(
    "/api/reports/daily",
    { schema: { summary: "Days that have readings, newest first", tags, response: responses(refs("ReportListing")) } },
    () => queries.reportDays(),
  );

  const install = (
    suffix: string,
    media: string,
    answer: (found: ReportAnswer, reply: FastifyReply) => FastifyReply,
  ): void => {
    const json = media === "application/json";
    app.get<ReportRoute>(
      `/api/reports/daily/:day${suffix}`,
      {
        schema: {
          summary: `Health of every device on a day, as ${suffix === "" ? "canonical JSON" : suffix.slice(1).toUpperCase()}`,
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
          response: json ? responses(ref("DailyReport"), 400, 404) : responses({ type: "string" }, 400, 404),
        },
      },
      ({ params, query }, reply) => {
        const day = parseDay("day", params.day);
        const found = queries.report(day, { recompute: query.recompute === "1" });
        if (!found) throw notFound(`No device has readings on ${day}.`);
        // RFC 8288, RFC 5829.
        reply.header("link", `</api/reports/daily/${day}/revisions>; rel="version-history"`);
        return answer(found, reply.type(media));
      },
    );
  };

  // The bytes as they are: serialized again they would only be promised to be the same.
  install("", "application/json", ({ bytes }, reply) => reply.send(bytes));
  install(".csv", "text/csv", ({ report }, reply) =>
    reply
      .header("content-disposition", `attachment; filename="weir-health-${report.day}.csv"`)
      .type("text/csv; charset=utf-8; header=present")
      .send(reportCsv(report)),
  );
  install(".html", "text/html", ({ report }, reply) =>
    reply
      .header("content-security-policy", REPORT_CSP)
      .type("text/html; charset=utf-8")
      .send(reportPage(report, queries.revisions(report.day)?.revisions ?? [])),
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
