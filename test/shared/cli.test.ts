import type { CliProgram, CliResult } from "@weir/shared/config/cli";
import { parseCommandLine } from "@weir/shared/config/cli";
import type { ProgramWorld } from "@weir/shared/config/program";
import { prepareProgram } from "@weir/shared/config/program";
import { formatBytes, formatDuration, parseBytes, parseDuration } from "@weir/shared/config/units";
import fc from "fast-check";
import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";

const test = suite("command line");

const SETTINGS = {
  "fleet.devices": { type: "int", doc: "How many.", default: 10, min: 1, max: 100 },
  "fleet.offset": { type: "number", doc: "By how much.", default: 0, min: -9, max: 9 },
} as const;

const PROGRAM = {
  name: "weir-x",
  summary: "Does x.",
  envPrefix: "WEIR_X_",
  commands: {
    run: { summary: "Runs x.", options: { json: { type: "boolean", doc: "print JSON", short: "j" } } },
    replay: {
      summary: "Replays x.",
      positionals: "FILE...",
      options: { day: { type: "string", doc: "which day", placeholder: "DAY", short: "d" } },
    },
  },
  settings: SETTINGS,
} as const satisfies CliProgram;

const parse = (...argv: string[]): CliResult => parseCommandLine(PROGRAM, argv);
const problemsOf = (...argv: string[]): readonly string[] => {
  const parsed = parse(...argv);
  return parsed.kind === "error" ? parsed.problems : [];
};
const helpOf = (...argv: string[]): string => {
  const parsed = parse(...argv);
  return parsed.kind === "help" ? parsed.text : `not help but ${JSON.stringify(parsed)}`;
};

test("the first command is the default, and settings, options and files come in any form", () => {
  const nothing = { kind: "command", command: "run", options: {}, positionals: [], flags: {}, configFile: undefined };
  assert.equal(parse(), nothing);
  assert.equal(parse("--json", "--fleet.devices", "3"), {
    ...nothing,
    options: { json: true },
    flags: { "fleet.devices": "3" },
  });
  assert.equal(parse("run", "-j", "-c", "a.toml"), { ...nothing, options: { json: true }, configFile: "a.toml" });
  assert.equal(parse("run", "--config=a=b.toml", "--fleet.devices=3"), {
    ...nothing,
    flags: { "fleet.devices": "3" },
    configFile: "a=b.toml",
  });
  assert.equal(parse("run", "--fleet.offset", "-5"), { ...nothing, flags: { "fleet.offset": "-5" } });
  assert.equal(parse("replay", "x.csv", "-d", "2026-03-14", "-"), {
    ...nothing,
    command: "replay",
    options: { day: "2026-03-14" },
    positionals: ["x.csv", "-"],
  });
});

test("--help is the program's help, and of a named command that command's", () => {
  const program = helpOf("--help");
  assert.match(program, "Does x.");
  assert.match(program, /Commands:\n {2}run {5}Runs x\.\n {2}replay {2}Replays x\./);
  assert.match(program, "weir-x COMMAND --help");
  for (const argv of [["-h"], ["help"], ["-c", "a.toml", "--help"], ["--json", "-h"], ["unheard-of", "--help"]])
    assert.is(helpOf(...argv), program);
  const run = helpOf("run", "--help");
  assert.match(run, "Usage: weir-x run [-c FILE.toml] [OPTIONS]");
  assert.match(run, /-j, --json {2}print JSON/);
  assert.match(run, /fleet\.devices {2}\(WEIR_X_FLEET_DEVICES\)\n {6}How many\./);
  assert.not(run.includes("Commands:"));
  assert.match(
    helpOf("replay", "x", "-h"),
    /Usage: weir-x replay FILE\.\.\. \[-c FILE\.toml\][^]*-d, --day DAY {2}which day/,
  );
});

test("an unknown option is one problem, with what was meant", () => {
  assert.equal(problemsOf("--fleet.devicess", "3"), ["unknown option --fleet.devicess; did you mean --fleet.devices?"]);
  assert.equal(problemsOf("--fleet.devicess=3"), ["unknown option --fleet.devicess; did you mean --fleet.devices?"]);
  assert.equal(problemsOf("run", "--jsn"), ["unknown option --jsn; did you mean --json?"]);
  assert.equal(problemsOf("run", "--halp"), ["unknown option --halp; did you mean --help?"]);
  assert.equal(problemsOf("replay", "--nothing-like-it", "x", "y"), [
    "unknown option --nothing-like-it; see weir-x replay --help",
  ]);
  assert.equal(problemsOf("-x", "3"), ["unknown option -x; see weir-x run --help"]);
  assert.equal(problemsOf("--fleet.devicess", "--json"), [
    "unknown option --fleet.devicess; did you mean --fleet.devices?",
  ]);
});

test("every problem of a line is reported", () => {
  assert.equal(problemsOf("run", "stray", "--json=1", "--fleet.devices", "--nope-nope-nope", "-c"), [
    "--json takes no value",
    "--fleet.devices needs a value",
    "unknown option --nope-nope-nope; see weir-x run --help",
    "-c needs a file",
    "weir-x run takes no argument stray",
  ]);
  assert.equal(problemsOf("replay", "-d"), ["--day needs a value"]);
  assert.equal(problemsOf("walk"), ["unknown command walk; one of run, replay"]);
});

test("names that every object has are no commands, options or settings", () => {
  for (const name of ["constructor", "toString", "__proto__"]) {
    assert.match(problemsOf(name)[0] ?? "", `unknown command ${name}`);
    assert.match(problemsOf(`--${name}`, "1")[0] ?? "", `unknown option --${name}`);
  }
});

test("any line at all is read without an exception", () => {
  const word = fc.oneof(
    fc.string(),
    fc.constantFrom(
      "run",
      "replay",
      "-c",
      "--json",
      "--",
      "-",
      "--=",
      "--day",
      "-d",
      "--fleet.devices",
      "=",
      "-1",
      "--help",
    ),
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 6 }), (argv) => {
      const parsed = parse(...argv);
      if (parsed.kind === "error") assert.ok(parsed.problems.length > 0);
      if (parsed.kind === "command") assert.ok(Object.hasOwn(PROGRAM.commands, parsed.command));
    }),
    { numRuns: 1000 },
  );
});

function prepare(argv: readonly string[], more: Partial<ProgramWorld> = {}) {
  const readFile = (path: string): string => {
    if (path === "a.toml") return "[fleet]\ndevices = 20\n";
    if (path === "bad.toml") return "[fleet]\ndevices = 2000\n[[node]]\nname = 1\n";
    throw new Error("no such file");
  };
  const sections = { node: { name: { type: "string", doc: "Its name.", default: "" } } } as const;
  return prepareProgram(PROGRAM, sections, { argv, env: {}, readFile, ...more }, { DEVICES: "fleet.devices" });
}

test("a program is its command with its settings", () => {
  assert.equal(prepare(["replay", "x", "-c", "a.toml", "--fleet.offset=1"], { env: { DEVICES: "30" } }), {
    kind: "command",
    command: "replay",
    options: {},
    positionals: ["x"],
    values: { "fleet.devices": 30, "fleet.offset": 1 },
    sections: { node: [] },
  });
  const fromFile = prepare(["-c", "a.toml"]);
  assert.is(fromFile.kind === "command" && fromFile.values["fleet.devices"], 20);
});

test("help exits with 0; problems of line, file, environment and flags exit with 2, named by the program", () => {
  const help = prepare(["--help"]);
  assert.is(help.kind === "exit" && help.code, 0);
  assert.match(help.kind === "exit" ? help.text : "", "Commands:");
  assert.equal(prepare(["run", "stray", "--nope-nope"]), {
    kind: "exit",
    code: 2,
    text: "weir-x: unknown option --nope-nope; see weir-x run --help\nweir-x: weir-x run takes no argument stray\n",
  });
  assert.equal(prepare(["-c", "bad.toml", "--fleet.offset=10"], { env: { WEIR_X_FLEET_OFSET: "1" } }), {
    kind: "exit",
    code: 2,
    text: [
      "weir-x: bad.toml:2: fleet.devices must be between 1 and 100, is 2000\n",
      "weir-x: bad.toml:4: name must be text, is 1\n",
      "weir-x: WEIR_X_FLEET_OFSET: unknown setting; did you mean WEIR_X_FLEET_OFFSET?\n",
      "weir-x: --fleet.offset: fleet.offset must be between -9 and 9, is 10\n",
    ].join(""),
  });
  assert.equal(prepare(["-c", "gone.toml", "--fleet.devices=0"]), {
    kind: "exit",
    code: 2,
    text:
      "weir-x: -c: cannot read gone.toml: no such file\n" +
      "weir-x: --fleet.devices: fleet.devices must be between 1 and 100, is 0\n",
  });
});

test("amounts are read with their units and written in the largest that divides them", () => {
  for (const [text, ms] of [
    ["250ms", 250],
    ["10s", 10_000],
    ["5m", 300_000],
    ["24h", 86_400_000],
    ["30d", 2_592_000_000],
    ["1.5h", 5_400_000],
    [" 5 m ", 300_000],
    ["7", 7],
    [7, 7],
  ] as const) {
    assert.is(parseDuration(text), ms, String(text));
  }
  for (const [text, bytes] of [
    ["64KiB", 65_536],
    ["512MiB", 2 ** 29],
    ["2GiB", 2 ** 31],
    ["1TiB", 2 ** 40],
    ["9B", 9],
    ["9", 9],
  ] as const) {
    assert.is(parseBytes(text), bytes, text);
  }
  for (const wrong of [
    "",
    "s",
    "-5s",
    "5 s s",
    "5S",
    "5min",
    "1e3",
    "5,5s",
    "0x10",
    NaN,
    Infinity,
    null,
    undefined,
    true,
    [],
    {},
  ]) {
    assert.is(parseDuration(wrong), undefined, JSON.stringify(wrong));
  }
  for (const wrong of ["2GB", "2gib", "KiB"]) assert.is(parseBytes(wrong), undefined, wrong);
  assert.equal([0, 1, 1500, 60_000, 86_400_000, 90_000_000].map(formatDuration), [
    "0ms",
    "1ms",
    "1500ms",
    "1m",
    "1d",
    "25h",
  ]);
  assert.equal([0, 1023, 1024, 2 ** 30, 3 * 2 ** 19].map(formatBytes), ["0B", "1023B", "1KiB", "1GiB", "1536KiB"]);
  fc.assert(
    fc.property(fc.nat(2 ** 50), (amount) => {
      assert.is(parseDuration(formatDuration(amount)), amount);
      assert.is(parseBytes(formatBytes(amount)), amount);
    }),
  );
});
