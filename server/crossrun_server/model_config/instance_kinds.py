"""The kind of an instance group: what its owner asks for, or else what really runs.

Clients read the kinds, and may send the configuration back to load a model. A kind that the server
filled in must not choose a provider then, so the server notes which ones it filled in.
"""

import json
from collections.abc import Sequence
from itertools import islice

from crossrun.oip import model_config_pb2 as pb
from crossrun_server.errors import LoadError

Group = pb.ModelInstanceGroup

FILLED_IN = "crossrun.kinds"  # key of `parameters`: JSON, group → the kind that the server chose


def asked(proto: pb.ModelConfig, group: Group) -> Group.Kind:
    """Return the kind that the owner asks for; KIND_AUTO if the server filled it in.

    A kind that was changed since then counts as asked for.

    Raises:
        LoadError: the note of what the server filled in is malformed.
    """
    same = _filled_in(proto).get(group.name) == Group.Kind.Name(group.kind)
    return Group.KIND_AUTO if same else group.kind


def fill_in(proto: pb.ModelConfig, on_card: Sequence[bool]) -> None:
    """Write what really runs into the groups that ask for no kind.

    Args:
        proto: its groups are completed in place, and named as Triton names them.
        on_card: whether a graphics card computes, for each session in the order of the groups.
    """
    wishes = [asked(proto, group) for group in proto.instance_group]
    sessions = iter(on_card)
    filled = {}
    for i, group in enumerate(proto.instance_group):
        group.name = group.name or f"{proto.name}_{i}"
        group.count = group.count or 1
        cards = list(islice(sessions, group.count * max(1, len(group.gpus))))
        group.kind = wishes[i] or (Group.KIND_GPU if any(cards) else Group.KIND_CPU)
        if not wishes[i]:
            filled[group.name] = Group.Kind.Name(group.kind)
    proto.parameters.pop(FILLED_IN, None)
    if filled:
        proto.parameters[FILLED_IN].string_value = json.dumps(filled)


def _filled_in(proto: pb.ModelConfig) -> dict[str, str]:
    text = proto.parameters[FILLED_IN].string_value if FILLED_IN in proto.parameters else "{}"
    try:
        filled = json.loads(text)
    except ValueError:
        filled = None
    if not isinstance(filled, dict):
        raise LoadError(
            f"parameters {FILLED_IN!r} is {text!r}, expected what this server wrote, or none"
        )
    return filled
