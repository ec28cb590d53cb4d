import mqtt from "mqtt";

/** One reading as it arrived. */
export interface Arrival {
  readonly topic: string;
  readonly device: string;
  readonly metric: string;
  readonly tsMs: number;
  readonly value: number;
}

/** A client that keeps everything published under sensors/. */
export interface Subscriber {
  /** Messages as they came: topic and payload. */
  readonly messages: ReadonlyArray<{ readonly topic: string; readonly payload: string }>;
  /** The readings in them, for the default topic and payload. */
  readings(): Arrival[];
  close(): Promise<void>;
}

/** Lines for mosquitto.conf with which it drops no message for want of room. */
export const keepEverything: readonly string[] = ["max_queued_messages 0", "max_inflight_messages 0"];

/** Subscribes with QoS 1 and a session that outlives a lost connection. */
export async function subscribeAll(url: string): Promise<Subscriber> {
  const messages: Array<{ topic: string; payload: string }> = [];
  const client = await mqtt.connectAsync(url, { clientId: "collector", clean: false, reconnectPeriod: 100 });
  client.on("message", (topic, payload) => void messages.push({ topic, payload: payload.toString() }));
  client.on("error", () => {});
  await client.subscribeAsync("sensors/#", { qos: 1 });
  return {
    messages,
    readings: () =>
      messages.flatMap(({ topic, payload }) => {
        const parsed = JSON.parse(payload) as Row | Row[];
        const [, , device = "", metric = ""] = topic.split("/");
        return (Array.isArray(parsed) ? parsed : [parsed]).map(({ ts, value }) => ({
          topic,
          device,
          metric,
          tsMs: ts,
          value,
        }));
      }),
    close: () => client.endAsync(true),
  };
}

interface Row {
  readonly ts: number;
  readonly value: number;
}
