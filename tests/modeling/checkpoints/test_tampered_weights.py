"""Weights that were damaged or tampered with: one error that names the file, at once, in little memory."""

import hashlib
import json
import math
import shutil
import struct

import pytest
import torch
from checkpoint_loads import LOADS, refused, write_originals
from safetensors.torch import load_file, save_file

from soundclip_hf.modeling.checkpoints.adapter import ADAPTER_NAME
from soundclip_hf.modeling.checkpoints.adapter_file import DIGEST, digest, read_adapter_file, write_adapter_file


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    return write_originals(tmp_path_factory.mktemp("originals"))


@pytest.fixture
def folders(originals, tmp_path, monkeypatch):
    """A copy to be edited, in the working directory."""
    shutil.copytree(originals, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def read_header(content):
    (size,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def with_header(content, change):
    header, data = read_header(content)
    first, second, *_ = (key for key in header if key != "__metadata__")
    text = json.dumps(change(header, first, second)).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def flipped(content, place, bit=1):
    return content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :]


def pickled(_):
    return b"\x80\x02}q\x00X\x01\x00\x00\x00xq\x01K\x01s." + bytes(200)


DAMAGE = {
    "empty": lambda content: b"",
    "cut in the header": lambda content: content[:50],
    "cut in the values": lambda content: content[:-1],
    "something behind the values": lambda content: content + b"x",
    "a bit of the header": lambda content: flipped(content, 10),
    "a bit of the header's size": lambda content: flipped(content, 1, 64),
    "a header of exabytes": lambda content: struct.pack("<Q", 2**60) + content[8:],
    "a header of 90 MB": lambda content: struct.pack("<Q", 90_000_000) + content[8:],
    "a header nested deeply": lambda content: struct.pack("<Q", 800_000) + b"[" * 800_000,
    "a pickle": pickled,
    "tensors that overlap": lambda content: with_header(content, lambda h, a, b: {**h, b: h[a]}),
    "a tensor beyond the end": lambda content: with_header(
        content, lambda h, a, b: {**h, a: {**h[a], "data_offsets": [0, 2**40]}}
    ),
    "a shape of 2**80": lambda content: with_header(content, lambda h, a, b: {**h, a: {**h[a], "shape": [2**40] * 2}}),
    "a negative shape": lambda content: with_header(content, lambda h, a, b: {**h, a: {**h[a], "shape": [-1, 4]}}),
    "an unknown type": lambda content: with_header(content, lambda h, a, b: {**h, a: {**h[a], "dtype": "X9"}}),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", LOADS)
def test_files_of_weights(name, damage, folders):
    load = LOADS[name]
    file = load.weights(folders)
    content = file.read_bytes()
    file.write_bytes(DAMAGE[damage](content))
    refused(load.make, file.name, "is not a readable safetensors file", kinds=ValueError)
    file.write_bytes(content)
    load.make()  # nothing is left of the first try


ADAPTERS = [name for name, load in LOADS.items() if load.edited == "adapter"]
ENCODERS = [name for name, load in LOADS.items() if load.edited == "encoder"]


@pytest.mark.parametrize("name", ADAPTERS)
def test_any_changed_bit_of_an_adapters_values_is_noticed(name, folders):
    load = LOADS[name]
    file = load.weights(folders)
    content = file.read_bytes()
    header, data = read_header(content)
    start = len(content) - len(data)
    for place in (start, start + len(data) // 2, len(content) - 1):
        file.write_bytes(flipped(content, place))
        refused(
            load.make, ADAPTER_NAME, "was changed or damaged after it was saved", "force_download", kinds=ValueError
        )
    # A tensor under another's name, and one of another type of the same size.
    first, second = "audio_projection.fc1.bias", "audio_projection.norm1.weight"
    assert header[first]["shape"] == header[second]["shape"]
    for change in ({first: header[second], second: header[first]}, {first: {**header[first], "dtype": "I32"}}):
        changed = change
        file.write_bytes(with_header(content, lambda h, a, b, changed=changed: {**h, **changed}))
        refused(load.make, ADAPTER_NAME, "was changed or damaged", kinds=ValueError)


def test_the_digest_of_an_adapter(folders):
    """What it is a hash of, so that other programs can compute it."""
    file = folders / "adapter" / ADAPTER_NAME
    tensors = load_file(file)
    expected = hashlib.sha256()
    for key in sorted(tensors):
        shape = tuple(tensors[key].shape)
        expected.update(f"{key}|torch.float32|{shape}|".encode() + tensors[key].numpy().tobytes())
    header, _ = read_header(file.read_bytes())
    assert header["__metadata__"] == {"format": "pt", DIGEST: expected.hexdigest()}
    halves = {"b": torch.tensor([1.5, -2.0], dtype=torch.bfloat16), "a": torch.tensor(3.0)}
    known = b"a|torch.float32|()|\x00\x00\x40\x40" + b"b|torch.bfloat16|(2,)|\xc0\x3f\x00\xc0"
    assert digest(halves) == hashlib.sha256(known).hexdigest()


def test_equal_tensors_give_equal_files(tmp_path):
    """So that a push of the same adapter sends nothing. In a header, safetensors itself has no order of metadata."""
    tensors = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.ones(4, dtype=torch.bfloat16)}
    for number in range(20):
        write_adapter_file(tensors, tmp_path / f"{number}.safetensors")
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    read = read_adapter_file(tmp_path / "0.safetensors")
    assert all(torch.equal(read[key], tensors[key]) for key in tensors)


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_without_a_digest_loads(name, folders):
    """As earlier versions wrote them, and as other programs write what was changed on purpose."""
    load = LOADS[name]
    file = load.weights(folders)
    tensors = load_file(file)
    tensors["audio_projection.fc3.bias"] += 1
    save_file(tensors, file, metadata={"format": "pt"})
    load.make()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ADAPTERS + ENCODERS)
def test_ears_that_are_not_finite(name, value, folders):
    load = LOADS[name]
    file = load.weights(folders)
    tensors = load_file(file)
    key = max(key for key, tensor in tensors.items() if tensor.is_floating_point())
    tensors[key].view(-1)[-1] = value
    save_file(tensors, file, metadata={"format": "pt"})
    refused(
        load.make, load.edited, f"{key} holds 1 values of {tensors[key].numel()} that are NaN or Inf", kinds=ValueError
    )


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_whose_weights_are_gone(name, folders):
    load = LOADS[name]
    file = load.weights(folders)
    file.unlink()
    refused(load.make, "'adapter' has n", ADAPTER_NAME)
    file.symlink_to(file.name)
    refused(load.make, "'adapter' has n", ADAPTER_NAME)
    file.unlink()
    file.symlink_to("/etc/passwd")  # what it leads to is not shown
    assert "root" not in refused(load.make, ADAPTER_NAME, "is not a readable safetensors file")
