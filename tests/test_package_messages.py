"""Exactly two messages of other packages are left out, and nothing beside them."""

import logging
import warnings

import pytest

from soundclip_hf.package_messages import silence_bitsandbytes, without_vocabulary_warning


def test_the_note_about_a_kernel_is_left_out_alone(caplog):
    logger = logging.getLogger("bitsandbytes.backends.cpu.ops")
    for _ in range(2):
        silence_bitsandbytes()
    assert len(logger.filters) == 1
    logger.warning("Failed to load CPU gemm_4bit_forward from kernels-community: %s.", "No module named 'kernels'")
    logger.warning("something else")
    assert caplog.messages == ["something else"]


def test_the_warning_about_a_vocabulary_is_left_out_alone():
    text = "Could not find a config file in tiny - will assume that the vocabulary was not modified."
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with without_vocabulary_warning():
            warnings.warn(text, stacklevel=1)
            warnings.warn("something else", stacklevel=1)
        warnings.warn(text, stacklevel=1)
    assert [str(one.message) for one in shown] == ["something else", text]


def test_packages_still_say_it_in_these_words():
    """The filters would do nothing if PEFT or bitsandbytes changed them."""
    save_and_load = pytest.importorskip("peft.utils.save_and_load")
    with open(save_and_load.__file__, encoding="utf-8") as file:
        assert "- will assume that the vocabulary was not modified" in file.read()
