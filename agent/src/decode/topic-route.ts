import { CodedError } from "@weir/shared/errors";
import { isSeriesNamePart, NAME_LENGTH_MAX } from "@weir/shared/model/reading";
import type { RejectReason } from "../sources/source.ts";
import type { DecodeSink, TopicMapping } from "./decoder.ts";
import { KeyTable } from "./key-table.ts";
import { compileTopicTemplate, type TopicTemplate } from "./topic-template.ts";

/** Keys of `values` remembered for one topic. */
export const KEYS_REMEMBERED_MAX = 256;

/**
 * Characters of a topic, at most, that its parts may go on sharing: the engine keeps a part as a view of the whole, and
 * the dictionary keeps the parts for good.
 */
const TOPIC_SHARED_LENGTH_MAX = 512;

/** Metric of a reading that is given none by topic, mapping or payload. */
export const METRIC_DEFAULT = "value";

/** What the topics of one mapping have in common. */
export interface RouteRules {
  readonly mapping: TopicMapping;
  readonly template: TopicTemplate;
  /** True where a whole number of thirteen digits is a time in ms. */
  readonly wholeMs: boolean;
  /** True where a whole number of ten digits is a time in s. */
  readonly wholeSeconds: boolean;
  /** The keys of all topics of the decoder. */
  readonly keyTable: KeyTable;
}

/**
 * Where the readings of one topic go. Small, as an agent may have hundreds of thousands: the names are taken from the
 * topic again where they are wanted, which is when a series is seen first.
 */
export interface TopicRoute {
  readonly rules: RouteRules;
  readonly topic: string;
  /** Series of readings without a key; -1 until one has come. */
  series: number;
  /** Series of readings with a key; null until one has come. */
  keys: RouteKeys | null;
}

/** The names that a topic and its mapping give. */
interface RouteNames {
  readonly site: string;
  readonly device: string;
  /** The metric of readings without a key. */
  readonly metric: string;
  /** Put before keys: "temp." where the topic itself has named the metric, else "". */
  readonly keyPrefix: string;
}

/**
 * Keys of `values` that have come under one topic, in columns by place; place 0 is the beginning of an object. Each
 * knows which came after it last time, so that a device which sends its keys in the same order finds them by one
 * comparison each.
 */
export interface RouteKeys {
  /** Numbers of the keys in the decoder's table. */
  readonly numbers: number[];
  readonly series: number[];
  /** Place of the key that came next in the last message; 0: none has. */
  readonly next: number[];
}

/** Works out the route of a topic by its name; a reason in place of a route says why there is none. */
export type TopicRouter = (name: string) => TopicRoute | RejectReason;

/**
 * Makes a router: the first mapping that matches wins. Throws CodedError BAD_TEMPLATE for a template that is wrong, or
 * one that leaves the site or the device unnamed.
 */
export function createTopicRouter(mappings: readonly TopicMapping[]): TopicRouter {
  const keyTable = new KeyTable();
  const rules = mappings.map((mapping) => compileMapping(mapping, keyTable));
  return (name) => routeTopic(rules, name);
}

/** Series of a reading without a key, or why it has none. */
export function routeSeries(route: TopicRoute, sink: DecodeSink): number | RejectReason {
  if (route.series >= 0) return route.series;
  const { site, device, metric } = namesOf(route);
  const series = sink.resolve(site, device, metric);
  if (series < 0) return "series_limit";
  route.series = series;
  return series;
}

/** Series of a reading under a key of `values`, or why it has none. */
export function routeKeySeries(route: TopicRoute, key: string, sink: DecodeSink): number | RejectReason {
  if (route.keys !== null) {
    const place = placeOfKey(route.keys, route.rules.keyTable.numberOf(key));
    if (place > 0) return route.keys.series[place]!;
  }
  const { site, device, keyPrefix } = namesOf(route);
  const metric = keyPrefix + key;
  if (key === "" || !isSeriesNamePart(metric)) return "name_invalid";
  const series = sink.resolve(site, device, metric);
  // Not remembered: the dictionary may have room again later.
  if (series < 0) return "series_limit";
  rememberKey(route, key, series);
  return series;
}

/** The place of a key among those of a topic, by its number in the table; 0 where it has none. */
export function placeOfKey(keys: RouteKeys, number: number): number {
  return number < 0 ? 0 : Math.max(0, keys.numbers.indexOf(number, 1));
}

function rememberKey(route: TopicRoute, key: string, series: number): void {
  const keys = (route.keys ??= { numbers: [-1], series: [-1], next: [0] });
  if (keys.numbers.length > KEYS_REMEMBERED_MAX) return;
  const number = route.rules.keyTable.add(key);
  if (number < 0) return;
  keys.numbers.push(number);
  keys.series.push(series);
  keys.next.push(0);
}

function compileMapping(mapping: TopicMapping, keyTable: KeyTable): RouteRules {
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
  const { timeUnit } = mapping;
  const wholeMs = timeUnit === "auto" || timeUnit === "ms";
  const wholeSeconds = timeUnit === "auto" || timeUnit === "s";
  return { mapping, template, wholeMs, wholeSeconds, keyTable };
}

function routeTopic(all: readonly RouteRules[], topic: string): TopicRoute | RejectReason {
  for (const rules of all) {
    const names = namesIn(rules, topic);
    if (!names) continue;
    const areNames = isSeriesNamePart(names.site) && isSeriesNamePart(names.device) && isSeriesNamePart(names.metric);
    return areNames ? { rules, topic, series: -1, keys: null } : "name_invalid";
  }
  return "topic_unmapped";
}

function namesOf({ rules, topic }: TopicRoute): RouteNames {
  const names = namesIn(rules, topic)!;
  if (topic.length <= TOPIC_SHARED_LENGTH_MAX) return names;
  const { site, device, metric, keyPrefix } = names;
  return { site: copyOf(site), device: copyOf(device), metric: copyOf(metric), keyPrefix };
}

function namesIn({ mapping, template }: RouteRules, topic: string): RouteNames | undefined {
  const parts = template.match(topic);
  if (!parts) return undefined;
  const site = template.parts.has("site") ? parts.site : mapping.site;
  const device = template.parts.has("device") ? parts.device : mapping.device;
  if (!template.parts.has("metric")) return { site, device, metric: mapping.metric || METRIC_DEFAULT, keyPrefix: "" };
  return { site, device, metric: parts.metric, keyPrefix: `${parts.metric}.` };
}

function copyOf(name: string): string {
  return Buffer.from(name).toString();
}
