// A combobox that finds items by title: https://www.w3.org/WAI/ARIA/apg/patterns/combobox/

import { get } from "./api.js";
import { $, h } from "./dom.js";
import { label, many } from "./words.js";

const REST = 120; // milliseconds without a key before it asks
const MOST = 8;

/** Calls `choose(item)` when one is picked, `failed(problem)` when asking fails. */
export function combobox({ choose, failed }) {
  const input = $("search");
  const list = $("found");
  const hint = $("search-hint");
  const idle = hint.textContent;
  let items = [];
  let active = -1;
  let asking = null;
  let timer = null;

  function close() {
    list.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function mark(index) {
    active = index;
    [...list.children].forEach((option, i) => option.setAttribute("aria-selected", String(i === index)));
    if (index < 0) input.removeAttribute("aria-activedescendant");
    else {
      input.setAttribute("aria-activedescendant", `found-${index}`);
      list.children[index].scrollIntoView({ block: "nearest" });
    }
  }

  function pick(index) {
    const item = items[index];
    input.value = "";
    hint.textContent = idle;
    clearTimeout(timer);
    asking?.abort();
    close();
    choose(item);
  }

  function show(found, text) {
    items = found;
    list.replaceChildren(
      ...items.map((item, i) =>
        h(
          "li",
          {
            role: "option",
            id: `found-${i}`,
            "aria-selected": "false",
            // Before the input loses the focus.
            onmousedown: (event) => event.preventDefault(),
            onclick: () => pick(i),
            onmousemove: () => active === i || mark(i),
          },
          label(item),
        ),
      ),
    );
    list.hidden = items.length === 0;
    input.setAttribute("aria-expanded", String(items.length > 0));
    hint.textContent = items.length
      ? `${items.length === MOST ? `The first ${MOST}` : many(items.length, "match", "matches")}. Arrow keys choose, Enter picks.`
      : `Nothing here is called “${text}”.`;
    mark(-1);
  }

  async function search() {
    const text = input.value.trim();
    asking?.abort();
    if (!text) {
      hint.textContent = idle;
      close();
      return;
    }
    asking = new AbortController();
    const { signal } = asking;
    try {
      const { data } = await get(`/v1/items?${new URLSearchParams({ search: text, limit: MOST })}`, { signal });
      if (!signal.aborted) show(data.items, text);
    } catch (error) {
      if (signal.aborted) return;
      close();
      failed(error, search);
    }
  }

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(search, REST);
  });
  input.addEventListener("blur", close);
  input.addEventListener("focus", () => {
    if (input.value.trim() && items.length) search();
  });
  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    const open = !list.hidden;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (!open) search();
      else {
        const step = event.key === "ArrowDown" ? 1 : -1;
        // Past either end stands the input itself, as -1.
        mark(((active + 1 + step + items.length + 1) % (items.length + 1)) - 1);
      }
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (open) pick(Math.max(0, active));
      else search();
    } else if (event.key === "Escape") {
      event.preventDefault();
      if (open) close();
      else {
        input.value = "";
        hint.textContent = idle;
      }
    }
  });
}
