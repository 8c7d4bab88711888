// Elements without strings of HTML: text stays text, styles go through the CSSOM, as the page's policy wants.

/** An element: h("p", { class: "sub", onclick: f, title: "..." }, "text", child, ...). */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  set(element, attributes);
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** An element of a drawing. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Set attributes, properties that begin with "on", and custom style properties ("--x"). */
export function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith("--")) element.style.setProperty(name, value);
    else if (value === null || value === undefined || value === false) element.removeAttribute(name);
    else element.setAttribute(name, value === true ? "" : value);
  }
  return element;
}

/** Set an element's text where it changed: a text that stays is not announced or laid out again. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** What CSS says of a custom property now, in the theme that is on. */
export function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** What the page remembers from visit to visit; nothing where the browser keeps nothing. */
export const memory = {
  get(key, otherwise) {
    try {
      return localStorage.getItem(`adamas.${key}`) ?? otherwise;
    } catch {
      return otherwise;
    }
  },
  set(key, value) {
    try {
      localStorage.setItem(`adamas.${key}`, value);
    } catch {
      /* a browser that keeps nothing still shows everything */
    }
  },
};
