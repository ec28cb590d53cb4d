/** Begins the line by which a test file tells its counts to run.ts; JSON of TestCounts follows. */
export const COUNTS_MARK = "#weir-tests ";

/** What one test file did. */
export interface TestCounts {
  passed: number;
  failed: number;
  skipped: number;
}
