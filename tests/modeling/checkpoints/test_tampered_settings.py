"""Settings that were damaged or tampered with: one error that names the file, at once; code in them does not run."""

import json
import math
import shutil

import pytest
from checkpoint_loads import LOADS, refused, write_originals
from transformers import AutoFeatureExtractor

from soundclip_hf import SoundClipModel, SoundClipProcessor, SoundLlava, SoundLlavaProcessor
from soundclip_hf.modeling.checkpoint_json import check_json_file


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    return write_originals(tmp_path_factory.mktemp("originals"))


@pytest.fixture
def folders(originals, tmp_path, monkeypatch):
    """A copy to be edited, in the working directory."""
    shutil.copytree(originals, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


NOT_SETTINGS = {
    "empty": b"",
    "cut": b'{"model_type": "sound_',
    "an array": b"[]",
    "null": b"null",
    "a string": b'"x"',
    "a number": b"3",
    "nested deeply": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "arrays nested deeply": b"[" * 100_000,
    "not UTF-8": b"\xff\xfe\x00",
}
CONFIGS = [name for name, load in LOADS.items() if load.reads_config]
PROCESSORS = {"llava": SoundLlavaProcessor, "clip": SoundClipProcessor}


@pytest.mark.parametrize("content", NOT_SETTINGS.values(), ids=NOT_SETTINGS)
@pytest.mark.parametrize("name", CONFIGS)
def test_configurations_that_are_no_objects(name, content, folders):
    load = LOADS[name]
    (folders / load.edited / "config.json").write_bytes(content)
    refused(load.make, f"{load.edited}/config.json")


@pytest.mark.parametrize("content", NOT_SETTINGS.values(), ids=NOT_SETTINGS)
@pytest.mark.parametrize("file", ["processor_config.json", "tokenizer_config.json", "tokenizer.json", "config.json"])
@pytest.mark.parametrize("name", PROCESSORS)
def test_processors_whose_files_are_no_objects(name, file, content, folders):
    if (name, file) == ("clip", "tokenizer.json"):
        pytest.skip("has no tokenizer")
    (folders / "adapter" / file).write_bytes(content)
    refused(lambda: PROCESSORS[name].from_pretrained("adapter"), f"adapter/{file}")


@pytest.mark.parametrize("name", CONFIGS)
def test_a_key_with_two_values(name, folders):
    """Of which our reader and that of the Hub's pages may take different ones."""
    load = LOADS[name]
    file = folders / load.edited / "config.json"
    text = file.read_text().rstrip().removesuffix("}")
    file.write_text(f'{text}, "model_type": "llava"}}')
    refused(load.make, f"{load.edited}/config.json", "'model_type' is given twice, as", "'llava'", kinds=ValueError)


def test_files_of_settings(tmp_path):
    file = tmp_path / "config.json"
    file.write_text('{"a": 1, "a": 1, "b": {"c": [{"d": null}]}}')
    check_json_file(file)  # twice the same
    file.write_text('{"b": {"c": [{"d": 1, "d": 2}]}}')
    with pytest.raises(ValueError, match="'d' is given twice, as 1 and as 2"):
        check_json_file(file)
    with file.open("wb") as sparse:
        sparse.truncate(2**40)
    refused(lambda: check_json_file(file), "config.json has 1099511627776 bytes, more than", kinds=ValueError)


WRONG = {
    "1e30": 10**30,
    "negative": -1,
    "zero": 0,
    "text": "7",
    "float": 1.5,
    "NaN": math.nan,
    "infinite": math.inf,
    "true": True,
    "array": [1],
    "object": {"a": 1},
}
# Of an adapter's configuration; test_checkpoint_files.py has those that are only too large.
FIELDS = [
    *("text_config.hidden_size", "text_config.num_attention_heads", "text_config.intermediate_size"),
    *("text_config.vocab_size", "text_config.num_hidden_layers", "vision_config.hidden_size"),
    *("vision_config.num_attention_heads", "vision_config.image_size", "vision_config.patch_size"),
    *("sound_config.projector_hidden_size", "sound_config.vision_hidden_size", "sound_config.token_budget"),
    *("sound_config.audio_config.d_model", "sound_config.audio_config.encoder_layers"),
    *("sound_config.audio_config.encoder_attention_heads", "sound_config.audio_config.encoder_ffn_dim"),
    *("sound_config.audio_config.max_source_positions", "sound_config.audio_config.num_mel_bins"),
    *("sound_config.audio_config.layer_fusion_n", "vision_feature_layer"),
]
NUMBERS = ["sound_config.alpha", "sound_config.temperature", "sound_config.projector_dropout"]
ALLOWED = {
    *(
        ("sound_config.token_budget", "zero"),
        ("sound_config.alpha", "zero"),
        ("sound_config.projector_dropout", "zero"),
    ),
    *(
        ("sound_config.temperature", "float"),
        ("sound_config.temperature", "1e30"),
        ("vision_config.image_size", "array"),
    ),
}


def write_value(file, path, value):
    config = json.loads(file.read_text())
    *parents, last = path.split(".")
    place = config
    for key in parents:
        place = place[key]
    place[last] = value
    file.write_text(json.dumps(config))
    return last


# The dual encoder has no language model.
CASES = [(m, f) for m in (SoundLlava, SoundClipModel) for f in FIELDS + NUMBERS if m is SoundLlava or "text" not in f]


@pytest.mark.parametrize(("model_class", "field"), CASES)
def test_values_of_a_configuration(model_class, field, folders):
    file = folders / "adapter" / "config.json"
    text = file.read_text()
    for kind, value in WRONG.items():
        if (field, kind) in ALLOWED:
            continue
        write_value(file, field, value)
        said = refused(lambda: model_class.from_pretrained("adapter"), "adapter", kinds=ValueError)
        assert "\n" not in said, said
        file.write_text(text)
    model_class.from_pretrained("adapter")


SETTINGS = [
    *("feature_extractor.feature_size", "feature_extractor.n_fft", "feature_extractor.hop_length"),
    *("feature_extractor.sampling_rate", "feature_extractor.chunk_length"),
    *("image_processor.size.shortest_edge", "image_processor.crop_size.height"),
]
OF_LLAVA = ["patch_size", "sound_top_k", "num_additional_image_tokens"]


@pytest.mark.parametrize(
    ("name", "field"), [(n, f) for n in PROCESSORS for f in SETTINGS] + [("llava", f) for f in OF_LLAVA]
)
def test_values_of_a_processor(name, field, folders):
    file = folders / "adapter" / "processor_config.json"
    text = file.read_text()
    for kind, value in {**WRONG, "1e9": 10**9}.items():
        if (field, kind) in {("sound_top_k", "zero"), ("sound_top_k", "1e9"), ("num_additional_image_tokens", "true")}:
            continue
        last = write_value(file, field, value)
        refused(
            lambda: PROCESSORS[name].from_pretrained("adapter"), "adapter/processor_config.json", last, kinds=ValueError
        )
        file.write_text(text)
    PROCESSORS[name].from_pretrained("adapter")


@pytest.mark.parametrize("field", ["feature_size", "n_fft", "hop_length", "sampling_rate", "chunk_length"])
def test_values_of_a_feature_extractor(field, folders):
    file = folders / "encoder" / "preprocessor_config.json"
    text = file.read_text()
    for value in (*WRONG.values(), 10**9):
        write_value(file, field, value)
        refused(lambda: AutoFeatureExtractor.from_pretrained("encoder"), "encoder/preprocessor_config.json", field)
        file.write_text(text)


CODE = "open('ran', 'w').close()\nraise SystemExit('remote code ran')\n"


@pytest.mark.parametrize("name", CONFIGS)
def test_code_of_a_repository_does_not_run(name, folders):
    load = LOADS[name]
    (folders / load.edited / "code.py").write_text(CODE)
    for file in ("config.json", "processor_config.json", "preprocessor_config.json", "tokenizer_config.json"):
        path = folders / load.edited / file
        if path.is_file():
            classes = {f"Auto{part}": f"code.{part}" for part in ("Config", "Model", "Processor", "FeatureExtractor")}
            settings = json.loads(path.read_text()) | {
                "auto_map": {**classes, "AutoModelForMultimodalLM": "code.Model"}
            }
            path.write_text(json.dumps(settings))
    load.make()
    if load.edited != "encoder":
        for processor_class in PROCESSORS.values():
            if (folders / load.edited / "processor_config.json").is_file():
                processor_class.from_pretrained(load.edited)
    assert not (folders / "ran").exists()


HOSTILE = {
    "attributes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals": "{{ cycler.__init__.__globals__.os.system('touch ran') }}",
    "an import": "{% import 'os' as os %}",
    "a file": "{% include '/etc/passwd' %}",
}


@pytest.mark.parametrize("template", HOSTILE.values(), ids=HOSTILE)
def test_chat_templates_run_in_a_sandbox(template, folders):
    (folders / "adapter" / "chat_template.jinja").write_text(template)
    processor = SoundLlavaProcessor.from_pretrained("adapter")
    messages = [{"role": "user", "content": [{"type": "text", "text": "What?"}]}]
    try:
        shown = processor.apply_chat_template(messages, tokenize=False)
    except Exception as error:  # jinja's own, of many kinds
        shown = type(error).__name__
    assert "root:" not in shown
    assert "<class" not in shown
    assert not (folders / "ran").exists()
