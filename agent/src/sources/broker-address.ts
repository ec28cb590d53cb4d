import { connect, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { domainToASCII } from "node:url";
import { CodedError } from "@weir/shared/errors";
import type { TakeBytes } from "./lent-reads.ts";
import type { TlsMaterial } from "./tls-files.ts";

const PORT_PLAIN = 1883;
const PORT_TLS = 8883;

/** Where a broker is, and who we are there if the address says so. */
export interface BrokerAddress {
  readonly host: string;
  readonly port: number;
  readonly isTls: boolean;
  readonly username: string | undefined;
  readonly password: string | undefined;
}

/**
 * Reads mqtt://host:port (or tcp) and mqtts://host:port (or ssl, tls), with user:password@ before the host if need be.
 * wantsTls: whatever the scheme. Throws CodedError BROKER_OPTIONS.
 */
export function parseBrokerAddress(text: string, wantsTls: boolean): BrokerAddress {
  const match = /^(mqtts?|tcp|ssl|tls):\/\/[^/]+/.exec(text);
  const url = match && URL.canParse(text) ? new URL(text) : null;
  const host = url && hostOf(url);
  if (!url || !host) {
    throw new CodedError(
      "BROKER_OPTIONS",
      `Broker ${text}: write the address as mqtt://host:port or mqtts://host:port.`,
    );
  }
  const isTls = wantsTls || ["mqtts:", "ssl:", "tls:"].includes(url.protocol);
  const port = url.port === "" ? (isTls ? PORT_TLS : PORT_PLAIN) : Number(url.port);
  const plain = (part: string): string | undefined => (part === "" ? undefined : decodeURIComponent(part));
  return { host, port, isTls, username: plain(url.username), password: plain(url.password) };
}

/**
 * Opens a connection to a broker; what becomes of it, the socket's events tell. Without TLS it reads into the buffer
 * and hands over by `take`, with TLS it has "data" events.
 */
export function openBrokerSocket(address: BrokerAddress, tls: TlsMaterial, buffer: Buffer, take: TakeBytes): Socket {
  const { host, port } = address;
  const noDelay = true;
  if (address.isTls) {
    // A name goes along for brokers that have several; an address is not allowed there (RFC 6066, 3).
    const servername = isIP(host) === 0 ? { servername: host } : {};
    return connectTls({ host, port, ...servername, ...tls }).setNoDelay(noDelay);
  }
  const callback = (length: number): boolean => {
    take(buffer, length);
    return true;
  };
  return connect({ host, port, noDelay, onread: { buffer, callback } });
}

function hostOf(url: URL): string {
  const host = url.hostname;
  if (host.startsWith("[")) return host.slice(1, -1);
  try {
    return domainToASCII(decodeURIComponent(host)) || host;
  } catch {
    return "";
  }
}
