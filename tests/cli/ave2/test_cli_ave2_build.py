"""`soundclip ave2 build`, and its last stages as single commands."""

from collections import Counter

import pytest
import yaml
from ave2_build import Answering, long_videos, values
from ave2_rows import rows
from chat_server import chat_server, completion

from soundclip_hf.data.ave2.tables import read_rows, write_parquet
from soundclip_hf.data.build.config import read_build_config
from soundclip_hf.settings import find_config

pytest.importorskip("httpx")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    return folder, long_videos(folder, count=2, scenes=1)


def test_build_goes_on_and_asks_again_for_what_failed(soundclip, world, tmp_path):
    folder, videos = world
    answering, well = Answering(videos), []

    def reply(number, body):
        judging = isinstance(body["messages"][1]["content"], str)
        return completion("no") if judging and not well else answering(number, body)

    with chat_server(reply) as asked:
        config = tmp_path / "own.yaml"
        config.write_text(yaml.safe_dump(values(folder, tmp_path / "out", asked.url)))
        command = ["ave2", "build", "--config", config, "subset.eval_share=0", "--json"]
        first = soundclip(*command)
        assert first.code == 1, first.stderr
        *made, told = first.rows
        stages = ["segment", "annotate", "judge", "subset"]
        assert [row["stage"] for row in made] == [*(stage for stage in stages for _ in range(2)), "shard"]
        assert told["failed"] == {"failed: unusable": 2}
        assert told["cause"].startswith("it has no complete JSON object (long")
        assert "failed: {'failed: unusable': 2}, most often because: it has no complete JSON object" in first.stderr
        assert all(row["fresh"] for row in made)
        count = len(asked.bodies)
        assert not any(row["fresh"] for row in soundclip(*command).rows[:-1])
        assert len(asked.bodies) == count
        well.append(True)
        told = soundclip(*command[:-1]).stdout.splitlines()
        assert told[2] == "judge: 2 rows in 2 shards, 0 made now; {'failed: unusable': 2}"
        assert told[4] == f"shard: 2 rows in {tmp_path / 'out' / 'upload'}, as before"
        again = soundclip(*command, "--retry")
        assert again.code == 0, again.stderr
        fresh = [(row["stage"], row["shard"]) for row in again.rows if row["fresh"]]
        assert fresh == [(stage, f"0000{n}") for stage in ("judge", "subset") for n in (0, 1)] + [("shard", "all")]
        assert len(asked.bodies) == count + 2
    assert [row["overall_score"] for row in read_rows(tmp_path / "out" / "upload" / "data")] == pytest.approx([8.4] * 2)
    assert list((tmp_path / "out" / "dead_letters").iterdir()) == []


def test_the_packaged_configuration_is_complete():
    config = read_build_config(find_config("dataset/ave2"), ["annotate.audio=null", "judge.mode=media"])
    assert (config.annotate.audio, config.judge.mode, config.push.repo) == (None, "media", None)
    assert config.judge.server.concurrency == 64


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["videos={}"], 1, ["has no video files"]),
        (["videos={}/none"], 1, ["{}/none: no such file"]),
        (["vidoes={}"], 2, ["vidoes: unknown setting", "did you mean 'videos'"]),
        (["judge.server.modle=x"], 2, ["judge.server.modle", "'model'"]),
        (["segment.workers=many"], 2, ["segment.workers='many': write a whole number"]),
        (["judge.mode=video"], 2, ["judge: mode='video'"]),
        (["judge.server.max_cost=1"], 2, ["judge.server: max_cost=1 needs input_price"]),
        (["out"], 2, ["'out': write a setting as name=value"]),
        (["--only", "jugde"], 2, ["--only jugde: give one of segment, annotate"]),
        (["--restart", "jugde"], 2, ["--restart jugde: give one of"]),
        (["--only", "push"], 1, ["push.repo"]),
        (["--only", "judge"], 1, ["start with the stage 'segment'"]),
        (["--config", "dataset/ave3"], 2, ["dataset/ave3", "dataset/ave2"]),
    ],
    ids=str,
)
def test_bad_settings_are_one_line(soundclip, tmp_path, arguments, code, words):
    given = [argument.format(tmp_path) for argument in arguments]
    outcome = soundclip("ave2", "build", f"out={tmp_path}/out", *given)
    assert outcome.code == code, outcome.stderr
    assert "Traceback" not in outcome.stderr
    for word in words:
        assert word.format(tmp_path) in outcome.error


def test_subset_and_shard(soundclip, tmp_path):
    given = [row | {"media_status": "missing"} for row in rows(60)]
    write_parquet(given, tmp_path / "a.parquet")
    outcome = soundclip("ave2", "subset", tmp_path / "a.parquet", "--out", tmp_path / "b.parquet", "--eval-share", 0.5)
    assert outcome.code == 0, outcome.stderr
    made = list(read_rows(tmp_path / "b.parquet"))
    assert len(made) == 60
    assert len({(row["youtube_id"], row["split"]) for row in made}) == 20
    keep = ["--keep", "filtered", "--json"]
    outcome = soundclip("ave2", "subset", tmp_path / "a.parquet", "--out", tmp_path / "c.parquet", *keep)
    above = sum(row["overall_score"] is not None and row["overall_score"] > 8 for row in given)
    assert outcome.rows[0]["rows"] == above
    text = soundclip("ave2", "shard", tmp_path / "b.parquet", "--out", tmp_path / "told").stdout
    splits = Counter(row["split"] for row in made)
    counts = f"eval {splits['eval']}, train {splits['train']}"
    assert text == f"60 rows ({counts}), 0 with a clip, in 2 shards in {tmp_path / 'told'}\n"
    outcome = soundclip("ave2", "shard", tmp_path / "b.parquet", "--out", tmp_path / "up", "--json")
    assert outcome.code == 0, outcome.stderr
    assert outcome.rows[0]["rows"] == 60
    assert sorted(path.name for path in (tmp_path / "up" / "data").iterdir()) == [
        f"{split}-00000-of-00001.parquet" for split in ("eval", "train")
    ]
    assert soundclip("ave2", "subset", tmp_path / "a.parquet", "--out", "x", "--keep", "best").code == 2
