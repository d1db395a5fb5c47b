// Why an item scores what it scores: a table of signed parts that sum to the score.

import { h, silent } from "./dom.js";
import { decimalsFor, label, many, number, signed } from "./words.js";

const MOST = 8;

/** The parts of an answer of /v1/explain, events of no effect last. */
export function partsOf(reasons) {
  const events = reasons.parts.filter((part) => part.part === "event");
  const the = (name) => reasons.parts.find((part) => part.part === name)?.contribution ?? 0;
  return {
    prior: the("prior"),
    rest: the("rest"),
    total: the("total"),
    events: events.toSorted((a, b) => Math.abs(b.contribution) - Math.abs(a.contribution)),
  };
}

/** One line: the events that moved it most. */
export function brief(reasons, decimals) {
  const { events } = partsOf(reasons);
  const most = events.slice(0, 2).filter((part) => part.contribution !== 0);
  if (!most.length) return null;
  return h(
    "span",
    {},
    ...most.map((part) =>
      h(
        "span",
        { class: "because" },
        h("span", { class: part.contribution < 0 ? "minus" : "plus" }, signed(part.contribution, decimals)),
        ` ${label(part)}`,
      ),
    ),
  );
}

function bar(from, to, low, high) {
  const at = (x) => `${(100 * (x - low)) / (high - low || 1)}%`;
  return silent(
    "span",
    { class: "track", style: { "--zero": at(0) } },
    h("span", {
      class: to < from ? "bar minus" : "bar plus",
      style: { "--from": at(Math.min(from, to)), "--to": at(Math.max(from, to)) },
    }),
  );
}

/**
 * The whole table.
 *
 * Args:
 *   score: what the list shows, which is clipped to the scale. sure: how sure that is, in words, or null.
 */
export function table(reasons, title, score, scale, sure) {
  const { prior, rest, total, events } = partsOf(reasons);
  const shown = events.slice(0, MOST);
  const others = events.slice(MOST).reduce((sum, part) => sum + part.contribution, 0);
  const moved = [...shown.map((part) => part.contribution), others, rest];
  const size = Math.max(...moved.map(Math.abs), 1e-12);
  const decimals = Math.max(2, decimalsFor(size));
  const low = Math.min(0, ...moved);
  const high = Math.max(0, ...moved);
  const row = (name, kind, value, x, plain = false) =>
    h(
      "tr",
      { class: kind, "data-part": kind, "data-contribution": x },
      h("th", { scope: "row" }, name, value === null || value === undefined ? null : h("span", { class: "value" }, ` rated ${number(value, Number.isInteger(value) ? 0 : 1)}`)),
      h("td", { class: "bars" }, plain ? null : bar(0, x, low, high)),
      h("td", { class: "figure" }, plain ? number(x, decimals) : signed(x, decimals)),
    );
  const matters = Math.abs(rest) >= 0.5 * 10 ** -decimals;
  const exact = reasons.method === "exact";
  const clipped = scale.kind === "rating" && Math.abs(total - score) > 0.005 ? ` The list shows ${number(score, 2)}: ratings end at ${number(total > score ? scale.high : scale.low, 0)}.` : "";
  return h(
    "div",
    { class: "why", "data-method": reasons.method },
    h(
      "table",
      {},
      h("caption", {}, "Why ", h("strong", {}, title), " stands here"),
      h("thead", { class: "hidden" }, h("tr", {}, h("th", { scope: "col" }, "What"), h("td", {}), h("th", { scope: "col" }, "Adds"))),
      h(
        "tbody",
        {},
        row("Before any click", "prior", null, prior, true),
        ...shown.map((part) => row(label(part), "event", scale.kind === "rating" ? part.value : null, part.contribution)),
        events.length > MOST ? row(many(events.length - MOST, "other click"), "others", null, others) : null,
        matters || !exact ? row("Clicks acting together", "rest", null, rest) : null,
      ),
      h("tfoot", {}, row("Score", "total", null, total, true)),
    ),
    h(
      "p",
      { class: "hint" },
      exact
        ? "Exact: the score is the sum of these parts."
        : "Leave-one-out: what the score would lose without that click; the rest is what no single click accounts for.",
      clipped,
    ),
    ...(sure ? [h("p", { class: "hint how-sure" }, sure)] : []),
  );
}
