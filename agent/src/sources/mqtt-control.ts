import mqttPacket from "mqtt-packet";
import type { Packet } from "mqtt-packet";

/**
 * The control packets of MQTT, by mqtt-packet. PUBLISH and what answers it go by hand: they come by the hundred
 * thousand; these come once a connection.
 */

// Or it would keep 65,536 buffers of two bytes each, 10 MiB, for acknowledgements that are not its to write.
mqttPacket.writeToStream.cacheNumbers = false;

/** Reason codes of MQTT 5 that the agent gives (2.4), and the two return codes of 3.1.1 that have other numbers. */
export const REASON = {
  malformed: 0x81,
  protocolError: 0x82,
  versionUnsupported: 0x84,
  clientIdInvalid: 0x85,
  credentialsBad: 0x86,
  notAuthorized: 0x87,
  shuttingDown: 0x8b,
  authMethodBad: 0x8c,
  keepAliveTimeout: 0x8d,
  takenOver: 0x8e,
  filterInvalid: 0x8f,
  packetIdNotFound: 0x92,
  receiveMaximumExceeded: 0x93,
  topicAliasInvalid: 0x94,
  packetTooLarge: 0x95,
  quotaExceeded: 0x97,
  sharedUnsupported: 0x9e,
} as const;

/** Return codes of CONNACK in MQTT 3.1.1 for the reasons that one can be refused for. */
const RETURN_CODE_3: Readonly<Record<number, number>> = {
  [REASON.versionUnsupported]: 1,
  [REASON.clientIdInvalid]: 2,
  [REASON.credentialsBad]: 4,
  [REASON.notAuthorized]: 5,
};

/** Failure code of SUBACK in MQTT 3.1.1. */
const SUBACK_FAILURE_3 = 0x80;

/** What parseControl returns for CONNECT of a version that is none of ours. */
export const VERSION_UNKNOWN = "version unknown";

/**
 * One whole frame as a packet; a text that says what is wrong with it otherwise. version: 0 before CONNECT. Texts and
 * payloads in the packet may lie in the frame's memory.
 */
export function parseControl(frame: Buffer, version: number): Packet | string {
  let packet: Packet | null = null;
  let problem = "";
  const parser = mqttPacket.parser(version === 0 ? {} : { protocolVersion: version });
  parser.on("packet", (parsed) => (packet ??= parsed));
  parser.on("error", (error: Error) => (problem ||= error.message));
  try {
    parser.parse(frame);
  } catch (error) {
    // It reads beyond the end of some cut packets, which the buffer answers with a RangeError.
    return error instanceof Error ? error.message : String(error);
  }
  // Looked at first: after an error in the middle of a packet the parser hands the packet over all the same.
  if (problem !== "") return problem === "Invalid protocol version" ? VERSION_UNKNOWN : problem;
  return packet ?? "the packet is cut";
}

/** CONNACK that refuses. reason: one of REASON. */
export function connackRefusal(version: number, reason: number): Buffer {
  if (version === 5) return generate({ cmd: "connack", reasonCode: reason, sessionPresent: false }, 5);
  return generate({ cmd: "connack", returnCode: RETURN_CODE_3[reason] ?? 5, sessionPresent: false }, 4);
}

/** What a CONNACK of MQTT 5 tells the client about this endpoint. */
export interface ServerLimits {
  readonly receiveMaximum: number;
  readonly packetBytesMax: number;
  readonly topicAliasMax: number;
}

/** CONNACK that accepts. assignedClientId: null where the client brought its own. */
export function connackAcceptance(version: number, limits: ServerLimits, assignedClientId: string | null): Buffer {
  if (version !== 5) return generate({ cmd: "connack", returnCode: 0, sessionPresent: false }, 4);
  const properties = {
    // No session outlives its connection here: what it would keep is either on disk or still the client's.
    sessionExpiryInterval: 0,
    receiveMaximum: limits.receiveMaximum,
    maximumPacketSize: limits.packetBytesMax,
    topicAliasMaximum: limits.topicAliasMax,
    subscriptionIdentifiersAvailable: false,
    sharedSubscriptionAvailable: false,
    ...(assignedClientId === null ? {} : { assignedClientIdentifier: assignedClientId }),
  };
  return generate({ cmd: "connack", reasonCode: 0, sessionPresent: false, properties }, 5);
}

/** SUBACK. codes: 0 for what is granted (at QoS 0), else one of REASON. */
export function suback(version: number, messageId: number, codes: readonly number[]): Buffer {
  const granted = version === 5 ? [...codes] : codes.map((code) => (code === 0 ? 0 : SUBACK_FAILURE_3));
  return generate({ cmd: "suback", messageId, granted }, version);
}

/** UNSUBACK. codes: 0, or 0x11 where there was no such subscription. */
export function unsuback(version: number, messageId: number, codes: readonly number[]): Buffer {
  return generate({ cmd: "unsuback", messageId, granted: version === 5 ? [...codes] : [] }, version);
}

/** DISCONNECT of MQTT 5; 3.1.1 has none that a server may send. */
export function disconnect5(reason: number): Buffer {
  return generate({ cmd: "disconnect", reasonCode: reason }, 5);
}

/** PUBLISH at QoS 0. */
export function publishQos0(version: number, topic: string, payload: Buffer): Buffer {
  return generate({ cmd: "publish", topic, payload, qos: 0, dup: false, retain: false }, version);
}

function generate(packet: Packet, version: number): Buffer {
  return mqttPacket.generate(packet, { protocolVersion: version });
}
