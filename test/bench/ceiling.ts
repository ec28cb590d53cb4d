import { startChild } from "./children.ts";
import { PLAN_DEFAULTS, startPublisher, windowFor } from "./publish.ts";
import type { PublishPlan } from "./publish.ts";
import type { PublishResult } from "./publisher/job.ts";

/** Publishes to a server that decodes nothing: the most that the publisher can do on this machine. */
export async function publisherCeiling(plan: Partial<PublishPlan>): Promise<PublishResult> {
  const sink = startChild<{ type: "listening"; port: number }>("sink");
  try {
    const { port } = await sink.next("listening");
    const connections = plan.connections ?? PLAN_DEFAULTS.connections;
    const publisher = await startPublisher({ ...PLAN_DEFAULTS, window: windowFor(connections), ...plan, port });
    return await publisher.run();
  } finally {
    await sink.kill();
  }
}
