// @ts-check
/// <reference lib="dom" />

/** @param {string} id @returns {HTMLElement} */
export function byId(id) {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`There is no #${id}`);
  return element;
}

/**
 * Makes an element. What it holds is text or other elements, never markup.
 * @param {string} name @param {Record<string, string>} attributes @param {(string | Node)[]} children
 */
export function el(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** @param {Element} element @param {(string | Node)[]} children */
export function replace(element, ...children) {
  element.replaceChildren(...children);
}

/** The value of a colour of the style sheet as it is now, light or dark. @param {string} name */
export function color(name) {
  const probe = el("span", { class: `ink-${name}`, hidden: "" });
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}
