"""Original files: torch and safetensors, weights alone, wrapped or not; anything else is one clear error."""

import pytest
import torch
from safetensors.torch import save_file

from soundclip_hf.conversion import read_original


class Surprise:
    """Unpickling this would run code of the file's."""

    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_torch_files(tmp_path, wrapper):
    state = {"a.weight": torch.arange(3.0), "b": torch.zeros(0)}
    torch.save({wrapper: state, "epoch": 3} if wrapper else state, tmp_path / "x.pt")
    read = read_original(tmp_path / "x.pt")
    assert read.keys() == state.keys()
    assert torch.equal(read["a.weight"], state["a.weight"])


def test_safetensors_files(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "x.safetensors")
    assert torch.equal(read_original(tmp_path / "x.safetensors")["a"], torch.ones(2))


def test_nothing_in_a_file_is_run(tmp_path, capsys):
    torch.save({"a": torch.ones(1), "b": Surprise()}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="cannot be read as a file of weights alone"):
        read_original(tmp_path / "x.pth")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["x.pt", "x.safetensors"])
@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1"])
def test_damaged_files(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} cannot be read"):
        read_original(tmp_path / name)


def test_other_content(tmp_path):
    torch.save([1, 2], tmp_path / "x.pt")
    with pytest.raises(ValueError, match=r"holds no state dict .*, but a list"):
        read_original(tmp_path / "x.pt")
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_original(tmp_path / "missing.pt")
