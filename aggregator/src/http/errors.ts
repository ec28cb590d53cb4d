import { CodedError, errorMessage } from "@weir/shared/errors";
import type { FastifyError, FastifyReply, FastifyRequest } from "fastify";

/** An answer that is not the one asked for: its HTTP status, its stable code and what to tell the caller. */
export class HttpError extends CodedError {
  readonly status: number;

  constructor(status: number, code: string, message: string) {
    super(code, message);
    this.name = "HttpError";
    this.status = status;
  }
}

/** 400: a parameter is not what it must be; the message names it. */
export function badParameter(name: string, problem: string): HttpError {
  return new HttpError(400, "BAD_PARAMETER", `${name}: ${problem}`);
}

/** 404: says what is not there. */
export function notFound(message: string): HttpError {
  return new HttpError(404, "NOT_FOUND", message);
}

/** 410: says what is no longer there. */
export function gone(message: string): HttpError {
  return new HttpError(410, "GONE", message);
}

/** The body of every error. */
export interface ErrorBody {
  readonly error: { readonly code: string; readonly message: string };
}

/** Codes of Queries that don't tell their status by how they begin. */
const STATUS_OF_CODE: ReadonlyMap<string, number> = new Map([
  ["NO_HISTORY", 409],
  ["BATCH_BUSY", 503],
  ["BATCH_ENDED", 503],
  ["BATCH_TOO_LONG", 503],
  ["BATCH_CLOSED", 503],
]);

/** What is busy or ending now may be asked again after this long, s. */
const RETRY_AFTER_S = 10;

/** The HTTP status of a CodedError from Queries; undefined: not the caller's doing. */
export function statusOfCode(code: string): number | undefined {
  const known = STATUS_OF_CODE.get(code);
  if (known !== undefined) return known;
  if (code.startsWith("BAD_")) return 400;
  if (code.startsWith("UNKNOWN_")) return 404;
  if (code.startsWith("ALREADY_") || code.startsWith("CONFLICT")) return 409;
  return undefined;
}

/**
 * Fastify's error handler. What the caller can mend is told to the caller; anything else is logged with its stack and
 * told as a 500 that gives nothing of the inside away.
 */
export function createErrorHandler(
  log: (line: string) => void,
): (error: FastifyError, request: FastifyRequest, reply: FastifyReply) => void {
  return (error, request, reply) => {
    const { status, body } = describeError(error);
    if (status >= 500) log(`${request.method} ${request.url} failed: ${stackOf(error)}`);
    if (status === 503) reply.header("retry-after", RETRY_AFTER_S);
    void reply.code(status).type("application/json").send(body);
  };
}

function describeError(error: FastifyError): { readonly status: number; readonly body: ErrorBody } {
  if (error instanceof HttpError) return answer(error.status, error.code, error.message);
  if (error instanceof CodedError) {
    const status = statusOfCode(error.code);
    if (status !== undefined) return answer(status, error.code, error.message);
  } else if (error.validation) {
    return answer(400, "BAD_PARAMETER", validationMessage(error));
  } else if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500) {
    // Fastify's own: a body that is too large, of an unknown type, or not JSON.
    return answer(error.statusCode, "BAD_REQUEST", error.message);
  }
  return answer(500, "INTERNAL", "The aggregator failed to answer; its log says why.");
}

function answer(status: number, code: string, message: string): { status: number; body: ErrorBody } {
  return { status, body: { error: { code, message } } };
}

/** Ajv says where by a path; callers know parameters by their names. */
function validationMessage(error: FastifyError): string {
  const problems = (error.validation ?? []).map((problem) => {
    const params = problem.params as { readonly missingProperty?: string; readonly additionalProperty?: string };
    const where = error.validationContext === "body" ? "body" : "";
    const path = problem.instancePath.replaceAll("/", ".").replace(/^\./, "");
    if (params.missingProperty !== undefined) return `${params.missingProperty}: is missing`;
    if (params.additionalProperty !== undefined) return `${params.additionalProperty}: no such parameter here`;
    return `${path || where || "request"}: ${problem.message ?? "is not valid"}`;
  });
  return problems.join("; ");
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : errorMessage(error);
}
