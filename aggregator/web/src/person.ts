const KEY = "weir.person";

/** The name under which this browser acknowledges; "": whoever is logged in. */
export function person(): string {
  return localStorage.getItem(KEY) ?? "";
}

/** Remembers the name in this browser. */
export function setPerson(name: string): void {
  localStorage.setItem(KEY, name.trim());
}
