import { compileTopicTemplate, subscriptionFilters } from "@weir/agent/decode/topic-template";
import * as fc from "fast-check";
import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";

const test = suite("topic templates");

const codeOf = (template: string): string => {
  try {
    compileTopicTemplate(template);
    return "none";
  } catch (error) {
    return (error as { code: string }).code;
  }
};

test("takes the parts of a topic by name", () => {
  const { match } = compileTopicTemplate("sensors/{site}/{device}/{metric}");
  assert.equal(match("sensors/north/pump-7/temp"), { site: "north", device: "pump-7", metric: "temp" });
  assert.is(match("sensors/north/pump-7"), undefined);
  assert.is(match("sensors/north/pump-7/temp/raw"), undefined);
  assert.is(match("sensor/north/pump-7/temp"), undefined);
});

test("skips levels with + and the rest with #", () => {
  const { match, parts } = compileTopicTemplate("+/{device}/+/#");
  assert.equal(match("a/pump/b/c/d"), { site: "", device: "pump", metric: "" });
  assert.equal(match("a/pump/b"), { site: "", device: "pump", metric: "" }, "# includes the parent level, as in MQTT");
  assert.is(match("a/pump"), undefined);
  assert.equal([...parts], ["device"]);
});

test("leaves topics of the broker's own alone unless they are spelled out", () => {
  assert.is(compileTopicTemplate("{site}/{device}").match("$SYS/uptime"), undefined);
  assert.is(compileTopicTemplate("#").match("$SYS/uptime"), undefined);
  assert.equal(compileTopicTemplate("$SYS/{device}").match("$SYS/uptime")?.device, "uptime");
});

test("refuses bad templates with BAD_TEMPLATE", () => {
  for (const template of [
    "",
    "sensors/{sites}/{device}",
    "sensors/{}",
    "{device}/{device}",
    "sensors/#/{metric}",
    "sensors/a#",
    "sensors/a+",
    "sensors/{site}-{device}",
    "sensors/{site",
    "sensors/\0",
  ]) {
    assert.is(codeOf(template), "BAD_TEMPLATE", template);
  }
});

test("derives the filters to subscribe to, each once", () => {
  assert.equal(
    subscriptionFilters(["sensors/{site}/{device}/{metric}", "sensors/+/{device}/{metric}", "plant/{device}/#"]),
    ["sensors/+/+/+", "plant/+/#"],
  );
});

test("matches exactly what its filter subscribes to", () => {
  const level = fc.constantFrom("a", "b", "", "+", "{site}", "$x");
  const rest = fc.constantFrom("", "/#");
  const topic = fc.array(fc.constantFrom("a", "b", "", "$x"), { minLength: 1, maxLength: 4 }).map((l) => l.join("/"));
  fc.assert(
    fc.property(fc.uniqueArray(level, { minLength: 1, maxLength: 4 }), rest, topic, (levels, tail, name) => {
      fc.pre(levels.join("/") + tail !== "");
      const { filter, match } = compileTopicTemplate(levels.join("/") + tail);
      assert.is(match(name) !== undefined, subscribes(filter, name), `${filter} ${name}`);
    }),
  );
});

/** Oracle: the matching rule of the MQTT specification as a regular expression. */
function subscribes(filter: string, topic: string): boolean {
  if (topic.startsWith("$") && /^[+#]/.test(filter)) return false;
  const pattern = filter
    .split("/")
    .map((part) => (part === "+" ? "[^/]*" : part.replaceAll(/[$]/g, "\\$&")))
    .join("/")
    .replace(/\/#$/, "(/.*)?");
  return new RegExp(`^${pattern}$`).test(topic);
}
