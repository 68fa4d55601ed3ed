"""`soundclip eval plot` and `eval overlay`: files in, pictures out, and command lines that are wrong."""

import pytest
from PIL import Image
from result_files import measured, paper_scores, ranked
from tiny_models import tiny_sound_llava
from tiny_processors import tiny_sound_processor

from soundclip_hf.bundled import CLIP

pytest.importorskip("matplotlib")
COUNTS = {f"{kind}_{way}": [3, 1] for kind in ("raw", "projected") for way in ("a2v", "v2a")}


@pytest.fixture
def results(tmp_path):
    """Result files by name."""
    made = {"ranks": ranked([1, 10], **COUNTS)}
    for kind in ("raw", "projected"):
        made[kind] = paper_scores("AudioCLIP-150tk", kind, 150)
        made[f"{kind}15"] = paper_scores("AudioCLIP-15tk", kind, 15)
    made["alpha0"], made["alpha1"] = (measured({"projected_x": 1.0}, alpha=a) for a in (0, 1))
    for name, found in made.items():
        found.save(tmp_path / f"{name}.json")
    return {name: tmp_path / f"{name}.json" for name in made}


@pytest.mark.parametrize(
    ("picture", "names", "options"),
    [
        ("ranks", ["ranks"], []),
        ("radar", ["raw", "projected"], ["--title", "mine"]),
        ("budget", ["raw", "raw15", "projected", "projected15"], ["--metric", "judge_overall"]),
        ("alpha", ["alpha0", "alpha1"], ["--metric", "x"]),
    ],
)
def test_every_picture(soundclip, results, tmp_path, picture, names, options):
    out = tmp_path / "new" / "p.png"
    files = [results[name] for name in names]
    done = soundclip("eval", "plot", picture, *files, "--out", out, "--json", *options)
    assert done.code == 0, done.stderr
    assert done.rows == [{"out": str(out), "picture": picture, "results": len(names)}]
    with Image.open(out) as drawn:
        assert drawn.width == 1200


def test_wrong_plots(soundclip, results, tmp_path):
    for arguments, code, words in [
        (["budget", results["raw"]], 2, "budget needs --metric"),
        (["radar", results["raw"], "--metric", "x"], 2, "--metric belongs to budget and alpha"),
        (["budget", results["raw"], "--metric", "x"], 1, "has no x of raw or projected embeddings; there are judge_"),
        (["ranks", results["raw"]], 1, "has no histogram of ranks"),
        (["radar", tmp_path / "none.json"], 1, "none.json: No such file"),
    ]:
        done = soundclip("eval", "plot", *arguments, "--out", tmp_path / "p.png")
        assert done.code == code
        assert words in done.error
    done = soundclip("eval", "plot", "radar", results["raw"], "--out", tmp_path / "p.jpg")
    assert (done.code, "a picture is a .png" in done.error) == (2, True)
    assert soundclip("eval", "plot", "pie", results["raw"], "--out", tmp_path / "p.png").code == 2
    assert not (tmp_path / "p.png").exists()


def test_overlay_of_the_bundled_clip(soundclip, tmp_path):
    """The bundled model hears the clock, which is in the upper right quarter of the picture."""
    done = soundclip("eval", "overlay", "--out", tmp_path / "o.png", "--top-k", 6, "--json")
    assert done.code == 0, done.stderr
    raw, projected = done.rows
    assert [row["alignment"] for row in done.rows] == ["raw", "projected"]
    assert raw["id"] == CLIP.name
    assert len(raw["kept"]) == len(projected["kept"]) == 6
    assert all(patch // 8 < 4 and patch % 8 >= 4 for patch in projected["kept"])
    assert raw["overlap"] == len({*raw["kept"]} & {*projected["kept"]}) / len({*raw["kept"]} | {*projected["kept"]})
    assert -1 <= projected["similarity"]["min"] < projected["similarity"]["max"] <= 1
    with Image.open(tmp_path / "o.png") as drawn:
        assert drawn.width == 1200


def test_of_llava_next_the_base_view_is_shown(soundclip, tmp_path):
    tiny_sound_llava("llava_next").save_pretrained(tmp_path / "model")
    tiny_sound_processor("llava_next").save_pretrained(tmp_path / "model")
    options = ["--model", tmp_path / "model", "--out", tmp_path / "o.png", "--top-k", 5, "--json"]
    done = soundclip("eval", "overlay", CLIP, *options)
    assert done.code == 0, done.stderr
    assert [(row["patches"], len(row["kept"])) for row in done.rows] == [(16, 5)] * 2


def test_overlay_of_pairs_and_of_one_embedding(soundclip, files, tmp_path):
    sources = [files / "picture.png", files / "tone.wav", files / "a.mp4"]
    done = soundclip("eval", "overlay", *sources, "--out", tmp_path / "o.svg", "--alignment", "raw", "--top-k", 0)
    assert done.code == 0, done.stderr
    assert "a.mp4: raw: 0 of 64 patches" in done.stdout
    assert (tmp_path / "o.svg").is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["{}/silent.mp4"], 1, "silent.mp4: has no audio stream"),
        (["{}/picture.png"], 1, "picture.png: has no sound; an overlay needs both"),
        (["{}/tone.wav"], 1, "tone.wav: has no picture; an overlay needs both"),
        (["{}/a.mp4", "--top-k", "65"], 2, "--top-k 65: the pictures of"),
        (["{}/a.mp4", "--frame", "last"], 2, "--frame last"),
        (["{}/none.mp4"], 1, "none.mp4"),
    ],
)
def test_overlays_that_cannot_be_drawn(soundclip, files, tmp_path, arguments, code, words):
    given = [argument.format(files) for argument in arguments]
    done = soundclip("eval", "overlay", *given, "--out", tmp_path / "o.png")
    assert done.code == code
    assert words in done.error
    assert not [*tmp_path.iterdir()]
