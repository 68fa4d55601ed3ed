"""The one model of a server, in the form of transformers' manager of models: no request loads or removes a model."""

from collections.abc import Mapping
from typing import Any

from transformers.cli.serving.model_manager import ModelManager

from ..evaluation.generation.answering import AnsweringModel
from ..modeling.adapters.adapter_set import DEFAULT
from ..modeling.processing_soundllava import SoundLlavaProcessor
from .chat_requests import RequestError


class ServedModel(ModelManager):
    """
    A model that is loaded already, and its processors.

    Args:
        answering: The model, with the processor of the adapter that it came with.
        name: What requests call it.
        adapters: Names of further sound adapters of the model, with their processors.
    """

    def __init__(
        self, answering: AnsweringModel, name: str, adapters: Mapping[str, SoundLlavaProcessor] | None = None
    ) -> None:
        self.answering, self.name = answering, name
        self.processors = {DEFAULT: answering.processor, **(adapters or {})}
        super().__init__(device="cpu", dtype=None, force_model=name)

    def load_model_and_processor(self, *args: Any, **kwargs: Any) -> Any:
        """The model and its processor, whatever is asked for."""
        return self.answering.model, self.answering.processor

    def list_models(self, cache_dir: str | None = None) -> list[dict[str, Any]]:
        """The model, as `/v1/models` lists it."""
        return [{"id": self.name, "object": "model", "created": 0, "owned_by": "soundclip-hf"}]

    get_gen_models = list_models  # the name in transformers 5.23

    def check_name(self, name: str | None) -> None:
        """
        Raises:
            RequestError: If a request names another model; 404.
        """
        if name not in (None, self.name):
            raise RequestError(
                f"model={name!r}: this server has one model, {self.name!r}, and loads no others",
                status=404,
                param="model",
                code="model_not_found",
            )

    def processor_of(self, adapter: str | None) -> SoundLlavaProcessor:
        """
        The processor of a sound adapter; None is the one that the model came with.

        Raises:
            RequestError: If there is no adapter of this name; 400.
        """
        if adapter is not None and adapter not in self.processors:
            known = ", ".join(map(repr, self.processors))
            raise RequestError(f"sound_adapter={adapter!r}: this server has {known}", param="sound_adapter")
        return self.processors[adapter or DEFAULT]


__all__ = ["ServedModel"]
