"""What a proof found: of detections, of several processes, and in the metrics."""

import urllib.request

import numpy as np
import pytest

from crossrun_server.proofs import comparison
from crossrun_server.proofs.proof_file import Proof
from crossrun_server.telemetry import metrics
from crossrun_server.telemetry.metrics_http import Entrance
from crossrun_server.telemetry.readings import Reading, Snapshot, merged
from crossrun_server.telemetry.statistics import Counters
from tests.support.placed import OPENVINO
from tests.support.proofs import TWO, Seen, outputs


@pytest.mark.parametrize(
    ("got", "difference", "agreement"),
    [
        (TWO, 0.0, 1.0),
        (TWO[::-1], 0.0, 1.0),  # those with equal scores may come in any order
        ([(1, 0.9, 0.1), (2, 0.79, 0.5)], 0.01, 1.0),
        ([(1, 0.9, 0.1), (2, 0.8, 0.51)], 0.01, 1.0),
        ([(1, 0.9, 0.1)], 0.0, 2 / 3),
        ([(1, 0.9, 0.1), (3, 0.8, 0.5)], 0.0, 0.5),
        ([(1, 0.9, 0.1), (2, 0.8, 0.9)], 0.0, 0.5),
        ([*TWO, (5, 0.5005, 0.7)], 0.0, 1.0),  # on the threshold it may be on either side
        ([*TWO, (5, 0.6, 0.7)], 0.0, 0.8),
        ([], 0.0, 0.0),
    ],
)
def test_detections_are_compared_by_what_they_are_of(
    got: list[Seen], difference: float, agreement: float
) -> None:
    """Each that is sure has its like on the other side: of its class, where it is."""
    expected = outputs(TWO)
    proof = Proof(
        {"image": np.zeros((1, 2))}, expected, "fp32", "drawn", {"detections": 0.001}, 1, "", 0.5
    )
    found = comparison.compare(proof, (0,), outputs(got))
    assert found.differences["detections"] == pytest.approx(difference, abs=1e-6)
    assert found.agreement == pytest.approx(agreement)


def test_a_detector_that_gives_no_numbers_is_seen() -> None:
    """NaN among boxes counts, also past the last detection."""
    expected = outputs(TWO)
    proof = Proof(
        {"image": np.zeros((1, 2))}, expected, "fp32", "drawn", {"detections": 0.001}, 1, "", 0.5
    )
    spoilt = outputs(TWO)
    spoilt["detection_boxes"][0, 3, 0] = np.nan
    assert not comparison.compare(proof, (0,), spoilt).worst(proof.max_diff).fits


def test_of_several_processes_the_worst_is_told() -> None:
    """The largest difference and the least agreement; one that found nothing changes nothing."""
    labels = ("m", "1", "CPUExecutionProvider")
    found = [(1e-6, 1.0), (0.01, 0.9), (None, None)]
    readings = [Reading(labels, Counters(), 0, {}, False, *one) for one in found]
    (total,) = merged(readings)
    assert (total.difference, total.agreement) == (0.01, 0.9)


def test_the_metrics_tell_in_what_a_provider_was_told_to_compute() -> None:
    """Beside the largest difference, so that who reads one reads the other."""
    found = Reading(("m", "1", OPENVINO), Counters(), 0, {}, False, 0.048, 1.0, "bf16 as asked")
    told = metrics.FrontEnd("native", "1")
    with (
        metrics.exporting(
            "127.0.0.1",
            0,
            lambda: Snapshot((found,)),
            told,
            Entrance(lambda _: None),
        ) as url,
        urllib.request.urlopen(url, timeout=30) as response,
    ):
        text = response.read().decode()
    labels = f'{{model="m",precision="bf16 as asked",provider="{OPENVINO}",version="1"}}'
    assert f"crossrun_model_proof_max_difference{labels} 0.048" in text
    assert f"crossrun_model_proof_agreement{labels} 1.0" in text
