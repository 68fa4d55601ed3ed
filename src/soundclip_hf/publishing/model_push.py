"""Pushes a folder with a model to a Hub: weights, configuration, processor, card and results in one commit."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ..evaluation.results import EvalResult
from ..hub_access import explained
from ..modeling.checkpoints.peft_adapter import PEFT_CONFIG, PEFT_FOLDER, PEFT_WEIGHTS
from ..modeling.pushing.publishers import register_publisher
from .card_text import is_generated
from .commits import Content, Destination, Progress, commit, compare, look_at, open_destination, size_of
from .encoder_card import encoder_card
from .model_card import model_card, public_result
from .model_folder import (
    CARD_NAME,
    CONFIG_NAME,
    EXTRACTOR_NAME,
    PROCESSOR_NAME,
    ModelFolder,
    is_weights,
    read_model_folder,
    read_processor_folder,
)
from .parts import Part, check_license, find_parts, non_commercial
from .remote_code import with_model_code, with_processor_code

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo

_BASE_FIELDS = ("base_model_name_or_path", "base_model_revision")
_ENCODER_FIELDS = ("audio_encoder_name_or_path", "audio_encoder_revision")


@dataclass(frozen=True)
class Pushed:
    """
    Attributes:
        repo: `org/name`.
        url: Its page.
        commit: That the branch, or the pull request, is at now; in a dry run, that it would be based on.
        sent: Files that were added or changed, with their sizes in bytes.
        removed: Files that were removed.
        kept: Number of files that were there already.
        card: "written", or "kept" if it was written by hand.
        readme: Text of the card; None if only a processor was pushed.
        tag: Name of the version.
        info: As huggingface_hub's `create_commit` returns it; None in a dry run, or if nothing has changed.
    """

    repo: str
    url: str
    commit: str | None
    sent: Mapping[str, int]
    removed: Sequence[str]
    kept: int
    card: str
    readme: str | None
    tag: str | None
    info: "CommitInfo | None" = field(repr=False)


def push_model(
    folder: str | Path,
    repo: str,
    *,
    private: bool | None = None,
    revision: str = "main",
    tag: str | None = None,
    token: str | bool | None = None,
    license: str | None = None,  # noqa: A002  (huggingface_hub's name)
    base_model: str | None = None,
    base_model_revision: str | None = None,
    audio_encoder: str | None = None,
    audio_encoder_revision: str | None = None,
    tags: Sequence[str] = (),
    message: str | None = None,
    description: str | None = None,
    create_pr: bool = False,
    needs_processor: bool = True,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Pushed:
    """
    Publish the model in a folder as `repo`, which is made if it is not there.

    Everything goes into one commit: an interrupted push leaves what was there before, and running it again completes
    it. Weights of another form, such as a whole model that the adapter replaces, are removed in the same commit. The
    card is written anew, unless the one in the folder or on the Hub was written by hand. The revisions of base model
    and audio encoder become commits.

    Args:
        folder: As `save_pretrained`, `soundclip align` or a trainer leaves it.
        repo: `org/name`.
        private: True or False changes who sees it; None leaves it as it is, and makes a new one public.
        revision: Branch; made if it is not there.
        tag: Name of this version, such as "v1.0": a new one, or one that stands on this very content.
        token: One that may write; None takes that of `hf auth login`.
        license: Of what is published, as the Hub spells it. Needed where weights may not be used commercially.
        base_model, base_model_revision: Id and revision on the Hub of the base of an adapter, in place of what
            config.json says.
        audio_encoder, audio_encoder_revision: Likewise.
        tags: Of the card, besides its own.
        message, description: Of the commit.
        create_pr: Open a pull request; no branch is changed.
        needs_processor: Refuse a folder without processor, if there is none on the Hub.
        dry_run: Change nothing; the answer says what a push would do.
        progress: Wraps the large files while they are uploaded, and gets what is done with them.

    Raises:
        ValueError: The folder holds no model that could be loaded from the Hub, a licence has to be stated, or the tag
            has other content.
        HubConflictError: Another push to the branch came first.
        HubAccessError: A token that is missing or may not write; the Hub refuses or cannot be reached; base model or
            audio encoder cannot be read.
    """
    source = read_model_folder(folder)
    given = {**_named(_BASE_FIELDS, base_model, base_model_revision)}
    given |= _named(_ENCODER_FIELDS, audio_encoder, audio_encoder_revision)
    if given and source.form == "audio encoder":
        part = next(iter(given)).removesuffix("_name_or_path")
        raise ValueError(f"{source.root}: is an audio encoder by itself: leave {part} out")
    config = {**json.loads((source.root / CONFIG_NAME).read_text(encoding="utf-8")), **given}
    license_name = license or _license_of(source.readme)
    # Known from the folder alone, and said before anything is asked for.
    check_license(license_name, non_commercial(source.config, ()), repo)
    with explained(repo, revision, writing=True, kind="model"):
        from huggingface_hub import HfApi

        parts, changed = find_parts(config, HfApi(token=token), needed=source.form == "adapter")
        restricted = non_commercial(source.config, parts)
        check_license(license_name, restricted, repo)
        there = _destination(repo, revision, tag, token, private, dry_run)
        if needs_processor:
            _check_processor(source, there)
        old_card = there.read(CARD_NAME)
    readme, card = _card(source, there, old_card, parts, license_name, restricted, tags, stated=license)
    files: dict[str, Content] = {**source.weights, **source.others}
    files |= {name: _json_of(public_result(result, there.repo)) for name, result in source.results.items()}
    config |= changed
    if source.peft:
        config["has_peft_adapter"] = True
        files |= _peft_files(source, config)
    files |= with_model_code(config)
    if PROCESSOR_NAME in source.others:
        files |= with_processor_code(json.loads(source.others[PROCESSOR_NAME].read_text(encoding="utf-8")))
    files[CARD_NAME] = readme.encode()
    message = message or f"Upload {'an' if source.form.startswith('a') else 'a'} {source.form} with soundclip-hf"
    done = _send(there, files, message, description, create_pr, dry_run, progress)
    return Pushed(**done, card=card, readme=readme)


def check_model(
    config: Any,
    repo: str,
    *,
    license: str | None = None,  # noqa: A002
    token: str | bool | None = None,
    whole: bool = False,
) -> None:
    """
    Check what `push_model` would refuse of an adapter with this configuration, or of a whole model.

    Raises:
        ValueError: A licence has to be stated, or a part is a folder of this machine.
        HubAccessError: A part cannot be read on the Hub.
    """
    from huggingface_hub import HfApi

    check_license(license, non_commercial(config, ()), repo)
    parts, _ = find_parts(config.to_dict(), HfApi(token=token), needed=not whole)
    check_license(license, non_commercial(config, parts), repo)


def push_processor(
    folder: str | Path,
    repo: str,
    *,
    private: bool | None = None,
    revision: str = "main",
    token: str | bool | None = None,
    message: str | None = None,
    description: str | None = None,
    create_pr: bool = False,
) -> Pushed:
    """
    Publish the processor in a folder; weights and card of the repository stay as they are.

    The arguments are those of `push_model`.
    """
    files: dict[str, Content] = dict(read_processor_folder(folder))
    files |= with_processor_code(json.loads((Path(folder) / PROCESSOR_NAME).read_text(encoding="utf-8")))
    with explained(repo, revision, writing=True, kind="model"):
        there = _destination(repo, revision, None, token, private, dry_run=False)
    done = _send(there, files, message or "Upload processor", description, create_pr, False, None, removes=False)
    return Pushed(**done, card="kept", readme=None)


def _named(fields: tuple[str, str], name: str | None, revision: str | None) -> dict[str, str | None]:
    if name is not None:
        return {fields[0]: name, fields[1]: revision}  # the old revision belongs to the old name
    return {} if revision is None else {fields[1]: revision}


def _destination(
    repo: str, revision: str, tag: str | None, token: str | bool | None, private: bool | None, dry_run: bool
) -> Destination:
    if dry_run:
        return look_at(repo, "model", revision=revision, tag=tag, token=token)
    return open_destination(repo, "model", revision=revision, tag=tag, token=token, private=private)


def _card(
    source: ModelFolder,
    there: Destination,
    old: str | None,
    parts: Sequence[Part],
    license_name: str | None,
    restricted: Mapping[str, str],
    tags: Sequence[str],
    stated: str | None,
) -> tuple[str, str]:
    """The card and "kept", if it was written by hand, or "written"."""
    for text in (source.readme, old):
        if text is not None and not is_generated(text):
            return _with_license(text, stated), "kept"
    if license_name is None and old is not None:
        license_name = _license_of(old)
    options: dict[str, Any] = {
        "revision": there.revision,
        "license_name": license_name,
        "restricted": restricted,
        "tags": tags,
    }
    if source.form == "audio encoder":
        return encoder_card(source, there.repo, **options), "written"
    return model_card(source, there.repo, parts=parts, **options), "written"


def _check_processor(source: ModelFolder, there: Destination) -> None:
    name, what = PROCESSOR_NAME, "processor"
    if source.form == "audio encoder":
        name, what = EXTRACTOR_NAME, "feature extractor"
    if name not in source.others and name not in there.files:
        raise ValueError(
            f"{source.root}: has no {name}, without which nobody can ask the model; save the {what} there, with "
            f"{what.replace(' ', '_')}.save_pretrained"
        )


def _peft_files(source: ModelFolder, config: dict[str, Any]) -> dict[str, Content]:
    """PEFT's files in their folder; its configuration names what the model does, and no folder of this machine."""
    about = json.loads(source.peft[PEFT_CONFIG].read_text(encoding="utf-8"))
    about |= dict(
        zip(("base_model_name_or_path", "revision"), (config.get(name) for name in _BASE_FIELDS), strict=True)
    )
    text = json.dumps(about, indent=2, sort_keys=True) + "\n"
    return {f"{PEFT_FOLDER}/{PEFT_CONFIG}": text.encode(), f"{PEFT_FOLDER}/{PEFT_WEIGHTS}": source.peft[PEFT_WEIGHTS]}


def _json_of(result: EvalResult) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "result.json"
        result.save(path)
        return path.read_bytes()


def _license_of(text: str | None) -> str | None:
    from huggingface_hub import ModelCard

    return None if text is None else ModelCard(text, ignore_metadata_errors=True).data.get("license")


def _with_license(text: str, license_name: str | None) -> str:
    from huggingface_hub import ModelCard

    if license_name is None or _license_of(text) == license_name:
        return text
    card = ModelCard(text)
    card.data["license"] = license_name
    return str(card)


def _send(
    there: Destination,
    files: Mapping[str, Content],
    message: str,
    description: str | None,
    create_pr: bool,
    dry_run: bool,
    progress: Progress | None,
    removes: bool = True,
) -> dict[str, Any]:
    change = compare(there, files, lambda path: removes and is_weights(path))
    made = None
    if not dry_run:
        made = commit(there, change, message, description=description, create_pr=create_pr, progress=progress)
    return {
        "repo": there.repo,
        "url": there.url,
        "commit": made.oid if made else there.head,
        "sent": {path: size_of(content) for path, content in change.adding.items()},
        "removed": change.removing,
        "kept": change.kept,
        "tag": there.tag,
        "info": made,
    }


register_publisher(model=push_model, processor=push_processor, check=check_model)

__all__ = ["Pushed", "check_model", "push_model", "push_processor"]
