"""The interface is what its document says: fuzzed by schemathesis; and who may do what, route by route."""

import json
import re
import time

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.checks import load_all_checks

from acclimate.serving.http import describe, openapi
from acclimate.serving.http.app import OPERATIONS
from acclimate.serving.http.problems import CODES
from acclimate.serving.service import answers
from http_server import SCOPES, here, small_model

PUBLIC = {("get", "/healthz"), ("get", "/readyz")}
"""Operations that everybody may use; whoever adds one says so here."""
SECONDS = 2.0
"""For the fuzzing of one operation in one mode; a few examples are tried however long they take."""
EXAMPLES = 40

DOCUMENT = json.loads(json.dumps(openapi.document(OPERATIONS)))
OPERATION = {
    (method, path): one for path, methods in DOCUMENT["paths"].items() for method, one in methods.items()
}


@pytest.fixture(scope="module")
def served():
    """A server that asks for keys, without limits of rate."""
    off = dict.fromkeys(("key_rate", "address_rate", "user_rate", "guess_rate"), 0.0)
    with here(small_model(), keyed=True, limits=off) as running:
        yield running


# -- the document
# ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), list(OPERATION))
def test_every_route_declares_who_may_use_it(method, path):
    one = OPERATION[method, path]
    if (method, path) in PUBLIC:
        assert (one["x-scope"], one["security"]) == ("public", [])
    else:
        assert one["x-scope"] in SCOPES
        assert one["security"] == [{"key": []}]
        assert {"401", "403", "422", "429", "503"} <= set(one["responses"])


def test_no_route_of_the_interface_is_outside_the_document(served):
    document = served.http.get("/openapi.json").json()
    assert document == DOCUMENT
    # What FastAPI itself routes are pages and the document, without data.
    told = {route.path for route in served.app.routes}
    assert told <= {"/openapi.json", "/docs", "/docs/style.css"}
    assert {(one.method.lower(), one.path) for one in OPERATIONS} == set(OPERATION)


@pytest.mark.parametrize(("method", "path"), list(OPERATION))
def test_every_operation_is_described_with_examples(method, path):
    one = OPERATION[method, path]
    assert one["summary"]
    assert one["operationId"].isidentifier()
    for parameter in one.get("parameters", ()):
        assert parameter["description"]
        assert "example" in parameter or parameter["name"] == "limit"
    if "requestBody" in one:
        assert one["requestBody"]["content"]["application/json"]["example"]
    for status, answer in one["responses"].items():
        (content,) = answer["content"].values()
        assert "x-request-id" in answer["headers"]
        assert ("retry-after" in answer["headers"]) == (status in ("429", "503"))
        if int(status) >= 400 and path != "/readyz":
            assert content["example"]["error"]["code"] in CODES[int(status)]
    if path != "/metrics" and one["operationId"] not in ("model", "status"):
        assert "example" in one["responses"]["200"]["content"]["application/json"]


def test_examples_are_as_their_schemas_say():
    for one in OPERATIONS:
        if one.body is not None:
            one.reader.validate_json(json.dumps(openapi.EXAMPLES[one.name]))
    assert set(openapi.EXAMPLES) == {one.name for one in OPERATIONS if one.body is not None}


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ("RankedOut", answers.Ranked),
        ("RankingOut", answers.Ranking),
        ("PartOut", answers.Part),
        ("ReasonsOut", answers.Reasons),
        ("QuestionOut", answers.Question),
        ("QuestionsOut", answers.Questions),
        ("ReceiptOut", answers.Receipt),
        ("MatchOut", answers.Match),
        ("KeptOut", answers.Kept),
        ("ExportOut", answers.Export),
    ],
)
def test_answers_are_described_as_they_are(schema, kind):
    described = DOCUMENT["components"]["schemas"][schema]["properties"]
    assert list(described) == list(kind.__dataclass_fields__)


def test_the_page_for_people_names_every_operation():
    page = describe.page(DOCUMENT)
    for method, path in OPERATION:
        assert f"{method.upper()} {path}" in page
    assert "<script" not in page


def test_a_description_cannot_become_markup():
    document = json.loads(json.dumps(DOCUMENT))
    document["paths"]["/healthz"]["get"]["summary"] = "<script>alert(1)</script>"
    assert "<script>" not in describe.page(document)


# -- who may do what
# ------------------------------------------------------------------------------------------------------------


def asked(served, method, path, headers):
    """An operation, asked for as its document's examples say."""
    one = OPERATION[method, path]
    named = {p["name"]: p["example"] for p in one.get("parameters", ()) if p["in"] == "path"}
    url = re.sub(r"\{(\w+)\}", lambda found: named[found[1]], path)
    body = one["requestBody"]["content"]["application/json"]["example"] if "requestBody" in one else None
    return served.http.request(method.upper(), url, json=body, headers=headers)


@pytest.fixture(scope="module")
def keys(served):
    """Headers, by scope; of somebody else's tenant; of nobody."""
    found = {scope: served.key(scope) for scope in SCOPES}
    removed = served.key(*SCOPES)
    served.store.remove_key(removed["authorization"].split("_")[1])
    good = found["admin"]["authorization"]
    bad = {
        "none": {},
        "removed": removed,
        "secret of another": {"authorization": "_".join([*good.split("_")[:2], "x" * 43])},
        "no key": {"authorization": "Bearer hello"},
        "scheme": {"authorization": good.replace("Bearer", "Basic")},
        "in the address": {"cookie": f"key={good}"},
    }
    return found, bad


@pytest.mark.parametrize(("method", "path"), list(OPERATION))
def test_an_operation_is_done_for_its_scope_and_for_no_other(served, keys, method, path):
    found, bad = keys
    scope = OPERATION[method, path]["x-scope"]
    if (method, path) in PUBLIC:
        assert asked(served, method, path, {}).status_code == 200
        return
    for name, headers in bad.items():
        answer = asked(served, method, path, headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthenticated"), name
    for name, headers in found.items():
        answer = asked(served, method, path, headers)
        if name == scope:
            # The example's items are not in this catalogue; who may ask was decided before that.
            assert answer.status_code in (200, 404, 422), answer.text
        else:
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden"), name


@pytest.mark.parametrize(("method", "path"), [one for one in OPERATION if "{" in one[1]])
def test_an_operation_reaches_nobody_of_another_tenant(served, method, path):
    ours, theirs = served.key(*SCOPES, tenant="ours"), served.key(*SCOPES, tenant="theirs")
    kind = "user" if "{user}" in path else "session"
    named = {p["name"]: p["example"] for p in OPERATION[method, path]["parameters"]}
    mine = {"id": named.get("id", "7d9f1c52"), kind: named[kind], "item": "i1", "value": 3}
    export = f"/v1/{kind}s/{named[kind]}/export"
    assert served.post("/v1/events", {"events": [mine]}, headers=ours).status_code in (200, 409)
    before = served.http.get(export, headers=ours).content
    answer = asked(served, method, path, theirs)
    assert answer.status_code in (200, 404)
    assert "i1" not in answer.text
    assert served.http.get(export, headers=ours).content == before


# -- fuzzed
# ------------------------------------------------------------------------------------------------------------


load_all_checks()
_LEFT_OUT = {
    # What the catalogue holds is in no schema: a request that fits the schema may still name no item.
    "positive_data_acceptance",
    # Erased people can be asked for: they are as people never seen.
    "use_after_free",
    "ensure_resource_availability",
}


def checks():
    return [check for check in schemathesis.checks.CHECKS.get_all() if check.__name__ not in _LEFT_OUT]


def fuzz(operation, url, headers):
    """Sends what fits the schema of an operation, and what does not; checks every answer against it.

    Raises:
        FailureGroup: an answer that is not as the document says.
    """
    modes = [schemathesis.GenerationMode.POSITIVE]
    if operation.body or operation.path_parameters or operation.query:
        modes.append(schemathesis.GenerationMode.NEGATIVE)
    for mode in modes:
        began, sent = time.monotonic(), 0

        @seed(20)
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy(generation_mode=mode))
        def send(case):
            nonlocal sent
            if sent >= 5 and time.monotonic() - began > SECONDS:  # noqa: B023 - it is called here
                return
            sent += 1
            answer = case.call(base_url=url, headers=headers)
            case.validate_response(answer, checks=checks(), headers=headers)

        send()
        assert sent > 0


# Too large is a way of being wrong.
_REFUSED = {"expected-statuses": [401, 403, 404, 405, 409, 413, 415, 422, 429]}
_CONFIG = schemathesis.Config.from_dict({"checks": {"negative_data_rejection": _REFUSED}})


def operations(document):
    found = schemathesis.openapi.from_dict(document, config=_CONFIG).get_all_operations()
    return [one.ok() for one in found]


@pytest.mark.parametrize("operation", operations(DOCUMENT), ids=lambda one: one.label)
def test_whatever_is_sent_is_answered_as_the_document_says(served, operation):
    fuzz(operation, served.url, served.key(*SCOPES))


def altered(path, change):
    """The operation on a path, of a document that says something else."""
    document = json.loads(json.dumps(DOCUMENT))
    change(document)
    (found,) = [one for one in operations(document) if one.label == path]
    return found


def without_422(document):
    del document["paths"]["/v1/onboarding"]["post"]["responses"]["422"]


def with_another_answer(document):
    document["components"]["schemas"]["QuestionsOut"]["properties"]["items"]["items"] = {"type": "string"}


@pytest.mark.parametrize("change", [without_422, with_another_answer])
def test_a_document_that_says_something_else_is_found_out(served, change):
    with pytest.raises(BaseExceptionGroup):
        fuzz(altered("POST /v1/onboarding", change), served.url, served.key(*SCOPES))


def test_a_server_that_asks_for_no_key_is_found_out():
    with here(small_model()) as running, pytest.raises(BaseExceptionGroup, match=r"IgnoredAuth|auth"):
        fuzz(altered("GET /v1/model", lambda document: None), running.url, {"authorization": "Bearer x"})
