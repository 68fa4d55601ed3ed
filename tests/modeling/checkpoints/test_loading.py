"""Every argument of transformers' `from_pretrained` works here as it does there, or is refused; none is ignored."""

import ast
import inspect
import shutil
import textwrap

import pytest
import torch
from tiny_models import tiny_llava, tiny_sound_llava
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    BitsAndBytesConfig,
    GenerationConfig,
    LlavaForConditionalGeneration,
    PreTrainedModel,
)

from soundclip_hf import SoundClipModel, SoundLlava, SoundLlavaConfig
from soundclip_hf.bundled import TINY
from soundclip_hf.modeling.checkpoints.loading import overridden

KINDS = {
    "llava adapter": (SoundLlava, "adapter"),
    "llava full": (SoundLlava, "full"),
    "clip adapter": (SoundClipModel, "adapter"),
    "clip full": (SoundClipModel, "full"),
    "clip own": (SoundClipModel, "dual"),
}
LLAVA = {"llava adapter", "llava full"}
FROM_LLAVA = {"clip adapter", "clip full"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """An adapter with its base and encoder, the full model, and the dual encoder made of them."""
    folder = tmp_path_factory.mktemp("repositories")
    tiny_llava("llava").save_pretrained(folder / "base")
    model = tiny_sound_llava("llava")
    model.save_pretrained(folder / "full")
    model.model.audio_tower.save_pretrained(folder / "encoder")
    model.config.base_model_name_or_path = str(folder / "base")
    model.config.audio_encoder_name_or_path = str(folder / "encoder")
    model.save_pretrained(folder / "adapter", adapter_only=True)
    SoundClipModel.from_pretrained(folder / "adapter").save_pretrained(folder / "dual")
    return folder


def vision_tower(model):
    return getattr(model, "model", model).vision_tower


def linear_classes(model, part):
    modules = getattr(getattr(model, "model", model), part).modules()
    return {type(module).__name__ for module in modules if isinstance(module, nn.Linear)}


# Arguments whose effect shows in the model: (arguments, what shows it, the kinds that take it; None: all).
EFFECTS = {
    "output_attentions": ({"output_attentions": True}, lambda model: model.config.output_attentions, None),
    "vision_feature_layer": (
        {"vision_feature_layer": -1},
        lambda model: model.config.vision_feature_layer == -1,
        set(KINDS) - {"llava adapter"},
    ),
    "sound_config": (
        {"sound_config": {"alignment": "raw"}},
        lambda model: (model.config.sound_config.alignment, model.model.audio_projection.alignment) == ("raw", "raw"),
        LLAVA,
    ),
    "alignment": ({"alignment": "raw"}, lambda model: model.audio_projection.alignment == "raw", set(KINDS) - LLAVA),
    "dtype": ({"dtype": "bfloat16"}, lambda model: vision_tower(model).dtype is torch.bfloat16, None),
    "torch_dtype": ({"torch_dtype": torch.float16}, lambda model: vision_tower(model).dtype is torch.float16, None),
    "attn_implementation": (
        {"attn_implementation": "eager"},
        lambda model: vision_tower(model).config._attn_implementation == "eager",
        None,
    ),
    "attn_implementation of a part": (
        {"attn_implementation": {"vision_config": "eager"}},
        lambda model: [vision_tower(model).config._attn_implementation, audio_attention(model)] == ["eager", "sdpa"],
        None,
    ),
    "quantization_config": (
        {"quantization_config": {"load_in_8bit": True, "quant_method": "bitsandbytes"}},
        lambda model: (
            linear_classes(model, "language_model") == {"Linear8bitLt"}
            and not any(
                "Linear8bitLt" in linear_classes(model, part)
                for part in ("audio_tower", "audio_projection", "vision_tower", "multi_modal_projector")
            )
        ),
        LLAVA,
    ),
    "generation_config": (
        {"generation_config": GenerationConfig(max_length=7)},
        lambda model: model.generation_config.max_length == 7,
        LLAVA,
    ),
    "fusion_config": (
        {"fusion_config": {"patch_embeddings": True}},
        lambda model: model.config.fusion_config == {"patch_embeddings": True},
        None,
    ),
}

# Arguments that are refused: (arguments, exception, message, the kinds that refuse; None: all).
REFUSED = {
    "unknown": ({"nonsense": 1}, TypeError, "unexpected keyword argument 'nonsense'", None),
    "code_revision": ({"code_revision": "main"}, TypeError, "unexpected keyword argument 'code_revision'", None),
    "state_dict": ({"state_dict": {}}, ValueError, "state_dict and a repository or folder were both passed", None),
    "gguf_file": ({"gguf_file": "x.gguf"}, ValueError, "gguf_file='x.gguf': GGUF files hold no audio encoder", None),
    "use_safetensors": ({"use_safetensors": False}, ValueError, "only safetensors checkpoints are read", None),
    "variant": ({"variant": "fp16"}, OSError, "model.fp16.safetensors", None),
    "subfolder": ({"subfolder": "elsewhere"}, (OSError, ValueError), "config.json", None),
    "config": ({"config": "/no/such/folder"}, OSError, "/no/such/folder", None),
    "adapter_kwargs": (
        {"adapter_kwargs": {"subfolder": "peft"}},
        ValueError,
        "adapter_kwargs has 'subfolder': it belongs to PEFT adapters",
        {"llava adapter", *FROM_LLAVA},
    ),
    "key_mapping": ({"key_mapping": {"^a": "b"}}, ValueError, "key_mapping needs a whole checkpoint", FROM_LLAVA),
    "quantization_config": (
        {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)},
        ValueError,
        "quantization_config needs a whole checkpoint",
        FROM_LLAVA,
    ),
    "vision_feature_layer": (
        {"vision_feature_layer": -1},
        ValueError,
        r"another vision tower.*vision_feature_layer -2 against -1",
        {"llava adapter"},
    ),
    "a field that does not fit": ({"vision_feature_layer": [-2, -1]}, ValueError, "vision_hidden_size", None),
}

# Arguments that leave no trace in a model that comes from folders: one call takes them all.
WITHOUT_TRACE = {
    "token": False,
    "proxies": {"http": "localhost:1"},
    "force_download": False,
    "local_files_only": True,
    "revision": "main",
    "tqdm_class": None,
    "trust_remote_code": True,
    "weights_only": True,
    "disable_mmap": True,
    "ignore_mismatched_sizes": False,
    "adapter_name": "default",
    "use_kernels": False,
    "allow_all_kernels": False,
    "kernel_config": None,
    "_commit_hash": None,
    "_from_auto": True,
    "_from_pipeline": "any-to-any",
    # Those that transformers itself passes over.
    "mirror": "x",
    "_fast_init": True,
    "low_cpu_mem_usage": True,
    "from_tf": False,
    "from_flax": False,
    "offload_state_dict": True,
}
# Tried elsewhere, or only on more than one machine or device; handed to transformers as they are.
ELSEWHERE = {"cache_dir", "device_map", "max_memory", "offload_folder", "offload_buffers", "output_loading_info"}
ELSEWHERE |= {"device_mesh", "distributed_config", "experts_implementation", "tp_plan", "tp_size"}


def audio_attention(model):
    return getattr(model, "model", model).audio_tower.config._attn_implementation


def arguments_of_transformers():
    """What the source of `PreTrainedModel.from_pretrained` names, takes out of `kwargs`, or looks for in it."""
    function = PreTrainedModel.from_pretrained.__func__
    names = set(inspect.signature(function).parameters) - {
        *("cls", "pretrained_model_name_or_path", "model_args", "kwargs")
    }
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "pop":
            key = node.args[0]
            if (
                isinstance(node.func.value, ast.Name)
                and node.func.value.id == "kwargs"
                and isinstance(key, ast.Constant)
            ):
                names.add(key.value)
        if isinstance(node, ast.For) and isinstance(node.iter, ast.List):
            names |= {item.value for item in node.iter.elts if isinstance(item, ast.Constant)}
    return names


def test_the_tables_hold_every_argument_of_transformers():
    known = {key for table in (EFFECTS, REFUSED) for row in table.values() for key in row[0]}
    known |= set(WITHOUT_TRACE) | ELSEWHERE
    found = arguments_of_transformers()
    assert {"dtype", "mirror", "weights_only", "config"} <= found
    assert found <= known


def rows(table):
    """One test for each argument and each kind of repository that the table says it of."""
    return [
        pytest.param(kind, row, id=f"{name}-{kind}")
        for name, row in table.items()
        for kind in KINDS
        if row[-1] is None or kind in row[-1]
    ]


@pytest.mark.parametrize(("kind", "row"), rows(EFFECTS))
def test_takes_effect(kind, row, folders):
    arguments, shows, _ = row
    if "quantization_config" in arguments:
        pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    model_class, folder = KINDS[kind]
    assert shows(model_class.from_pretrained(folders / folder, **arguments))


@pytest.mark.parametrize(("kind", "row"), rows(REFUSED))
def test_refuses(kind, row, folders):
    arguments, exception, message, _ = row
    model_class, folder = KINDS[kind]
    with pytest.raises(exception, match=message):
        model_class.from_pretrained(folders / folder, **arguments)


@pytest.mark.parametrize("kind", KINDS)
def test_a_plain_model_shows_no_effect(kind, folders):
    model_class, folder = KINDS[kind]
    model = model_class.from_pretrained(folders / folder)
    for name, (_, shows, kinds) in EFFECTS.items():
        if name != "fusion_config" and (kinds is None or kind in kinds):  # that is an attribute of its own
            assert not shows(model), name


@pytest.mark.parametrize("kind", KINDS)
def test_arguments_without_trace(kind, folders, tmp_path):
    model_class, folder = KINDS[kind]
    plain = model_class.from_pretrained(folders / folder)
    model, info = model_class.from_pretrained(
        folders / folder, cache_dir=tmp_path, output_loading_info=True, **WITHOUT_TRACE
    )
    assert not info["missing_keys"]
    assert model.config.to_dict() == plain.config.to_dict()
    for key, value in plain.state_dict().items():
        assert torch.equal(model.state_dict()[key], value), key


@pytest.mark.parametrize("auto", [False, True], ids=["class", "Auto class"])
def test_fields_of_the_bundled_model(auto):
    """As with stock LLaVA, both by the class and by the Auto classes."""
    load = AutoModelForImageTextToText.from_pretrained if auto else SoundLlava.from_pretrained
    model = load(TINY, vision_feature_layer=-1, output_attentions=True, text_config={"attention_dropout": 0.5})
    assert type(model) is SoundLlava
    assert model.config.vision_feature_layer == -1
    assert model.config.output_attentions
    assert model.model.language_model.config.attention_dropout == 0.5
    assert (
        model.model.language_model.config.hidden_size == SoundLlavaConfig.from_pretrained(TINY).text_config.hidden_size
    )


def test_a_configuration_may_be_a_path(folders):
    changed = AutoConfig.from_pretrained(folders / "full")
    changed.vision_feature_layer = -1
    changed.save_pretrained(folders / "changed")
    model = SoundLlava.from_pretrained(folders / "full", config=str(folders / "changed"))
    assert model.config.vision_feature_layer == -1
    dual = SoundClipModel.from_pretrained(folders / "full", config=folders / "changed")
    assert dual.config.vision_feature_layer == -1


def test_a_configuration_that_was_passed_stays_as_it_is(folders):
    config = AutoConfig.from_pretrained(folders / "full")
    with pytest.raises(TypeError, match="vision_feature_layer"):  # as in transformers
        LlavaForConditionalGeneration.from_pretrained(
            folders / "base", config=AutoConfig.from_pretrained(folders / "base"), vision_feature_layer=-1
        )
    with pytest.raises(TypeError, match="vision_feature_layer"):
        SoundLlava.from_pretrained(folders / "full", config=config, vision_feature_layer=-1)
    changed = overridden(config, {"sound_config": {"alpha": 0.25}, "image_token_id": 5})
    assert (changed.sound_config.alpha, changed.image_token_index) == (0.25, 5)
    assert changed.sound_config.token_budget == config.sound_config.token_budget
    assert (config.sound_config.alpha, config.image_token_index) != (0.25, 5)
    with pytest.raises(ValueError, match=r"alpha=1\.5"):
        overridden(config, {"sound_config": {"alpha": 1.5}})


@pytest.mark.parametrize("kind", KINDS)
def test_a_variant(kind, folders, tmp_path):
    shutil.copytree(folders, tmp_path / "copy")
    for file in (tmp_path / "copy").rglob("model.safetensors"):
        if file.parent.name != "encoder":
            file.rename(file.with_name("model.fp16.safetensors"))
    model_class, folder = KINDS[kind]
    where = {"base_model_name_or_path": str(tmp_path / "copy" / "base")} if folder == "adapter" else {}
    found = model_class.from_pretrained(tmp_path / "copy" / folder, variant="fp16", **where)
    for key, value in model_class.from_pretrained(folders / folder).state_dict().items():
        assert torch.equal(found.state_dict()[key], value), key


@pytest.mark.parametrize("kind", KINDS)
def test_placement(kind, folders, tmp_path):
    model_class, folder = KINDS[kind]
    plain = model_class.from_pretrained(folders / folder)
    inputs = {"pixel_values": torch.randn(1, 3, 28, 28)}
    expected = plain.get_image_features(**inputs).pooler_output
    model = model_class.from_pretrained(
        folders / folder,
        device_map="auto",
        max_memory={"cpu": int(0.85 * plain.get_memory_footprint())},
        offload_folder=tmp_path / "offload",
        offload_buffers=True,
    )
    assert set(model.hf_device_map.values()) == {"cpu", "disk"}
    assert (tmp_path / "offload").is_dir()  # safetensors files stay where they are and are read from there
    found = model.get_image_features(**inputs).pooler_output
    assert torch.equal(torch.stack(list(found)), torch.stack(list(expected)))
