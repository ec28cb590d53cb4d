import { errorMessage } from "../errors.ts";
import type { CliProgram } from "./cli.ts";
import { parseCommandLine } from "./cli.ts";
import type { Sections, SectionsTable, SettingsTable, Values } from "./settings.ts";
import { loadSettings } from "./settings.ts";

/** What the process brings: no program reads any of it by itself. */
export interface ProgramWorld {
  /** Arguments after the program's name. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Reads a text file; throws when it cannot. */
  readonly readFile: (path: string) => string;
}

/** A command that is ready to run, or what to print and the exit code: 0 for help, 2 for bad settings. */
export type PreparedProgram<T extends SettingsTable, S extends SectionsTable> =
  | { readonly kind: "exit"; readonly code: 0 | 2; readonly text: string }
  | {
      readonly kind: "command";
      readonly command: string;
      readonly options: Readonly<Record<string, string | true>>;
      readonly positionals: readonly string[];
      readonly values: Values<T>;
      readonly sections: Sections<S>;
    };

/**
 * From a command line to a command with its settings; every problem is reported at once. aliases: environment names
 * that stand for a key beside its own.
 */
export function prepareProgram<const T extends SettingsTable, const S extends SectionsTable>(
  program: CliProgram & { readonly settings: T },
  sections: S,
  world: ProgramWorld,
  aliases: Readonly<Record<string, string>> = {},
): PreparedProgram<T, S> {
  const parsed = parseCommandLine(program, world.argv);
  if (parsed.kind === "help") return { kind: "exit", code: 0, text: parsed.text };
  if (parsed.kind === "error") return problemText(program.name, parsed.problems);
  let text: string | undefined;
  const problems: string[] = [];
  if (parsed.configFile !== undefined) {
    try {
      text = world.readFile(parsed.configFile);
    } catch (error) {
      problems.push(`-c: cannot read ${parsed.configFile}: ${errorMessage(error)}`);
    }
  }
  const loaded = loadSettings<T, S>(program.settings, sections, {
    ...(text === undefined ? {} : { file: { name: parsed.configFile ?? "", text } }),
    env: world.env,
    flags: parsed.flags,
    aliases,
    envPrefix: program.envPrefix,
  });
  problems.push(...loaded.problems.map(({ where, message }) => `${where}: ${message}`));
  if (problems.length > 0) return problemText(program.name, problems);
  const { command, options, positionals } = parsed;
  return { kind: "command", command, options, positionals, values: loaded.values, sections: loaded.sections };
}

function problemText(name: string, problems: readonly string[]): { kind: "exit"; code: 2; text: string } {
  return { kind: "exit", code: 2, text: problems.map((problem) => `${name}: ${problem}\n`).join("") };
}
