/**
 * An error that a caller can tell apart by its code.
 *
 * code: stable, UPPER_SNAKE_CASE, part of the contract; message: for a person, naming what, which, how much (with
 * units) and what happened or what to do; cause: the error underneath, where there is one.
 */
export class CodedError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "CodedError";
    this.code = code;
  }
}

/** Throws an ASSERTION CodedError when condition is false: for bugs of ours, never for what the world sends. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new CodedError("ASSERTION", message);
}

/** The message of anything thrown, for a log line or a person. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
