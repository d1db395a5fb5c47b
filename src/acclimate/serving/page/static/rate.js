// Saying what one thinks of an item: a rating where the model predicts ratings, a choice where it orders.

import { h } from "./dom.js";
import { number } from "./words.js";

/** The values offered on a scale from low to high: whole numbers where they are few, else null. */
function steps({ low, high }) {
  const found = [];
  for (let value = Math.ceil(low); value <= high && found.length <= 11; value += 1) found.push(value);
  return found.length >= 2 && found.length <= 11 ? found : null;
}

/**
 * Buttons that call `say(value)`; null is a choice.
 *
 * Digits work as keys while the focus is inside.
 */
export function rater(scale, title, say, { current = null, chosen = "I like it" } = {}) {
  if (scale.kind === "choice") {
    return h(
      "div",
      { class: "rater", role: "group", "aria-label": title },
      h("button", { type: "button", class: "primary", onclick: () => say(null) }, chosen),
    );
  }
  const values = steps(scale);
  if (values === null) {
    const middle = (scale.low + scale.high) / 2;
    const shown = h("output", {}, number(current ?? middle, 1));
    const range = h("input", {
      type: "range",
      min: scale.low,
      max: scale.high,
      step: (scale.high - scale.low) / 40,
      value: current ?? middle,
      "aria-label": `Rating for ${title}`,
      oninput: () => (shown.textContent = number(Number(range.value), 1)),
    });
    return h(
      "div",
      { class: "rater slider", role: "group", "aria-label": `Rate ${title}` },
      range,
      shown,
      h("button", { type: "button", class: "primary", onclick: () => say(Number(range.value)) }, "Rate"),
    );
  }
  const buttons = values.map((value) =>
    h(
      "button",
      {
        type: "button",
        "data-value": value,
        "aria-pressed": current === null ? null : String(current === value),
        "aria-label": `${value} of ${values[values.length - 1]}`,
        onclick: () => say(value),
      },
      String(value),
    ),
  );
  return h(
    "div",
    {
      class: "rater",
      role: "group",
      "aria-label": `Rate ${title}`,
      style: { "--steps": values.length },
      onkeydown: (event) => {
        if (event.ctrlKey || event.metaKey || event.altKey) return;
        const wanted = buttons.find((button) => button.dataset.value === event.key);
        if (wanted) {
          event.preventDefault();
          wanted.focus();
          wanted.click();
        }
      },
    },
    h("span", { class: "segments" }, ...buttons),
    h("span", { class: "end", "aria-hidden": "true" }, "poor"),
    h("span", { class: "end", "aria-hidden": "true" }, "great"),
  );
}
