"""What schemathesis cannot know: values that stand for something, and refusals that are not about the form of a request."""

import itertools
import os
import re

import schemathesis
from hypothesis import strategies as st

TOKEN, CHAIN = os.environ["LAUREL_TOKEN"], int(os.environ["LAUREL_CHAIN"])

# Formats that the document names and JSON Schema does not know.
schemathesis.openapi.format("eip55", st.just(TOKEN) | st.integers(1, 2**160 - 1).map("0x{:040x}".format))
schemathesis.openapi.format("uint96", st.integers(1, 2**96 - 1).map(str))
schemathesis.openapi.format("uint256", st.integers(0, 2**256 - 1).map(str))
schemathesis.openapi.format("uint64", st.integers(0, 2**64 - 1).map(str))
# The coverage phase draws headers of patterns from letters and digits only, unless they have a format.
schemathesis.openapi.format("entity-tag", st.just("*") | st.integers(1, 9).map('"{}"'.format))
schemathesis.openapi.format("cel", st.sampled_from([
    "true",
    "outcome.score >= 50",
    "player.grants < 3 && outcome.rank <= 10",
    "outcome.attributes.level == 'hard'",
]))
schemathesis.openapi.format("cron", st.sampled_from(["0 18 * * FRI", "*/5 * * * *", "0 0 1 1 *"]))
schemathesis.openapi.format("time-zone", st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]))

# Refusals of what is well-formed, by their codes. All others say that the document promises what the code does not keep.
WELL_FORMED = {
    # JSON Schema counts characters, and relates no field to another one.
    "invalid_campaign": "windows that never open, an end before its beginning, 64 characters of 4 bytes each",
    ("invalid_body", "reward"): "a cap below what a single unit earns",
    "invalid_attributes": "64 characters of 4 bytes each",
    "invalid_api_key": "a moment that has passed",
    "invalid_players": "a player whom nobody knows, or who is named twice",
    "invalid_player_id": "128 characters of 4 bytes each",
    "invalid_token": "an address without a contract",
    "campaign_over": "a window that has passed",
    "not_to_come": "a window that has begun",
    # Only this server knows.
    ("invalid_query", "until"): "an end that is not behind its beginning, or a year behind it",
    "unknown_chain": "a chain that does not pay here",
    "reserved_address": "the token's address",
    "invalid_cursor": "a cursor that no page gave",
    "idempotency_key_reused": "a key that another request had",
    "wrong_signature": "a signature of something else",
    "unknown_challenge": "a message that was not given",
    "version_changed": "an ETag of another version",
}


def fault(problem):
    """The name of the field or parameter that a problem is about."""
    error = problem.get("errors", [{}])[0]
    return error.get("parameter") or error.get("pointer", "").rpartition("/")[2]


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Keeps what is a failure."""
    if type(failure).__name__ == "RejectedPositiveData":
        problem = response.json()
        # To JSON Schema a number without a fraction is an integer, however it is written; to us 1.0 is none.
        if problem["code"] == "invalid_body" and re.search(r"floating point `[^`]*[.e]", problem["detail"]):
            return False
        return problem["code"] not in WELL_FORMED and (problem["code"], fault(problem)) not in WELL_FORMED
    if type(failure).__name__ == "AcceptedNegativeData" and case.operation.definition.raw["operationId"] == "post_outcomes":
        # A bad outcome never sinks the rest: it is told of in the answer.
        return response.json()["rejected"] == 0
    return True


def is_sign_in(body):
    """Whether somebody would sign in with it, if they were known."""
    return (
        isinstance(body, dict)
        and {"name", "password"} <= body.keys() <= {"name", "password", "totp"}
        and all(isinstance(body[field], str) for field in ("name", "password"))
        and body.get("totp") is None
    )


UNUSED = itertools.count()


@schemathesis.hook
def map_headers(context, headers):
    """Has each request be a new one, but for those of the same key that are next to each other."""
    key = headers and headers.get("idempotency-key")
    if isinstance(key, str) and re.fullmatch("[!#-Z^-~]{1,200}", key):
        headers["idempotency-key"] = f"{key}-{next(UNUSED)}"
    return headers


@schemathesis.hook
def map_body(context, body):
    """Has most chains be the one that pays, and some people be the one who is known."""
    chain = body.get("chain_id") if isinstance(body, dict) else None
    # What is no chain's id is there to be refused.
    if type(chain) is int and 0 < chain < 2**64 and chain % 4:
        body["chain_id"] = CHAIN
    if is_sign_in(body) and len(body["name"]) % 2:
        # Never with another password, which would lock it.
        return {"name": os.environ["LAUREL_USER"], "password": os.environ["LAUREL_PASSWORD"]}
    return body


@schemathesis.hook
def before_call(context, case, kwargs):
    """Has nobody be erased whom others ask about, and some events be one that there is."""
    operation, path = case.operation.definition.raw["operationId"], case.path_parameters
    if operation == "erase_player" and path.get("player_id") == os.environ["LAUREL_PLAYER"]:
        path["player_id"] = os.environ["LAUREL_GONE"]
    if operation == "get_event" and all(type(value) is int for value in path.values()) and next(UNUSED) % 2:
        path |= zip(("partition", "offset", "index"), map(int, os.environ["LAUREL_EVENT"].split("/")))


@schemathesis.hook
def after_call(context, case, response):
    """Writes down what was answered."""
    with open(os.environ["LAUREL_ANSWERS"], "a") as answers:
        code = response.json()["code"] if response.status_code >= 400 else "-"
        answers.write(f"{case.operation.definition.raw['operationId']} {response.status_code} {code}\n")
