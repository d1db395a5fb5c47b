// The playground: what was clicked goes to the server, what the server makes of it comes back.

import { ask, get, post } from "./api.js";
import { $, announce, h, hidden, silent } from "./dom.js";
import * as keep from "./keep.js";
import * as key from "./key.js";
import { axisOf, draw, keyOf, movesOf, summary, sureness } from "./list.js";
import * as notices from "./notices.js";
import { rater } from "./rate.js";
import { combobox } from "./search.js";
import { brief, table } from "./why.js";
import { count, decimalsFor, label, many, milliseconds, number } from "./words.js";

const K = 10;
const STRATEGIES = [
  ["default", "This model", "learns from your clicks"],
  ["popularity", "Most popular", "the same for everybody"],
  ["item-knn", "Item neighbours", "what others chose with it"],
];

let session = keep.read("session") ?? begin();
let log = keep.read("log") ?? []; // oldest first: {id, item, title, value, state}
let card = null; // of the model
let scale = { kind: "choice" };
let ranking = null;
let reasons = new Map(); // of the items of `ranking`, by key
let open = new Set(); // panels: "why:<key>", "rate:<key>"
let skipped = new Set(); // questions
let snapshots = new Map(); // lists by the events they reflect
let looking = new AbortController(); // for what belongs to `ranking`
let queue = Promise.resolve(); // clicks and undos, one after the other

function begin() {
  const fresh = keep.random();
  keep.write("session", fresh);
  return fresh;
}

const remember = () => keep.write("log", log);
const path = (...parts) => `/v1/sessions/${[session, ...parts].map(encodeURIComponent).join("/")}`;
const inOrder = (task) => (queue = queue.then(task, task));
const decimals = () =>
  scale.kind === "rating" ? 2 : decimalsFor(Math.abs((ranking?.items[0]?.score ?? 1) - (ranking?.items.at(-1)?.score ?? 0)) / 4);

// ---------------------------------------------------------------------------------------------- what is asked

async function start() {
  key.show();
  try {
    await introduce();
  } catch (error) {
    return failed(error, start);
  }
  for (const event of log) if (event.state === "saving") event.state = "unknown";
  return refresh({ loading: true });
}

/** Asks what the model is, and what it takes. */
async function introduce() {
  card = (await get("/v1/model")).data;
  scale = card.scale === "rating" ? { kind: "rating", low: card.value.min, high: card.value.max } : { kind: "choice" };
  $("served").textContent = `${card.learner} on ${card.data}, ${many(card.items, "item")}`;
  $("pick-title").textContent = scale.kind === "rating" ? "Rate something you know" : "Pick something you like";
}

/** Asks for the list, then for all that explains it. */
async function refresh({ action = null, began = null, stored = null, loading = false } = {}) {
  looking.abort();
  looking = new AbortController();
  const { signal } = looking;
  const mark = loading ? setTimeout(() => $("list").classList.add("waiting"), 250) : null;
  let answer;
  try {
    answer = await post("/v1/recommend", { session, k: K, deviation: true }, { signal });
    if (card.sha256 !== answer.data.model) await introduce();
  } catch (error) {
    if (signal.aborted) return;
    failed(error, () => refresh({ action, began, stored }));
    return;
  } finally {
    clearTimeout(mark);
    $("list").classList.remove("waiting");
  }
  notices.clear();
  if (loading) await agree(answer.data, signal);
  if (signal.aborted) return;
  const before = ranking?.items ?? null;
  ranking = answer.data;
  reasons = new Map();
  notices.degraded(ranking.degraded ?? []);
  drawAll(before);
  const shown = began === null ? null : performance.now() - began;
  facts(answer, { stored, shown });
  announce($("changes"), [action, unchanged(action), summary(before, ranking.items)].filter(Boolean).join(" "));
  await Promise.all([explainAll(signal), compare(signal), question(signal)]);
}

/** Takes the server's word for what this session did, where this tab remembers otherwise. */
async function agree(data, signal) {
  const known = log.filter((event) => event.state === "stored");
  const counted = new Set(known.map((event) => keyOf(event.item))).size;
  if (known.length === log.length && counted === data.events) return;
  if (!data.events || !data.items.length) log = [];
  else {
    try {
      const { data: told } = await post("/v1/explain", { session, item: data.items[0].item }, { signal });
      log = told.parts
        .filter((part) => part.part === "event" && part.event)
        .map((part) => ({ id: part.event, item: part.item, title: part.title, value: part.value ?? null, state: "stored" }));
    } catch {
      return;
    }
  }
  remember();
}

/** After an undo: whether the list is what it was before that click. */
function unchanged(action) {
  const of = log.map((event) => event.id).join(" ");
  const now = JSON.stringify([ranking.model, ranking.items]);
  const was = snapshots.get(of);
  snapshots.set(of, now);
  if (snapshots.size > 200) snapshots.delete(snapshots.keys().next().value);
  return action?.startsWith("Undone") && was === now ? "The list is exactly as it was before." : null;
}

async function explainAll(signal) {
  const isOpen = (item) => open.has(`why:${keyOf(item)}`);
  const all = ranking.items.map((one) => one.item);
  // What is open first; before any click there is nothing to tell of the others.
  const wanted = [...all.filter(isOpen), ...(ranking.events ? all.filter((item) => !isOpen(item)) : [])];
  try {
    // One after the other, so that the next click does not wait behind them.
    for (const item of wanted) if (!signal.aborted) await explain(item, signal);
  } catch {
    // The list stands without reasons; an open panel asks for its own.
  }
}

async function explain(item, signal) {
  const { data } = await post("/v1/explain", { session, item }, { signal });
  if (signal.aborted) return;
  reasons.set(keyOf(item), data);
  told(item);
}

/** Puts reasons that have come into the row they belong to. */
function told(item) {
  const row = [...$("list").children].find((one) => one.dataset.key === keyOf(item));
  const one = ranking.items.find((other) => keyOf(other.item) === keyOf(item));
  if (!row || !one) return;
  row.querySelector(".reason").replaceChildren(note(one));
  row.querySelector(".panel.why-panel")?.replaceChildren(whyOf(one));
}

async function compare(signal) {
  const ask = async ([strategy]) => {
    if (strategy === "default") return ranking;
    if (!card.strategies.includes(strategy)) return new Error("This model cannot show it: it kept no histories, or too many.");
    try {
      return (await post("/v1/recommend", { session, k: K, strategy }, { signal })).data;
    } catch (error) {
      return error;
    }
  };
  const answers = await Promise.all(STRATEGIES.map(ask));
  if (signal.aborted) return;
  const yours = new Map(ranking.items.map((one) => [keyOf(one.item), one.rank]));
  $("columns").replaceChildren(...STRATEGIES.map((strategy, i) => column(strategy, answers[i], yours)));
}

async function question(signal) {
  try {
    const { data } = await post("/v1/onboarding", { session, k: Math.min(300, 10 + 2 * skipped.size) }, { signal });
    if (!signal.aborted) drawQuestion(data);
  } catch (error) {
    if (signal.aborted) return;
    $("question").replaceChildren(h("p", { class: "empty" }, error.message));
  }
}

// ------------------------------------------------------------------------------------------------ what is done

function click(one, value) {
  // A click on what is on its way already is the second half of a double click.
  if (log.some((event) => event.state === "saving" && event.value === value && keyOf(event.item) === keyOf(one.item))) return;
  const event = { id: `page-${keep.random()}`, item: one.item, title: one.title ?? null, value, state: "saving" };
  log.push(event);
  remember();
  drawLog();
  const began = performance.now();
  inOrder(() => store(event, began));
}

async function store(event, began) {
  event.state = "saving";
  drawLog();
  const body = { id: event.id, session, item: event.item };
  if (event.value !== null) body.value = event.value;
  let answer;
  try {
    answer = await post("/v1/events", { events: [body] });
  } catch (error) {
    if (error.passing || error.kind === "key") {
      // It may be on disk or not; the same id makes trying again harmless.
      event.state = "unknown";
      failed(error, () => inOrder(() => store(event, performance.now())));
    } else {
      log = log.filter((other) => other.id !== event.id);
      failed(error);
    }
    remember();
    drawLog();
    return;
  }
  event.state = "stored";
  remember();
  const rated = event.value === null ? `You picked ${label(event)}.` : `You rated ${label(event)} ${short(event.value)}.`;
  await refresh({ action: rated, began, stored: answer.ms });
}

function undo(event) {
  if (event.state === "undoing") return;
  const began = performance.now();
  inOrder(async () => {
    event.state = "undoing";
    drawLog();
    try {
      await ask("DELETE", path("events", event.id));
    } catch (error) {
      if (error.code !== "unknown_event") {
        event.state = "stored";
        drawLog();
        failed(error, error.passing ? () => undo(event) : null);
        return;
      }
    }
    log = log.filter((other) => other.id !== event.id);
    remember();
    skipped.delete(keyOf(event.item));
    await refresh({ action: `Undone: ${label(event)}.`, began });
  });
}

function startOver() {
  const dialog = $("erase");
  $("erase-text").textContent = `The server erases ${many(log.length, "click")} of yours, and you are a stranger again. This cannot be undone.`;
  $("erase-no").onclick = () => dialog.close();
  $("erase-yes").onclick = () => {
    dialog.close();
    inOrder(erase);
  };
  dialog.showModal();
}

async function erase() {
  let refused = null;
  try {
    await ask("DELETE", path());
  } catch (error) {
    if (error.kind !== "forbidden") return failed(error, error.passing ? () => inOrder(erase) : null);
    refused = error;
  }
  session = begin();
  log = [];
  skipped = new Set();
  snapshots = new Map();
  open = new Set();
  remember();
  await refresh({ action: refused ? "You are a stranger again; your clicks were not erased." : "Everything is erased." });
  if (refused) notices.problem(refused);
  $("search").focus();
}

function failed(error, again = null) {
  if (error.kind === "key") key.need(again ?? start, error.message);
  else if (error instanceof Error && error.kind) notices.problem(error, again);
  else throw error;
}

// ----------------------------------------------------------------------------------------------- what is shown

const short = (value) => number(value, Number.isInteger(value) ? 0 : 1);

function drawAll(before) {
  const focused = spot(document.activeElement);
  const moves = movesOf(before, ranking.items);
  const rated = ranking.items.length ? "" : "There is nothing left to recommend: you have met every item.";
  $("list-empty").hidden = ranking.items.length > 0;
  $("list-empty").textContent = rated;
  $("legend").hidden = ranking.items.length === 0;
  $("list").classList.toggle("cold", !ranking.events && !before);
  $("legend").textContent = legend();
  draw($("list"), ranking.items, { moves, scale, decimals: decimals(), actions, below, note });
  drawLog();
  restore(focused);
}

function legend() {
  if (!ranking.items.length) return "";
  const [low, high] = axisOf(ranking.items, scale);
  const dot =
    scale.kind === "rating"
      ? `The dot is the rating expected of you, on a line from ${short(low)} to ${short(high)}`
      : "The dot is the score, which says nothing but the order";
  return ranking.items[0].deviation === undefined
    ? `${dot}. This model does not say how sure it is.`
    : `${dot}; the bar reaches one standard deviation to each side: about two chances in three.`;
}

/** Where the focus is inside the list, in terms that outlive a redraw. */
function spot(element) {
  const row = element?.closest?.("#list > li");
  return row ? { key: row.dataset.key, act: element.dataset.act ?? null } : null;
}

function restore(where) {
  if (!where) return;
  const row = [...$("list").children].find((one) => one.dataset.key === where.key);
  const target = row && where.act ? row.querySelector(`[data-act="${where.act}"]`) : null;
  (target ?? $("list-title")).focus({ preventScroll: true });
}

const note = (one) => {
  const told = reasons.get(keyOf(one.item));
  return (told ? brief(told, decimals()) : null) ?? "";
};

function actions(one) {
  const toggle = (what, text) => {
    const id = `${what}:${keyOf(one.item)}`;
    return h(
      "button",
      {
        type: "button",
        class: "quiet",
        "data-act": what,
        "aria-expanded": String(open.has(id)),
        onclick: (event) => flip(one, what, event.currentTarget),
      },
      text,
      hidden(` ${label(one)}`),
    );
  };
  const pick =
    scale.kind === "choice"
      ? h("button", { type: "button", class: "quiet", "data-act": "pick", onclick: () => click(one, null) }, "Pick", hidden(` ${label(one)}`))
      : toggle("rate", "Rate");
  return [toggle("why", "Why"), pick];
}

function below(one) {
  const id = keyOf(one.item);
  return [
    open.has(`why:${id}`) ? h("div", { class: "panel why-panel" }, whyOf(one)) : null,
    open.has(`rate:${id}`) ? h("div", { class: "panel rate-panel" }, raterOf(one)) : null,
  ].filter(Boolean);
}

const raterOf = (one) => rater(scale, label(one), (value) => (open.delete(`rate:${keyOf(one.item)}`), click(one, value)));

function whyOf(one) {
  const told = reasons.get(keyOf(one.item));
  return told ? table(told, label(one), one.score, scale, sureness(one, ranking.items, scale, decimals())) : h("p", { class: "hint" }, "Asking …");
}

function flip(one, what, button) {
  const id = `${what}:${keyOf(one.item)}`;
  const row = button.closest("li");
  const shut = open.delete(id);
  button.setAttribute("aria-expanded", String(!shut));
  if (shut) {
    row.querySelector(`.${what}-panel`)?.remove();
    return;
  }
  open.add(id);
  const panel = h("div", { class: `panel ${what}-panel` }, what === "why" ? whyOf(one) : raterOf(one));
  row.append(panel);
  if (what === "rate") panel.querySelector("button, input").focus();
  else if (!reasons.has(keyOf(one.item))) {
    const { signal } = looking;
    explain(one.item, signal).catch((error) => {
      if (!signal.aborted) panel.replaceChildren(h("p", { class: "hint" }, error.message));
    });
  }
}

function facts({ data, ms, server }, { stored, shown }) {
  const fact = (name, ...value) => h("div", { "data-fact": name }, h("dt", {}, name), h("dd", {}, ...value));
  const inside = server === null ? "" : ` (${milliseconds(server)} in the server)`;
  $("facts").replaceChildren(
    ...[
      fact("Reflects", data.events ? many(data.events, "click") : "no click yet"),
      fact("Answer", milliseconds(ms), inside),
      stored === null ? null : fact("Your click", `on disk in ${milliseconds(stored)}, in the list in ${milliseconds(shown)}`),
      fact("Top 10", data.exact ? "exact" : "approximate"),
      fact("Model", h("code", { title: `SHA-256 ${data.model}` }, data.model.slice(0, 8))),
    ].filter(Boolean),
  );
}

const STATES = { saving: "saving …", undoing: "taking back …", unknown: "not confirmed" };

function drawLog() {
  $("log-empty").hidden = log.length > 0;
  $("start-over").hidden = log.length === 0;
  const focused = document.activeElement?.closest?.("#log li");
  const at = focused ? [...$("log").children].indexOf(focused) : -1;
  const last = new Map(log.map((event) => [keyOf(event.item), event.id]));
  $("log").replaceChildren(
    ...log.toReversed().map((event) =>
      h(
        "li",
        { "data-event": event.id, "data-state": event.state, class: last.get(keyOf(event.item)) === event.id ? null : "replaced" },
        h(
          "span",
          { class: "name" },
          h("span", { class: "title" }, label(event)),
          STATES[event.state] ? h("span", { class: "reason" }, STATES[event.state]) : null,
          last.get(keyOf(event.item)) === event.id ? null : h("span", { class: "reason" }, "a later click counts instead"),
        ),
        event.value === null ? null : h("span", { class: "given" }, hidden("rated "), short(event.value)),
        h(
          "button",
          // Not disabled while it works: that would take the focus away.
          { type: "button", class: "quiet", "aria-disabled": event.state === "undoing" ? "true" : null, onclick: () => undo(event) },
          "Undo",
          hidden(` ${label(event)}`),
        ),
      ),
    ),
  );
  if (at < 0) return;
  // The next one to undo, or where the list was.
  const next = $("log").children[Math.min(at, $("log").children.length - 1)]?.querySelector("button");
  if (next) next.focus({ preventScroll: true });
  else if (!log.length) $("search").focus();
}

function column([strategy, title, about], answer, yours) {
  const id = `column-${strategy}`;
  const body =
    answer instanceof Error
      ? h("p", { class: "empty" }, answer.message)
      : h(
          "ol",
          { role: "list" },
          ...answer.items.map((one) => {
            const mine = yours.get(keyOf(one.item));
            const mark =
              strategy === "default"
                ? null
                : mine
                  ? h("span", { class: "mark", title: `Place ${mine} of your list` }, hidden("place "), `${mine}`, silent("span", {}, "\u2009of yours"), hidden(" of your list"))
                  : null;
            return h("li", { "data-key": keyOf(one.item) }, h("span", { class: "title" }, label(one)), mark);
          }),
        );
  const shared = answer instanceof Error || strategy === "default" ? null : answer.items.filter((one) => yours.has(keyOf(one.item))).length;
  return h(
    "section",
    { class: "column", "data-strategy": strategy, "aria-labelledby": id },
    h("h3", { id }, title),
    h("p", { class: "hint" }, about, shared === null ? "" : `; ${count(shared)} of ${count(answer.items.length)} shared`),
    body,
  );
}

function drawQuestion(questions) {
  const had = $("question").contains(document.activeElement);
  const one = questions.items.find((item) => !skipped.has(keyOf(item.item)));
  if (!one) {
    $("question").replaceChildren(h("p", { class: "empty" }, "No more questions. You can still search."));
    if (had) $("search").focus();
    return;
  }
  const known = one.popularity ? `${number(100 * one.popularity, one.popularity < 0.1 ? 1 : 0)}% of people met it. ` : "";
  const chosen = questions.method === "information" ? "Asked because your answer would tell the most." : "Asked because many know it, and it is unlike the others.";
  const say = (value) => click(one, value);
  const next = () => {
    skipped.add(keyOf(one.item));
    if (questions.items.some((item) => !skipped.has(keyOf(item.item)))) drawQuestion(questions);
    else question(looking.signal);
  };
  $("question").replaceChildren(
    h("p", { class: "asked" }, scale.kind === "rating" ? "Do you know " : "Do you like ", h("strong", { class: "title" }, label(one)), "?"),
    rater(scale, label(one), say, { chosen: "Yes" }),
    h("div", { class: "row" }, h("button", { type: "button", class: "quiet", "data-act": "skip", onclick: next }, scale.kind === "rating" ? "Don\u2019t know it" : "No", hidden(`, skip ${label(one)}`))),
    h("p", { class: "hint" }, known, chosen),
  );
  if (had) $("question").querySelector("button").focus({ preventScroll: true });
}

/** The item that was found by searching. */
function chosen(one) {
  if (scale.kind === "choice") {
    click(one, null);
    return;
  }
  const before = log.findLast((event) => keyOf(event.item) === keyOf(one.item));
  const close = () => {
    $("chosen").replaceChildren();
    $("search").focus();
  };
  const buttons = rater(scale, label(one), (value) => (close(), click(one, value)), { current: before?.value ?? null });
  $("chosen").replaceChildren(
    h(
      "div",
      { class: "chosen", onkeydown: (event) => event.key === "Escape" && close() },
      h("p", { class: "asked" }, "How good is ", h("strong", { class: "title" }, label(one)), "?"),
      buttons,
      h("button", { type: "button", class: "quiet", onclick: close }, "Never mind"),
    ),
  );
  buttons.querySelector("button, input").focus();
}

$("start-over").addEventListener("click", startOver);
addEventListener("online", () => refresh({ loading: true }));
addEventListener("offline", () => notices.problem({ kind: "offline", passing: true, message: "This device has no network." }, () => refresh({ loading: true })));
combobox({ choose: chosen, failed });
start();
