"""What a build lacks is told before it plans, cuts or queues anything."""

import pytest
from without_extras import BLOCKED, block

from soundclip_hf.data.build.config import BuildConfig
from soundclip_hf.data.build.folder import BuildError
from soundclip_hf.data.build.local import build
from soundclip_hf.data.build.needs import check_needs
from soundclip_hf.extras import NotInstalledError
from soundclip_hf.settings import read_settings

SERVER = {"base_url": "http://127.0.0.1:9/v1", "model": "m"}


def config(**values):
    return read_settings(BuildConfig, values)


@pytest.mark.parametrize(
    ("values", "stages", "names"),
    [
        ({}, ["segment", "judge"], "datasets and pyarrow"),
        ({"judge": {"server": SERVER}}, ["segment"], "datasets and pyarrow"),
        ({"judge": {"server": SERVER}}, ["judge"], "datasets, httpx and pyarrow"),
        ({"annotate": {"audio": SERVER}}, ["annotate"], "datasets, httpx and pyarrow"),
        ({"run": {"executor": "datatrove"}}, ["shard"], "datasets, datatrove and pyarrow"),
        ({"run": {"executor": "slurm"}}, ["shard"], "datasets, datatrove and pyarrow"),
    ],
)
def test_only_what_the_stages_need(monkeypatch, values, stages, names):
    block(monkeypatch, *BLOCKED)
    with pytest.raises(NotInstalledError) as raised:
        check_needs(config(**values), stages)
    assert str(raised.value) == f"this build needs {names}, which are not installed: pip install 'soundclip-hf[data]'"


def test_programs(monkeypatch, tmp_path):
    for name in ("datasets", "pyarrow", "datatrove"):
        pytest.importorskip(name)
    monkeypatch.setenv("PATH", "")
    cutting = {"backend": "ffmpeg"}
    with pytest.raises(ValueError, match="no ffmpeg on PATH; install it"):
        [*build(config(videos=str(tmp_path), out=str(tmp_path / "out"), segment=cutting))]
    assert not (tmp_path / "out").exists()
    check_needs(config(segment=cutting), ["judge"])
    check_needs(config(), ["segment"])
    slurm = {"executor": "slurm", "options": {"partition": "cpu", "time": "1"}}
    with pytest.raises(BuildError, match="there is no sbatch"):
        check_needs(config(run=slurm), ["segment"])
    with pytest.raises(BuildError, match="Slurm needs time"):
        check_needs(config(run={"executor": "slurm", "options": {"partition": "cpu"}}), ["segment"])
