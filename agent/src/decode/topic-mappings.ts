import type { AgentSections } from "../settings.ts";
import type { TopicMapping } from "./decoder.ts";

/** The [[topic]] sections; without any, the usual template with every default. */
export function topicMappings(sections: AgentSections): TopicMapping[] {
  const usual = { template: "sensors/{site}/{device}/{metric}", format: "auto", time_unit: "auto" } as const;
  const given = sections.topic.length > 0 ? sections.topic : [{ ...usual, site: "default", device: "", metric: "" }];
  return given.map(({ template, format, time_unit: timeUnit, site, device, metric }) => ({
    template,
    format: format as TopicMapping["format"],
    timeUnit: timeUnit as TopicMapping["timeUnit"],
    site,
    device,
    metric,
  }));
}
