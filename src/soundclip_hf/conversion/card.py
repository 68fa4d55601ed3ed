"""Writes the README of a converted folder from what is known of the encoder and of the conversion."""

from dataclasses import dataclass
from importlib.metadata import version

from transformers import PreTrainedModel

_COMPARED = "agrees with reference outputs of the original, which were made with generated weights"


@dataclass(frozen=True)
class Provenance:
    """
    Attributes:
        licence_id: As the Hub spells it.
        weights_licence: In words, of the weights that were released.
        warning: What a user must know before using the weights.
        verified: How far the port itself was checked.
    """

    title: str
    url: str
    file: str
    code_licence: str
    licence_id: str
    weights_licence: str
    verified: str = _COMPARED
    warning: str | None = None


PROVENANCE = {
    "imagebind": Provenance(
        "ImageBind, audio trunk",
        "https://github.com/facebookresearch/ImageBind",
        "imagebind_huge.pth",
        "CC BY-NC-SA 4.0 (the port is not made of it)",
        "cc-by-nc-sa-4.0",
        "CC BY-NC-SA 4.0",
        warning="ImageBind's weights are CC BY-NC-SA 4.0: non-commercial, and so is what is made of them",
    ),
    "audioclip": Provenance(
        "AudioCLIP, audio head (ESResNeXt-FBSP)",
        "https://github.com/AndreyGuzhov/AudioCLIP",
        "AudioCLIP-Full-Training.pt or AudioCLIP-Partial-Training.pt",
        "MIT",
        "other",
        "none stated beside the repository's MIT",
    ),
    "wav2clip": Provenance(
        "Wav2CLIP",
        "https://github.com/descriptinc/lyrebird-wav2clip",
        "Wav2CLIP.pt",
        "MIT",
        "other",
        "none stated beside the repository's MIT",
    ),
    "clap": Provenance(
        "CLAP of LAION, audio tower",
        "https://github.com/LAION-AI/CLAP",
        "laion/clap-htsat-unfused or laion/larger_clap_general, in transformers' layout",
        "Apache-2.0",
        "apache-2.0",
        "Apache-2.0",
    ),
    "msclap": Provenance(
        "CLAP of Microsoft (2023), audio encoder",
        "https://github.com/microsoft/CLAP",
        "CLAP_weights_2023.pth",
        "MIT",
        "ms-pl",
        "Ms-PL",
        verified="**not verified against the original**: tested against a transcription of its parts only",
        warning="the port of Microsoft's CLAP is not verified against the original: there are no reference outputs",
    ),
    "whisper": Provenance(
        "Whisper, encoder",
        "https://github.com/openai/whisper",
        "openai/whisper-*, in transformers' layout",
        "MIT",
        "apache-2.0",
        "Apache-2.0 on the Hub, MIT upstream",
    ),
}


def versions() -> dict[str, str]:
    return {name: version(name) for name in ("soundclip-hf", "torch", "transformers", "safetensors")}


def conversion_card(
    encoder: str, model: PreTrainedModel, *, file_name: str, sha256: str, checks: list[str], changed: dict[str, object]
) -> str:
    """
    Args:
        file_name: Of the original, without its folder.
        checks: What was checked and found, one line each.
        changed: Fields of the configuration that differ from the released checkpoint's.
    """
    known = PROVENANCE[encoder]
    header = [f"license: {known.licence_id}"]
    if known.licence_id == "other":
        header += ["license_name: see-below", f"license_link: {known.url}"]
    header += ["library_name: transformers", "pipeline_tag: feature-extraction", "tags: [soundclip-hf, audio]"]
    size = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    facts = {
        "source": f"{known.url} ({known.file})",
        "licence of the code": known.code_licence,
        "licence of the released weights": f"{known.weights_licence}; a fine-tuned checkpoint may have another",
        "converted from": f"`{file_name}`, sha256 `{sha256}`",
        "converted with": ", ".join(f"{name} {number}" for name, number in versions().items()),
        "class": f"`{type(model).__name__}`, {size:.1f} M parameters, `pooler_output` of width "
        f"{model.config.embedding_dim}",
        "port": known.verified,
    }
    if changed:
        facts["configuration"] = ", ".join(f"`{name}={value!r}`" for name, value in changed.items())
    lines = ["---", *header, "---", f"# {known.title}", ""]
    lines += [f"> {known.warning[0].upper()}{known.warning[1:]}.", ""] if known.warning else []
    lines += ["Written by `soundclip convert`. What these weights can do was not evaluated.", ""]
    lines += ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts.items())]
    lines += ["", "Checked when it was written:", "", *(f"- {line}" for line in checks)]
    return "\n".join([*lines, "", _USE])


_USE = """```python
import soundclip_hf  # registers the Auto classes
from transformers import AutoFeatureExtractor, AutoModel

model, extractor = AutoModel.from_pretrained("."), AutoFeatureExtractor.from_pretrained(".")
inputs = extractor(sound, sampling_rate=extractor.sampling_rate, return_tensors="pt")
z = model(**inputs).pooler_output
```
"""

__all__ = ["PROVENANCE", "Provenance", "conversion_card", "versions"]
