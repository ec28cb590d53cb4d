import { CodedError } from "@weir/shared/errors";
import { isSeriesNamePart, NAME_LENGTH_MAX } from "@weir/shared/model/reading";
import type { RejectReason } from "../sources/source.ts";
import { createBoundedCache } from "./bounded-cache.ts";
import type { DecodeSink, TopicMapping } from "./decoder.ts";
import { compileTopicTemplate, type TopicTemplate } from "./topic-template.ts";

/** Topics whose way is remembered: somewhat over the series an agent may have, since a series often has its own. */
export const TOPICS_REMEMBERED_MAX = 262_144;
/** Characters of a topic that is remembered at most; longer ones are worked out each time. */
export const TOPIC_REMEMBERED_LENGTH_MAX = 512;
/** Keys of `values` remembered for one topic. */
export const KEYS_REMEMBERED_MAX = 256;

/** Metric of a reading that is given none by topic, mapping or payload. */
export const METRIC_DEFAULT = "value";

/** Where the readings of one topic go. */
export interface TopicRoute {
  readonly mapping: TopicMapping;
  readonly site: string;
  readonly device: string;
  /** The metric of readings without a key. */
  readonly metric: string;
  /** Put before keys: "temp." where the topic itself has named the metric, else "". */
  readonly keyPrefix: string;
  /** Series of readings without a key; -1 until one has come. */
  series: number;
  /** Series by key; null until one has come. */
  seriesByKey: Map<string, number> | null;
}

/** Routes topics; a reason in place of a route says why there is none. */
export type TopicRouter = (topic: string) => TopicRoute | RejectReason;

interface CompiledMapping {
  readonly mapping: TopicMapping;
  readonly template: TopicTemplate;
}

/**
 * Makes a router: the first mapping that matches wins. Throws CodedError BAD_TEMPLATE for a template that is wrong, or
 * one that leaves the site or the device unnamed.
 */
export function createTopicRouter(mappings: readonly TopicMapping[], topicsMax: number): TopicRouter {
  const compiled = mappings.map(compileMapping);
  const routes = createBoundedCache<TopicRoute | RejectReason>(topicsMax);
  return (topic) => {
    const known = routes.get(topic);
    if (known !== undefined) return known;
    const route = routeTopic(compiled, topic);
    if (topic.length <= TOPIC_REMEMBERED_LENGTH_MAX) routes.set(topic, route);
    return route;
  };
}

/** Series of a reading without a key, or why it has none. */
export function routeSeries(route: TopicRoute, sink: DecodeSink): number | RejectReason {
  if (route.series >= 0) return route.series;
  const series = sink.resolve(route.site, route.device, route.metric);
  if (series < 0) return "series_limit";
  route.series = series;
  return series;
}

/** Series of a reading under a key of `values`, or why it has none. */
export function routeKeySeries(route: TopicRoute, key: string, sink: DecodeSink): number | RejectReason {
  const known = route.seriesByKey?.get(key);
  if (known !== undefined) return known;
  const metric = route.keyPrefix + key;
  if (key === "" || !isSeriesNamePart(metric)) return "name_invalid";
  const series = sink.resolve(route.site, route.device, metric);
  // Not remembered: the dictionary may have room again later.
  if (series < 0) return "series_limit";
  route.seriesByKey ??= new Map();
  if (route.seriesByKey.size < KEYS_REMEMBERED_MAX) route.seriesByKey.set(key, series);
  return series;
}

function compileMapping(mapping: TopicMapping): CompiledMapping {
  const template = compileTopicTemplate(mapping.template);
  for (const part of ["site", "device"] as const) {
    if (template.parts.has(part) || isSeriesNamePart(mapping[part])) continue;
    const problem = `has no {${part}}, and ${part} = ${JSON.stringify(mapping[part])} cannot stand in for it`;
    const advice = `give a name of 1 to ${NAME_LENGTH_MAX} characters without /, + or #`;
    throw new CodedError("BAD_TEMPLATE", `Topic template ${JSON.stringify(mapping.template)} ${problem}; ${advice}.`);
  }
  if (mapping.metric !== "" && !isSeriesNamePart(mapping.metric)) {
    const problem = `metric = ${JSON.stringify(mapping.metric)} is no name`;
    throw new CodedError("BAD_TEMPLATE", `Topic template ${JSON.stringify(mapping.template)}: ${problem}.`);
  }
  return { mapping, template };
}

function routeTopic(compiled: readonly CompiledMapping[], topic: string): TopicRoute | RejectReason {
  for (const { mapping, template } of compiled) {
    const parts = template.match(topic);
    if (!parts) continue;
    const site = template.parts.has("site") ? parts.site : mapping.site;
    const device = template.parts.has("device") ? parts.device : mapping.device;
    const hasMetric = template.parts.has("metric");
    const metric = hasMetric ? parts.metric : mapping.metric || METRIC_DEFAULT;
    if (!isSeriesNamePart(site) || !isSeriesNamePart(device) || !isSeriesNamePart(metric)) return "name_invalid";
    const keyPrefix = hasMetric ? `${metric}.` : "";
    return { mapping, site, device, metric, keyPrefix, series: -1, seriesByKey: null };
  }
  return "topic_unmapped";
}
