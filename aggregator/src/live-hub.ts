import type { LiveEvent } from "./queries.ts";

/** Hands events to whoever listens now. Nothing is kept: watchers fetch what they missed from the API. */
export interface LiveHub {
  publish(event: LiveEvent): void;
  subscribe(listener: (event: LiveEvent) => void): () => void;
}

/** A hub nobody listens to yet. */
export function createLiveHub(): LiveHub {
  const listeners = new Set<(event: LiveEvent) => void>();
  return {
    publish(event) {
      for (const listener of listeners) listener(event);
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
