import { CodedError } from "@weir/shared/errors";

/**
 * Topic templates such as `sensors/{site}/{device}/{metric}`.
 *
 * Grammar, level by level between '/':
 *
 *   {site} {device} {metric}   takes the whole level under that name, each at most once
 *   +                          skips one level
 *   #                          skips the rest, the parent level included; last level only
 *   anything else              must be equal; no '+', '#', '{', '}' or NUL inside it
 *
 * As in MQTT, a template whose first level is not a literal matches no topic that begins with '$'.
 */
export interface TopicTemplate {
  readonly template: string;
  /** The MQTT filter that subscribes to exactly the topics this matches: `sensors/+/+/+`. */
  readonly filter: string;
  /** The names this template takes from a topic. */
  readonly parts: ReadonlySet<TopicPart>;
  /** The parts of a matching topic ("" where the template has no such part), undefined for any other topic. */
  readonly match: (topic: string) => TopicParts | undefined;
}

/** A part of a series key that a template can name. */
export type TopicPart = "site" | "device" | "metric";
/** What a topic says of each part; "" where the template has none. */
export type TopicParts = { readonly [K in TopicPart]: string };

const TOPIC_PARTS: readonly string[] = ["site", "device", "metric"] satisfies readonly TopicPart[];

type Level =
  | { readonly kind: "part"; readonly part: TopicPart }
  | { readonly kind: "skip" }
  | { readonly kind: "rest" }
  | { readonly kind: "literal"; readonly text: string };

/** Compiles a template. Throws CodedError BAD_TEMPLATE: empty, unknown or repeated part, '#' not last, stray braces. */
export function compileTopicTemplate(template: string): TopicTemplate {
  if (template === "") throw badTemplate(template, "is empty; write one such as sensors/{site}/{device}/{metric}");
  const parts = new Set<TopicPart>();
  const texts = template.split("/");
  const levels = texts.map((text, index) => compileLevel(template, text, index === texts.length - 1, parts));
  const filter = levels.map(filterLevel).join("/");
  return { template, filter, parts, match: (topic) => matchLevels(levels, topic) };
}

/** The filters to subscribe to for some templates, each once. Throws CodedError BAD_TEMPLATE. */
export function subscriptionFilters(templates: readonly string[]): string[] {
  return [...new Set(templates.map((template) => compileTopicTemplate(template).filter))];
}

function compileLevel(template: string, text: string, last: boolean, parts: Set<TopicPart>): Level {
  if (text === "+") return { kind: "skip" };
  if (text === "#") {
    if (!last) throw badTemplate(template, "has a # before its end; # skips the rest and must be the last level");
    return { kind: "rest" };
  }
  const name = /^\{(.*)\}$/.exec(text)?.[1];
  if (name !== undefined) {
    if (!isTopicPart(name)) {
      throw badTemplate(template, `has the unknown part {${name}}; the parts are {site}, {device} and {metric}`);
    }
    if (parts.has(name)) throw badTemplate(template, `has the part {${name}} twice`);
    parts.add(name);
    return { kind: "part", part: name };
  }
  if (/[+#{}\0]/.test(text)) {
    throw badTemplate(template, `has the level ${JSON.stringify(text)}; a part or wildcard takes a whole level`);
  }
  return { kind: "literal", text };
}

function matchLevels(levels: readonly Level[], topic: string): TopicParts | undefined {
  if (topic.startsWith("$") && levels[0]?.kind !== "literal") return undefined;
  const found = { site: "", device: "", metric: "" };
  // Where the level begins; -1 behind the last one.
  let start = 0;
  for (const level of levels) {
    if (level.kind === "rest") return found;
    if (start < 0) return undefined;
    const slash = topic.indexOf("/", start);
    const end = slash < 0 ? topic.length : slash;
    if (level.kind === "part") found[level.part] = topic.slice(start, end);
    else if (level.kind === "literal" && !isLiteral(level.text, topic, start, end)) return undefined;
    start = slash < 0 ? -1 : slash + 1;
  }
  return start < 0 ? found : undefined;
}

function isLiteral(text: string, topic: string, start: number, end: number): boolean {
  return text.length === end - start && topic.startsWith(text, start);
}

function filterLevel(level: Level): string {
  if (level.kind === "literal") return level.text;
  return level.kind === "rest" ? "#" : "+";
}

function isTopicPart(name: string): name is TopicPart {
  return TOPIC_PARTS.includes(name);
}

function badTemplate(template: string, problem: string): CodedError {
  return new CodedError("BAD_TEMPLATE", `Topic template ${JSON.stringify(template)} ${problem}.`);
}
