"""Messages of other packages that are about nothing a user of this one can mend; exactly these are left out."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_BITSANDBYTES = "bitsandbytes.backends.cpu.ops"
_NO_KERNEL = "Failed to load CPU gemm_4bit_forward"
_NO_CONFIG = (
    "Could not find a config file in .* - will assume that the vocabulary was not modified",
    # The same look-up, where the network is down.
    "Unable to fetch remote file due to the following error .* the lookup for the file config.json in ",
)


def silence_bitsandbytes() -> None:
    """
    Leave out that bitsandbytes finds no faster kernel for 4-bit weights on a CPU.

    PEFT imports bitsandbytes, and transformers' trainer PEFT, whether weights are quantised or not.
    """
    logger = logging.getLogger(_BITSANDBYTES)
    if _is_other not in logger.filters:
        logger.addFilter(_is_other)


@contextmanager
def without_vocabulary_warning() -> Iterator[None]:
    """
    Leave out that PEFT could not look up the vocabulary of the base model on the Hub.

    The base of a SoundLlava may be bundled or lie in a folder, and its vocabulary is never changed.
    """
    with warnings.catch_warnings():
        for message in _NO_CONFIG:
            warnings.filterwarnings("ignore", message=message)
        yield


def _is_other(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_NO_KERNEL)


__all__ = ["silence_bitsandbytes", "without_vocabulary_warning"]
