// A ranking that shows where everything came from.

import { calm, h, hidden, silent } from "./dom.js";
import { label, listed, many, number } from "./words.js";

export const keyOf = (item) => JSON.stringify(item);

/** What became of each item of `now`, by key: {from, by, kind}, where kind is new, up, down or same. */
export function movesOf(before, now) {
  const old = new Map((before ?? []).map((one) => [keyOf(one.item), one.rank]));
  return new Map(
    now.map((one) => {
      const key = keyOf(one.item);
      if (!before) return [key, { kind: "first", by: 0 }];
      if (!old.has(key)) return [key, { kind: "new", by: 0 }];
      const by = old.get(key) - one.rank;
      return [key, { kind: by > 0 ? "up" : by < 0 ? "down" : "same", by: Math.abs(by) }];
    }),
  );
}

/** The same in one sentence. */
export function summary(before, now) {
  if (!now.length) return "The list is empty.";
  const first = `First: ${label(now[0])}.`;
  if (!before) return `${many(now.length, "item")}. ${first}`;
  const moves = [...movesOf(before, now).values()];
  const n = (kind) => moves.filter((move) => move.kind === kind).length;
  const parts = [["new", "new"], ["up", "up"], ["down", "down"]].filter(([kind]) => n(kind)).map(([kind, word]) => `${n(kind)} ${word}`);
  const same = keyOf(before[0]?.item) === keyOf(now[0].item);
  if (!parts.length) return "The list stays as it is.";
  return `${listed(parts)}. ${same ? `Still first: ${label(now[0])}.` : first}`;
}

function badge(move) {
  if (move.kind === "new") return h("span", { class: "move new" }, "new");
  if (move.kind === "up" || move.kind === "down") {
    const arrow = move.kind === "up" ? "▲" : "▼";
    return h("span", { class: `move ${move.kind}` }, silent("span", {}, `${arrow}\u2009${move.by}`), hidden(`${move.kind} ${many(move.by, "place")}`));
  }
  if (move.kind === "same") return h("span", { class: "move same" }, silent("span", {}, "–"), hidden("not moved"));
  return h("span", { class: "move" });
}

/** Places of the list that lie within one deviation of an item's score. */
function reach(one, items) {
  const inside = items.filter((other) => Math.abs(other.score - one.score) <= one.deviation).map((other) => other.rank);
  return [Math.min(...inside), Math.max(...inside)];
}

const known = (one) => one.deviation !== undefined && one.deviation !== null;

/** How sure a score is, in words; null where the model does not know. */
export function sureness(one, items, scale, decimals) {
  if (!known(one)) return null;
  const clip = (x) => (scale.kind === "rating" ? Math.min(scale.high, Math.max(scale.low, x)) : x);
  const from = number(clip(one.score - one.deviation), decimals);
  const to = number(clip(one.score + one.deviation), decimals);
  const [best, worst] = reach(one, items);
  const all = best === 1 && worst === items.length;
  const places = all ? `any of these ${items.length} places` : best === worst ? `no other place than ${best}` : `any place from ${best} to ${worst}`;
  return `Two chances in three that the score is between ${from} and ${to}. That wide, it could stand at ${places}.`;
}

/** The ends of the axis on which a list is drawn. */
export function axisOf(items, scale) {
  const ends = items.flatMap((one) => [one.score - (one.deviation ?? 0), one.score + (one.deviation ?? 0)]);
  const low = Math.min(...ends);
  const high = Math.max(...ends);
  if (scale.kind === "rating") {
    // Whole ratings around the list, so that what differs can be seen to differ.
    const [from, to] = [Math.max(scale.low, Math.floor(low)), Math.min(scale.high, Math.ceil(high))];
    return to > from ? [from, to] : [scale.low, scale.high];
  }
  return high > low ? [low, high] : [low - 1, high + 1];
}

/** Score and deviation drawn, in figures, and in words. */
function sure(one, items, scale, [low, high], decimals) {
  const at = (x) => `${Math.min(100, Math.max(0, (100 * (x - low)) / (high - low)))}%`;
  const style = { "--at": at(one.score) };
  if (known(one)) Object.assign(style, { "--from": at(one.score - one.deviation), "--to": at(one.score + one.deviation) });
  const words = sureness(one, items, scale, decimals);
  return h(
    "div",
    { class: "sure", title: words },
    silent("span", { class: "interval", style }, known(one) ? h("span", { class: "spread" }) : null, h("span", { class: "dot" })),
    h(
      "span",
      { class: "figures" },
      h("strong", {}, number(one.score, decimals)),
      known(one) ? h("span", {}, silent("span", {}, ` ±\u2009${number(one.deviation, decimals)}`), hidden(`. ${words}`)) : null,
    ),
  );
}

const WHYS = { explored: "tried out: little is known of it yet", pinned: "put here by a rule" };

/**
 * Draws `items` into the list `ol`; rows of the same item stay the same element and glide to their place.
 *
 * Args:
 *   moves: of movesOf. actions(one): elements that stand in an item's row. below(one): elements under it.
 */
export function draw(ol, items, { moves, scale, decimals, actions, below, note }) {
  const before = new Map([...ol.children].map((row) => [row.dataset.key, row.getBoundingClientRect().top]));
  const axis = axisOf(items, scale);
  const rows = items.map((one) => {
    const key = keyOf(one.item);
    const move = moves.get(key) ?? { kind: "same", by: 0 };
    const why = one.reason ? h("span", { class: "tag" }, WHYS[one.reason] ?? one.reason) : null;
    return h(
      "li",
      { "data-key": key, "data-item": String(one.item), class: `item is-${move.kind}` },
      h("span", { class: "rank" }, hidden("Place "), String(one.rank), hidden(":")),
      badge(move),
      h("div", { class: "name" }, h("span", { class: "title" }, label(one)), why, h("span", { class: "reason" }, note(one))),
      sure(one, items, scale, axis, decimals),
      h("div", { class: "actions" }, ...actions(one)),
      ...below(one),
    );
  });
  ol.replaceChildren(...rows);
  if (calm()) return;
  for (const row of rows) {
    const was = before.get(row.dataset.key);
    const is = row.getBoundingClientRect().top;
    if (was === undefined) {
      if (before.size) row.animate([{ opacity: 0 }, { opacity: 1 }], { duration: 320, easing: "ease-out" });
    } else if (Math.abs(was - is) > 1) {
      row.animate([{ transform: `translateY(${was - is}px)` }, { transform: "none" }], {
        duration: 380,
        easing: "cubic-bezier(.2, .7, .2, 1)",
      });
    }
  }
}
