"""What two computations of one thing may differ by, and what may not differ at all.

The last bits of a matrix product depend on the order in which its products are summed: on the processor, the number of
threads, the shape of the batch and, with MKL on AMD, the memory addresses of the operands. So weights, ids and copied
tokens are compared bit for bit, and results only where both sides use the same storage.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

# Two orders of summing n products differ by about sqrt(n) eps of the sum's scale, d layers by sqrt(d) times that. The
# tiny models have n <= 1024 and d <= 16, which makes 128; the largest seen was 5, with loaded weights put at random
# addresses of an AMD EPYC's memory.
ROUNDINGS = 128


def assert_equal_to_rounding(actual: Tensor, expected: Tensor, what: str = "") -> None:
    """Equal in shape and dtype, and in value up to another order of summation; for results in fp32 or fp64."""
    assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype), what
    scale = float(expected.detach().abs().max()) if expected.numel() else 0.0
    allowed = ROUNDINGS * torch.finfo(expected.dtype).eps * scale
    difference = float((actual.detach() - expected.detach()).abs().max()) if expected.numel() else 0.0
    assert difference <= allowed, (
        f"{what}: differs by {difference:.2e}, of {scale:.2e}; rounding explains {allowed:.2e}"
    )


def assert_equal_inputs(actual: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """What a processor makes: ids, masks and pixels bit for bit; a sound's features went through its mel filters."""
    assert list(actual) == list(expected)
    for name, value in expected.items():
        if name == "input_features":
            torch.testing.assert_close(actual[name], value, msg=lambda said, name=name: f"{name}: {said}")
        else:
            assert torch.equal(actual[name], value), name


def assert_same_weights(actual: nn.Module, expected: nn.Module) -> None:
    """The same parameters and buffers, those that no checkpoint has included, in dtype and bit for bit."""
    ours, theirs = (dict([*model.named_parameters(), *model.named_buffers()]) for model in (actual, expected))
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert ours[name].dtype == value.dtype, name
        assert torch.equal(ours[name], value), name


def share_weights(model: nn.Module, source: nn.Module) -> nn.Module:
    """Let `model` use the storage of `source`'s weights; `source` may have more of them."""
    own = model.state_dict().keys()
    model.load_state_dict({key: value for key, value in source.state_dict().items() if key in own}, assign=True)
    return model
