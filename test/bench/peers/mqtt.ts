import { connectAsync } from "mqtt";
import { answerCounts, countReadings } from "./count.ts";

/** A bare mqtt client: subscribes, parses, counts. Its arguments are the broker's URL and the QoS. */
const [, , url = "", qos] = process.argv;
const client = await connectAsync(url, { clientId: "weir-bench-peer", protocolVersion: 5 });
client.on("message", (_topic, payload) => countReadings(payload));
await client.subscribeAsync("sensors/#", { qos: qos === "1" ? 1 : 0 });
answerCounts(0);
