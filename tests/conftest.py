"""What every test shares: offline, seeded, and transformers' own tests left out of quick runs."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch
from locks import describe_environment
from transformers.utils import logging as transformers_logging

pytest_plugins = ["golden_table", "hub_fixtures"]

# Marks of transformers' own tests, which come from its sdist.
_TRANSFORMERS_MARKS = (
    "accelerate_tests",
    "flash_attn_3_test",
    "flash_attn_4_test",
    "flash_attn_test",
    "torch_compile_test",
)


def pytest_configure(config):
    for name in _TRANSFORMERS_MARKS:
        config.addinivalue_line("markers", f"{name}: of transformers' tests")


def pytest_report_header():
    return describe_environment()


def pytest_ignore_collect(collection_path, config):
    """Importing transformers' tests takes seconds; quick runs do not even look."""
    quick = "not slow" in config.option.markexpr
    return True if quick and collection_path.name.startswith("test_transformers_") else None


# Otherwise transformers' messages, and ours beside them, reach pytest only where the variable CI is set.
transformers_logging.enable_propagation()

# Thread pools of parallel tests fight over the cores: tiny layers get five to ten times slower.
# Who asks for a number of threads gets it: every test must hold with several, which split sums another way.
if "OMP_NUM_THREADS" not in os.environ:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
