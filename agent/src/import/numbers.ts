/** What a field is that is no number: an empty one, a text for a number that is not finite, or something else. */
export type NoNumber = "missing" | "not_finite" | "number_malformed";

/** The number of a field, a number itself or a text that spells one in decimals; NaN where it has none that is finite. */
export function numberOf(field: unknown): number {
  if (typeof field === "number") return Number.isFinite(field) ? field : NaN;
  if (typeof field === "string") {
    const number = Number(field);
    // What Number() takes beyond decimals: nothing for 0, and other bases.
    if (number === 0 && field.trim() === "") return NaN;
    return Number.isFinite(number) && !isOtherBase(field) ? number : NaN;
  }
  return typeof field === "bigint" ? Number(field) : NaN;
}

/** Why numberOf() gave NaN. */
export function whyNoNumber(field: unknown): NoNumber {
  if (field === null || field === undefined) return "missing";
  if (typeof field === "number") return "not_finite";
  if (typeof field !== "string") return "number_malformed";
  const text = field.trim();
  if (text === "") return "missing";
  const isNotFinite = /^[+-]?(?:nan|inf|infinity|null)$/i.test(text) || Math.abs(Number(text)) === Infinity;
  return isNotFinite ? "not_finite" : "number_malformed";
}

function isOtherBase(text: string): boolean {
  // 0x, 0o and 0b; the first characters mostly say that it is none of them.
  const second = text.charCodeAt(1);
  return (second > 57 || text.charCodeAt(0) <= 32) && /^\s*0[xob]/i.test(text);
}
