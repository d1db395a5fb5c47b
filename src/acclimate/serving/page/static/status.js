// The status view: asks every two seconds, unless paused or out of sight.

import { get } from "./api.js";
import { $, h, silent } from "./dom.js";
import * as key from "./key.js";
import * as notices from "./notices.js";
import { bytes, count, duration, many, milliseconds, number } from "./words.js";

const EVERY = 2000;
const KEPT = 30;

let paused = false;
let timer = null;
let card = null;
let last = null; // {at, lists}
const rates = [];

async function look() {
  clearTimeout(timer);
  try {
    const { data } = await get("/v1/status");
    if (card?.sha256 !== data.model.sha256) card = (await get("/v1/model")).data;
    notices.clear();
    draw(data);
  } catch (error) {
    if (error.kind === "key") return key.need(start, error.message);
    verdict("bad", "!", error.kind === "offline" ? "The server does not answer" : "The status cannot be read");
    if (!paused) notices.problem(error, look);
    return;
  }
  if (!paused && !document.hidden) timer = setTimeout(look, EVERY);
}

function draw(data) {
  const now = Date.now() / 1000;
  $("served").textContent = `${card.learner} on ${card.data}, ${many(card.items, "item")}`;
  $("when").textContent = `As of ${new Date().toLocaleTimeString("en", { hour12: false })}. ${paused ? "Paused." : "Looks again every 2 seconds."}`;
  const wrong = [
    ...data.problems,
    ...data.notes,
    ...(data.model.failure ? [data.model.failure] : []),
    ...(data.store.ok ? [] : [data.store.error]),
  ];
  if (!data.ready || data.problems.length || !data.store.ok) verdict("bad", "!", "Not well");
  else if (wrong.length) verdict("warn", "!", "Answers, but not at its best");
  else verdict("good", "✓", "All is well");
  notices.degraded([...new Set(wrong)]);
  $("cards").replaceChildren(answers(data, now), freshness(data), model(data, now), store(data), lists(data), exploration(data));
  routes(data.latency);
}

function verdict(kind, sign, text) {
  const place = $("verdict");
  if (place.dataset.said === text) return;
  place.dataset.said = text;
  place.className = `verdict ${kind}`;
  place.replaceChildren(silent("span", { class: "light" }, sign), text);
}

const facts = (...pairs) =>
  h("dl", {}, ...pairs.filter((pair) => pair && pair[1] !== null).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));

const block = (id, title, ...children) =>
  h("section", { class: "card", id, "aria-labelledby": `${id}-title` }, h("h2", { id: `${id}-title` }, title), ...children);

const big = (...text) => h("p", { class: "big" }, ...text);

function answers(data, now) {
  const total = Object.values(data.requests).reduce((sum, n) => sum + n, 0);
  const failed = Object.entries(data.requests).reduce((sum, [status, n]) => sum + (status >= "500" ? n : 0), 0);
  if (last) rates.push(Math.max(0, (total - last.total) / Math.max(0.1, now - last.at)));
  last = { at: now, total };
  if (rates.length > KEPT) rates.shift();
  const per = rates.at(-1);
  return block(
    "answers",
    "Requests",
    big(per === undefined ? "–" : `${number(per, per < 10 ? 1 : 0)} a second`),
    spark(rates),
    facts(
      ["Since the start", count(total)],
      ["Failed", count(failed)],
      ["Refused by a rate", count(data.refused)],
      ["Workers ready", count(data.workers)],
      ["Up for", duration(Math.max(0, now - data.began))],
    ),
  );
}

/** The last rates as a line; what it says is said in figures beside it. */
function spark(values) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const line = (kind, d) => {
    const path = document.createElementNS(svg.namespaceURI, "path");
    path.setAttribute("class", kind);
    path.setAttribute("d", d);
    svg.append(path);
  };
  for (const [name, value] of [["class", "spark"], ["viewBox", "0 0 100 20"], ["preserveAspectRatio", "none"], ["aria-hidden", "true"]]) {
    svg.setAttribute(name, value);
  }
  line("floor", "M0 20H100");
  if (values.length < 2) return svg;
  const most = Math.max(1, ...values);
  const x = (i) => (100 * (KEPT - values.length + i)) / (KEPT - 1);
  const points = values.map((value, i) => `${x(i).toFixed(2)} ${(20 - (18 * value) / most).toFixed(2)}`).join("L");
  line("area", `M${x(0)} 20L${points}L100 20Z`);
  line("rate", `M${points}`);
  return svg;
}

const times = (of) => (of ? [milliseconds(of.p50_ms), milliseconds(of.p99_ms)] : ["–", "–"]);

function freshness(data) {
  const [disk, diskSlow] = times(data.event_on_disk);
  const [effect, effectSlow] = times(data.event_to_effect);
  return block(
    "freshness",
    "Freshness",
    big(effect),
    h("p", { class: "hint" }, "from an event being on disk to that person\u2019s next list, which reflects it: half of the time at most; mostly their own time"),
    facts(
      ["99 in 100 within", effectSlow],
      ["Event on disk, p50", disk],
      ["Event on disk, p99", diskSlow],
      ["Requests with events", data.event_on_disk ? count(data.event_on_disk.count) : "none yet"],
    ),
  );
}

function model(data, now) {
  return block(
    "model",
    "Model",
    big(h("code", { title: data.model.sha256 }, data.model.sha256.slice(0, 12))),
    facts(
      ["Learner", card.learner],
      ["Trained on", card.data],
      ["", `${many(card.trained_on.users, "person", "people")}, ${many(card.trained_on.events, "event")}`],
      ["Items", count(card.items)],
      ["In service for", duration(Math.max(0, now - data.model_since))],
      ["Looks by", data.model.method],
      ["File", data.model.bytes ? bytes(data.model.bytes) : null],
      ["Taken over, refused", `${count(data.reloads)}, ${count(data.reloads_failed)}`],
    ),
  );
}

function store(data) {
  const asked = data.people.hits + data.people.misses;
  return block(
    "store",
    "Store",
    big(data.store.ok ? many(data.store.events, "event") : "unreadable"),
    facts(
      ["Kind", data.store.local ? "a file on this machine" : "a database"],
      ["Reads and writes", data.store.ok ? "yes" : "no"],
      ["People at hand", count(data.people.at_hand)],
      ["Found at hand", asked ? `${number((100 * data.people.hits) / asked, 0)}% of ${count(asked)}` : "–"],
    ),
  );
}

function lists(data) {
  return block(
    "lists",
    "Lists",
    big(count(data.lists)),
    facts(
      ["Items shown", count(data.items_shown)],
      ["Answered without the store", count(data.degraded)],
    ),
  );
}

function exploration(data) {
  const share = data.items_shown ? (100 * data.items_explored) / data.items_shown : 0;
  return block(
    "exploration",
    "Exploration",
    big(`${number(share, 1)}%`),
    h("p", { class: "hint" }, "of the items shown were there to be tried out, because little is known of them"),
    facts(["Tried out", count(data.items_explored)], ["Items shown", count(data.items_shown)]),
  );
}

function routes(latency) {
  const head = (text, kind) => h("th", { scope: "col", class: kind }, text);
  const figure = (text) => h("td", { class: "figure" }, text);
  $("routes").replaceChildren(
    h("thead", {}, h("tr", {}, head("Route"), head("p50", "figure"), head("p99", "figure"), head("Answers", "figure"))),
    h(
      "tbody",
      {},
      ...latency.map((one) =>
        h(
          "tr",
          { "data-route": one.route },
          h("th", { scope: "row" }, h("span", { class: "method" }, `${one.method} `), one.route),
          figure(number(one.p50_ms, 2)),
          figure(number(one.p99_ms, 2)),
          figure(count(one.count)),
        ),
      ),
    ),
  );
}

$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  if (paused) {
    clearTimeout(timer);
    $("when").textContent = $("when").textContent.replace("Looks again every 2 seconds.", "Paused.");
  } else look();
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && !paused) look();
});

function start() {
  key.show();
  look();
}

start();
