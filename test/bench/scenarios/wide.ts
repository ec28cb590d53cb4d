import { PLAN_DEFAULTS } from "../publish.ts";
import type { PublishPlan } from "../publish.ts";

/** Series of the scenarios about a large plant. */
export const WIDE_SERIES = 100_000;

/** A large plant: 100,000 series on 50 connections, one reading a message, QoS 1, at a rate. */
export function widePlan(port: number, rate: number, seconds: number, series: number = WIDE_SERIES): PublishPlan {
  return { ...PLAN_DEFAULTS, port, series, connections: 50, qos: 1, window: 4_000, rate, seconds };
}
