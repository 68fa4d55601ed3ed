"""How often the audit catches a fault, and how often it sees one where there is none, over seeded subsets."""

import numpy as np
import pytest
from audit_subjects import FAULTS, OWN_FAULTS, bundled, qwen2_audio, scenes

from soundclip_hf.evaluation.audit import AuditSettings, TransformersSubject, audit

pytestmark = pytest.mark.slow
SUBSETS, SIZE, POOL = 20, 6, 200


def found(subject: TransformersSubject, seed: int) -> set[str]:
    """The faults that are found with one subset of the scenes."""
    start = int(np.random.default_rng(seed).integers(POOL - SIZE))
    settings = AuditSettings(max_new_tokens=8, pairing=4, seed=seed)
    return {fault.name for fault in audit(subject, scenes(SIZE, start), settings).faults}


@pytest.mark.parametrize("fault", OWN_FAULTS, ids=lambda fault: fault.__name__)
def test_power_with_the_bundled_model(fault):
    subject = bundled()
    fault(subject)
    caught = sum(OWN_FAULTS[fault] in found(subject, seed) for seed in range(SUBSETS))
    assert caught == SUBSETS


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_power_with_random_models(fault):
    caught = 0
    for seed in range(SUBSETS):
        subject = qwen2_audio(seed)
        fault(subject)
        caught += FAULTS[fault] in found(subject, seed)
    assert caught == SUBSETS


def test_no_false_alarm_with_the_bundled_model():
    subject = bundled()
    alarms = [seed for seed in range(SUBSETS) if found(subject, seed)]
    assert alarms == []


def test_no_false_alarm_with_random_models():
    alarms = [seed for seed in range(SUBSETS) if found(qwen2_audio(seed), seed)]
    assert alarms == []
