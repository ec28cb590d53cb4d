/** What an element's attribute may be: false and undefined leave it out, true is empty, functions listen. */
type Attribute = string | number | boolean | undefined | ((event: Event) => void);

/** What an element may hold: texts become text nodes, so nothing is ever read as HTML. */
export type Child = Node | string | number | null | undefined | false;

/** Makes an element. attributes: by name; a function under `onclick` and the like listens to that event. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, Attribute>> = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...present(children));
  return element;
}

/** Replaces what an element holds. */
export function fill(element: Element, ...children: readonly Child[]): void {
  element.replaceChildren(...present(children));
}

/** Sets a text only where it changed, so that a list that is updated every second costs nothing. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** The element with this id. Throws when the page has none: the page and the scripts belong together. */
export function byId(id: string): HTMLElement {
  const element = document.getElementById(id);
  if (!element) throw new Error(`index.html has no element #${id}`);
  return element;
}

/** Makes the children of parent be elements, in this order, moving as few as possible. */
export function reconcile(parent: Element, elements: readonly Element[]): void {
  const kept = new Set(elements);
  for (const child of Array.from(parent.children)) if (!kept.has(child)) child.remove();
  let at = parent.firstElementChild;
  for (const element of elements) {
    if (element === at) at = at.nextElementSibling;
    else parent.insertBefore(element, at);
  }
}

function present(children: readonly Child[]): Array<Node | string> {
  const nodes: Array<Node | string> = [];
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    nodes.push(typeof child === "number" ? String(child) : child);
  }
  return nodes;
}
