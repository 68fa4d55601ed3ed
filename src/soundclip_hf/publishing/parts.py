"""The repositories that a published model is made from: their places on the Hub, commits and licences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..hub_access import explained
from ..modeling.checkpoint_names import BUNDLED_NAMES, checkpoint_name

if TYPE_CHECKING:
    from huggingface_hub import HfApi

# Audio encoders whose weights may not be used commercially, by the model type of their configuration.
_NON_COMMERCIAL = {"imagebind_audio": ("ImageBind", "cc-by-nc-sa-4.0")}
_FIELDS = {
    "base model": ("base_model_name_or_path", "base_model_revision"),
    "audio encoder": ("audio_encoder_name_or_path", "audio_encoder_revision"),
}


@dataclass(frozen=True)
class Part:
    """
    Attributes:
        role: "base model" or "audio encoder".
        repo: `org/name`.
        revision: A commit.
        license: As its card says; None if it does not.
    """

    role: str
    repo: str
    revision: str | None
    license: str | None


def find_parts(config: dict[str, Any], api: "HfApi", *, needed: bool) -> tuple[list[Part], dict[str, Any]]:
    """
    Look up the repositories that a configuration names.

    Args:
        config: Of config.json.
        needed: Whether the model is an adapter, which cannot be loaded without them.

    Returns:
        The parts; and the fields of `config` that change: revisions become commits, so that the model stays what it is
        when a part moves on, and folders of this machine that loading does not need are left out.

    Raises:
        ValueError: An adapter names a folder of this machine.
        HubAccessError: A repository cannot be read.
    """
    parts: list[Part] = []
    changed: dict[str, Any] = {}
    for role, (name_field, revision_field) in _FIELDS.items():
        if config.get(name_field) is None or config[name_field] in BUNDLED_NAMES:  # everybody has these
            continue
        found, revision = checkpoint_name(config[name_field], config.get(revision_field), revision_field)
        name = str(found)
        if not is_repository(name):
            if not needed:
                changed |= {name_field: None, revision_field: None}
                continue
            option = name_field.removesuffix("_name_or_path").replace("_", "-")
            raise ValueError(
                f"{name_field}={name!r} is a folder of this machine, and the adapter could be loaded nowhere else: "
                f"give the id of this {role} on the Hub (--{option} ORG/NAME, or {name_field} in the configuration)"
            )
        with explained(name, revision, kind="model"):
            info = api.model_info(name, revision=revision)
        card = info.card_data
        parts.append(Part(role, name, info.sha, None if card is None else _license(card.get("license"))))
        changed |= {name_field: name, revision_field: info.sha}
    return parts, changed


def _license(stated: Any) -> str | None:
    """What a card states, which is YAML of others: a name, a list of names, or anything else."""
    names = stated if isinstance(stated, list) else [stated]
    return ", ".join(" ".join(str(name).split()) for name in names if name is not None) or None


def non_commercial(config: Any, parts: Sequence[Part]) -> dict[str, str]:
    """Names of what may not be used commercially among the weights of a model, with their licences."""
    found = {part.repo: part.license for part in parts if part.license and "-nc" in part.license.lower()}
    sound = getattr(config, "sound_config", config)
    audio = getattr(sound, "audio_config", sound)  # or an audio encoder by itself
    if audio.model_type in _NON_COMMERCIAL:
        name, license_name = _NON_COMMERCIAL[audio.model_type]
        found.setdefault(name, license_name)
    return found


def check_license(license_name: str | None, restricted: Mapping[str, str], repo: str) -> None:
    """
    Raises:
        ValueError: Nobody has said which licence work on non-commercial weights is given.
    """
    if license_name is None and restricted:
        names = " and ".join(f"{name} ({terms})" for name, terms in restricted.items())
        terms = next(iter(restricted.values()))
        raise ValueError(
            f"{repo}: is built on weights that may not be used commercially: {names}. State the licence of what you "
            f"publish, such as --license {terms} (license={terms!r})"
        )


def is_repository(name: str) -> bool:
    """Whether a name is an id on the Hub, and no folder of this machine."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    if Path(name).exists():
        return False
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


__all__ = ["Part", "check_license", "find_parts", "is_repository", "non_commercial"]
