"""Long videos to an uploadable data set: every stage, resumed, restarted, retried, and never mixed."""

import os
import time

import pytest
from ave2_build import Answering, long_videos, settings
from chat_server import chat_server
from processes import without_space

import soundclip_hf.data.build.local as build_module
import soundclip_hf.data.build.stages.segment as segment_module
from soundclip_hf.data.annotation.rubric import PROMPT_ID, MediaRubric, Rubric
from soundclip_hf.data.ave2.subsets import split_of
from soundclip_hf.data.ave2.tables import read_rows
from soundclip_hf.data.ave2.validation import validate
from soundclip_hf.data.build.config import BuildConfig
from soundclip_hf.data.build.folder import BuildError, BuildFolder
from soundclip_hf.data.build.local import build, prepare, run_stage
from soundclip_hf.data.build.perform import is_done, perform, shards_of
from soundclip_hf.data.build.stages import STAGES
from soundclip_hf.data.clips.cuts import Cut, Reject
from soundclip_hf.data.pool import Crashed
from soundclip_hf.settings import SettingError, read_settings

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


@pytest.fixture
def built(world, tmp_path):
    """A server, and a function that builds, with changed settings, up to a stage."""
    folder, videos = world
    with chat_server(Answering(videos)) as asked:

        def run(*stages, restart=None, retry=False, **changes):
            config = settings(folder, tmp_path / "out", asked.url, **changes)
            made = []
            for stage in prepare(config, stages or [*STAGES][:5], restart, retry):
                for shard in shards_of(config, stage):
                    if is_done(config, stage, shard) is None:
                        perform(shard, config, stage)
                        made.append((stage, shard))
            return made

        yield run, asked


def test_a_changed_prompt_does_not_mix(built, tmp_path):
    run, asked = built
    run()
    words = tmp_path / "words.txt"
    words.write_text("Rate it as you like.")
    server = {"base_url": asked.url, "model": "judge", "instructions": str(words), "prompt_id": "mine/1"}
    other = {"server": server}
    # Half way: a shard is missing, and would be made with the new words.
    BuildFolder(tmp_path / "out").forget("judge", "00001")
    with pytest.raises(BuildError) as error:
        run(judge=other)
    told = str(error.value)
    assert f"prompt_id was '{PROMPT_ID}' and is now 'mine/1'" in told
    assert f"prompt_sha256 was {Rubric().sha256[:12]}… and is now " in told
    assert f"{Rubric(instructions=words.read_text(), prompt_id='mine/1').sha256[:12]}…" in told
    assert "new folder" in told
    assert "restart='judge'" in told
    for changes in ({"annotate": {"video": server}}, {"segment": {"max_side": 32}}):
        with pytest.raises(BuildError, match="was begun with other settings"):
            run(**changes)
    # Where and how fast to ask decides nothing.
    base = {"base_url": asked.url, "model": "judge", "concurrency": 7, "timeout": 9, "attempts": 2}
    assert run(judge={"server": base})[0] == ("judge", "00001")
    made = run(judge=other, restart="judge")
    assert {stage for stage, _ in made} == {"judge", "subset", "shard"}
    assert {row["judge_prompt_id"] for row in read_rows(tmp_path / "out" / "upload" / "data")} == {"mine/1"}


def test_clips_are_judged_themselves(built, tmp_path):
    run, asked = built
    server = {"base_url": asked.url, "model": "both"}
    run(annotate={}, judge={"mode": "media", "server": server, "frames": 2})
    made = list(read_rows(tmp_path / "out" / "judge"))
    assert [(row["judge_mode"], row["overall_score"], row["video_caption"]) for row in made] == [
        ("media", 10, None)
    ] * 6
    assert {row["judge_prompt_id"] for row in made} == {MediaRubric().prompt_id}
    with pytest.raises(BuildError, match="prompt_sha256 was"):  # more frames are another question
        run(annotate={}, judge={"mode": "media", "server": server, "frames": 3})


def test_new_videos_get_shards_of_their_own(built, world, tmp_path):
    run, asked = built
    few = tmp_path / "few"
    few.mkdir()
    for name in ("long1.mp4", "long2.mp4"):
        (few / name).symlink_to(world[0] / name)
    assert run(videos=[str(few)])[:2] == [("segment", "00000"), ("segment", "00001")]
    count = len(asked.bodies)
    (few / "long0.mp4").symlink_to(world[0] / "long0.mp4")
    made = run(videos=[str(few)])
    assert made == [*((stage, "00002") for stage in [*STAGES][:4]), ("shard", "all")]
    assert len(asked.bodies) == count + 2 * 3
    # Once it is cut, nobody needs the video; before, its absence costs it alone, until it is back.
    (few / "long1.mp4").unlink()
    assert run(videos=[str(few)]) == []
    BuildFolder(tmp_path / "out").forget("segment", "00000")
    run(videos=[str(few)])
    assert "No such file" in BuildFolder(tmp_path / "out").lost()["long1"]
    assert {row["youtube_id"] for row in read_rows(tmp_path / "out" / "judge")} == {"long0", "long2"}
    (few / "long1.mp4").symlink_to(world[0] / "long1.mp4")
    run(videos=[str(few)])
    assert not BuildFolder(tmp_path / "out").lost()
    assert {row["youtube_id"] for row in read_rows(tmp_path / "out" / "judge")} == {"long0", "long1", "long2"}


def test_videos_that_cannot_be_used(built, world, tmp_path):
    """A corrupt one costs itself; two of one name are an error before anything is made."""
    run, _ = built
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    whole = (world[0] / "long0.mp4").read_bytes()
    (mixed / "a.mp4").symlink_to(world[0] / "long0.mp4")
    (mixed / "b.mp4").write_bytes(whole[:2000])
    (mixed / "c.mp4").symlink_to(world[0] / "long1.mp4")
    run("segment", videos=[str(mixed)], videos_per_shard=3)
    manifest = BuildFolder(tmp_path / "out").manifest("segment", "00000")
    assert (manifest["rows"], manifest["counts"]["rejected: decode_error"]) == (4, 1)
    (tmp_path / "twin").mkdir()
    (tmp_path / "twin" / "a.mkv").write_bytes(whole)
    with pytest.raises(BuildError, match=r"twin/a.mkv and .*mixed/a.mp4 would both be video 'a'; rename"):
        run("segment", videos=[str(mixed), str(tmp_path / "twin")])


def test_a_full_disk_stops_the_stage_and_leaves_nothing_half(built, world, tmp_path):
    run, asked = built
    run("segment")
    folder = BuildFolder(tmp_path / "out")
    before = {path for path in (tmp_path / "out").rglob("*") if path.is_file()}
    own = "sample_id,video_caption\n" + "".join(
        f"long{n}_0{s},{os.urandom(4000).hex()}\n" for n in (0, 1, 2) for s in (1, 2)
    )
    (tmp_path / "own.csv").write_text(own)
    config = settings(world[0], tmp_path / "out", asked.url, annotate={"captions": str(tmp_path / "own.csv")})
    assert without_space(4000, _annotate, config).startswith("OSError")
    after = {path for path in (tmp_path / "out").rglob("*") if path.is_file()} - before
    assert not [path for path in after if path.suffix in (".parquet", ".partial") or path.stem.startswith("0")]
    assert folder.manifest("annotate", "00000") is None
    assert ("annotate", "00000") in run()


def _annotate(config):
    prepare(config, ["annotate"])
    perform("00000", config, "annotate")


def test_only_one_build_at_a_time(built, tmp_path):
    folder = BuildFolder(tmp_path / "out")
    with folder.locked(), pytest.raises(BuildError, match="another build is running"), folder.locked():
        pass


def test_a_video_that_kills_its_worker_is_rejected_alone(world, tmp_path, monkeypatch):
    """Such as one that makes a codec crash: the others of its shard are cut all the same."""
    config = settings(world[0], tmp_path, "http://127.0.0.1:9/v1", videos_per_shard=3)
    prepare(config, ["segment"])
    monkeypatch.setattr(build_module, "run", _dying_pool)
    monkeypatch.setattr(segment_module, "cut_all", _cut_all_but_one)
    (progress,) = run_stage(config, "segment")
    assert progress.manifest["counts"] == {"rejected: crashed": 1, "videos": 2}
    assert {row["youtube_id"] for row in read_rows(tmp_path / "segment")} == {"long0", "long2"}


def _dying_pool(function, jobs, workers):
    yield from ((job, Crashed("its worker process died 3 times")) for job in jobs)


def _cut_all_but_one(jobs, out, cutting, workers):
    for job in jobs:
        crash = (Reject(job.video_id, None, "crashed", ""),) if job.video_id == "long1" else ()
        yield Cut(job, (), crash)


def test_a_budget_is_kept_by_one_process():
    server = {"base_url": "http://127.0.0.1:9/v1", "model": "m", "max_cost": 1, "input_price": 1}
    with pytest.raises(
        SettingError, match=r"judge: max_cost is kept by one process; set judge.workers: 1 instead of 2"
    ):
        read_settings(BuildConfig, {"judge": {"server": server, "workers": 2}})
    shared = read_settings(BuildConfig, {"judge": {"server": server | {"requests_per_minute": 60, "concurrency": 9}}})
    assert (shared.judge.server.server(3).concurrency, shared.judge.server.server(3).requests_per_minute) == (3, 20)


def test_captioners_of_one_server_agree_on_its_limits():
    server = {"base_url": "http://127.0.0.1:9/v1", "model": "m"}
    other = server | {"base_url": "http://127.0.0.1:9/v1/", "model": "n", "concurrency": 2}
    with pytest.raises(
        SettingError, match=r"annotate.video has concurrency=8 and annotate.audio has concurrency=2, but both ask http"
    ):
        read_settings(BuildConfig, {"annotate": {"video": server, "audio": other}})
    # Stages run one after the other, so each has limits of its own.
    read_settings(BuildConfig, {"annotate": {"video": server}, "judge": {"server": other}})


def test_processes_share_the_concurrency_of_a_server(world, tmp_path):
    answering = Answering(world[1])

    def reply(number, body):
        time.sleep(0.3)
        return answering(number, body)

    with chat_server(reply) as asked:
        server = {"base_url": asked.url, "model": "m", "concurrency": 2}
        config = settings(world[0], tmp_path, asked.url, judge={"server": server, "workers": 3})
        assert STAGES["judge"].processes(config, 3) == 2
        assert STAGES["annotate"].processes(config, 1) == 1
        assert STAGES["segment"].processes(config, 100) == 100
        for stage in prepare(config, ["segment", "annotate", "judge"]):
            asked.most = 0
            assert len([*run_stage(config, stage)]) == 3
            assert asked.most <= 2


def test_no_key_is_written_down(built, tmp_path, monkeypatch):
    run, asked = built
    monkeypatch.setenv("OPENAI_API_KEY", "very-secret")
    run()
    assert asked.headers[0]["Authorization"] == "Bearer very-secret"
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"very-secret" in path.read_bytes()]


def test_nothing_left_is_no_data_set(tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "bad.mp4").write_bytes(b"no media")
    with chat_server(lambda number, body: None) as asked:
        config = settings(tmp_path / "videos", tmp_path / "out", asked.url)
        with pytest.raises(BuildError, match="shard: no clip is left; see what segment and subset say, and "):
            list(build(config))
    assert not (tmp_path / "out" / "upload").exists()
