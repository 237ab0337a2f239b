"""What dynamic_batching in config.pbtxt says about how requests wait and merge.

What Triton refuses is refused here. What Triton ignores in silence is logged.
"""

import logging

from crossrun.oip import model_config_pb2 as pb
from crossrun_server.errors import LoadError
from crossrun_server.scheduling.queueing import QueuePolicy, SchedulingPolicy

log = logging.getLogger(__name__)


def read(proto: pb.ModelConfig) -> SchedulingPolicy:
    """Read a model's policy. Without dynamic_batching each request runs alone.

    Raises:
        LoadError: the fields contradict each other; the message names the one that is wrong.
    """
    if not proto.HasField("dynamic_batching"):
        return SchedulingPolicy(proto.max_batch_size, merge=False)
    batching = proto.dynamic_batching
    try:
        _check_sizes(batching, proto.max_batch_size)
        _check_priorities(batching)
        _check_ordering(batching)
    except LoadError as error:
        raise LoadError(f"dynamic_batching.{error}") from None
    for field, without in _without_effect(batching):
        log.warning(
            "%s: dynamic_batching.%s in config.pbtxt has no effect without %s",
            proto.name, field, without,
        )  # fmt: skip
    return _policy(proto.max_batch_size, batching)


def _policy(max_batch_size: int, batching: pb.ModelDynamicBatching) -> SchedulingPolicy:
    levels = batching.priority_levels
    return SchedulingPolicy(
        max_batch_size,
        max_queue_delay=batching.max_queue_delay_microseconds / 1e6,
        preferred_batch_sizes=frozenset(batching.preferred_batch_size),
        preserve_ordering=batching.preserve_ordering,
        priority_levels=levels,
        default_priority=batching.default_priority_level if levels else 0,
        queue=_queue(batching.default_queue_policy),
        queues={level: _queue(batching.priority_queue_policy[level])
                for level in batching.priority_queue_policy if levels},
    )  # fmt: skip


def _queue(policy: pb.ModelQueuePolicy) -> QueuePolicy:
    return QueuePolicy(
        size=policy.max_queue_size,
        timeout=policy.default_timeout_microseconds,
        allow_timeout_override=policy.allow_timeout_override,
        delay_expired=policy.timeout_action == pb.ModelQueuePolicy.DELAY,
    )


def _check_sizes(batching: pb.ModelDynamicBatching, max_batch_size: int) -> None:
    for size in batching.preferred_batch_size:
        if not 1 <= size <= max_batch_size:
            raise LoadError(
                f"preferred_batch_size is {size}, expected 1 to max_batch_size, {max_batch_size}"
            )


def _check_priorities(batching: pb.ModelDynamicBatching) -> None:
    levels = batching.priority_levels
    if not levels:
        return
    if not 1 <= batching.default_priority_level <= levels:
        raise LoadError(
            f"default_priority_level is {batching.default_priority_level}, "
            f"expected 1 to priority_levels, {levels}"
        )
    for level in sorted(batching.priority_queue_policy):
        if not 1 <= level <= levels:
            raise LoadError(
                f"priority_queue_policy has the level {level}, "
                f"expected 1 to priority_levels, {levels}"
            )


def _check_ordering(batching: pb.ModelDynamicBatching) -> None:
    if not batching.preserve_ordering:
        return
    if batching.priority_levels > 1:
        raise LoadError(
            f"preserve_ordering contradicts priority_levels, {batching.priority_levels}; "
            "expected at most one level"
        )
    for field, policy in _queue_policies(batching):
        if policy.timeout_action == pb.ModelQueuePolicy.DELAY and (
            policy.default_timeout_microseconds
        ):
            raise LoadError(
                f"preserve_ordering contradicts {field}.timeout_action, DELAY; expected REJECT"
            )


def _without_effect(batching: pb.ModelDynamicBatching) -> list[tuple[str, str]]:
    """Return the fields that have no effect, each with the field that it needs."""
    found = []
    if not batching.priority_levels:
        for field in ("default_priority_level", "priority_queue_policy"):
            if getattr(batching, field):
                found.append((field, "priority_levels"))
    for name, policy in _queue_policies(batching):
        for field in ("allow_timeout_override", "timeout_action"):
            if getattr(policy, field) and not policy.default_timeout_microseconds:
                found.append((f"{name}.{field}", "default_timeout_microseconds"))
    return found


def _queue_policies(
    batching: pb.ModelDynamicBatching,
) -> list[tuple[str, pb.ModelQueuePolicy]]:
    """Return every queue policy with the name of its field."""
    by_level = [
        (f"priority_queue_policy[{level}]", batching.priority_queue_policy[level])
        for level in sorted(batching.priority_queue_policy)
    ]
    return [("default_queue_policy", batching.default_queue_policy), *by_level]
