import { CodedError } from "@weir/shared/errors";
import { topicMappings } from "../decode/topic-mappings.ts";
import { subscriptionFilters } from "../decode/topic-template.ts";
import type { AgentSections, AgentSettings } from "../settings.ts";
import { createBrokerSource } from "./broker.ts";
import { createListenSource } from "./listen.ts";
import type { Ingest, LocalPublisher, Source } from "./source.ts";

export interface CreatedSources {
  readonly sources: readonly Source[];
  /** Takes local alerts; undefined without an endpoint of our own. */
  readonly local: LocalPublisher | undefined;
  /** What a person may want to know, once they are started. */
  notes(): string[];
}

/** The sources of the settings: the agent's own endpoint, and one for each [[broker]]. Throws CodedError BAD_SETTING. */
export function createSources(
  ingest: Ingest,
  settings: AgentSettings,
  sections: AgentSections,
  agent: string,
): CreatedSources {
  const listen = settings["listen.enabled"] ? openListen(ingest, settings) : undefined;
  const brokers = sections.broker.map((broker, index) => {
    if (broker.connections > 1 && broker.shared_group === "") {
      const message = `[[broker]] ${index + 1}: connections = ${broker.connections} needs a shared_group, or each would get everything.`;
      throw new CodedError("BAD_SETTING", message);
    }
    return createBrokerSource(ingest, {
      name: sections.broker.length === 1 ? "broker" : `broker-${index + 1}`,
      url: broker.url,
      topics: subscriptionFilters(topicMappings(sections).map(({ template }) => template)),
      qos: broker.qos === 0 ? 0 : 1,
      clientId: broker.client_id || `weir-${agent}`,
      username: broker.username,
      password: broker.password,
      protocolVersion: broker.protocol === "4" ? 4 : 5,
      receiveMaximum: broker.receive_maximum,
      sharedGroup: broker.shared_group,
      connections: broker.connections,
      tls: { ca: broker.ca_file, cert: broker.cert_file, key: broker.key_file },
    });
  });
  const sources = [...(listen ? [listen] : []), ...brokers];
  if (sources.length === 0) {
    throw new CodedError("BAD_SETTING", "Nothing to take readings from: enable listen, or add a [[broker]] section.");
  }
  return {
    sources,
    local: listen,
    notes() {
      const notes = sections.broker.map(({ url }) => `Taking readings from the broker at ${url}`);
      if (!listen) return notes;
      const { host, port } = listen.address();
      return [`MQTT endpoint for devices: ${host}:${port}`, ...notes];
    },
  };
}

function openListen(ingest: Ingest, settings: AgentSettings): ReturnType<typeof createListenSource> {
  return createListenSource(ingest, {
    host: settings["listen.host"],
    port: settings["listen.port"],
    anonymous: settings["listen.anonymous"],
    passwordFile: settings["listen.password_file"],
    tls: { ca: settings["listen.tls_ca"], cert: settings["listen.tls_cert"], key: settings["listen.tls_key"] },
    connectionsMax: settings["listen.connections_max"],
    payloadBytesMax: settings["listen.payload_bytes_max"],
  });
}
