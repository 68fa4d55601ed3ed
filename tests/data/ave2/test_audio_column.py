"""A column of sound beside the clips: the same bytes, decoded by us, on every kind of data set."""

import pickle

import numpy as np
import pytest
from media_files import grey_frames, write_media

from soundclip_hf import data
from soundclip_hf.media import MediaError, read_clip

datasets = pytest.importorskip("datasets")
with_audio = data.with_audio
FEATURES = datasets.Features({"sample_id": datasets.Value("string"), "video": datasets.Video()})
SECONDS = 0.5


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Four clips with a tone each, 250, 500, 750 and 1000 Hz."""
    folder, made = tmp_path_factory.mktemp("clips"), []
    for number in range(4):
        path = folder / f"{number}.mp4"
        cycles = 250 * (number + 1) * np.arange(round(32000 * SECONDS)) / 32000
        samples = (0.5 * np.sin(2 * np.pi * cycles[None])).astype(np.float32)
        write_media(path, video="libx264", audio="aac", samples=samples, rate=32000, frames=grey_frames(5), fps=10)
        made.append(path.read_bytes())
    return made


@pytest.fixture
def plain(clips):
    rows = [{"sample_id": str(n), "video": {"bytes": clip, "path": f"{n}.mp4"}} for n, clip in enumerate(clips)]
    return datasets.Dataset.from_list(rows, features=FEATURES)


@pytest.fixture
def mapped(plain, tmp_path):
    """The same, of two files on disk."""
    plain.to_parquet(tmp_path / "a.parquet")
    return datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "a.parquet"), split="train", cache_dir=str(tmp_path / "cache")
    )


def pitch(row, rate=16000):
    spectrum = np.abs(np.fft.rfft(row["audio"]["array"]))
    return int(spectrum.argmax() * rate / len(row["audio"]["array"]) + 0.5)


def test_sound_of_the_same_bytes(mapped, clips):
    sounding = with_audio(mapped)
    assert mapped.column_names == ["sample_id", "video"]
    assert sounding.column_names == ["sample_id", "video", "audio"]
    for row, clip in zip(sounding, clips):
        audio = row["audio"]
        assert audio["sampling_rate"] == 16000
        assert audio["array"].dtype == np.float32
        np.testing.assert_array_equal(audio["array"], read_clip(clip, sampling_rate=16000).waveform)
        assert audio["bytes"] == row["video"]["bytes"] == clip
        assert abs(pitch(row) - 250 * (int(row["sample_id"]) + 1)) <= 2
    assert len(with_audio(mapped, 8000)[0]["audio"]["array"]) == pytest.approx(8000 * SECONDS, abs=400)


def test_nothing_is_copied(mapped):
    sounding = with_audio(mapped)
    addresses = [sounding.data.column(name).chunk(0).field("bytes").buffers()[2].address for name in ("video", "audio")]
    assert addresses[0] == addresses[1]
    assert len(pickle.dumps(sounding)) < len(pickle.dumps(mapped)) + 2000
    assert sounding.cache_files == mapped.cache_files


@pytest.mark.parametrize(
    "arrange",
    [
        lambda ds: ds.shuffle(seed=1),
        lambda ds: ds.select([3, 1]),
        lambda ds: datasets.concatenate_datasets([ds, ds.select([0])]),
        lambda ds: ds.to_iterable_dataset(),
        lambda ds: ds.to_iterable_dataset(num_shards=2).shuffle(seed=0, buffer_size=2),
    ],
    ids=["shuffled", "selected", "stacked", "iterable", "shuffled iterable"],
)
def test_every_arrangement(mapped, arrange):
    for ds in (arrange(with_audio(mapped)), with_audio(arrange(mapped))):
        found = list(ds)
        assert len(found) >= 2
        for row in found:
            assert abs(pitch(row) - 250 * (int(row["sample_id"]) + 1)) <= 2


def test_a_table_of_several_blocks(mapped):
    wide = datasets.concatenate_datasets([mapped, datasets.Dataset.from_dict({"n": [1] * 4})], axis=1)
    tall = with_audio(datasets.concatenate_datasets([wide, wide]))
    assert {*tall.column_names} == {"sample_id", "video", "n", "audio"}
    assert [pitch(tall[n]) // 10 for n in (0, 3, 4, 7)] == [25, 100, 25, 100]


def test_dicts_of_splits(mapped):
    both = with_audio(datasets.DatasetDict({"train": mapped, "eval": mapped.select([2])}))
    assert pitch(both["eval"][0]) == pytest.approx(750, abs=2)
    streams = with_audio(datasets.IterableDatasetDict({"train": mapped.to_iterable_dataset()}))
    assert pitch(next(iter(streams["train"]))) == pytest.approx(250, abs=2)


@pytest.mark.parametrize("streaming", [False, True])
def test_maps_after_it_see_sound_and_keep_the_bytes(mapped, clips, streaming):
    sounding = with_audio(mapped.to_iterable_dataset() if streaming else mapped)

    def look(row):
        row["n"] = len(row["audio"]["array"])
        return row

    found = list(sounding.map(look))
    assert [row["n"] for row in found] == [len(read_clip(clip, sampling_rate=16000).waveform) for clip in clips]
    assert [row["audio"]["bytes"] for row in found] == clips


def test_a_changed_sound_is_stored_as_it_is(mapped):
    def quieter(row):
        row["audio"]["array"] = row["audio"]["array"] / 2
        return row

    sounding = with_audio(mapped)
    found = sounding.map(quieter)
    np.testing.assert_allclose(found[1]["audio"]["array"], sounding[1]["audio"]["array"] / 2, rtol=1e-6)


def test_workers_of_a_loader(mapped):
    from torch.utils.data import DataLoader

    for ds in (with_audio(mapped), with_audio(mapped.to_iterable_dataset(num_shards=2))):
        loader = DataLoader(ds, batch_size=None, num_workers=2)
        assert sorted(pitch(row) // 10 for row in loader) == [25, 50, 75, 100]


def test_formats_are_kept(mapped):
    row = with_audio(mapped.with_format("torch"))[0]
    assert type(row["audio"]["array"]).__name__ == "Tensor"


def test_on_disk_it_is_plain_audio(mapped, tmp_path):
    with_audio(mapped).save_to_disk(tmp_path / "saved")
    again = datasets.load_from_disk(tmp_path / "saved")
    assert type(again.features["audio"]) is datasets.Audio
    assert again.features["audio"].sampling_rate == 16000


def test_rows_without_sound(clips):
    rows = [
        {"sample_id": "0", "video": None},
        {"sample_id": "1", "video": {"bytes": b"no clip", "path": "1.mp4"}},
    ]
    ds = with_audio(datasets.Dataset.from_list(rows, features=FEATURES))
    assert ds[0]["audio"] is None
    with pytest.raises(MediaError, match=r"1\.mp4: .*corrupt"):
        ds[1]


def test_bad_arguments(plain):
    with pytest.raises(TypeError, match="list is no data set"):
        with_audio([])
    with pytest.raises(ValueError, match="no column 'clip' in sample_id, video"):
        with_audio(plain, video_column="clip")
    with pytest.raises(ValueError, match="there is a column 'audio' already"):
        with_audio(with_audio(plain))
    with pytest.raises(ValueError, match="sampling_rate=0"):
        with_audio(plain, 0)


def test_a_saved_column_of_sound_is_decoded_again_without_torchcodec(plain, tmp_path):
    """`datasets` stores it as a plain Audio, which its own decoding reads with torchcodec."""
    with_audio(plain, 8000).save_to_disk(tmp_path / "saved")
    loaded = datasets.load_from_disk(str(tmp_path / "saved"))
    assert type(loaded.features["audio"]) is datasets.Audio
    assert [pitch(row, 8000) for row in with_audio(loaded, 8000)] == [
        pitch(row, 8000) for row in with_audio(plain, 8000)
    ]
    with pytest.raises(ValueError, match="a column 'sample_id' already"):
        with_audio(plain, audio_column="sample_id")
