"""A dual encoder inside sentence-transformers: the vectors of our own calls, for every kind of input and folder."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hub_models import write_adapter, write_parts
from media_files import tone, write_media
from sentence_transformers import SentenceTransformer
from tiny_dual import tiny_dual
from tiny_models import tiny_sound_llava
from tiny_processors import picture, sound, tiny_feature_extractor, tiny_image_processor, tiny_sound_processor

from soundclip_hf import SoundClipModel, SoundClipProcessor, read_clip
from soundclip_hf.integrations.sentence_transformers import SoundClipModule, load_sentence_transformer
from soundclip_hf.media import MediaError
from soundclip_hf.modeling.checkpoints.modules_file import MODULE_CLASS

RATE = 16_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A dual encoder as it is saved, and media beside it."""
    root = tmp_path_factory.mktemp("st")
    tiny_dual().save_pretrained(root / "dual")
    SoundClipProcessor(tiny_image_processor("llava"), tiny_feature_extractor()).save_pretrained(root / "dual")
    frames = [np.full((48, 64, 3), 9 * number, np.uint8) for number in range(25)]
    write_media(root / "a.mp4", video="libx264", audio="aac", frames=frames, samples=tone(1, 48000))
    write_media(root / "tone.wav", audio="pcm_s16le", samples=tone(0.5, 16000), rate=16000)
    picture(seed=4).save(root / "p.png")
    return root


@pytest.fixture(scope="module")
def st(folder):
    return SentenceTransformer(str(folder / "dual"), trust_remote_code=True, device="cpu")


@pytest.fixture(scope="module")
def expected(folder):
    """The normalised features of our own calls, one medium at a time."""
    model = SoundClipModel.from_pretrained(folder / "dual")
    processor = SoundClipProcessor.from_pretrained(folder / "dual")

    def features(model=model, processor=processor, **media):
        inputs = processor(**media, return_tensors="pt")
        with torch.no_grad():
            if "audio" in media:
                found = model.get_audio_features(**inputs)
            else:
                found = model.get_image_features(inputs["pixel_values"])
        return F.normalize(found.pooler_output.float(), dim=-1)[0].numpy()

    return features


def close(actual, wanted):
    np.testing.assert_allclose(np.asarray(actual), wanted, rtol=0, atol=2e-6)


def test_every_kind_of_sound(st, expected, folder):
    samples = sound(0.4)
    wanted = expected(audio=samples, sampling_rate=RATE)
    decoder = SimpleNamespace(
        get_all_samples=lambda: SimpleNamespace(data=torch.from_numpy(samples)[None], sample_rate=RATE)
    )
    row = {"path": "a.wav", "bytes": (folder / "tone.wav").read_bytes()}
    same = [
        {"array": samples, "sampling_rate": RATE},
        {"audio": {"array": torch.from_numpy(samples), "sampling_rate": RATE}},
        {"audio": (samples, RATE)},
        {"audio": [{"array": samples, "sampling_rate": RATE}]},
        {"audio": decoder},
        decoder,
        {"role": "user", "content": [{"type": "audio", "audio": samples, "sampling_rate": RATE}]},
        [{"role": "user", "content": [{"type": "audio", "audio": {"array": samples, "sampling_rate": RATE}}]}],
    ]
    close(st.encode(same), np.stack([wanted] * len(same)))
    bare = st.encode([samples, torch.from_numpy(samples)], processing_kwargs={"audio": {"sampling_rate": RATE}})
    close(bare, np.stack([wanted] * 2))
    file = expected(audio=folder / "tone.wav")
    close(st.encode([str(folder / "tone.wav"), {"audio": str(folder / "tone.wav")}, {"audio": row}]), [file] * 3)
    # Each sound has its own rate.
    rated = sound(0.4, rate=8000)
    both = st.encode([{"array": samples, "sampling_rate": RATE}, {"array": rated, "sampling_rate": 8000}])
    close(both, [wanted, expected(audio=rated, sampling_rate=8000)])


def test_pictures_and_videos(st, expected, folder):
    seen = picture(seed=4)
    file = folder / "p.png"
    kinds = [seen, np.asarray(seen), str(file), {"image": seen}, {"image": {"bytes": file.read_bytes(), "path": None}}]
    close(st.encode(kinds), [expected(images=seen)] * len(kinds))
    clip = folder / "a.mp4"
    middle = read_clip(clip).frame
    videos = [{"video": str(clip)}, str(clip), {"video": clip.read_bytes()}, {"video": read_clip(clip)}]
    close(st.encode(videos), [expected(images=middle)] * len(videos))
    frames = list(read_clip(clip, frames=3).frames)
    three = expected(images=[frames])
    assert np.abs(three - expected(images=middle)).max() > 1e-4
    close(st.encode({"video": str(clip)}, processing_kwargs={"video": {"num_frames": 3}}), three)
    arrays = np.stack([np.asarray(frame) for frame in frames])
    given = [{"video": frames}, arrays, {"array": torch.from_numpy(arrays.copy()), "video_metadata": {"fps": 1}}]
    close(st.encode(given), [three] * 3)
    first = st.encode(str(clip), processing_kwargs={"video": {"frame": "first"}})
    close(first, expected(images=read_clip(clip, frame="first").frame))
    # A decoder of torchcodec has the frames one by one.
    all_frames = [np.full((3, 48, 64), 9 * number, np.uint8) for number in range(25)]

    class Decoder:
        def __len__(self):
            return len(all_frames)

        def get_frame_at(self, index):
            return SimpleNamespace(data=torch.from_numpy(all_frames[index]))

    close(st.encode({"video": Decoder()}), expected(images=all_frames[12]))
    evenly = st.encode({"video": Decoder()}, processing_kwargs={"video": {"num_frames": 5}})
    close(evenly, expected(images=[[all_frames[index] for index in (2, 7, 12, 17, 22)]]))


def test_a_batch_of_all_of_them_keeps_its_order(st, expected, folder):
    samples, clip = sound(0.4), str(folder / "a.mp4")
    heard, seen = expected(audio=samples, sampling_rate=RATE), expected(images=picture(seed=4))
    both = (heard + seen) / np.linalg.norm(heard + seen)
    inputs = [
        picture(seed=4),
        {"audio": {"array": samples, "sampling_rate": RATE}},
        {"audio": clip},
        {"audio": {"array": samples, "sampling_rate": RATE}, "image": picture(seed=4)},
        {"video": [picture(seed=4), picture(seed=4)]},
        {"video": clip},
    ]
    wanted = [seen, heard, expected(audio=clip), both, seen, expected(images=read_clip(clip).frame)]
    for batch_size in (1, 2, 32):
        close(st.encode(inputs, batch_size=batch_size), wanted)
    tensor = st.encode(inputs, convert_to_tensor=True)
    assert tensor.dtype == torch.float32
    close(tensor.norm(dim=-1), np.ones(6))
    close(st.similarity(tensor[:2], tensor[:2]), np.array(wanted[:2]) @ np.array(wanted[:2]).T)
    close(st.encode(inputs, normalize_embeddings=True), wanted)


def test_what_it_says_about_itself(st):
    assert st.modalities == ["audio", "image", "video", "message"]
    assert st.supports("audio")
    assert st.supports(("audio", "image"))
    assert not st.supports("text")
    assert st.get_embedding_dimension() == tiny_dual().config.vision_hidden_size
    assert type(st.transformers_model) is SoundClipModel


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        ("a bell", {}, "Modality 'text' is not supported by this SentenceTransformer model. Supported .*: audio, ima"),
        (["a bell", picture()], {}, "'a bell' is neither a file nor a URL, and a dual encoder has no text"),
        ({"text": "a bell", "image": picture()}, {}, "Modality 'image\\+text' is not supported"),
        (
            {"role": "user", "content": "a bell"},
            {},
            "the input with the keys role, content has a text, and a dual encoder has no text tower",
        ),
        ([{"role": "user", "content": []}], {}, "the input of type list is a message without sound, picture or video"),
        ({"audio": sound(0.1)}, {}, "sound 0: .* its sampling rate is missing"),
        ({"image": [picture(), picture()]}, {}, "keys image has 2 media of type 'image': give one. Frames .*video"),
        (
            {"bytes": b"1", "path": "x"},
            {},
            "the input with the keys bytes, path: expected a dictionary with some of the keys audio",
        ),
        (b"1", {}, "the input of type bytes: say what it is"),
        (np.zeros((2, 2, 2, 2, 2)), {}, "the input of type ndarray has 5 axes: say"),
        ({"video": 3}, {}, "the input with the keys video: a video is a path, URL, .*; this is a int"),
        (picture(), {"prompt": "query: "}, "prompt='query: ': a dual encoder has no text tower"),
        (picture(), {"processing_kwargs": {"text": {"padding": True}}}, "processing_kwargs has 'text'"),
        (picture(), {"processing_kwargs": {"video": {"fps": 2}}}, "processing_kwargs\\['video'\\] has 'fps'"),
        (picture(), {"zoom": 2}, "zoom"),
    ],
)
def test_what_it_refuses(st, inputs, options, message):
    with pytest.raises(ValueError, match=message):
        st.encode(inputs, **options)


def test_media_that_cannot_be_read(st, folder):
    with pytest.raises(MediaError, match="no_such"):
        st.encode({"audio": str(folder / "no_such.wav")})
    with pytest.raises(MediaError, match=r"tone\.wav has no video stream"):
        st.encode({"video": str(folder / "tone.wav")})
    with pytest.raises(TypeError, match="'zoom' in images_kwargs"):
        st.encode(picture(), processing_kwargs={"image": {"zoom": 2}})


def test_arguments_of_the_model(folder, expected):
    samples = {"array": sound(0.4), "sampling_rate": RATE}
    name = str(folder / "dual")
    raw = SentenceTransformer(name, trust_remote_code=True, device="cpu", config_kwargs={"alignment": "raw"})
    wanted = SoundClipModel.from_pretrained(name, alignment="raw")
    wanted = expected(wanted, audio=sound(0.4), sampling_rate=RATE)
    close(raw.encode(samples), wanted)
    model = SentenceTransformer(
        name,
        trust_remote_code=True,
        device="cpu",
        model_kwargs={"dtype": torch.bfloat16, "attn_implementation": "eager"},
    )
    assert model[0].model.dtype == torch.bfloat16
    assert model[0].model.vision_tower.config._attn_implementation == "eager"
    assert model.encode(samples).dtype == np.float32
    close(load_sentence_transformer(name, device="cpu").encode(samples, sound_alignment="raw"), wanted)
    with pytest.raises(ValueError, match="backend='onnx'"):
        SoundClipModule.load(name, backend="onnx")


def test_folders_of_all_kinds(folder, tmp_path, expected):
    """A SoundLlava, an adapter and what sentence-transformers saved itself; the language model is in none of them."""
    llava = tiny_sound_llava("llava")
    llava.save_pretrained(tmp_path / "full")
    tiny_sound_processor("llava").save_pretrained(tmp_path / "full")
    model, processor = (kind.from_pretrained(tmp_path / "full") for kind in (SoundClipModel, SoundClipProcessor))
    samples = {"array": sound(0.4), "sampling_rate": RATE}
    loaded = SentenceTransformer(str(tmp_path / "full"), trust_remote_code=True, device="cpu")
    wanted = expected(model, processor, audio=sound(0.4), sampling_rate=RATE)
    close(loaded.encode(samples), wanted)
    close(loaded.encode(picture()), expected(model, processor, images=picture()))
    loaded.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    again = SentenceTransformer(str(tmp_path / "saved"), trust_remote_code=True, device="cpu")
    close(again.encode(samples), wanted)
    close(
        expected(SoundClipModel.from_pretrained(tmp_path / "saved"), processor, audio=sound(0.4), sampling_rate=RATE),
        wanted,
    )
    saved, ours = (json.loads((place / "modules.json").read_text()) for place in (tmp_path / "saved", folder / "dual"))
    assert saved == ours == [{"idx": 0, "name": "0", "path": "", "type": MODULE_CLASS}]
    llava.config.base_model_name_or_path = str(tmp_path / "full")
    llava.save_pretrained(tmp_path / "adapter", adapter_only=True)
    tiny_sound_processor("llava").save_pretrained(tmp_path / "adapter")
    close(SentenceTransformer(str(tmp_path / "adapter"), trust_remote_code=True, device="cpu").encode(samples), wanted)


def test_without_the_argument_it_asks_for_it_and_without_the_file_it_takes_our_function(folder, tmp_path, expected):
    with pytest.raises(ValueError, match=r"SoundClipModule'.*not part of Sentence(.|\n)*trust_remote_code=True"):
        SentenceTransformer(str(folder / "dual"))
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in (folder / "dual").iterdir():
        if path.name != "modules.json":
            (bare / path.name).symlink_to(path)
    samples = {"array": sound(0.4), "sampling_rate": RATE}
    close(
        load_sentence_transformer(str(bare), device="cpu").encode(samples),
        expected(audio=sound(0.4), sampling_rate=RATE),
    )


def test_training_reaches_the_projector(folder):
    model = load_sentence_transformer(str(folder / "dual"), device="cpu")
    features = model.preprocess([{"array": sound(0.4), "sampling_rate": RATE}, picture()])
    model(features)["sentence_embedding"].sum().backward()
    moved = {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert moved
    assert all("audio_projection" in name for name in moved)


def test_a_repository_of_the_hub(hub, ask, tmp_path):
    """In a process that never imports soundclip_hf itself, with an empty cache."""
    write_parts(hub, tmp_path)
    pushed = ask(
        "from soundclip_hf.publishing.model_push import push_model\n"
        "print(json.dumps(push_model(sys.argv[1], repo='org/ears', license='mit').commit))",
        write_adapter(tmp_path / "out"),
    )
    assert "modules.json" in hub.files("org/ears", "main")
    found = ask(
        "from sentence_transformers import SentenceTransformer\n"
        "import numpy as np, torch\n"
        "model = SentenceTransformer('org/ears', trust_remote_code=True, revision=sys.argv[1], device='cpu')\n"
        "sample = {'array': np.sin(np.arange(8000) / 9).astype('float32'), 'sampling_rate': 16000}\n"
        "from soundclip_hf import SoundClipModel, SoundClipProcessor\n"
        "own, processor = (kind.from_pretrained('org/ears') for kind in (SoundClipModel, SoundClipProcessor))\n"
        "with torch.no_grad():\n"
        "    wanted = own.get_audio_features(**processor(audio=sample, return_tensors='pt')).pooler_output.float()\n"
        "wanted = torch.nn.functional.normalize(wanted, dim=-1)[0]\n"
        "refused = attempt(SentenceTransformer, 'org/ears')\n"
        "print(json.dumps([float(abs(model.encode(sample) - wanted.numpy()).max()), float(wanted.norm()), refused]))",
        pushed,
        token=None,
    )
    assert found[0] < 1e-5
    assert found[1] == pytest.approx(1)
    assert "trust_remote_code=True" in found[2]
