"""Long videos to an uploadable data set: every stage, resumed, restarted, retried, and never mixed."""

import pytest
from ave2_build import Answering, long_videos, settings
from chat_server import chat_server

from soundclip_hf.data.build import build
from soundclip_hf.data.build_folder import BuildFolder
from soundclip_hf.data.subsets import split_of
from soundclip_hf.data.tables import read_rows
from soundclip_hf.data.validation import validate

pytest.importorskip("httpx")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    return folder, long_videos(folder)


def fresh(progress):
    return [(one.stage, one.shard) for one in progress if one.fresh]


def test_all_stages(world, tmp_path):
    folder, videos = world
    sent = []

    def push(upload, repo, **options):
        sent.append((upload, repo, options))
        return {"commit": "abc"}

    with chat_server(Answering(videos)) as asked:
        config = settings(folder, tmp_path, asked.url, push={"repo": "me/ave2", "options": {"private": True}})
        steps = list(build(config, push=push))
        assert len(steps) == 3 * 4 + 2
        requests = len(asked.bodies)
        assert requests == 6 * 3  # two captions and a judgement of each clip
        again = list(build(config, push=push))
    assert fresh(again) == []
    assert len(asked.bodies) == requests
    assert sent == [(tmp_path / "upload", "me/ave2", {"private": True})]
    made = list(read_rows(tmp_path / "upload" / "data"))
    assert list(validate(made)) == []
    assert {row["sample_id"] for row in made} == {f"long{n}_0{s}" for n in range(3) for s in (1, 2)}
    for row in made:
        shown = videos[row["youtube_id"]][row["segment"] - 1]
        # The picture that was sent was that of this row, and the captions that were judged were its own.
        assert row["video_caption"] == shown.row()["video_caption"]
        assert row["audio_visual_label"] == row["video_caption"].strip()[:100]
        assert row["overall_score"] == pytest.approx(8.4)
        assert row["split"] == split_of(row["youtube_id"], {"train": 0.7, "eval": 0.3})
    manifest = BuildFolder(tmp_path).manifest("judge", "00001")
    assert manifest["rows"] == 2
    assert manifest["identity"]["prompt_sha256"] == made[0]["judge_prompt_sha256"]
    assert manifest["inputs"] == {"annotate/00001": BuildFolder(tmp_path).manifest("annotate", "00001")["sha256"]}
