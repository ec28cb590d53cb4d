import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { Aedes } from "aedes";
import { answerCounts, countReadings } from "./count.ts";

/** aedes with its defaults and a hook for every PUBLISH. */
const broker = await Aedes.createBroker();
broker.on("publish", (packet, client) => {
  // Without a client it is a message of the broker's own.
  if (client) countReadings(packet.payload);
});
const server = createServer((socket) => void broker.handle(socket));
server.listen({ port: 0, host: "127.0.0.1", backlog: 511 }, () => answerCounts((server.address() as AddressInfo).port));
