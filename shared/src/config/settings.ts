import { parse as parseToml, TomlError } from "smol-toml";
import { formatBytes, formatDuration, parseBytes, parseDuration } from "./units.ts";

/**
 * Configuration as one table: type, default, bounds, environment name and doc line of a setting stand together.
 *
 * Values come from, weakest first: the default, the TOML file, the environment, the command line. All problems are
 * reported together, each with its line, so that one look mends a file.
 */

interface Common<T> {
  /** One sentence that says what the setting does, with its unit. */
  readonly doc: string;
  /** The value when nobody says otherwise. */
  readonly default: T;
  /** True: shown as `***` when the settings are printed. */
  readonly secret?: boolean;
}

/** An amount with its unit, such as "10s" or "64KiB"; a bare number is in milliseconds or bytes. */
type Amount = number | string;

export type Setting =
  /** pattern: a regular expression the text must match; hint: what to write, for when it does not. */
  | (Common<string> & { readonly type: "string"; readonly pattern?: string; readonly hint?: string })
  | (Common<string> & { readonly type: "enum"; readonly values: readonly string[] })
  | (Common<number> & { readonly type: "int" | "number"; readonly min: number; readonly max: number })
  | (Common<boolean> & { readonly type: "boolean" })
  /** Written "250ms", "10s", "5m", "24h", "30d", or a number of milliseconds. Held in milliseconds. */
  | (Common<Amount> & { readonly type: "duration"; readonly min: Amount; readonly max: Amount })
  /** Written "64KiB", "512MiB", "2GiB", or a number of bytes. Held in bytes. */
  | (Common<Amount> & { readonly type: "bytes"; readonly min: Amount; readonly max: Amount })
  /** A list of strings; in the environment and on the command line separated by commas. */
  | (Common<readonly string[]> & { readonly type: "strings" });

/** Settings by dotted key, `section.name`. */
export type SettingsTable = Readonly<Record<string, Setting>>;

/** A repeated section ([[name]]) with settings of its own; each entry is one record of values. */
export type SectionsTable = Readonly<Record<string, SettingsTable>>;

type ValueOf<S extends Setting> = S["type"] extends "int" | "number" | "duration" | "bytes"
  ? number
  : S["type"] extends "boolean"
    ? boolean
    : S["type"] extends "strings"
      ? readonly string[]
      : string;
/** The values of a table by key: amounts in milliseconds or bytes. */
export type Values<T extends SettingsTable> = { readonly [K in keyof T]: ValueOf<T[K]> };
/** The entries of each repeated section, in the file's order. */
export type Sections<S extends SectionsTable> = { readonly [K in keyof S]: ReadonlyArray<Values<S[K]>> };

export interface Problem {
  /** Where: `file:line`, an environment variable or a command-line flag. */
  readonly where: string;
  readonly message: string;
}

/** What loadSettings found. Where there are problems, the values concerned are the defaults or those of weaker sources. */
export interface LoadedSettings<T extends SettingsTable, S extends SectionsTable> {
  readonly values: Values<T>;
  readonly sections: Sections<S>;
  readonly problems: readonly Problem[];
}

export interface SettingsSources {
  /** Name and text of the TOML file, absent where none was given. */
  readonly file?: { readonly name: string; readonly text: string };
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Values from the command line by dotted key, as text. */
  readonly flags?: Readonly<Record<string, string>>;
  /** Environment names that stand for a key beside its own, such as PORT for http.port. */
  readonly aliases?: Readonly<Record<string, string>>;
  /** Prefix of the environment names: WEIR_AGENT_ and so on. */
  readonly envPrefix: string;
}

/** The environment variable of a key: `listen.port` with prefix WEIR_AGENT_ is WEIR_AGENT_LISTEN_PORT. */
export function envName(envPrefix: string, key: string): string {
  return envPrefix + key.replaceAll(".", "_").toUpperCase();
}

/** Reads, checks and merges settings; never throws: what is wrong is in `problems`. */
export function loadSettings<const T extends SettingsTable, const S extends SectionsTable>(
  table: T,
  sectionsTable: S,
  sources: SettingsSources,
): LoadedSettings<T, S> {
  const problems: Problem[] = [];
  const values: Record<string, unknown> = {};
  for (const [key, setting] of Object.entries(table)) values[key] = defaultOf(setting);
  const sections: Record<string, unknown[]> = {};
  for (const name of Object.keys(sectionsTable)) sections[name] = [];

  if (sources.file) readFile(table, sectionsTable, sources.file, values, sections, problems);
  readEnvironment(table, sources, values, problems);
  for (const [key, text] of Object.entries(sources.flags ?? {})) {
    const setting = own(table, key);
    const where = `--${key}`;
    if (!setting) problems.push({ where, message: `unknown setting ${key}${suggestion(key, Object.keys(table))}` });
    else assign(setting, key, text, where, values, problems);
  }
  return { values: values as Values<T>, sections: sections as unknown as Sections<S>, problems };
}

function readFile(
  table: SettingsTable,
  sectionsTable: SectionsTable,
  file: { readonly name: string; readonly text: string },
  values: Record<string, unknown>,
  sections: Record<string, unknown[]>,
  problems: Problem[],
): void {
  let root: Record<string, unknown>;
  try {
    root = parseToml(file.text);
  } catch (error) {
    const line = error instanceof TomlError ? error.line : 1;
    const message = error instanceof Error ? (error.message.split("\n")[0] ?? "not TOML") : "not TOML";
    problems.push({ where: `${file.name}:${line}`, message });
    return;
  }
  const lines = locateKeys(file.text);
  const at = (path: string): string => `${file.name}:${lines.get(path) ?? 1}`;
  const known = [...Object.keys(table), ...Object.keys(sectionsTable)];

  const walk = (node: Record<string, unknown>, prefix: string): void => {
    for (const [name, value] of Object.entries(node)) {
      const key = prefix + name;
      const setting = own(table, key);
      if (setting) assign(setting, key, value, at(key), values, problems);
      else if (prefix === "" && own(sectionsTable, name)) readSections(name, value);
      else if (isTable(value) && known.some((candidate) => candidate.startsWith(`${key}.`))) walk(value, `${key}.`);
      else problems.push({ where: at(key), message: `unknown setting ${key}${suggestion(key, known)}` });
    }
  };

  const readSections = (name: string, value: unknown): void => {
    const section = sectionsTable[name] ?? {};
    if (!Array.isArray(value)) {
      problems.push({ where: at(name), message: `${name} is a list of sections: write [[${name}]], not [${name}]` });
      return;
    }
    value.forEach((entry: unknown, index) => {
      if (!isTable(entry))
        problems.push({ where: at(name), message: `${name} is a list of sections: write [[${name}]]` });
      const record: Record<string, unknown> = {};
      for (const [key, setting] of Object.entries(section)) record[key] = defaultOf(setting);
      for (const [key, item] of Object.entries(isTable(entry) ? entry : {})) {
        const path = `${name}[${index}].${key}`;
        const setting = own(section, key);
        if (setting) assign(setting, key, item, at(path), record, problems);
        else {
          const message = `unknown setting ${key} in [[${name}]]${suggestion(key, Object.keys(section))}`;
          problems.push({ where: at(path), message });
        }
      }
      sections[name]?.push(record);
    });
  };
  walk(root, "");
}

function readEnvironment(
  table: SettingsTable,
  sources: SettingsSources,
  values: Record<string, unknown>,
  problems: Problem[],
): void {
  const keyOf = new Map<string, string>();
  for (const key of Object.keys(table)) keyOf.set(envName(sources.envPrefix, key), key);
  const set = (name: string, key: string, text: string): void => {
    const setting = table[key];
    if (setting) assign(setting, key, text, name, values, problems);
  };
  // Aliases first, so that the setting's own variable wins over the short one.
  for (const [name, key] of Object.entries(sources.aliases ?? {})) {
    const text = sources.env[name];
    if (text !== undefined && text !== "") set(name, key, text);
  }
  for (const [name, text] of Object.entries(sources.env)) {
    if (!name.startsWith(sources.envPrefix) || text === undefined) continue;
    const key = keyOf.get(name);
    if (key) set(name, key, text);
    else problems.push({ where: name, message: `unknown setting${suggestion(name, [...keyOf.keys()])}` });
  }
}

function assign(
  setting: Setting,
  key: string,
  raw: unknown,
  where: string,
  values: Record<string, unknown>,
  problems: Problem[],
): void {
  const result = coerce(setting, raw);
  if (result.ok) values[key] = result.value;
  else problems.push({ where, message: `${key} ${result.message}` });
}

type Coerced = { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly message: string };
const fail = (message: string): Coerced => ({ ok: false, message });

function coerce(setting: Setting, raw: unknown): Coerced {
  switch (setting.type) {
    case "string":
      if (typeof raw !== "string") return fail(`must be text, is ${describe(raw)}`);
      if (setting.pattern && !new RegExp(setting.pattern, "u").test(raw))
        return fail(`is ${describe(raw)}; ${setting.hint ?? "not valid"}`);
      return { ok: true, value: raw };
    case "enum":
      if (typeof raw === "string" && setting.values.includes(raw)) return { ok: true, value: raw };
      return fail(`must be one of ${setting.values.join(", ")}, is ${describe(raw)}`);
    case "boolean":
      if (typeof raw === "boolean") return { ok: true, value: raw };
      if (raw === "true" || raw === "on" || raw === "1") return { ok: true, value: true };
      if (raw === "false" || raw === "off" || raw === "0") return { ok: true, value: false };
      return fail(`must be true or false, is ${describe(raw)}`);
    case "strings": {
      const list =
        typeof raw === "string"
          ? raw
              .split(",")
              .map((item) => item.trim())
              .filter(Boolean)
          : raw;
      if (Array.isArray(list) && list.every((item) => typeof item === "string")) return { ok: true, value: list };
      return fail(`must be a list of texts, is ${describe(raw)}`);
    }
    case "int":
    case "number": {
      const value = typeof raw === "string" && raw.trim() !== "" ? Number(raw) : raw;
      if (typeof value !== "number" || !Number.isFinite(value)) return fail(`must be a number, is ${describe(raw)}`);
      if (setting.type === "int" && !Number.isInteger(value)) return fail(`must be a whole number, is ${value}`);
      return bounded(value, setting.min, setting.max, String);
    }
    case "duration": {
      const value = parseDuration(raw);
      if (value === undefined) return fail(`must be a duration such as "500ms", "10s" or "24h", is ${describe(raw)}`);
      return bounded(value, parseDuration(setting.min) ?? 0, parseDuration(setting.max) ?? 0, formatDuration);
    }
    case "bytes": {
      const value = parseBytes(raw);
      if (value === undefined) return fail(`must be a size such as "64KiB" or "2GiB", is ${describe(raw)}`);
      return bounded(value, parseBytes(setting.min) ?? 0, parseBytes(setting.max) ?? 0, formatBytes);
    }
  }
}

/** A setting's default as loadSettings holds it: amounts in milliseconds or bytes. */
function defaultOf(setting: Setting): unknown {
  if (setting.type === "duration") return parseDuration(setting.default) ?? 0;
  if (setting.type === "bytes") return parseBytes(setting.default) ?? 0;
  return setting.default;
}

function bounded(value: number, min: number, max: number, format: (value: number) => string): Coerced {
  if (value >= min && value <= max) return { ok: true, value };
  return fail(`must be between ${format(min)} and ${format(max)}, is ${format(value)}`);
}

function describe(raw: unknown): string {
  if (raw === undefined) return "missing";
  return typeof raw === "object" && raw !== null ? (Array.isArray(raw) ? "a list" : "a table") : JSON.stringify(raw);
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

/** Line numbers of keys by path: `a.b`, and `list[2].key` for the third [[list]]. Good enough to point a person. */
function locateKeys(text: string): Map<string, number> {
  const lines = new Map<string, number>();
  const counts = new Map<string, number>();
  let prefix = "";
  text.split(/\r?\n/).forEach((line, index) => {
    const section = /^\s*\[(\[)?\s*([^\]]+?)\s*\]/.exec(line);
    if (section?.[2]) {
      const name = section[2].replaceAll(/["'\s]/g, "");
      if (section[1]) {
        const nth = counts.get(name) ?? 0;
        counts.set(name, nth + 1);
        prefix = `${name}[${nth}].`;
      } else prefix = `${name}.`;
      if (!lines.has(name)) lines.set(name, index + 1);
      return;
    }
    const key = /^\s*([A-Za-z0-9_."'-]+)\s*=/.exec(line)?.[1];
    if (key) lines.set(prefix + key.replaceAll(/["']/g, ""), index + 1);
  });
  return lines;
}

/** What a table says of a name that a person wrote; nothing of names that every object has, such as constructor. */
export function own<T>(table: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined;
}

/** `; did you mean x?` for the nearest known name within three edits, else nothing. */
export function suggestion(name: string, known: readonly string[]): string {
  let best = "";
  let bestDistance = 4;
  for (const candidate of known) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best ? `; did you mean ${best}?` : "";
}

/** Levenshtein distance, two rows. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(substitution, (previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1));
    }
    previous = row;
  }
  return previous[b.length] ?? 0;
}

/** The reference page of a table, in Markdown: generated, so it cannot disagree with the program. */
export function settingsReference(table: SettingsTable, sections: SectionsTable, envPrefix: string): string {
  const rows = (settings: SettingsTable, env: boolean): string =>
    Object.entries(settings)
      .map(([key, setting]) => {
        const name = env ? ` \`${envName(envPrefix, key)}\` |` : "";
        return `| \`${key}\` |${name} ${typeText(setting)} | ${defaultText(setting)} | ${setting.doc} |`;
      })
      .join("\n");
  const parts = [
    `| setting | environment | type | default | meaning |\n| --- | --- | --- | --- | --- |\n${rows(table, true)}`,
  ];
  for (const [name, section] of Object.entries(sections)) {
    parts.push(
      `\n### [[${name}]]\n\nRepeated, in the file only.\n\n| setting | type | default | meaning |\n| --- | --- | --- | --- |\n${rows(section, false)}`,
    );
  }
  return parts.join("\n");
}

function typeText(setting: Setting): string {
  switch (setting.type) {
    case "enum":
      return setting.values.map((value) => `\`${value}\``).join(", ");
    case "int":
    case "number":
      return `${setting.type === "int" ? "whole number" : "number"} ${setting.min}–${setting.max}`;
    case "duration":
      return `duration ${amountText(setting.min, formatDuration)}–${amountText(setting.max, formatDuration)}`;
    case "bytes":
      return `size ${amountText(setting.min, formatBytes)}–${amountText(setting.max, formatBytes)}`;
    case "strings":
      return "list of texts";
    default:
      return setting.type === "string" ? "text" : "true or false";
  }
}

function amountText(amount: Amount, format: (value: number) => string): string {
  return typeof amount === "number" ? format(amount) : amount;
}

function defaultText(setting: Setting): string {
  if (setting.type === "duration") return `\`${amountText(setting.default, formatDuration)}\``;
  if (setting.type === "bytes") return `\`${amountText(setting.default, formatBytes)}\``;
  return `\`${JSON.stringify(setting.default)}\``;
}
