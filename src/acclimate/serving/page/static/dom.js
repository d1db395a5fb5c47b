// Elements made of text, never of markup.

export const $ = (id) => document.getElementById(id);

/** h("li", {class: "row", "aria-label": "…", onclick: f, style: {"--x": "3%"}}, "text", child, null) */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, of] of Object.entries(value)) element.style.setProperty(key, of);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** What is read out but not seen. */
export const hidden = (text) => h("span", { class: "hidden" }, text);

/** What is seen but not read out. */
export const silent = (tag, attributes, ...children) => h(tag, { ...attributes, "aria-hidden": "true" }, ...children);

export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Says it to who listens, also when it says the same again. */
export function announce(region, text) {
  region.replaceChildren();
  region.append(h("span", {}, text));
}
