import type { RejectReason } from "../sources/source.ts";
import type { TopicRoute } from "./topic-route.ts";

/**
 * A topic as sources hand it on: one object a topic, recognised by its bytes, as long as it is remembered, so that what
 * the decoder has worked out about it is found without looking anything up.
 */
export interface Topic {
  readonly name: string;
  /** Where its readings go, or why nowhere; null until the decoder has looked. One decoder's: not shared between two. */
  route: TopicRoute | RejectReason | null;
}

/** A topic that nothing is known of yet. */
export function newTopic(name: string): Topic {
  return { name, route: null };
}
