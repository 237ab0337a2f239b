"""Which fields of config.pbtxt work, and what happens to the others. Knows no values.

A field that would change the answers, or what a model promises to its callers, is refused. A field
that only tunes speed, memory or metrics is ignored, and logged. A name stands for its field and
everything inside it.
"""

from collections.abc import Iterator

from google.protobuf.message import Message

WORKS = {
    "name",
    "platform",
    "backend",
    "version_policy",
    "max_batch_size",
    "input.name",
    "input.data_type",
    "input.dims",
    "input.optional",
    "input.reshape",
    "input.format",
    "output.name",
    "output.data_type",
    "output.dims",
    "output.reshape",
    "output.label_filename",
    "instance_group.name",
    "instance_group.count",
    "instance_group.gpus",
    "instance_group.kind",
    "default_model_filename",
    "dynamic_batching",
    "optimization.cuda.graphs",
    "optimization.execution_accelerators",
    "parameters",
    "model_warmup",
    "response_cache",
}
REFUSED = {
    "input.is_shape_tensor",
    "input.allow_ragged_batch",
    "input.is_non_linear_format_io",
    "output.is_shape_tensor",
    "output.is_non_linear_format_io",
    "instance_group.passive",
    "instance_group.secondary_devices",
    "cc_model_filenames",
    "sequence_batching",
    "ensemble_scheduling",
    "model_operations",
    "model_transaction_policy.decoupled",
    "batch_input",
    "batch_output",
    "model_repository_agents",
    "runtime",
}
IGNORED = {
    "instance_group.profile",
    "instance_group.rate_limiter",
    "instance_group.host_policy",
    "metric_tags",
    "optimization.graph",
    "optimization.priority",
    "optimization.cuda.busy_wait_events",
    "optimization.cuda.graph_spec",
    "optimization.cuda.output_copy_stream",
    "optimization.input_pinned_memory",
    "optimization.output_pinned_memory",
    "optimization.gather_kernel_buffer_threshold",
    "optimization.eager_batching",
    "model_metrics",
}
ALL = WORKS | REFUSED | IGNORED


def used(message: Message, prefix: str = "") -> Iterator[str]:
    """Name the entries of ALL that a configuration sets, as `input.dims`."""
    for field, value in message.ListFields():
        path = prefix + field.name
        if path in ALL:
            yield path
            continue
        for part in [value] if isinstance(value, Message) else value:
            yield from used(part, f"{path}.")
