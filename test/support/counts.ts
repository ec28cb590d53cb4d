/** Begins the line by which a test file tells its counts to run.ts; JSON of TestCounts follows. */
export const COUNTS_MARK = "#weir-tests ";

/** What one test file did. */
export interface TestCounts {
  passed: number;
  failed: number;
  skipped: number;
}

/**
 * Names the file descriptor on which a test file tells run.ts, line by line in JSON, what it is at: where the file has
 * to be killed, that is all there is to know about it.
 */
export const PROGRESS_FD_VARIABLE = "WEIR_TEST_PROGRESS_FD";

/** One such line: the test that begins, or one that failed, with the reason. */
export interface TestProgress {
  test: string;
  failure?: string;
}
