"""`push_to_hub` of models and processors: what `save_pretrained` writes is published as a folder, in one commit."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from transformers import ProcessorMixin

from ...files import write_text
from ..checkpoint_files import ModelBase
from .publishers import publish

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo

# Arguments of `push_to_hub` that `save_pretrained(push_to_hub=True)` takes too.
_PUSH_ARGUMENTS = {
    *("repo_id", "commit_message", "commit_description", "private", "token", "revision", "create_pr", "tags"),
    "license",
}


def take_push_options(keywords: dict[str, Any]) -> dict[str, Any]:
    """Remove the arguments of `push_to_hub` from those of `save_pretrained`; returns those that were given."""
    return {name: keywords.pop(name) for name in _PUSH_ARGUMENTS if name in keywords}


class ModelPushMixin(ModelBase):
    """`push_to_hub` of a model, with a card that says how to load it."""

    # Texts that `save_pretrained` writes beside weights and configuration, by the name of their file.
    _other_files: Mapping[str, str] = {}

    @classmethod
    def register_for_auto_class(cls, auto_class: Any = "AutoModel") -> None:
        """Does nothing: the code of this class is a package, and is not copied into the folders of models."""

    def save_pretrained(
        self,
        save_directory: str | os.PathLike,
        is_main_process: bool = True,
        state_dict: dict[str, Any] | None = None,
        push_to_hub: bool = False,
        **kwargs: Any,
    ) -> None:
        """As in transformers; with `push_to_hub=True`, what was saved is published as by `push_to_hub`."""
        options = take_push_options(kwargs)
        super().save_pretrained(save_directory, is_main_process, state_dict, **kwargs)
        if is_main_process:
            self._save_other_files(save_directory)
        if push_to_hub and is_main_process:
            self._publish(save_directory, **options)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str | None = None,
        commit_description: str | None = None,
        private: bool | None = None,
        token: bool | str | None = None,
        revision: str | None = None,
        create_pr: bool = False,
        max_shard_size: int | str | None = "50GB",
        tags: Sequence[str] | str | None = None,
        license: str | None = None,  # noqa: A002  (huggingface_hub's name)
        **kwargs: Any,
    ) -> "CommitInfo":
        """
        Publish the model in one commit. Weights of another form that the repository holds are removed in the same
        commit; its card is written anew, unless it was written by hand. Push the processor, too.

        Args:
            repo_id: `org/name`, or a name in your own namespace; the repository is made if there is none.
            commit_message, commit_description: Of the commit.
            private: True or False changes who sees the repository; None leaves it, and makes a new one public.
            token: One that may write; None takes that of `hf auth login`.
            revision: Branch; made if there is none.
            create_pr: Open a pull request in place of changing the branch.
            max_shard_size: Of a whole model.
            tags: Of the card.
            license: Of what is published, as the Hub spells it. Needed where the weights of the audio encoder or the
                base model may not be used commercially.
            **kwargs: Of `save_pretrained`, such as `adapter_only`.

        Raises:
            ValueError: If a licence has to be stated, or an adapter names a base model or an encoder that is a folder
                of this machine.
            HubConflictError: If another push to the branch came first.
            HubAccessError: If the Hub refuses or cannot be reached; what was there before is shown still.
        """
        options: dict[str, Any] = {
            "commit_message": commit_message,
            "commit_description": commit_description,
            "private": private,
            "token": token,
            "revision": revision,
            "create_pr": create_pr,
            "tags": [tags] if isinstance(tags, str) else [*(tags or ())],
        }
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder, max_shard_size=max_shard_size, **kwargs)
            return self._publish(folder, repo_id, license=license, **options)

    def _save_other_files(self, folder: str | os.PathLike) -> None:
        for name, text in self._other_files.items():
            write_text(Path(folder) / name, text)

    def _publish(self, folder: str | os.PathLike, repo_id: str | None = None, **options: Any) -> "CommitInfo":
        renamed = {
            "message": options.pop("commit_message", None),
            "description": options.pop("commit_description", None),
        }
        tags = list(dict.fromkeys([*(getattr(self, "model_tags", None) or ()), *(options.pop("tags", None) or ())]))
        name = repo_id or Path(folder).name
        return publish("model", folder, name, **options, **renamed, tags=tags, needs_processor=False)


# A processor itself: transformers compares the methods of a processor with those of the class right above it.
class ProcessorPushMixin(ProcessorMixin):
    """`push_to_hub` of a processor, which leaves the card of its repository as it is."""

    @classmethod
    def register_for_auto_class(cls, auto_class: Any = "AutoProcessor") -> None:
        """Does nothing: the code of this class is a package, and is not copied into the folders of models."""

    def save_pretrained(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs: Any) -> Any:
        """As in transformers; with `push_to_hub=True`, the processor is then published as by `push_to_hub`."""
        options = take_push_options(kwargs)
        written = super().save_pretrained(save_directory, **kwargs)
        if push_to_hub:
            repo_id = options.pop("repo_id", None) or Path(save_directory).name
            for name in ("tags", "license"):
                options.pop(name, None)
            self.push_to_hub(repo_id, **options)
        return written

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str | None = None,
        commit_description: str | None = None,
        private: bool | None = None,
        token: bool | str | None = None,
        revision: str | None = None,
        create_pr: bool = False,
        max_shard_size: int | str | None = None,
        tags: Sequence[str] | None = None,
    ) -> "CommitInfo":
        """
        Publish the processor in one commit, beside the model of the repository.

        Args:
            max_shard_size, tags: Of models; accepted, as by other processors of transformers, and not used.

        The other arguments are those of a model's `push_to_hub`.
        """
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return publish(
                "processor",
                folder,
                repo_id,
                message=commit_message,
                description=commit_description,
                private=private,
                token=token,
                revision=revision,
                create_pr=create_pr,
            )


__all__ = ["ModelPushMixin", "ProcessorPushMixin", "take_push_options"]
