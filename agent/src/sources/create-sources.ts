import { subscriptionFilters } from "../decode/topic-template.ts";
import type { AgentSections, AgentSettings } from "../settings.ts";
import { createBrokerSource } from "./broker.ts";
import type { Gather } from "./gather.ts";
import { createListenSource, type ListenSource } from "./listen.ts";
import type { Ingest, LocalPublisher, Source } from "./source.ts";

/** The sources that a configuration asks for. */
export interface CreatedSources {
  readonly sources: readonly Source[];
  /** Where local alerts go; undefined without an endpoint of our own. */
  readonly local: LocalPublisher | undefined;
  /** What a person may want to know once the sources have been started. */
  notes(): readonly string[];
}

/**
 * Builds the endpoint and a source for each [[broker]]; starts nothing. templates: of the topic mappings, which say
 * what to subscribe to. agent: its name, for client ids. gather: of the thread that the sources run in, where it may
 * sleep (see Gather). Throws CodedError BAD_TEMPLATE.
 */
export function createSources(
  ingest: Ingest,
  settings: AgentSettings,
  sections: AgentSections,
  templates: readonly string[],
  agent: string,
  gather: Gather | null = null,
): CreatedSources {
  const listen = settings["listen.enabled"] ? buildListen(ingest, settings, gather) : undefined;
  const topics = subscriptionFilters(templates);
  const brokers = sections.broker.map((section, index) =>
    createBrokerSource(ingest, {
      name: sections.broker.length === 1 ? "broker" : `broker-${index + 1}`,
      url: section.url,
      topics,
      qos: section.qos === 0 ? 0 : 1,
      // Sessions at one broker need ids of their own, whichever section they are from.
      clientId: section.client_id || (index === 0 ? `weir-${agent}` : `weir-${agent}-broker-${index + 1}`),
      username: section.username,
      password: section.password,
      protocolVersion: section.protocol === "4" ? 4 : 5,
      receiveMaximum: section.receive_maximum,
      connections: section.connections,
      payloadBytesMax: settings["listen.payload_bytes_max"],
      sharedGroup: section.shared_group,
      tls: { ca: section.ca_file, cert: section.cert_file, key: section.key_file },
      gather,
    }),
  );
  return {
    sources: listen ? [listen, ...brokers] : brokers,
    local: listen,
    notes: () => [
      ...(listen ? [`MQTT endpoint on ${addressText(listen)}`] : []),
      ...sections.broker.map(({ url }) => `Broker ${withoutCredentials(url)}: ${topics.join(", ")}`),
    ],
  };
}

function buildListen(ingest: Ingest, settings: AgentSettings, gather: Gather | null): ListenSource {
  return createListenSource(ingest, {
    host: settings["listen.host"],
    port: settings["listen.port"],
    anonymous: settings["listen.anonymous"],
    passwordFile: settings["listen.password_file"],
    tls: { ca: settings["listen.tls_ca"], cert: settings["listen.tls_cert"], key: settings["listen.tls_key"] },
    connectionsMax: settings["listen.connections_max"],
    payloadBytesMax: settings["listen.payload_bytes_max"],
    gather,
  });
}

function addressText(listen: ListenSource): string {
  const { host, port } = listen.address();
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Notes are printed and logged; a password in the address is not for there. */
function withoutCredentials(url: string): string {
  return url.replace(/\/\/[^@/]*@/, "//");
}
