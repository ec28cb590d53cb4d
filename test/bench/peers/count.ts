let readings = 0;

/** Parses a payload as a user's own handler would, and counts its readings. */
export function countReadings(payload: Buffer | string): void {
  const message: unknown = JSON.parse(payload.toString());
  readings += Array.isArray(message) ? message.length : 1;
}

/** Tells the bench that this process takes readings, and from then on their count when asked. */
export function answerCounts(port: number): void {
  process.on("message", () => process.send?.({ type: "count", readings }));
  process.on("disconnect", () => process.exit(0));
  process.send?.({ type: "started", port });
}
