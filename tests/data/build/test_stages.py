"""The stages of a build: their order, and one that is added by adding a file."""

import pytest
from ave2_build import Answering, long_videos, settings
from chat_server import chat_server

from soundclip_hf.data.ave2.tables import read_rows
from soundclip_hf.data.build import build, stages

FILE = """
from soundclip_hf.data.build.stages.base import Stage

class Relabel(Stage):
    name = "relabel"
    after = {after!r}

    def identity(self, config):
        return {{"version": 1}}

    def rows(self, work):
        for row in self.before(work):
            work.counts["seen"] += 1
            yield {{**row, "source_dataset": "relabelled"}}
"""


def add(folder, monkeypatch, after, name="relabel"):
    (folder / f"{name}.py").write_text(FILE.format(after=after))
    monkeypatch.setattr(stages, "__path__", [*stages.__path__, str(folder)])


def test_order():
    assert [*stages.STAGES] == ["segment", "annotate", "judge", "subset", "shard", "push"]
    assert [stage.after for stage in stages.STAGES.values()] == [None, *stages.STAGES][:6]


def test_a_stage_is_added_by_adding_a_file(tmp_path, monkeypatch):
    (tmp_path / "videos").mkdir()
    (tmp_path / "more").mkdir()
    add(tmp_path / "more", monkeypatch, "annotate")
    monkeypatch.setattr(type(stages.STAGES["judge"]), "after", "relabel")
    found = stages.find_stages()
    assert [*found] == ["segment", "annotate", "relabel", "judge", "subset", "shard", "push"]
    monkeypatch.setattr(stages, "STAGES", found)
    for module in ("local", "perform", "needs"):
        monkeypatch.setattr(f"soundclip_hf.data.build.{module}.STAGES", found)
    # In this process: a worker would not have the file.
    monkeypatch.setattr(stages.Stage, "in_this_process", True)
    videos = long_videos(tmp_path / "videos", count=1, scenes=2)
    with chat_server(Answering(videos)) as server:
        config = settings(tmp_path / "videos", tmp_path / "out", server.url)
        done = [*build(config, stages=[*found][:5])]
    assert [progress.manifest["counts"] for progress in done if progress.stage == "relabel"] == [{"seen": 2}]
    rows = [*read_rows(tmp_path / "out" / "judge" / "00000.parquet")]
    assert {row["source_dataset"] for row in rows} == {"relabelled"}


@pytest.mark.parametrize(
    ("after", "message"),
    [
        ("segment", "'annotate' and 'relabel' both come after 'segment'"),
        ("nothing", "'relabel' comes after 'nothing', which is none of segment, annotate"),
    ],
)
def test_a_stage_without_a_place_of_its_own(tmp_path, monkeypatch, after, message):
    add(tmp_path, monkeypatch, after, name=f"relabel_after_{after}")
    with pytest.raises(ValueError, match=message):
        stages.find_stages()
