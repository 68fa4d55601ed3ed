"""What a folder with a model holds that belongs on the Hub; a folder that could not be loaded from there is refused."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from transformers import MODEL_MAPPING, AutoConfig
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from ..evaluation.results import EvalResult
from ..modeling.audio_encoders.modeling_base import AudioEncoderPreTrainedModel
from ..modeling.checkpoint_files import Shapes, build_on_meta, read_shapes, read_weight_map
from ..modeling.checkpoints.adapter_parts import ADAPTER_NAME, adapter_tensors, is_of_ears, named
from ..modeling.checkpoints.peft_adapter import PEFT_CONFIG, PEFT_FOLDER, PEFT_WEIGHTS
from ..modeling.configuration_soundclip import SoundClipConfig, SoundLlavaConfig
from ..modeling.modeling_soundllava import SoundLlavaForConditionalGeneration

Form = Literal["adapter", "full", "dual encoder", "audio encoder"]
CONFIG_NAME, CARD_NAME = "config.json", "README.md"
PROCESSOR_NAME, EXTRACTOR_NAME = "processor_config.json", "preprocessor_config.json"
# Besides weights, configuration, card and results. Anything else, such as an optimizer's state, stays on this machine.
_PUBLISHED = re.compile(
    r"generation_config\.json|processor_config\.json|preprocessor_config\.json|chat_template\.(jinja|json)"
    r"|chat_templates/[^/]+\.jinja|tokenizer\.(json|model)|tokenizer_config\.json|special_tokens_map\.json"
    r"|added_tokens\.json|vocab\.(json|txt)|merges\.txt|curve\.png|modules\.json"
)
# Files that loading could take for the weights; transformers takes PEFT's at the top for the whole repository.
_WEIGHTS = re.compile(
    r"(peft/)?adapter_(config\.json|model\.(safetensors|bin))|(soundclip_adapter|model|pytorch_model)([.-][\w.-]+)?\.(safetensors|bin)(\.index\.json)?"
    r"|(soundclip_adapter|model|pytorch_model)[\w.-]*\.index\.json|tf_model\.h5|flax_model\.msgpack"
)


@dataclass(frozen=True)
class ModelFolder:
    """
    Attributes:
        form: "adapter" completes a base model; "full" is a whole SoundLlava, "dual encoder" a SoundClip, "audio
            encoder" one of a SoundLlava by itself.
        config: What config.json says.
        weights: Files with tensors, and their index, by name.
        peft: Configuration and weights of a PEFT adapter (LoRA), by name; empty if there is none.
        others: Processor, tokenizer, templates, curve, by path below the folder.
        results: Measurements, by the name of their file.
        shapes: Of the tensors.
        readme: Text of the folder's README.md.
    """

    root: Path
    form: Form
    config: Any
    weights: Mapping[str, Path]
    peft: Mapping[str, Path]
    others: Mapping[str, Path]
    results: Mapping[str, EvalResult]
    shapes: Shapes
    readme: str | None

    @property
    def sound_config(self) -> SoundClipConfig:
        return self.config if isinstance(self.config, SoundClipConfig) else self.config.sound_config


def read_model_folder(folder: str | Path) -> ModelFolder:
    """
    Read what `save_pretrained`, `soundclip align` or a trainer has written.

    Raises:
        ValueError: The folder has no model of this package, or its weights are incomplete, unreadable, or do not fit
            config.json; or a result in it is of a later format.
    """
    root = Path(folder)
    if not (root / CONFIG_NAME).is_file():
        what = "has no config.json: give the folder of a model" if root.is_dir() else "no such folder"
        if (root / PEFT_CONFIG).is_file():
            what = (
                "holds a PEFT adapter (LoRA) without the ears that it belongs to: save the model itself there, too, "
                "with peft_model.get_base_model().save_pretrained (docs/lora.md)"
            )
        raise ValueError(f"{root}: {what}")
    config = AutoConfig.from_pretrained(root)
    if not (isinstance(config, SoundLlavaConfig | SoundClipConfig) or encoder_class(config)):
        raise ValueError(
            f"{root}: is a {config.model_type!r} model; a SoundLlava, an adapter, a SoundClip or an audio encoder of "
            "soundclip_hf is pushed"
        )
    form, weights = _weights(root, config)
    shapes = read_shapes(str(path) for name, path in weights.items() if name.endswith(".safetensors"))
    _check(root, form, config, shapes)
    peft = _peft(root, config)
    below = [path for path in [*root.glob("*"), *root.glob("chat_templates/*")] if path.is_file()]
    others = {name: path for path in below if _PUBLISHED.fullmatch(name := path.relative_to(root).as_posix())}
    measured = [] if form == "audio encoder" else sorted(root.glob("*.json"))
    results = {path.name: EvalResult.load(path) for path in measured if _is_result(path)}
    readme = root / CARD_NAME
    text = readme.read_text(encoding="utf-8") if readme.is_file() else None
    return ModelFolder(root, form, config, weights, peft, others, results, shapes, text)


def encoder_class(config: Any) -> type[AudioEncoderPreTrainedModel] | None:
    """The class of an audio encoder by itself; None for the configuration of any other model."""
    found: Any = MODEL_MAPPING.get(type(config), None)
    return found if isinstance(found, type) and issubclass(found, AudioEncoderPreTrainedModel) else None


def is_weights(path: str) -> bool:
    """Whether a file of a repository could be taken for the weights of a model."""
    return _WEIGHTS.fullmatch(path) is not None


def read_processor_folder(folder: str | Path) -> dict[str, Path]:
    """The files of a processor that was saved, by path below the folder."""
    root = Path(folder)
    return {
        name: path
        for path in [*root.glob("*"), *root.glob("chat_templates/*")]
        if path.is_file() and _PUBLISHED.fullmatch(name := path.relative_to(root).as_posix())
    }


def _weights(root: Path, config: Any) -> tuple[Form, dict[str, Path]]:
    adapter, whole, index = (root / name for name in (ADAPTER_NAME, SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME))
    if isinstance(config, SoundLlavaConfig) and adapter.is_file():
        return "adapter", {adapter.name: adapter}
    form: Form = "full" if isinstance(config, SoundLlavaConfig) else "dual encoder"
    if encoder_class(config):
        form = "audio encoder"
    if whole.is_file() and index.is_file():
        raise ValueError(
            f"{root}: holds both {whole.name} and {index.name}, from two different savings; remove the older one"
        )
    if whole.is_file():
        return form, {whole.name: whole}
    if not index.is_file():
        of_adapter = "" if form == "audio encoder" else f"{ADAPTER_NAME} nor "
        raise ValueError(f"{root}: has no weights: neither {of_adapter}{whole.name} nor {index.name}")
    names = sorted(set(read_weight_map(index).values()))
    missing = [name for name in names if not (root / name).is_file()]
    if missing:
        raise ValueError(f"{root}: {missing[0]} is missing, which {index.name} names; save the model again")
    return form, {index.name: index, **{name: root / name for name in names}}


def _peft(root: Path, config: Any) -> dict[str, Path]:
    """Where PEFT's files of a SoundLlava are: in their folder, or at the top, where PEFT itself saves them."""
    if not isinstance(config, SoundLlavaConfig):
        return {}
    at_top = (root / PEFT_CONFIG).is_file()
    if config.has_peft_adapter and at_top:
        raise ValueError(f"{root}: has a PEFT adapter in {PEFT_FOLDER}, and another beside it; remove one of them")
    if not (config.has_peft_adapter or at_top):
        return {}
    place = root if at_top else root / PEFT_FOLDER
    found = {name: place / name for name in (PEFT_CONFIG, PEFT_WEIGHTS)}
    missing = [path for path in found.values() if not path.is_file()]
    if missing:
        raise ValueError(f"{missing[0]}: is missing, without which the PEFT adapter cannot be loaded; save it again")
    read_shapes([str(found[PEFT_WEIGHTS])])  # that it can be read
    return found


def _check(root: Path, form: Form, config: Any, shapes: Shapes) -> None:
    encoder = encoder_class(config)
    if encoder is not None:
        wanted = {
            key: tuple(value.shape)
            for key, value in build_on_meta(encoder, config, str(root)).state_dict().items()
            if key.rpartition(".")[2] not in encoder._may_be_fresh
        }
        different = {key for key, shape in wanted.items() if shapes.get(key) != shape}
        if different:
            raise ValueError(f"{root}: its weights do not fit config.json ({named(different)}); save the model again")
        return
    if form != "adapter":
        if not any(map(is_of_ears, shapes)):
            raise ValueError(f"{root}: its weights hold no audio encoder and no projector; save the model again")
        return
    model = build_on_meta(SoundLlavaForConditionalGeneration, config, str(root))
    expected = {key: tuple(value.shape) for key, value in adapter_tensors(model.model, config).items()}
    different = {key for key in expected.keys() | shapes.keys() if expected.get(key) != shapes.get(key)}
    if different:
        raise ValueError(
            f"{root / ADAPTER_NAME}: does not fit config.json ({named(different)}); save the adapter again"
        )


def _is_result(path: Path) -> bool:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return False
    return isinstance(values, dict) and {"task", "metrics", "error_bars"} <= values.keys()


__all__ = [
    "CARD_NAME",
    "CONFIG_NAME",
    "EXTRACTOR_NAME",
    "PROCESSOR_NAME",
    "Form",
    "ModelFolder",
    "encoder_class",
    "is_weights",
    "read_model_folder",
    "read_processor_folder",
]
