/**
 * PUBLISH, read where it lies.
 *
 *   body     = topic  [ packet id (2 bytes), QoS 1 and 2 ]  [ properties, MQTT 5 ]  payload
 *   topic    = length (2 bytes, big endian)  UTF-8
 *   properties = length (as the remaining length)  *( id (1 byte)  value )
 */
export interface PublishHead {
  qos: number;
  topicStart: number;
  topicEnd: number;
  /** 0 at QoS 0. */
  packetId: number;
  /** Topic alias (MQTT 5); -1: none. */
  alias: number;
  /** Brings a subscription identifier (MQTT 5), which only a server may send. */
  isServers: boolean;
  payloadStart: number;
}

/** Room in a PUBLISH beside its payload: header, the longest topic, and as much again for properties. */
export const PUBLISH_OVERHEAD_BYTES: number = 128 * 1024;

/** A head to read into; one serves all messages. */
export function emptyPublishHead(): PublishHead {
  return { qos: 0, topicStart: 0, topicEnd: 0, packetId: 0, alias: -1, isServers: false, payloadStart: 0 };
}

const PROPERTY_TOPIC_ALIAS = 0x23;
const PROPERTY_SUBSCRIPTION_ID = 0x0b;

/**
 * Reads the head of the PUBLISH bytes[start, end) into `head`; false where it is malformed. whole: false where the
 * frame goes on beyond `end`; then properties that do too are passed over.
 */
export function readPublishHead(
  bytes: Buffer,
  start: number,
  bodyStart: number,
  end: number,
  version5: boolean,
  whole: boolean,
  head: PublishHead,
): boolean {
  const qos = (bytes[start]! >> 1) & 3;
  if (qos === 3 || bodyStart + 2 > end) return false;
  const topicStart = bodyStart + 2;
  const topicEnd = topicStart + ((bytes[bodyStart]! << 8) | bytes[bodyStart + 1]!);
  let at = topicEnd;
  if (at + (qos > 0 ? 2 : 0) > end) return false;
  head.qos = qos;
  head.topicStart = topicStart;
  head.topicEnd = topicEnd;
  head.packetId = 0;
  head.alias = -1;
  head.isServers = false;
  if (qos > 0) {
    head.packetId = (bytes[at]! << 8) | bytes[at + 1]!;
    if (head.packetId === 0) return false;
    at += 2;
  }
  head.payloadStart = at;
  return version5 ? readProperties(bytes, at, end, whole, head) : true;
}

function readProperties(bytes: Buffer, from: number, end: number, whole: boolean, head: PublishHead): boolean {
  // Bytes read here are undefined beyond the end of the buffer only when at ≥ end, which is checked first.
  let at = from;
  const length = readVarint(bytes, at, end);
  if (length < 0) return false;
  at += varintBytes(length);
  const stop = at + length;
  if (stop > end) {
    if (whole) return false;
    head.payloadStart = end;
    return true;
  }
  head.payloadStart = stop;
  while (at < stop) {
    const id = bytes[at++]!;
    if (id === PROPERTY_TOPIC_ALIAS) {
      if (at + 2 > stop || head.alias >= 0) return false;
      head.alias = (bytes[at]! << 8) | bytes[at + 1]!;
      at += 2;
      continue;
    }
    if (id === PROPERTY_SUBSCRIPTION_ID) head.isServers = true;
    const size = propertyBytes(bytes, id, at, stop);
    if (size < 0) return false;
    at += size;
  }
  return at === stop;
}

/** Bytes of the value of a property that a PUBLISH may have; -1 for any other, or one that is cut. */
function propertyBytes(bytes: Buffer, id: number, at: number, stop: number): number {
  let size: number;
  switch (id) {
    case 0x01: // payload format indicator
      size = 1;
      break;
    case 0x02: // message expiry interval
      size = 4;
      break;
    case 0x03: // content type
    case 0x08: // response topic
    case 0x09: // correlation data
      size = lengthPrefixed(bytes, at, stop);
      break;
    case PROPERTY_SUBSCRIPTION_ID: {
      const value = readVarint(bytes, at, stop);
      size = value < 0 ? -1 : varintBytes(value);
      break;
    }
    case 0x26: // user property: a pair
      size = lengthPrefixed(bytes, at, stop);
      if (size > 0) {
        const second = lengthPrefixed(bytes, at + size, stop);
        size = second < 0 ? -1 : size + second;
      }
      break;
    default:
      return -1;
  }
  return size >= 0 && at + size <= stop ? size : -1;
}

function lengthPrefixed(bytes: Buffer, at: number, stop: number): number {
  return at + 2 <= stop ? 2 + ((bytes[at]! << 8) | bytes[at + 1]!) : -1;
}

/** The variable byte integer at `at`; -1 where there is none before `end`. */
function readVarint(bytes: Buffer, at: number, end: number): number {
  let value = 0;
  let scale = 1;
  for (let i = at; i < end && i < at + 4; i++, scale *= 128) {
    const byte = bytes[i]!;
    value += (byte & 0x7f) * scale;
    // Overlong forms are malformed (MQTT 5, 1.5.5), and varintBytes relies on there being none.
    if (byte < 0x80) return byte === 0 && i > at ? -1 : value;
  }
  return -1;
}

function varintBytes(value: number): number {
  if (value < 128) return 1;
  if (value < 16_384) return 2;
  return value < 2_097_152 ? 3 : 4;
}
