// What is not as it should be, said once, with what to do about it.

import { $, h } from "./dom.js";

const TITLES = {
  offline: "No connection.",
  forbidden: "This key may not do that.",
  limited: "A little slower, please.",
  unavailable: "The server cannot answer now.",
  refused: "That did not work.",
};

let timer = null;

/** Clears what `problem` said. */
export function clear() {
  clearInterval(timer);
  timer = null;
  $("notices").querySelector(".problem-notice")?.remove();
}

/** Says what went wrong; `again` is tried by itself once the server's wait is over, and by a button. */
export function problem(error, again = null) {
  clear();
  const when = h("span", {});
  const retry = again ? h("button", { type: "button", onclick: () => (clear(), again()) }, "Try again now") : null;
  const close = h("button", { type: "button", class: "quiet", onclick: clear }, "Dismiss");
  $("notices").append(
    h(
      "div",
      { class: `notice problem-notice ${error.passing ? "warn" : "bad"}`, role: "alert", "data-kind": error.kind },
      h("p", {}, h("strong", {}, TITLES[error.kind] ?? "Something went wrong."), " ", error.message, " ", when),
      h("div", { class: "row" }, retry, close),
    ),
  );
  if (!again || !error.passing) return;
  let left = Math.ceil(Math.min(60, error.wait ?? 4));
  const tick = () => {
    if (left <= 0) {
      clear();
      again();
      return;
    }
    when.textContent = `Trying again in ${left} s.`;
    left -= 1;
  };
  // Counting aloud every second would be too much: only the first number is part of what is announced.
  tick();
  when.setAttribute("aria-live", "off");
  timer = setInterval(tick, 1000);
}

/** What the server itself says is not as it should be; an empty list clears it. */
export function degraded(reasons) {
  const old = $("notices").querySelector(".degraded");
  if (old && old.dataset.said === JSON.stringify(reasons)) return;
  old?.remove();
  if (!reasons.length) return;
  $("notices").append(
    h(
      "div",
      { class: "notice warn degraded", role: "status", "data-said": JSON.stringify(reasons) },
      h("p", {}, h("strong", {}, "Answered, but not at its best.")),
      h("ul", {}, ...reasons.map((reason) => h("li", {}, reason))),
    ),
  );
}
