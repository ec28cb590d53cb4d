import type { IConnectPacket, ISubscribePacket, IUnsubscribePacket } from "mqtt-packet";
import { connackRefusal, parseControl, REASON, VERSION_UNKNOWN } from "./mqtt-control.ts";
import { isLocalFilter } from "./topic-filter.ts";
import { decodeTopicName } from "./topic-name.ts";

/** Filters one connection may subscribe to. */
export const SUBSCRIPTIONS_MAX = 32;

/** Code of UNSUBACK where there was no such subscription. */
const NO_SUBSCRIPTION = 0x11;

/**
 * CONNECT as far as it can be judged without its password: the packet, the CONNACK that refuses it, or null where the
 * frame is malformed or another packet.
 */
export function readConnect(frame: Buffer): IConnectPacket | Buffer | null {
  const packet = parseControl(frame, 0);
  if (packet === VERSION_UNKNOWN) return connackRefusal(4, REASON.versionUnsupported);
  if (typeof packet === "string" || packet.cmd !== "connect") return null;
  const version = protocolLevel(packet);
  if (packet.properties?.authenticationMethod !== undefined) return connackRefusal(version, REASON.authMethodBad);
  if (packet.clientId === "" && version !== 5 && packet.clean === false) {
    return connackRefusal(version, REASON.clientIdInvalid);
  }
  return packet.will && !isTopic(packet.will.topic) ? null : packet;
}

/** Protocol level of a CONNECT: 3 or 4 for MQTT 3.1 and 3.1.1, 5. */
export function protocolLevel(packet: IConnectPacket): number {
  return packet.protocolVersion ?? 4;
}

/** Adds to a connection's filters those that it may have; returns the codes of SUBACK, for 5. */
export function subscribe(filters: Set<string>, packet: ISubscribePacket): number[] {
  return packet.subscriptions.map(({ topic }) => {
    if (topic.startsWith("$share/")) return REASON.sharedUnsupported;
    if (!isLocalFilter(topic)) return REASON.notAuthorized;
    if (!filters.has(topic) && filters.size >= SUBSCRIPTIONS_MAX) return REASON.quotaExceeded;
    filters.add(topic);
    return 0;
  });
}

/** Takes filters from a connection's; returns the codes of UNSUBACK, for 5. */
export function unsubscribe(filters: Set<string>, packet: IUnsubscribePacket): number[] {
  return packet.unsubscriptions.map((filter) => (filters.delete(filter) ? 0 : NO_SUBSCRIPTION));
}

/** True for the packet id that SUBSCRIBE and UNSUBSCRIBE must bring. */
export function isPacketId(messageId: number | undefined): messageId is number {
  return messageId !== undefined && messageId > 0;
}

function isTopic(topic: string): boolean {
  const bytes = Buffer.from(topic);
  return !topic.includes("\ufffd") && decodeTopicName(bytes, 0, bytes.length) !== null;
}
