"""The reference outputs of ../shared/golden for tests; what is compared with them goes into the table of the run."""

from types import ModuleType

import golden_table
import torch
from shared_data import shared_path

from soundclip_hf.conversion.golden import Comparison, Golden, read_fill, read_golden
from soundclip_hf.conversion.golden_stages import compare_stages


def fill() -> ModuleType:
    """The folder's own `fill.py`."""
    return read_fill(shared_path("golden/fill.py").parent)


def load_golden(name: str) -> Golden:
    """Read NAME.npz and NAME.keys.json; skips the test, naming the file, where one is absent."""
    for needed in (f"{name}.npz", f"{name}.keys.json", "meta.json", "fill.py"):
        folder = shared_path(f"golden/{needed}").parent
    return read_golden(folder, name)


def assert_golden(golden: Golden, array: str, actual: torch.Tensor, atol: float, **kwargs) -> None:
    """`Golden.compare`, which has the keyword arguments, with an entry in the table."""
    _assert_all([golden.compare(array, actual, atol, **kwargs)])


def assert_stages(golden: Golden, model, feature_extractor) -> None:
    """Every stage of an encoder that has the golden weights."""
    _assert_all(list(compare_stages(golden, model, feature_extractor)))


def _assert_all(made: list[Comparison]) -> None:
    for comparison in made:
        golden_table.record(comparison)
    failed = [str(comparison) for comparison in made if not comparison.ok]
    assert not failed, "; ".join(failed)


def assert_close(actual: torch.Tensor, expected: torch.Tensor, atol: float, what: str) -> None:
    """Shapes equal and the largest difference at most `atol`; the message has the figure."""
    assert actual.shape == expected.shape, f"{what}: shape {tuple(actual.shape)}, expected {tuple(expected.shape)}"
    difference = float((actual.detach().float() - expected.detach().float()).abs().max())
    assert difference <= atol, f"{what}: max difference {difference:.2e} > {atol:.0e}"
