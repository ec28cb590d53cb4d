import type { SettingsTable } from "./settings.ts";
import { envName, own, suggestion } from "./settings.ts";

/** One option of a command: a flag (`boolean`) or `--name VALUE`. */
export interface CliOption {
  readonly type: "boolean" | "string";
  readonly doc: string;
  /** What VALUE is called in the help, such as FILE. */
  readonly placeholder?: string;
  readonly short?: string;
}

export interface CliCommand {
  readonly summary: string;
  /** Positional arguments as the help shows them, such as `FILE...`; absent: none are taken. */
  readonly positionals?: string;
  readonly options?: Readonly<Record<string, CliOption>>;
}

export interface CliProgram {
  readonly name: string;
  readonly summary: string;
  readonly envPrefix: string;
  /** Commands by name. The first is the default when the command line names none. */
  readonly commands: Readonly<Record<string, CliCommand>>;
  readonly settings: SettingsTable;
}

export type CliResult =
  | { readonly kind: "help"; readonly text: string }
  | { readonly kind: "error"; readonly problems: readonly string[] }
  | {
      readonly kind: "command";
      readonly command: string;
      readonly options: Readonly<Record<string, string | true>>;
      readonly positionals: readonly string[];
      /** Settings given as `--section.name VALUE`, as text. */
      readonly flags: Readonly<Record<string, string>>;
      /** The file of `-c`, where given. */
      readonly configFile: string | undefined;
    };

/**
 * Reads a command line: `PROGRAM [COMMAND] [-c FILE] [--option[=VALUE]] [--section.name VALUE] [POSITIONAL...]`.
 * argv: the arguments after the program's name. Reports every problem at once, never throws. Help is the program's
 * unless a command is named.
 */
export function parseCommandLine(program: CliProgram, argv: readonly string[]): CliResult {
  const names = Object.keys(program.commands);
  const rest = [...argv];
  const named = rest[0] !== undefined && !rest[0].startsWith("-") ? rest.shift() : undefined;
  if (named === "help" || rest.includes("--help") || rest.includes("-h")) {
    return {
      kind: "help",
      text: helpText(
        program,
        names.find((name) => name === named),
      ),
    };
  }
  const command = named ?? names[0] ?? "";
  const spec = own(program.commands, command);
  if (!spec) return { kind: "error", problems: [`unknown command ${command}; one of ${names.join(", ")}`] };

  const problems: string[] = [];
  const options: Record<string, string | true> = {};
  const flags: Record<string, string> = {};
  const positionals: string[] = [];
  let configFile: string | undefined;
  const known = { ...spec.options };

  for (let i = 0; i < rest.length; i++) {
    const argument = rest[i] ?? "";
    if (!argument.startsWith("-") || argument === "-") {
      positionals.push(argument);
      continue;
    }
    const equals = argument.indexOf("=");
    const flag = equals < 0 ? argument : argument.slice(0, equals);
    const inline = equals < 0 ? undefined : argument.slice(equals + 1);
    const take = (): string | undefined => {
      if (inline !== undefined) return inline;
      const next = rest[i + 1];
      // A lone negative number is a value, not an option.
      if (next === undefined || (next.startsWith("-") && !/^-\d/.test(next))) return undefined;
      i++;
      return next;
    };
    const name = flag.startsWith("--") ? flag.slice(2) : shortOption(known, flag.slice(1));
    const option = own(known, name);
    if (flag === "-c" || flag === "--config") {
      configFile = take();
      if (configFile === undefined) problems.push(`${flag} needs a file`);
    } else if (option?.type === "boolean") {
      if (inline === undefined) options[name] = true;
      else problems.push(`--${name} takes no value`);
    } else if (option || own(program.settings, name)) {
      const value = take();
      if (value === undefined) problems.push(`--${name} needs a value`);
      else if (option) options[name] = value;
      else flags[name] = value;
    } else {
      // What follows is most likely its value: one mistake is one problem.
      take();
      const taken = [...Object.keys(known), ...Object.keys(program.settings), "config", "help"].map(
        (one) => `--${one}`,
      );
      const meant = flag.startsWith("--") ? suggestion(flag, taken) : "";
      problems.push(`unknown option ${flag}${meant || `; see ${program.name} ${command} --help`}`);
    }
  }
  if (positionals.length > 0 && spec.positionals === undefined) {
    problems.push(`${program.name} ${command} takes no argument ${positionals[0]}`);
  }
  if (problems.length > 0) return { kind: "error", problems };
  return { kind: "command", command, options, positionals, flags, configFile };
}

function shortOption(options: Readonly<Record<string, CliOption>>, short: string): string {
  return Object.keys(options).find((name) => options[name]?.short === short) ?? short;
}

/** The help of the whole program (command undefined) or of one command with its options and all settings. */
function helpText(program: CliProgram, command: string | undefined): string {
  const lines: string[] = [];
  if (command === undefined) {
    lines.push(program.summary, "", `Usage: ${program.name} COMMAND [-c FILE.toml] [OPTIONS]`, "", "Commands:");
    const width = Math.max(...Object.keys(program.commands).map((name) => name.length));
    for (const [name, spec] of Object.entries(program.commands)) {
      lines.push(`  ${name.padEnd(width)}  ${spec.summary}`);
    }
    lines.push("", `Help of one command: ${program.name} COMMAND --help`);
  } else {
    const spec = program.commands[command];
    const positionals = spec?.positionals ? ` ${spec.positionals}` : "";
    lines.push(spec?.summary ?? "", "", `Usage: ${program.name} ${command}${positionals} [-c FILE.toml] [OPTIONS]`, "");
    lines.push("Options:", "  -c, --config FILE  settings in TOML");
    for (const [name, option] of Object.entries(spec?.options ?? {})) {
      const short = option.short ? `-${option.short}, ` : "";
      const value = option.type === "string" ? ` ${option.placeholder ?? "VALUE"}` : "";
      lines.push(`  ${short}--${name}${value}  ${option.doc}`);
    }
    lines.push("  -h, --help  this text");
    lines.push("", "Settings, each also --NAME VALUE or an environment variable:");
    for (const [key, setting] of Object.entries(program.settings)) {
      lines.push(`  ${key}  (${envName(program.envPrefix, key)})`, `      ${setting.doc}`);
    }
  }
  return `${lines.join("\n")}\n`;
}
