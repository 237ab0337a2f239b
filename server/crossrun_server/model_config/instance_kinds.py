"""The kind of an instance group: what its owner asks for, and what is told where he asks for none.

Clients read a kind from every configuration, and send configurations back to load models with.
What was only told must not choose a provider then, so it is noted beside the groups.
"""

import json
from collections.abc import Sequence
from itertools import islice

from crossrun.oip import model_config_pb2 as pb
from crossrun_server.errors import LoadError

Group = pb.ModelInstanceGroup

TOLD = "crossrun.kinds"  # of `parameters`: JSON, group → the kind that we told


def asked(proto: pb.ModelConfig, group: Group) -> Group.Kind:
    """Give the kind that the owner of a configuration asks for; KIND_AUTO where we told it.

    A kind that was changed since is somebody's wish.

    Raises:
        LoadError: the note of what was told is none of ours.
    """
    same = _told(proto).get(group.name) == Group.Kind.Name(group.kind)
    return Group.KIND_AUTO if same else group.kind


def tell(proto: pb.ModelConfig, on_card: Sequence[bool]) -> None:
    """Write kinds into the groups that ask for none.

    Args:
        proto: its groups are completed in place, and named as Triton names them.
        on_card: for each session, in the order of the groups, whether a graphics card computes.
    """
    wishes = [asked(proto, group) for group in proto.instance_group]
    sessions = iter(on_card)
    told = {}
    for i, group in enumerate(proto.instance_group):
        group.name = group.name or f"{proto.name}_{i}"
        group.count = group.count or 1
        cards = list(islice(sessions, group.count * max(1, len(group.gpus))))
        group.kind = wishes[i] or (Group.KIND_GPU if any(cards) else Group.KIND_CPU)
        if not wishes[i]:
            told[group.name] = Group.Kind.Name(group.kind)
    proto.parameters.pop(TOLD, None)
    if told:
        proto.parameters[TOLD].string_value = json.dumps(told)


def _told(proto: pb.ModelConfig) -> dict[str, str]:
    text = proto.parameters[TOLD].string_value if TOLD in proto.parameters else "{}"
    try:
        told = json.loads(text)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise LoadError(f"parameters {TOLD!r} is {text!r}, expected what this server told, or none")
    return told
