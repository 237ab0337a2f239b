"""What each RPC needs of its caller: every RPC there is has a rule."""

from typing import Any

import pytest

from crossrun_server.access import rules
from crossrun_server.access.callers import Scope
from tests.fuzz.seeds import FILES, METHODS

RPCS = {
    f"/{service.full_name}/{method.name}": method
    for file in FILES
    for service in file.services_by_name.values()
    for method in service.methods
}
NAMES = ("model_name", "model", "name", "service")  # of fields that name a model
# Parts of an answer that have a name, which is no other model's than the one asked for.
OTHERS = {"inputs", "outputs", "providers", "config", "model_spec"}
# RPCs whose field `name` names a region of shared memory.
REGIONS = [path for path, rule in rules.RULES.items() if rule.protocol == "shared-memory"]


def fields(message: Any) -> list[str]:
    return [field.name for field in message.fields]


def test_every_rpc_has_a_rule() -> None:
    """And there is no rule for what does not exist."""
    assert rules.RULES.keys() == RPCS.keys() == METHODS.keys()


def test_what_nobody_listed_needs_the_most() -> None:
    """An RPC that is added and forgotten is for those who may control the server."""
    rule = rules.rule_of("/inference.GRPCInferenceService/ModelDelete")
    assert (rule.scope, rule.protocol) == (Scope.CONTROL, "model-repository")
    assert not rule.opened


@pytest.mark.parametrize("path", RPCS)
def test_a_rule_finds_the_model(path: str) -> None:
    """If a request names a model, its rule says in which field."""
    named = [name for name in fields(RPCS[path].input_type) if name in NAMES]
    if "model_spec" in fields(RPCS[path].input_type):  # TensorFlow Serving's
        named = ["model_spec.name"]
    expected = [] if path in REGIONS else named
    assert [rules.RULES[path].model] == (expected or [""])


@pytest.mark.parametrize("path", RPCS)
def test_a_rule_finds_a_list_of_models(path: str) -> None:
    """If an answer has a list whose entries name a model, its rule says so."""
    found = [
        (field.name, name)
        for field in RPCS[path].output_type.fields
        if field.message_type and field.name not in OTHERS
        for name in fields(field.message_type)
        if name in ("name", "model")
    ]
    listing = rules.RULES[path].listing
    assert ([(listing.field, listing.name)] if listing else []) == found


@pytest.mark.parametrize("path", RPCS)
def test_a_name_may_be_left_out_only_where_that_tells_nothing(path: str) -> None:
    """Of a list only what is permitted is told; of the health only the server's own."""
    rule = rules.RULES[path]
    assert not rule.unnamed or rule.listing or rule.protocol == rules.HEALTH


def test_what_controls_the_server_can_be_written_down() -> None:
    """The audit log knows calls of one request and one answer."""
    control = [path for path, rule in rules.RULES.items() if rule.scope == Scope.CONTROL]
    assert all(METHODS[path] == (False, False) for path in control)


def test_only_health_and_reflection_can_be_opened() -> None:
    """A file of tokens cannot open anything else to everybody."""
    opened = {path.split("/")[1] for path, rule in rules.RULES.items() if rule.opened}
    assert opened == {
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "inference.GRPCInferenceService",
    }
    ours = [path for path in rules.RULES if rules.RULES[path].opened and "inference." in path]
    assert [path.rpartition("/")[2] for path in ours] == ["ServerLive", "ServerReady", "ModelReady"]
