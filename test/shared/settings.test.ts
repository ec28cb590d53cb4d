import type { SettingsSources } from "@weir/shared/config/settings";
import { envName, loadSettings, settingsReference } from "@weir/shared/config/settings";
import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";

const test = suite("settings");

const TABLE = {
  "listen.host": {
    type: "string",
    doc: "Where to listen.",
    default: "127.0.0.1",
    pattern: "^[0-9.]+$",
    hint: "write an address",
  },
  "listen.port": { type: "int", doc: "Port.", default: 1883, min: 0, max: 65_535 },
  "listen.share": { type: "number", doc: "A share.", default: 0.5, min: 0, max: 1 },
  "listen.tls": { type: "boolean", doc: "Whether to encrypt.", default: false },
  "listen.topics": { type: "strings", doc: "Topics.", default: ["a/#"] },
  "log.level": { type: "enum", doc: "How much to say.", default: "info", values: ["debug", "info", "warn"] },
  "log.age_max": { type: "duration", doc: "How long to keep.", default: "30d", min: "1h", max: "365d" },
  "log.bytes_max": { type: "bytes", doc: "How much to keep.", default: "2GiB", min: "1MiB", max: "1TiB" },
} as const;

const SECTIONS = {
  broker: {
    url: { type: "string", doc: "Where it is.", default: "" },
    receive_max: { type: "int", doc: "Window.", default: 1000, min: 1, max: 65_535 },
    keepalive: { type: "duration", doc: "Ping.", default: "30s", min: "1s", max: "1h" },
  },
} as const;

function load(sources: Partial<SettingsSources> & { readonly toml?: string } = {}) {
  const { toml, ...rest } = sources;
  return loadSettings(TABLE, SECTIONS, {
    env: {},
    envPrefix: "WEIR_AGENT_",
    ...(toml === undefined ? {} : { file: { name: "agent.toml", text: toml } }),
    ...rest,
  });
}

/** Problems as a person sees them. */
const said = (sources: Parameters<typeof load>[0]): string[] =>
  load(sources).problems.map(({ where, message }) => `${where}: ${message}`);

test("defaults stand when nobody says otherwise, amounts in milliseconds and bytes", () => {
  assert.equal(load(), {
    values: {
      "listen.host": "127.0.0.1",
      "listen.port": 1883,
      "listen.share": 0.5,
      "listen.tls": false,
      "listen.topics": ["a/#"],
      "log.level": "info",
      "log.age_max": 30 * 86_400_000,
      "log.bytes_max": 2 * 2 ** 30,
    },
    sections: { broker: [] },
    problems: [],
  });
});

test("a file says every type of setting, with tables, dotted keys and sections", () => {
  const { values, sections, problems } = load({
    toml: `
[listen]
host = "10.0.0.1"
port = 0
share = 1
tls = true
topics = ["x/+", "y"]
[log]
age_max = "36h"
bytes_max = 1048576
[[broker]]
url = "mqtt://a"
[[broker]]
url = "mqtt://b"
receive_max = 65535
keepalive = 1500
`,
  });
  assert.equal(problems, []);
  assert.equal(values, {
    "listen.host": "10.0.0.1",
    "listen.port": 0,
    "listen.share": 1,
    "listen.tls": true,
    "listen.topics": ["x/+", "y"],
    "log.level": "info",
    "log.age_max": 36 * 3_600_000,
    "log.bytes_max": 2 ** 20,
  });
  assert.equal(sections, {
    broker: [
      { url: "mqtt://a", receive_max: 1000, keepalive: 30_000 },
      { url: "mqtt://b", receive_max: 65_535, keepalive: 1500 },
    ],
  });
  assert.is(load({ toml: 'log.level = "warn"\nlisten = { port = 7 }' }).values["log.level"], "warn");
  assert.is(load({ toml: "listen = { port = 7 }" }).values["listen.port"], 7);
});

test("the environment and the command line say every type as text", () => {
  const texts = {
    "listen.host": "10.0.0.1",
    "listen.port": "0",
    "listen.share": "0.25",
    "listen.tls": "on",
    "listen.topics": " x/+ , y,,",
    "log.level": "warn",
    "log.age_max": "2h",
    "log.bytes_max": "1.5GiB",
  };
  const expected = {
    "listen.host": "10.0.0.1",
    "listen.port": 0,
    "listen.share": 0.25,
    "listen.tls": true,
    "listen.topics": ["x/+", "y"],
    "log.level": "warn",
    "log.age_max": 7_200_000,
    "log.bytes_max": 1.5 * 2 ** 30,
  };
  const env = Object.fromEntries(Object.entries(texts).map(([key, text]) => [envName("WEIR_AGENT_", key), text]));
  assert.is(env.WEIR_AGENT_LOG_AGE_MAX, "2h");
  for (const sources of [{ env }, { flags: texts }]) {
    const { values, problems } = load(sources);
    assert.equal(problems, []);
    assert.equal(values, expected);
  }
  for (const [text, value] of [
    ["true", true],
    ["1", true],
    ["off", false],
    ["0", false],
    ["false", false],
  ] as const) {
    assert.is(load({ flags: { "listen.tls": text } }).values["listen.tls"], value);
  }
});

test("the command line is stronger than the environment, that than the file, that than the default", () => {
  const aliases = { PORT: "listen.port" };
  const toml = "[listen]\nport = 1";
  const port = (sources: Parameters<typeof load>[0]): number =>
    load({ toml, aliases, ...sources }).values["listen.port"];
  assert.is(port({}), 1);
  assert.is(port({ env: { PORT: "2" } }), 2);
  assert.is(port({ env: { WEIR_AGENT_LISTEN_PORT: "3", PORT: "2" } }), 3);
  assert.is(port({ env: { WEIR_AGENT_LISTEN_PORT: "3" }, flags: { "listen.port": "4" } }), 4);
  assert.is(port({ env: { PORT: "" } }), 1, "an empty alias says nothing");
  assert.equal(said({ aliases, env: { PORT: "" } }), []);
  assert.is(port({ env: { WEIR_AGENT_LISTEN_PORT: undefined, HOME: "/x" } }), 1);
});

test("values of a wrong type are refused with what to write and what was there", () => {
  for (const [toml, problem] of [
    ["[listen]\nhost = 5", "agent.toml:2: listen.host must be text, is 5"],
    ['[listen]\nhost = "a b"', 'agent.toml:2: listen.host is "a b"; write an address'],
    ['[listen]\nport = "x"', 'agent.toml:2: listen.port must be a number, is "x"'],
    ['[listen]\nport = ""', 'agent.toml:2: listen.port must be a number, is ""'],
    ["[listen]\nport = 1.5", "agent.toml:2: listen.port must be a whole number, is 1.5"],
    ["[listen]\nport = nan", "agent.toml:2: listen.port must be a number, is null"],
    ["[listen]\ntls = 2", "agent.toml:2: listen.tls must be true or false, is 2"],
    ["[listen]\ntopics = [1]", "agent.toml:2: listen.topics must be a list of texts, is a list"],
    ["[listen]\ntopics = {}", "agent.toml:2: listen.topics must be a list of texts, is a table"],
    ['[log]\nlevel = "loud"', 'agent.toml:2: log.level must be one of debug, info, warn, is "loud"'],
    [
      '[log]\nage_max = "soon"',
      'agent.toml:2: log.age_max must be a duration such as "500ms", "10s" or "24h", is "soon"',
    ],
    ['[log]\nbytes_max = "2GB"', 'agent.toml:2: log.bytes_max must be a size such as "64KiB" or "2GiB", is "2GB"'],
  ] as const) {
    assert.equal(said({ toml }), [problem]);
  }
});

test("bounds are named in the setting's unit, and hold at both ends", () => {
  for (const [key, text, problem] of [
    ["listen.port", "-1", "must be between 0 and 65535, is -1"],
    ["listen.port", "65536", "must be between 0 and 65535, is 65536"],
    ["listen.share", "1.01", "must be between 0 and 1, is 1.01"],
    ["log.age_max", "59m", "must be between 1h and 365d, is 59m"],
    ["log.age_max", "366d", "must be between 1h and 365d, is 366d"],
    ["log.bytes_max", "1KiB", "must be between 1MiB and 1TiB, is 1KiB"],
  ] as const) {
    assert.equal(said({ flags: { [key]: text } }), [`--${key}: ${key} ${problem}`]);
  }
  for (const [key, text] of [
    ["listen.port", "65535"],
    ["log.age_max", "1h"],
    ["log.age_max", "365d"],
    ["log.bytes_max", "1TiB"],
  ] as const) {
    assert.equal(said({ flags: { [key]: text } }), []);
  }
  assert.is(load({ flags: { "listen.port": "-1" } }).values["listen.port"], 1883, "a refused value leaves the default");
});

test("unknown names are refused with the nearest that is known", () => {
  assert.equal(said({ toml: "[listen]\n\nprot = 1" }), [
    "agent.toml:3: unknown setting listen.prot; did you mean listen.port?",
  ]);
  assert.equal(said({ toml: "[lisen]\nport = 1" }), ["agent.toml:1: unknown setting lisen"]);
  assert.equal(said({ toml: "[[broker]]\nurl = 'x'\nrecieve_max = 2" }), [
    "agent.toml:3: unknown setting recieve_max in [[broker]]; did you mean receive_max?",
  ]);
  assert.equal(said({ env: { WEIR_AGENT_LISTEN_PROT: "1" } }), [
    "WEIR_AGENT_LISTEN_PROT: unknown setting; did you mean WEIR_AGENT_LISTEN_PORT?",
  ]);
  assert.equal(said({ flags: { "Log.Level": "info" } }), [
    "--Log.Level: unknown setting Log.Level; did you mean log.level?",
  ]);
  assert.equal(said({ toml: "something_quite_different = 1" }), [
    "agent.toml:1: unknown setting something_quite_different",
  ]);
});

test("names that every object has are unknown like any other", () => {
  for (const name of ["constructor", "toString", "__proto__", "hasOwnProperty"]) {
    assert.match(said({ toml: `${name} = 1` })[0] ?? "", `agent.toml:1: unknown setting ${name}`);
    assert.match(
      said({ toml: `[[broker]]\n${name} = 1` })[0] ?? "",
      `agent.toml:2: unknown setting ${name} in [[broker]]`,
    );
    assert.match(said({ flags: Object.fromEntries([[name, "1"]]) })[0] ?? "", `--${name}: unknown setting ${name}`);
  }
});

test("sections are lists of tables", () => {
  assert.equal(said({ toml: "[broker]\nurl = 'x'" }), [
    "agent.toml:1: broker is a list of sections: write [[broker]], not [broker]",
  ]);
  assert.equal(said({ toml: "broker = ['mqtt://x']" }), [
    "agent.toml:1: broker is a list of sections: write [[broker]]",
  ]);
});

test("everything wrong is reported at once, each with its line", () => {
  const toml = [
    "# a comment",
    "[listen]",
    "port = 70000 # too many",
    "hots = 'x'",
    "",
    "[[broker]]",
    "url = 'a'",
    "[[broker]]",
    "receive_max = 0",
  ];
  assert.equal(
    said({
      toml: toml.join("\n"),
      env: { WEIR_AGENT_LOG_LEVEL: "loud" },
      flags: { "log.age_max": "1s", "log.nothing_like_it": "1" },
    }),
    [
      "agent.toml:3: listen.port must be between 0 and 65535, is 70000",
      "agent.toml:4: unknown setting listen.hots; did you mean listen.host?",
      "agent.toml:9: receive_max must be between 1 and 65535, is 0",
      'WEIR_AGENT_LOG_LEVEL: log.level must be one of debug, info, warn, is "loud"',
      "--log.age_max: log.age_max must be between 1h and 365d, is 1s",
      "--log.nothing_like_it: unknown setting log.nothing_like_it",
    ],
  );
});

test("a file that is not TOML is reported with the line where that shows, beside the rest", () => {
  const problems = said({ toml: "[listen]\nport = 1\nhost = \n", env: { WEIR_AGENT_LISTEN_PORT: "x" } });
  assert.is(problems.length, 2);
  assert.match(problems[0]!, /^agent\.toml:3: ./);
  assert.match(problems[1]!, "WEIR_AGENT_LISTEN_PORT");
});

test("the reference names every setting with type, default and bounds", () => {
  const text = settingsReference(TABLE, SECTIONS, "WEIR_AGENT_");
  for (const key of Object.keys(TABLE)) {
    assert.ok(text.includes(`| \`${key}\` | \`${envName("WEIR_AGENT_", key)}\` |`), key);
  }
  assert.ok(text.includes("duration 1h–365d | `30d` | How long to keep."));
  assert.ok(text.includes("size 1MiB–1TiB | `2GiB`"));
  assert.ok(text.includes("whole number 0–65535 | `1883`"));
  assert.ok(text.includes('`debug`, `info`, `warn` | `"info"`'));
  assert.ok(text.includes("### [[broker]]"));
  assert.ok(text.includes("| `keepalive` | duration 1s–1h | `30s` | Ping. |"));
});
