"""The page in a real browser: Debian's chromium, driven by Playwright, against real servers on this machine.

ACCLIMATE_SCREENSHOTS names a folder for the pictures of the documentation. Where ACCLIMATE_DATA names real
data as well, they show real films.
"""

import contextlib
import os
import re
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import polars as pl
import pytest
from fastapi import FastAPI

from acclimate.data import read
from acclimate.learners.names import by_name
from acclimate.model import fit
from acclimate.serving import page as the_page
from acclimate.serving.http import numbers
from acclimate.serving.http.app import application
from acclimate.serving.http.keys import make_key
from acclimate.serving.http.metrics import Metrics
from acclimate.serving.http.settings import Settings
from acclimate.serving.service import Service
from acclimate.serving.store.opening import open_store
from http_server import FailingStore, in_thread, serving
from test_docs import write_tables

STATIC = Path(the_page.__file__).parent / "static"
CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NASTY = "<img src=x onerror=\"window.pwned='yes'\">"


# -- without a browser ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def alone(under: str = "") -> Iterator[httpx.Client]:
    """The page without a server behind it, under a path."""
    app = FastAPI(openapi_url=None)
    app.add_api_route("/readyz", lambda: {})
    inner = FastAPI(openapi_url=None) if under else app
    inner.include_router(the_page.router)
    if under:
        app.mount(under, inner)
    with in_thread(app) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def plain():
    with alone() as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/status", "/static/page.css", "/static/none.js"])
def test_every_answer_of_the_page_forbids_what_it_does_not_need(plain, path):
    headers = plain.get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("path", ["/", "/status"])
def test_a_page_holds_no_script_no_style_and_no_address_of_another_host(plain, path):
    answer = plain.get(path)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    html = answer.text
    assert re.findall(r"<script(?![^>]*\bsrc=)", html) == []
    assert re.findall(r"<style|\sstyle=|\son\w+=|javascript:", html) == []
    sources = re.findall(r"(?:src|href)=\"([^\"]*)\"", html)
    assert all(source.startswith(("/", "#")) and not source.startswith("//") for source in sources)
    for source in sources:
        if source.startswith("/static"):
            assert plain.get(source).status_code == 200, source


def test_scripts_and_styles_name_no_other_host():
    for file in STATIC.iterdir():
        found = set(re.findall(r"https?://[\w.]+", file.read_text()))
        assert found <= {"http://www.w3.org", "https://www.w3.org"}, file.name


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("page.css", "text/css; charset=utf-8"),
        ("playground.js", "text/javascript; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ],
)
def test_a_file_of_this_version_is_kept_for_ever_and_any_other_is_asked_for_again(plain, name, kind):
    kept = plain.get(f"/static/{the_page.digest()}/{name}")
    assert kept.headers["content-type"] == kind
    assert kept.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert kept.content == (STATIC / name).read_bytes()
    for path in (f"/static/{name}", f"/static/0123456789abcdef/{name}"):
        again = plain.get(path)
        assert again.headers["cache-control"] == "no-cache"
        same = plain.get(path, headers={"if-none-match": f'"other", {again.headers["etag"]}'})
        assert (same.status_code, same.content) == (304, b"")
    assert plain.head(f"/static/{name}").content == b""


@pytest.mark.parametrize(
    "path",
    ["/static/none.js", "/static/..%2f__init__.py", "/static/x/..%2f..%2f__init__.py", "/static/__init__.py"],
)
def test_nothing_but_the_packaged_files_can_be_had(plain, path):
    assert plain.get(path).status_code == 404


def test_every_file_that_a_module_imports_is_packaged():
    for file in STATIC.glob("*.js"):
        for name in re.findall(r'from "\./([^"]+)"', file.read_text()):
            assert name in the_page.assets(), f"{file.name} imports {name}"
    assert {file.name for file in STATIC.iterdir()} == set(the_page.assets())


def test_under_another_path_every_address_follows():
    with alone("/films") as client:
        html = client.get("/films/").text
        style = re.search(r'href="([^"]*page.css)"', html)[1]
        assert client.get(style).status_code == 200
    assert '<body data-root="/films">' in html
    local = re.findall(r"(?:src|href)=\"(/[^\"]*)\"", html)
    assert len(local) > 5
    assert all(link.startswith("/films/") for link in local)


def test_a_template_escapes_what_it_is_given():
    assert "<b>" not in the_page.render("playground", '/"><b>')


def test_the_package_takes_every_file_of_the_page_along():
    wheel = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["tool"]["hatch"]
    assert wheel["build"]["targets"]["wheel"] == {"packages": ["src/acclimate"]}
    ignored = (Path(__file__).parent.parent / ".gitignore").read_text().split()
    assert not {"static/", "*.js", "*.css", "*.html", "templates/", "*.svg"} & set(ignored)


def test_quantiles_of_a_histogram_lie_where_its_buckets_say():
    # 10 answers below 1 ms, 80 from there to 2 ms, 10 up to 10 ms.
    buckets = {0.001: 10.0, 0.002: 90.0, 0.01: 100.0, float("inf"): 100.0}
    assert numbers.quantile(buckets, 0.5) == pytest.approx(0.0015)
    assert numbers.quantile(buckets, 0.05) == pytest.approx(0.0005)
    assert numbers.quantile(buckets, 0.99) == pytest.approx(0.0092)
    assert numbers.quantile({0.001: 0.0, float("inf"): 3.0}, 0.5) == 0.001, "beyond the last bound"
    assert numbers.quantile({0.001: 0.0, float("inf"): 0.0}, 0.5) is None
    assert numbers.quantile({}, 0.5) is None


def test_the_status_sums_up_what_the_metrics_counted():
    metrics = Metrics()
    nothing = numbers.told(metrics.together().collect())
    assert nothing["latency"] == []
    assert nothing["event_to_effect"] is None
    for seconds in (0.0011, 0.0011, 0.0014):
        metrics.seconds.labels("/v1/recommend", "POST").observe(seconds)
    metrics.seconds.labels("/v1/events", "POST").observe(0.004)
    for status in ("200", "200", "503"):
        metrics.requests.labels("/v1/recommend", "POST", status).inc()
    metrics.limited.labels("user").inc(2)
    metrics.acknowledged(["ann"], 1, 0, 0.004)
    metrics.answered("ann")
    told = numbers.told(metrics.together().collect())
    assert [one["route"] for one in told["latency"]] == ["/v1/recommend", "/v1/events"]
    assert told["latency"][0] == {
        "method": "POST",
        "route": "/v1/recommend",
        "count": 3,
        "p50_ms": 1.25,
        "p99_ms": 1.495,
    }
    assert told["requests"] == {"200": 2, "503": 1}
    assert told["refused"] == 2
    assert told["event_on_disk"]["count"] == told["event_to_effect"]["count"] == 1
    assert 3 < told["event_on_disk"]["p50_ms"] < 5


def colours(dark: bool) -> dict[str, str]:
    """The custom properties that hold colours, as one scheme has them."""
    text = (STATIC / "page.css").read_text()
    light, _, rest = text.partition("@media (prefers-color-scheme: dark)")
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", light))
    if dark:
        found |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", rest))
    return found


def contrast(one: str, other: str) -> float:
    """As WCAG 2.2 defines it."""

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_what_the_standard_says():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=1e-3)  # the well-known near miss


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_and_controls_have_the_contrast_of_wcag_aa(dark):
    c = colours(dark)
    text = [(ink, paper) for ink in ("ink", "soft", "accent") for paper in ("ground", "card", "sunken")]
    text += [(ink, paper) for ink in ("plus", "minus") for paper in ("card", "sunken", f"{ink}-soft")]
    text += [("warn", "warn-soft"), ("bad", "bad-soft"), ("bad", "card"), ("on-accent", "accent")]
    text += [("ink", "accent-soft"), ("accent", "accent-soft")]
    low = {f"{a} on {b}": round(contrast(c[a], c[b]), 2) for a, b in text if contrast(c[a], c[b]) < 4.5}
    assert low == {}
    edges = [(line, paper) for line in ("edge", "accent") for paper in ("card", "sunken", "ground")]
    low = {f"{a} on {b}": round(contrast(c[a], c[b]), 2) for a, b in edges if contrast(c[a], c[b]) < 3}
    assert low == {}


# -- with one ------------------------------------------------------------------------------------------------

browser_test = pytest.mark.browser


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Tables in which one film has a title that wants to be markup, and one a title of great length."""
    folder = tmp_path_factory.mktemp("tables")
    write_tables(folder)
    movies = pl.read_csv(folder / "movies.csv")
    long = "Night of the" + " Living" * 12 + " Supercalifragilisticexpialidocious" * 2
    titles = movies["title"].replace({"Gojira": NASTY, "Them": long})
    movies.with_columns(title=titles).write_csv(folder / "movies.csv")
    return folder


def small(tables: Path, events: str, name: str, **settings):
    data = read(tables / events, items=tables / "movies.csv")
    return fit(data, replace(by_name(name), **settings))


@pytest.fixture(scope="module")
def rated(tables):
    """A model of ratings, and its file."""
    model = small(tables, "ratings.csv", "ridge", epochs=2)
    model.save(tables / "films.acc")
    return model


@pytest.fixture(scope="module")
def chromium():
    if not Path(CHROMIUM).exists():
        pytest.skip(f"there is no {CHROMIUM}: apt-get install chromium to run this test")
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@contextlib.contextmanager
def served(model, *, keyed: bool = False) -> Iterator[tuple[str, FailingStore]]:
    """A server with the page in a thread of this process; its url, and its store."""
    store = FailingStore(open_store(":memory:"))
    settings = Settings(model="-", page=True, keyed=keyed)
    with in_thread(application(Service.open(model, store), store, settings)) as url:
        yield url, store


@pytest.fixture(scope="module")
def server(rated, tables, tmp_path_factory):
    """``acclimate serve`` of the ratings model, a process of its own; its url."""
    folder = tmp_path_factory.mktemp("served")
    with serving(folder, tables / "films.acc", "--store", folder / "events.sqlite") as running:
        yield running.url


WATCH = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`));
window.animated = 0;
const animate = Element.prototype.animate;
Element.prototype.animate = function (...given) { window.animated += 1; return animate.apply(this, given); };
"""


class Visitor:
    """Somebody in front of the page, and all that went wrong while they looked."""

    def __init__(self, page, url):
        self.page, self.url = page, url
        self.wrong: list[str] = []
        self.hosts: set[str] = set()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url).hostname or ""))

    def _heard(self, message):
        if message.type in ("error", "warning"):
            self.wrong.append(message.text)

    def forgive(self, pattern):
        """What a test provokes is not wrong."""
        assert any(re.search(pattern, text) for text in self.wrong), f"{pattern!r} did not happen"
        self.wrong = [text for text in self.wrong if not re.search(pattern, text)]

    def open(self, path="/"):
        self.page.goto(self.url + path)
        return self

    def find(self, selector):
        return self.page.locator(selector)

    def rows(self) -> list[str]:
        """The list in words: title and figures of each row."""
        return self.find("#list > li").evaluate_all(
            "rows => rows.map(row => row.querySelector('.title').textContent + ' ' +"
            " row.querySelector('.figures').textContent)"
        )

    def titles(self) -> list[str]:
        return self.find("#list > li .title").all_text_contents()

    def log(self) -> list[str]:
        return self.find("#log > li .title").all_text_contents()

    def reflects(self, n: int):
        """Waits for a list that reflects n clicks."""
        text = {0: "no click yet", 1: "1 click"}.get(n, f"{n} clicks")
        self.eventually("#facts [data-fact=Reflects] dd", text)

    def eventually(self, selector, text, state="visible"):
        self.find(selector).filter(has_text=text).first.wait_for(state=state, timeout=20_000)

    def look_up(self, text):
        self.find("#search").fill(text)
        self.find("#found li").first.wait_for()

    def rate(self, title, value, n):
        """Rates an item by hand; n: clicks after it."""
        self.look_up(title)
        self.find("#found li").first.click()
        self.find("#chosen .rater").get_by_role("button", name=f"{value} of 5").click()
        self.reflects(n)
        return self

    def undo(self, title):
        row = self.find("#log > li").filter(has_text=title).first
        row.get_by_role("button", name="Undo").click()

    def leave(self):
        """Closes the page, before its server goes: what it was about to ask nobody would answer."""
        self.page.close()

    def asked_after(self, title):
        """Waits for the next question, or for the end of them."""
        self.page.wait_for_function(
            "title => document.querySelector('#question .title')?.textContent !== title", arg=title
        )

    def changes(self) -> str:
        return self.find("#changes").inner_text()

    def overflow(self) -> int:
        """Pixels that the page is wider than its window."""
        return self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )


@pytest.fixture
def visit(chromium):
    """Makes visitors; at the end nothing may have gone wrong, and nobody else may have been asked."""
    visitors, contexts = [], []

    def make(url, **options) -> Visitor:
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(20_000)
        context.add_init_script(WATCH)
        contexts.append(context)
        visitors.append(Visitor(context.new_page(), url))
        return visitors[-1]

    yield make
    for context in contexts:
        context.close()
    for one in visitors:
        assert one.wrong == []
        assert one.hosts == {"127.0.0.1"}


@pytest.fixture
def visitor(visit, server):
    one = visit(server).open()
    one.reflects(0)
    return one


@browser_test
def test_a_click_changes_the_list_and_says_how(visitor):
    before = visitor.titles()
    assert len(before) == 10
    visitor.rate("Fargo", 5, 1)
    assert visitor.log() == ["Fargo"]
    assert visitor.rows() != before
    assert "Fargo" not in visitor.titles()
    assert re.match(r"You rated Fargo 5\. .*(new|up|down|stays)", visitor.changes())
    assert visitor.find("#changes").get_attribute("role") == "status"
    moves = dict(zip(visitor.titles(), visitor.find("#list .move").all_inner_texts(), strict=True))
    for place, title in enumerate(visitor.titles()):
        if title not in before:
            assert moves[title] == "new"
        elif before.index(title) > place:
            assert "▲" in moves[title]
            assert f"up {before.index(title) - place} place" in moves[title]
        elif before.index(title) < place:
            assert "▼" in moves[title]
    assert visitor.page.evaluate("window.animated") > 0


@browser_test
def test_the_facts_say_how_fast_how_fresh_and_by_which_model(visitor, rated):
    visitor.rate("Heat", 4, 1)
    said = visitor.find("#facts").inner_text().replace("\n", " ")
    assert re.search(r"Answer [\d.]+ m?s \([\d.]+ ms in the server\)", said)
    assert re.search(r"Your click on disk in [\d.]+ m?s, in the list in [\d.]+ m?s", said)
    assert "Top 10 exact" in said
    code = visitor.find("#facts code")
    assert code.get_attribute("title") == f"SHA-256 {rated.sha256}"
    assert rated.sha256.startswith(code.inner_text())


@browser_test
def test_why_names_every_click_and_its_parts_sum_to_the_score(visitor):
    visitor.rate("Fargo", 5, 1).rate("Psycho", 1, 2).rate("Rocky", 3, 3)
    row = visitor.find("#list > li").nth(2)
    visitor.eventually("#list > li:nth-child(3) .because", "")
    assert re.search(r"[+−]\d\.\d\d \w", row.locator(".reason").inner_text())
    row.get_by_role("button", name="Why").click()
    row.locator(".why tr.total").wait_for()
    parts = row.locator(".why tr[data-part]").evaluate_all(
        "rows => rows.map(row => [row.dataset.part, Number(row.dataset.contribution),"
        " row.querySelector('th').innerText, row.querySelector('.figure').innerText])"
    )
    assert {name.split(" rated")[0] for kind, _, name, _ in parts if kind == "event"} == {
        "Fargo",
        "Psycho",
        "Rocky",
    }
    total = next(x for kind, x, _, _ in parts if kind == "total")
    assert sum(x for kind, x, _, _ in parts if kind != "total") == pytest.approx(total, abs=1e-5)
    shown = {
        kind: float(text.replace("−", "-").replace("+", "")) for kind, _, _, text in parts if kind != "event"
    }
    assert shown["total"] == pytest.approx(total, abs=1e-2)
    assert float(row.locator(".figures strong").inner_text()) == pytest.approx(total, abs=0.006)
    bars = row.locator(".why tr.event .bar").evaluate_all("bars => bars.map(bar => bar.className)")
    signs = [x < 0 for kind, x, _, _ in parts if kind == "event"]
    assert ["minus" in bar for bar in bars] == signs
    assert "Exact" in row.locator(".why").inner_text()
    # How sure it is stands beside the score, in figures and in words.
    deviation = float(re.search(r"±\s*([\d.]+)", row.locator(".figures").inner_text())[1])
    sure = row.locator(".how-sure").inner_text()
    low, high = map(float, re.search(r"between (\d\.\d+) and (\d\.\d+)", sure).groups())
    assert low == pytest.approx(max(1.0, total - deviation), abs=0.02)
    assert high == pytest.approx(min(5.0, total + deviation), abs=0.02)


@browser_test
def test_an_undone_click_leaves_the_list_exactly_as_it_was(visitor):
    visitor.rate("Fargo", 5, 1)
    before = visitor.rows()
    visitor.rate("Psycho", 1, 2)
    assert visitor.rows() != before
    visitor.undo("Psycho")
    visitor.reflects(1)
    assert visitor.rows() == before
    assert visitor.log() == ["Fargo"]
    assert "Undone: Psycho. The list is exactly as it was before." in visitor.changes()
    # Out of order: the first click, while the second stays.
    visitor.rate("Psycho", 1, 2)
    visitor.undo("Fargo")
    visitor.reflects(1)
    assert visitor.log() == ["Psycho"]
    assert visitor.rows() != before


@browser_test
def test_a_later_rating_of_the_same_item_counts_and_undoing_it_brings_the_earlier_back(visitor):
    visitor.rate("Fargo", 5, 1)
    first = visitor.rows()
    visitor.look_up("Fargo")
    visitor.find("#found li").first.click()
    given = visitor.find("#chosen button[aria-pressed=true]")
    assert given.inner_text() == "5"
    visitor.page.keyboard.press("1")
    visitor.eventually("#changes", "You rated Fargo 1.")
    assert visitor.rows() != first
    assert visitor.find("#log > li.replaced").count() == 1
    visitor.undo("Fargo")
    visitor.eventually("#changes", "exactly as it was")
    assert visitor.rows() == first


@browser_test
def test_reloading_and_coming_back_shows_the_same_clicks(visitor):
    visitor.rate("Fargo", 5, 1).rate("Psycho", 2, 2)
    before = visitor.rows()
    visitor.page.reload()
    visitor.reflects(2)
    assert visitor.rows() == before
    assert visitor.log() == ["Psycho", "Fargo"]
    # A tab that forgot what was clicked is told by the server.
    visitor.page.evaluate("sessionStorage.removeItem('acclimate.log')")
    visitor.page.reload()
    visitor.reflects(2)
    assert visitor.log() == ["Psycho", "Fargo"]
    visitor.undo("Psycho")
    visitor.reflects(1)


@browser_test
def test_start_over_asks_first_and_erases_everything(visitor):
    cold = visitor.rows()
    visitor.rate("Fargo", 5, 1).rate("Psycho", 1, 2)
    session = visitor.page.evaluate("JSON.parse(sessionStorage.getItem('acclimate.session'))")
    assert re.fullmatch("[0-9a-f]{32}", session)
    start = visitor.find("#start-over")
    start.click()
    visitor.find("#erase-no").click()
    assert visitor.log() == ["Psycho", "Fargo"]
    start.click()
    assert "2 clicks" in visitor.find("#erase-text").inner_text()
    visitor.find("#erase-yes").click()
    visitor.reflects(0)
    assert visitor.rows() == cold
    assert visitor.log() == []
    assert visitor.find("#log-empty").is_visible()
    assert visitor.page.evaluate("JSON.parse(sessionStorage.getItem('acclimate.session'))") != session
    kept = visitor.page.request.get(f"{visitor.url}/v1/sessions/{session}/export").json()
    assert kept["events"] == []


@browser_test
def test_questions_are_answered_or_skipped_one_by_one(visitor):
    asked = visitor.find("#question .asked .title")
    first = asked.inner_text()
    visitor.find("#question [data-act=skip]").click()
    visitor.asked_after(first)
    second = asked.inner_text()
    visitor.find("#question .rater").get_by_role("button", name="4 of 5").click()
    visitor.reflects(1)
    assert visitor.log() == [second]
    visitor.asked_after(second)
    third = asked.inner_text()
    assert third not in (first, second)
    assert re.search(r"\d+% of people met it", visitor.find("#question").inner_text())
    # Whoever knows nothing at all runs out of questions, kindly.
    skipped = {first, second}
    for _ in range(80):
        title = asked.inner_text()
        assert title not in skipped
        skipped.add(title)
        visitor.find("#question [data-act=skip]").click()
        visitor.asked_after(title)
        if visitor.find("#question .empty").count():
            break
    assert "No more questions" in visitor.find("#question").inner_text()
    assert len(skipped) == 60


@browser_test
def test_strategies_stand_side_by_side_with_what_they_share(visitor):
    visitor.rate("Fargo", 5, 1)
    columns = visitor.find("#columns .column")
    columns.nth(2).locator("li").first.wait_for()
    names = columns.evaluate_all("all => all.map(one => one.dataset.strategy)")
    assert names == ["default", "popularity", "item-knn"]
    mine = visitor.titles()
    assert columns.nth(0).locator(".title").all_text_contents() == mine
    for i in (1, 2):
        rows = columns.nth(i).locator("li")
        assert rows.count() == 10
        for title, row in zip(rows.locator(".title").all_text_contents(), rows.all(), strict=True):
            marks = row.locator(".mark").all_text_contents()
            expected = [f"place {mine.index(title) + 1}\u2009of yours of your list"] if title in mine else []
            assert marks == expected
    sides = columns.evaluate_all("all => all.map(one => one.getBoundingClientRect().top)")
    assert len(set(sides)) == 1
    visitor.page.set_viewport_size({"width": 320, "height": 700})
    sides = columns.evaluate_all("all => all.map(one => one.getBoundingClientRect().left)")
    assert len(set(sides)) == 1


@browser_test
def test_the_keyboard_is_enough(visitor):
    page, press = visitor.page, visitor.page.keyboard.press
    press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    press("Tab")
    search = visitor.find("#search")
    assert page.evaluate("document.activeElement.id") == "search"
    assert search.get_attribute("role") == "combobox"
    page.keyboard.type("the")
    visitor.find("#found li").nth(1).wait_for()
    assert search.get_attribute("aria-expanded") == "true"
    press("ArrowDown")
    press("ArrowDown")
    press("ArrowUp")
    press("ArrowDown")
    active = search.get_attribute("aria-activedescendant")
    option = visitor.find(f"#{active}")
    assert option.get_attribute("aria-selected") == "true"
    title = option.inner_text()
    press("Escape")
    assert search.get_attribute("aria-expanded") == "false"
    press("ArrowDown")
    visitor.find("#found li").nth(1).wait_for()
    press("ArrowDown")
    press("ArrowDown")
    press("Enter")
    assert (
        page.evaluate("document.activeElement.closest('.rater').getAttribute('aria-label')")
        == f"Rate {title}"
    )
    press("5")
    visitor.reflects(1)
    assert visitor.log() == [title]
    assert page.evaluate("document.activeElement.id") == "search"


@browser_test
def test_the_keyboard_is_enough_inside_the_list_too(visitor):
    visitor.rate("Fargo", 5, 1)
    page, press = visitor.page, visitor.page.keyboard.press
    # On to the first row: why, and a rating in place.
    for _ in range(20):
        press("Tab")
        if page.evaluate("document.activeElement.dataset.act") == "why":
            break
    assert page.evaluate("document.activeElement.matches(':focus-visible')")
    press("Enter")
    visitor.find("#list .why tr.total").wait_for()
    first = visitor.titles()[0]
    press("Tab")
    press("Enter")
    press("4")
    visitor.reflects(2)
    assert visitor.log()[0] == first
    assert page.evaluate("document.activeElement.id") == "list-title"
    for _ in range(60):
        press("Tab")
        if page.evaluate("document.activeElement.innerText.startsWith('Undo')"):
            break
    press("Enter")
    visitor.reflects(1)
    assert visitor.log() == ["Fargo"]
    assert page.evaluate("document.activeElement.innerText").startswith("Undo")


AUDIT = """() => {
  const wrong = [];
  const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
  for (const id of new Set(ids))
    if (ids.filter((one) => one === id).length > 1) wrong.push(`id twice: ${id}`);
  for (const input of document.querySelectorAll("input"))
    if (!input.labels.length && !input.getAttribute("aria-label")) wrong.push(`no label: ${input.outerHTML}`);
  for (const one of document.querySelectorAll("button, a"))
    if (!(one.getAttribute("aria-label") ?? one.textContent).trim()) wrong.push(`no name: ${one.outerHTML}`);
  for (const one of document.querySelectorAll("[aria-labelledby], [aria-controls], [aria-describedby]"))
    for (const name of ["aria-labelledby", "aria-controls", "aria-describedby"])
      for (const id of (one.getAttribute(name) ?? "").split(" ").filter(Boolean))
        if (!document.getElementById(id)) wrong.push(`${name} of nothing: ${id}`);
  for (const tag of ["header", "nav", "main", "footer", "h1"]) {
    const seen = [...document.querySelectorAll(tag)].filter((one) => one.checkVisibility());
    if (seen.length !== 1) wrong.push(`${seen.length} of ${tag}`);
  }
  const shown = [...document.querySelectorAll("h1, h2, h3")].filter((one) => one.checkVisibility());
  const levels = shown.map((one) => Number(one.tagName[1]));
  levels.forEach((level, i) => level - (levels[i - 1] ?? 0) > 1 && wrong.push(`level skipped: ${i}`));

  const parse = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const of = node.parentElement;
    if (!node.data.trim() || of.closest(".hidden, noscript, .skip") || !of.checkVisibility()) continue;
    let paper = of;
    const clear = (one) => (parse(getComputedStyle(one).backgroundColor)[3] ?? 1) === 0;
    while (paper && clear(paper)) paper = paper.parentElement;
    const a = light(parse(getComputedStyle(of).color));
    const b = light(parse(getComputedStyle(paper ?? document.documentElement).backgroundColor));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) wrong.push(`${ratio.toFixed(2)}: ${node.data.trim()}`);
  }
  return wrong;
}"""


@browser_test
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_is_labelled_and_readable_in_both_schemes(visit, server, scheme):
    one = visit(server, color_scheme=scheme).open()
    one.rate("Fargo", 5, 1).rate("Heat", 2, 2)
    one.find("#list > li").nth(1).get_by_role("button", name="Why").click()
    one.find(".why tr.total").wait_for()
    one.find("#list > li").nth(2).get_by_role("button", name="Rate").click()
    one.find("#columns li").first.wait_for()
    assert one.page.evaluate(AUDIT) == []
    ground = one.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert ground == {"light": "rgb(246, 245, 241)", "dark": "rgb(20, 20, 19)"}[scheme]
    one.find("#start-over").click()
    assert one.page.evaluate(AUDIT) == []
    one.open("/status")
    one.find("#routes td").first.wait_for()
    assert one.page.evaluate(AUDIT) == []


@browser_test
@pytest.mark.parametrize(("width", "scale"), [(320, 1), (640, 2), (1280, 1)])
def test_nothing_is_wider_than_the_window(visit, server, width, scale):
    # 640 pixels of twice the size are a window of 1280 at a zoom of 200%.
    one = visit(server, viewport={"width": width, "height": 700}, device_scale_factor=scale).open()
    one.rate("Night of the", 5, 1)
    for row in range(3):
        one.find("#list > li").nth(row).get_by_role("button", name="Why").click()
        one.find("#list > li").nth(row).get_by_role("button", name="Rate").click()
    one.find(".why tr.total").nth(2).wait_for()
    one.find("#columns li").first.wait_for()
    one.look_up("n")
    assert one.overflow() == 0
    one.open("/status")
    one.find("#routes td").first.wait_for()
    assert one.overflow() == 0


@browser_test
def test_who_asks_for_less_motion_gets_none(visit, server):
    one = visit(server, reduced_motion="reduce").open()
    one.rate("Fargo", 5, 1)
    assert one.page.evaluate("[window.animated, document.getAnimations().length]") == [0, 0]


@browser_test
def test_a_title_that_looks_like_markup_stays_text(visitor):
    visitor.rate("<img", 5, 1)
    assert visitor.log() == [NASTY]
    row = visitor.find("#list > li").first
    row.get_by_role("button", name="Why").click()
    row.locator(".why tr.total").wait_for()
    assert row.locator(".why tr.event th").inner_text().startswith(NASTY)
    visitor.undo("<img")
    visitor.reflects(0)
    assert NASTY in visitor.changes()
    assert visitor.page.evaluate("window.pwned") is None
    assert visitor.find("img").count() == 1  # the mark in the header


@browser_test
def test_nothing_found_is_said_kindly(visitor):
    visitor.find("#search").fill("zzzzqqq")
    visitor.eventually("#search-hint", "Nothing here is called “zzzzqqq”.")
    assert visitor.find("#found").is_hidden()


@browser_test
def test_where_a_key_is_needed_the_page_asks_for_it_and_keeps_it_in_the_tab(rated, visit):
    with served(rated, keyed=True) as (url, store):
        text, key = make_key("default", ("ingest", "recommend"), "page")
        store.add_key(key)
        one = visit(url).open()
        one.find("#key").wait_for()
        assert one.find("#content").is_hidden()
        assert one.page.evaluate("document.activeElement.id") == "key"
        assert one.page.evaluate(AUDIT) == []
        assert one.overflow() == 0
        one.find("#key").fill("acc_wrong_wrong")
        one.page.keyboard.press("Enter")
        one.eventually("#key-problem", "unknown, wrong or removed")
        one.find("#key").fill(text)
        one.find("#key-form button").click()
        one.reflects(0)
        one.rate("Fargo", 5, 1)
        assert one.find("#key-form").is_hidden()
        kept = one.page.evaluate("[JSON.stringify(sessionStorage), JSON.stringify(localStorage)]")
        assert text in kept[0]
        assert kept[1] == "{}"
        assert text not in one.page.url
        one.page.reload()
        one.reflects(1)
        # This key may not erase.
        one.find("#start-over").click()
        one.find("#erase-yes").click()
        one.eventually("#notices", "This key may not do that.")
        one.reflects(0)
        # A key that was taken away is asked for again.
        store.remove_key(key.id)
        one.page.wait_for_timeout(1100)
        one.find("#search").fill("Heat")
        one.find("#key").wait_for()
        one.leave()
        one.forgive(r"status of 40[13]")


@browser_test
def test_the_key_can_be_forgotten(rated, visit):
    with served(rated, keyed=True) as (url, store):
        text, key = make_key("default", ("ingest", "recommend", "erase"), "page")
        store.add_key(key)
        one = visit(url).open("/status")
        one.find("#key").fill(text)
        one.page.keyboard.press("Enter")
        one.find("#routes td").first.wait_for()
        one.find("#forget-key").click()
        one.find("#key").wait_for()
        assert text not in one.page.evaluate("JSON.stringify(sessionStorage)")
        one.leave()
        one.forgive("status of 401")


@browser_test
def test_a_server_that_dies_is_said_and_the_click_is_stored_once_it_is_back(rated, tables, visit, tmp_path):
    shutil.copy(tables / "films.acc", tmp_path / "films.acc")
    with serving(tmp_path, tmp_path / "films.acc") as running:
        one = visit(running.url).open()
        one.rate("Fargo", 5, 1)
        before = one.titles()
    one.find("#list > li").first.get_by_role("button", name="Rate").click()
    one.find("#list .rater").get_by_role("button", name="5 of 5").click()
    notice = one.find("#notices [role=alert]")
    notice.wait_for()
    assert "The server cannot be reached." in notice.inner_text()
    assert "Trying again in" in notice.inner_text()
    assert one.find("#log > li[data-state=unknown]").count() == 1
    assert one.titles() == before, "the last list stays"
    assert one.page.evaluate(AUDIT) == []
    # It comes back with another model, which the page has to notice by itself.
    another = small(tables, "ratings.csv", "ridge", epochs=1)
    another.save(tmp_path / "films.acc")
    port = urlsplit(running.url).port
    with serving(tmp_path, tmp_path / "films.acc", "--port", port):
        with contextlib.suppress(Exception):  # it may have tried again by itself a moment ago
            notice.get_by_role("button", name="Try again now").click(timeout=1000)
        one.reflects(2)
        assert one.find("#log > li[data-state=stored]").count() == 2
        assert one.find("#facts code").get_attribute("title") == f"SHA-256 {another.sha256}"
        notice.wait_for(state="detached")
        one.leave()
    one.forgive("ERR_CONNECTION_(REFUSED|RESET)|status of 503")


@browser_test
def test_what_the_store_cannot_do_is_said(rated, visit):
    with served(rated) as (url, store):
        one = visit(url).open()
        one.rate("Fargo", 5, 1)
        store.writes_fail = True
        one.look_up("Heat")
        one.find("#found li").first.click()
        one.page.keyboard.press("3")
        one.eventually("#notices [role=alert]", "The server cannot answer now.")
        assert one.find("#log > li[data-state=unknown]").count() == 1
        store.writes_fail = False
        one.find("#notices").get_by_role("button", name="Try again now").click()
        one.reflects(2)
        store.reads_fail = True
        one.page.reload()
        one.eventually("#notices .degraded", "the event store cannot be read")
        assert one.find("#list > li").count() == 10
        store.reads_fail = False
        one.page.reload()
        one.reflects(2)
        assert one.find("#notices").inner_text() == ""
        one.leave()
        one.forgive("status of 503")


@browser_test
def test_too_many_requests_wait_as_long_as_the_server_says(visitor):
    calls = []

    def limited(route):
        calls.append(route.request.post_data_json)
        if len(calls) > 1:
            route.continue_()
            return
        error = {"error": {"code": "rate_limited", "message": "Too many requests of this person."}}
        route.fulfill(status=429, headers={"retry-after": "2"}, json=error)

    visitor.page.route("**/v1/events", limited)
    visitor.look_up("Fargo")
    visitor.find("#found li").first.click()
    visitor.page.keyboard.press("5")
    visitor.eventually("#notices [role=alert]", "A little slower, please.")
    assert "Trying again in 2 s." in visitor.find("#notices").inner_text()
    visitor.reflects(1)
    assert len(calls) == 2
    assert calls[0]["events"][0]["id"] == calls[1]["events"][0]["id"], "trying again is harmless"
    assert visitor.find("#notices").inner_text() == ""
    visitor.forgive("status of 429")


@browser_test
def test_a_device_without_network_is_told_so_and_recovers(visitor):
    visitor.page.context.set_offline(True)
    visitor.eventually("#notices [role=alert]", "No connection.")
    visitor.page.context.set_offline(False)
    visitor.find("#notices [role=alert]").wait_for(state="detached")
    assert visitor.find("#list > li").count() == 10
    visitor.wrong = [text for text in visitor.wrong if "ERR_INTERNET_DISCONNECTED" not in text]


@browser_test
def test_where_the_model_orders_choices_a_click_is_a_choice(tables, visit):
    model = small(tables, "clicks.csv", "implicit-ridge", epochs=1)
    with served(model) as (url, _):
        one = visit(url).open()
        one.reflects(0)
        assert one.find("#pick-title").inner_text() == "Pick something you like"
        one.look_up("Fargo")
        one.page.keyboard.press("Enter")
        one.reflects(1)
        assert one.log() == ["Fargo"]
        assert one.changes().startswith("You picked Fargo.")
        first = one.titles()[0]
        one.find("#list > li").first.get_by_role("button", name="Pick").dblclick()
        one.reflects(2)
        assert one.log() == [first, "Fargo"]
        one.find("#question").get_by_role("button", name="Yes").click()
        one.reflects(3)
        one.undo(first)
        one.reflects(2)
        one.leave()


@browser_test
def test_a_model_that_knows_less_says_so(tables, visit):
    model = small(tables, "ratings.csv", "item-knn").without_histories()
    with served(model) as (url, _):
        one = visit(url).open()
        one.find("#list > li").first.wait_for()
        one.look_up("Fargo")
        one.page.keyboard.press("Enter")
        if one.find("#chosen .rater").count():
            one.page.keyboard.press("5")
        one.reflects(1)
        assert "does not say how sure it is" in one.find("#legend").inner_text()
        one.find("#list > li").first.get_by_role("button", name="Why").click()
        one.eventually(".why", "Leave-one-out")
        one.eventually("#columns .column[data-strategy=popularity]", "kept no histories")
        one.leave()


@browser_test
def test_the_status_view_tells_how_the_server_is_doing(visitor, rated):
    visitor.rate("Fargo", 5, 1)
    visitor.open("/status")
    visitor.eventually("#verdict", "All is well")
    routes = visitor.find("#routes tbody tr")
    routes.first.wait_for()
    told = {
        row.get_attribute("data-route"): [
            float(cell.replace(",", "")) for cell in row.locator("td").all_inner_texts()
        ]
        for row in routes.all()
    }
    for route in ("/v1/recommend", "/v1/events", "/v1/explain"):
        p50, p99, n = told[route]
        assert 0 < p50 <= p99
        assert n >= 1
    cards = visitor.find("#cards")
    assert rated.sha256.startswith(cards.locator("#model code").inner_text())
    assert re.search(r"[\d.]+ ms", cards.locator("#freshness .big").inner_text())
    assert re.search(r"\d+ events?", cards.locator("#store .big").inner_text())
    said = cards.locator("#model").inner_text()
    assert "ridge" in said
    assert "150 people" in said
    assert "60" in said
    assert "0.0%" in cards.locator("#exploration").inner_text()


@browser_test
def test_the_status_view_looks_again_by_itself_unless_it_is_paused(visit, server):
    one = visit(server)
    asked = []
    one.page.on("request", lambda request: request.url.endswith("/v1/status") and asked.append(1))
    one.page.clock.install()
    one.open("/status")
    one.find("#routes td").first.wait_for()
    for _ in range(3):
        n = len(asked)
        with one.page.expect_response("**/v1/status"):
            one.page.clock.run_for(2100)
        assert len(asked) == n + 1
        one.page.wait_for_timeout(50)
    one.find("#pause").click()
    assert one.find("#pause").get_attribute("aria-pressed") == "true"
    n = len(asked)
    one.page.clock.run_for(10_000)
    assert len(asked) == n
    with one.page.expect_response("**/v1/status"):
        one.find("#pause").click()


@browser_test
def test_the_status_view_says_what_is_wrong(rated, visit):
    with served(rated) as (url, store):
        store.reads_fail = store.writes_fail = True
        one = visit(url).open("/status")
        one.eventually("#verdict", "Not well")
        one.eventually("#notices .degraded", "The disk is gone.")
        assert one.find("#store .big").inner_text() == "unreadable"
        one.leave()


def traffic(url: str, n: int, seed: int) -> None:
    """Visitors who pick the first of their list, and look again."""
    with httpx.Client(base_url=url, trust_env=False) as client:
        for i in range(n):
            session = f"traffic-{seed}-{i % 10}"
            first = client.post("/v1/recommend", json={"session": session}).json()["items"][0]
            event = {"session": session, "item": first["item"], "value": 4}
            client.post("/v1/events", json={"events": [event]}).raise_for_status()
            client.post("/v1/recommend", json={"session": session}).raise_for_status()


@browser_test
def test_pictures_of_the_page(server, visit, tmp_path, request):
    """Writes what the documentation shows, where it is asked for."""
    folder = Path(os.environ.get("ACCLIMATE_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    picks = [("Fargo", 5), ("Psycho", 4), ("Rocky", 2)]
    with contextlib.ExitStack() as stack:
        url = server
        if os.environ.get("ACCLIMATE_SCREENSHOTS") and os.environ.get("ACCLIMATE_DATA"):
            fit(read(request.getfixturevalue("real_data") / "ml-100k")).save(tmp_path / "films.acc")
            picks = [("Star Wars", 5), ("Fargo", 5), ("Alien (", 4), ("Independence Day", 2)]
            url = stack.enter_context(serving(tmp_path, tmp_path / "films.acc")).url
        one = visit(url, reduced_motion="reduce", viewport={"width": 1180, "height": 1000}).open()
        for n, (title, value) in enumerate(picks, 1):
            one.rate(title, value, n)
        one.find("#columns .column").nth(2).locator("li").first.wait_for()
        one.find("#list > li").nth(1).get_by_role("button", name="Why").click()
        one.find(".why tr.total").wait_for()
        one.find("#list > li:last-child .because").first.wait_for()
        one.find(".intro h1").click()
        one.page.screenshot(path=folder / "playground-light.png")
        one.find(".compare").screenshot(path=folder / "playground-compare.png")
        one.page.evaluate("scrollTo(0, 0)")
        one.page.emulate_media(color_scheme="dark")
        one.page.screenshot(path=folder / "playground-dark.png")
        one.page.emulate_media(color_scheme="light")
        one.page.set_viewport_size({"width": 320, "height": 900})
        one.page.evaluate("document.querySelector('.list').scrollIntoView()")
        one.page.screenshot(path=folder / "playground-narrow.png")
        one.page.set_viewport_size({"width": 1180, "height": 1000})
        one.open("/status")
        one.find("#routes td").first.wait_for()
        for second in range(40 if "ACCLIMATE_SCREENSHOTS" in os.environ else 0):
            traffic(url, 30 + 20 * (second % 7), second)
            one.page.wait_for_timeout(500)
        one.page.screenshot(path=folder / "playground-status.png", full_page=True)
        one.leave()
    for name in ("light", "dark", "compare", "narrow", "status"):
        assert 10_000 < (folder / f"playground-{name}.png").stat().st_size < 200_000
