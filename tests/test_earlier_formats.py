"""What an earlier version has written is read, and gone on with, as if this one had written it."""

import json
import shutil
import tarfile
from pathlib import Path

import pytest
import torch
from ave2_build import Answering, settings
from ave2_rows import rows
from chat_server import chat_server
from rounding import assert_equal_to_rounding
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from soundclip_hf import SoundClipModel, SoundLlava, __version__
from soundclip_hf.cli import app
from soundclip_hf.data.ave2.shard_series import Series
from soundclip_hf.data.ave2.shards import Sizes, write_shards
from soundclip_hf.data.ave2.tables import read_rows
from soundclip_hf.data.build.local import build
from soundclip_hf.data.synthetic.scenes import scene
from soundclip_hf.files import sha256
from soundclip_hf.retrieval import embedding
from soundclip_hf.retrieval.embedding_store import EmbeddingStore
from soundclip_hf.training.alignment import align
from soundclip_hf.training.arguments import read_arguments
from soundclip_hf.training.embedding_cache import cache_folder
from soundclip_hf.training.trainer import AlignmentTrainer, PairEncoder

FIXTURES = Path(__file__).parent / "fixtures"
# Where the files were made. Some hold that path, as those of users do, which do not move.
MADE_AT = "/tmp/earlier"


@pytest.fixture
def earlier(tmp_path, monkeypatch):
    with tarfile.open(FIXTURES / "earlier.tar.xz") as archive:
        # Python 3.11 before 3.11.4 has no filters.
        archive.extractall(tmp_path, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    for path in tmp_path.rglob("*.json"):
        path.write_text(path.read_text().replace(MADE_AT, str(tmp_path)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def soundclip(*arguments):
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert done.exit_code == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def test_an_adapter_has_the_same_logits(earlier):
    model, expected = SoundLlava.from_pretrained("models/adapter").eval(), load_file("models/expected.safetensors")
    given = {name: expected[name] for name in ("input_ids", "pixel_values", "sound_embeds", "sound_slots")}
    given |= {"sound_budget": expected["sound_budget"], "attention_mask": torch.ones_like(given["input_ids"])}
    with torch.no_grad():
        assert_equal_to_rounding(model(**given).logits, expected["logits"])
        assert_equal_to_rounding(model.model.audio_tower(expected["features"])[0], expected["heard"])


def test_a_dual_encoder_has_the_same_embeddings(earlier):
    model, expected = SoundClipModel.from_pretrained("models/dual").eval(), load_file("models/expected.safetensors")
    with torch.no_grad():
        image = model.get_image_features(pixel_values=expected["pixel_values"]).pooler_output
        audio = model.get_audio_features(input_features=expected["features"]).pooler_output
    assert_equal_to_rounding(image, expected["image"])
    assert_equal_to_rounding(audio, expected["audio"])


@pytest.fixture
def files_read(monkeypatch):
    """The media files that are read to be embedded."""
    names, read = [], embedding.read_source
    monkeypatch.setattr(
        embedding, "read_source", lambda source, *rest: names.append(source.name) or read(source, *rest)
    )
    return names


def test_an_index_is_searched_and_added_to(earlier, files_read):
    (block,) = Path("idx").glob("*.safetensors")
    with safe_open(block, framework="pt") as file:
        metadata = {name: text.replace(MADE_AT, str(earlier)) for name, text in file.metadata().items()}
    save_file(load_file(block), block, metadata=metadata)
    (count,) = soundclip("index", "media", "-o", "idx", "--json")
    assert (count["added"], count["updated"], count["unchanged"]) == (0, 0, 4)
    assert files_read == []
    shutil.copy("pairs/7.png", "media/2.png")
    (count,) = soundclip("index", "media", "-o", "idx", "--json")
    assert (count["added"], count["updated"], count["unchanged"]) == (1, 0, 4)
    assert files_read == ["2.png"]
    found = soundclip("search", "idx", "media/1.wav", "--json")
    pictures, sound = {}, None
    for part in EmbeddingStore(Path("idx")).blocks():
        for entry, heard, seen in zip(part.entries, part.rows("audio"), part.rows("image")):
            if seen is not None:
                pictures[entry.source] = part.image[seen]
            if entry.source == "1.wav":
                sound = part.audio[heard]
    scores = {name: float(vector @ sound) for name, vector in pictures.items()}
    assert {row["source"]: row["score"] for row in found} == pytest.approx(scores, abs=1e-4)


def test_a_file_of_embeddings_is_gone_on_with(earlier, files_read):
    before = load_file("vectors.safetensors")
    soundclip("embed", "media/0.wav", "media/1.png", "media/0.png", "-o", "vectors.safetensors")
    after = load_file("vectors.safetensors")
    assert files_read == ["media/0.png"]
    assert torch.equal(after["audio"], before["audio"])
    assert torch.equal(after["image"][:1], before["image"])


def _lines(path):
    return Path(path).read_text().splitlines()


def test_answers_are_kept(earlier):
    """Their text is what no model says, so an item that was asked again would show."""
    kept = [json.loads(line) | {"answer": f"kept {n}"} for n, line in enumerate(_lines("answers.jsonl"))]
    kept = [row | {"revision": f"soundclip-hf {__version__}"} for row in kept]  # that of the bundled model
    lines = [json.dumps(row) for row in kept]
    Path("answers.jsonl").write_text(f"{lines[0]}\n{lines[1][:40]}")  # killed in the second line
    soundclip("describe", "--manifest", "items.jsonl", "--out", "answers.jsonl", "--max-new-tokens", 4)
    first, second = (json.loads(line) for line in _lines("answers.jsonl"))
    assert first == kept[0]
    assert second["answer"] != kept[1]["answer"]
    assert second.keys() == kept[1].keys()


def alignment(**changes):
    options = json.loads((FIXTURES / "alignment.json").read_text()) | changes
    return align(*read_arguments([f"--{name}={value}" for name, value in options.items()]))


def assert_same_run(folder):
    """Equal to what rounding, divided by the small gradients that it disturbs, makes of a few steps."""
    losses = [
        [entry["loss"] for entry in json.loads(path.read_text()) if "loss" in entry]
        for path in (Path("run/curve.json"), folder / "curve.json")
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    one, other = (load_file(path / "soundclip_adapter.safetensors") for path in (Path("run"), folder))
    assert one.keys() == other.keys()
    assert all(torch.allclose(one[name], other[name], rtol=1e-3, atol=1e-5) for name in one)


@pytest.fixture
def cached(earlier, monkeypatch):
    """The cache where this version looks for it; nothing is embedded again."""
    (folder,) = Path("cache").iterdir()
    key = json.loads((folder / "key.json").read_text())
    there = json.loads((folder / "key.json").read_text().replace(str(earlier), MADE_AT))
    assert cache_folder("cache", there).name == folder.name
    folder.rename(cache_folder("cache", key))
    monkeypatch.setattr(PairEncoder, "embed_audio", None)
    monkeypatch.setattr(PairEncoder, "embed_vision", None)


def test_cached_embeddings_are_trained_on(cached):
    alignment(output_dir="anew")
    assert_same_run(Path("anew"))


def test_an_alignment_goes_on(cached, monkeypatch):
    steps, step = [], AlignmentTrainer.training_step
    monkeypatch.setattr(
        AlignmentTrainer, "training_step", lambda *given, **named: steps.append(1) or step(*given, **named)
    )
    alignment(output_dir="run-half")
    assert len(steps) == 2  # of four
    assert_same_run(Path("run-half"))


@pytest.fixture
def world(earlier):
    """A server that knows the scenes of the two videos, which are not there any more."""
    heard = [shown for shown in map(scene, range(20)) if shown.sources][:2]
    Path("no videos").mkdir()
    with chat_server(Answering({f"long{n}": [shown] for n, shown in enumerate(heard)})) as asked:
        yield asked


def made(folder):
    """The rows without the hashes of their clips, as no two encodings of a video are equal to the byte."""
    found = sorted(read_rows(folder / "upload" / "data"), key=lambda row: row["sample_id"])
    assert all(row.pop("media_sha256") == sha256(folder / "clips" / f"{row['sample_id']}.mp4") for row in found)
    return found


def test_a_finished_build_needs_nothing(world):
    steps = [*build(settings(Path("no videos"), Path("build"), world.url))]
    assert len(steps) == 2 * 4 + 1
    assert not [one for one in steps if one.fresh]
    assert world.bodies == []


def test_a_build_that_was_killed_goes_on(world):
    """In its third stage: what was answered is not asked again, and the table is that of the build that was not."""
    out = Path("build-half")
    judged = {path.stem for path in (out / "manifests" / "judge").glob("0*.json")}
    steps = [*build(settings(Path("no videos"), out, world.url))]
    fresh = {(one.stage, one.shard) for one in steps if one.fresh}
    assert {stage for stage, _ in fresh} == {"judge", "subset", "shard"}
    assert not judged & {shard for stage, shard in fresh if stage == "judge"}
    assert len(world.bodies) == 1  # of two clips to judge
    assert made(out) == made(Path("build"))


def test_shards_are_compared_and_gone_on_with(earlier, monkeypatch):
    written, write = [], Series._finish
    monkeypatch.setattr(Series, "_finish", lambda *given: written.append(1) or write(*given))
    (manifest,) = soundclip("ave2", "shard", "rows.jsonl", "--out", "shards", "--json")
    assert written == []
    assert manifest["rows"] == 6
    write_shards(rows(6), "shards-half", sizes=Sizes(data_rows=2))
    assert len(written) == 1  # of three
    assert [row["sample_id"] for row in read_rows("shards-half")] == [row["sample_id"] for row in rows(6)]
