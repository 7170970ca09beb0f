"""One method of attribution: what it is, what it needs, what it costs, and the function that computes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from workbench.errors import AttributionError

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.attribution.batch import Batch
    from workbench.models.classifier import Classifier
    from workbench.models.layer import Layer

Family = Literal["class activation", "gradient", "reference", "perturbation", "relevance", "attention"]
Cost = Callable[[Mapping[str, Any], int, int], tuple[float, float]]
InputKernel = Callable[["Classifier", "Batch", dict[str, Any]], "tuple[Tensor, Tensor | None]"]
LayerKernel = Callable[["Classifier", "Batch", "Sequence[Layer]"], "dict[str, Tensor]"]
BASELINES = ("black", "blurred", "mean")
REFERENCES = "reference images"  # a need


@dataclass(frozen=True)
class Method:
    """A method of attribution.

    Parameters
    ----------
    name : str
    family : str
        One of those of `Family`.
    library : str
        Who computes it: the package, or ``own``.
    citation : str
        Where it was described: authors, year, arXiv or DOI.
    needs : tuple of str
        What it requires of a model, in words.
    signed : bool
        Whether values below 0 mean evidence against the target.
    cost : function (settings, channels, side) -> (forward, backward)
        Passes for one image of ``side`` pixels at a layer of ``channels`` channels.
    input : function (classifier, batch, settings) -> (values, total), optional
        For a method on the input: values ``(n, 3, s, s)``, or maps ``(n, h, w)`` of one that knows no channels; and for
        the completeness error what each image's values should sum to, ``(n,)``, or None.
    layer : function (classifier, batch, layers) -> maps, optional
        For a class activation map: by the layer's name maps ``(n, h, w)``. Exactly one of ``input`` and ``layer``.
    settings : mapping
        Its options with their defaults; 0 stands for what follows from the image's size.
    complete : bool
        Whether the values must sum to the change of the output from the baseline; another method may tell a
        completeness error, too, but is not doubted for it.
    reduction : "sum" or "largest"
        How the channels of the input become one value a pixel.
    no_contrast : str
        Why it can't explain one class against another; empty if it can.
    variant_of : Method, optional
        The method that this one is with other settings.

    Raises
    ------
    AttributionError
        If there is not exactly one of ``input`` and ``layer``.
    """

    name: str
    family: Family
    library: str
    citation: str
    needs: tuple[str, ...]
    signed: bool
    cost: Cost
    input: InputKernel | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    complete: bool = False
    reduction: Literal["sum", "largest"] = "sum"
    layer: LayerKernel | None = None
    no_contrast: str = ""
    variant_of: Method | None = None

    def __post_init__(self) -> None:
        if (self.input is None) == (self.layer is None):
            raise AttributionError(
                f"{self.name}: expected one function, input= for maps on the input or layer= for maps at a layer"
            )

    @property
    def at_layer(self) -> bool:
        """Whether its maps are taken at a layer, rather than on the input."""
        return self.layer is not None

    def title(self, settings: Mapping[str, Any]) -> str:
        """The name, with the baseline if it has one, and settings other than the defaults: other questions."""
        plain = self.variant_of or self
        said = [settings["baseline"]] if "baseline" in settings else []
        said += [
            f"{name} {value}"
            for name, value in settings.items()
            if name != "baseline" and value != plain.settings.get(name, value)
        ]
        return f"{plain.name} ({', '.join(said)})" if said else plain.name

    def variant(self, given: Mapping[str, Any]) -> Method:
        """The method with other defaults, named ``name:setting=value``; itself if nothing differs.

        Raises
        ------
        AttributionError
            As `with_settings`.
        """
        settings = self.with_settings(given)
        plain = self.variant_of or self
        changed = [f"{name}={value}" for name, value in settings.items() if value != plain.settings[name]]
        if not changed:
            return plain
        return replace(plain, name=":".join([plain.name, *changed]), settings=settings, variant_of=plain)

    def parsed(self, texts: Sequence[str]) -> dict[str, Any]:
        """Settings written as ``name=value``, of the kinds of their defaults.

        Raises
        ------
        AttributionError
            If one is not written so, or its value is no number where a number is due.
        """
        found: dict[str, Any] = {}
        for text in texts:
            name, equals, value = (part.strip() for part in text.partition("="))
            if not equals or not value:
                raise AttributionError(f"{self.name}: expected SETTING=VALUE, such as steps=128, not {text!r}")
            kind = type(self.settings.get(name, ""))
            try:
                found[name] = kind(value)
            except ValueError as error:
                raise AttributionError(f"{self.name}: {name}: expected {kind.__name__}, not {value!r}") from error
        return found

    def layer_names(self, classifier: Classifier, names: Sequence[str] = ()) -> list[str]:
        """Where its maps are taken: at the layers named, else at the last; ``[""]`` for a method on the input.

        Raises
        ------
        AttributionError
            If it needs a layer and the model has none.
        """
        if not self.at_layer:
            return [""]
        if names:
            return list(names)
        if classifier.last_layer is None:
            other = "Occlusion" if classifier.opaque else "Saliency"
            raise AttributionError(
                f"{self.name} needs a layer with a grid, and {classifier.no_layer or 'this model has none'}; or take "
                f"{other!r}"
            )
        return [classifier.last_layer.name]

    def one_layer(self, classifier: Classifier, name: str = "") -> str:
        """The layer of that name, else the last; empty for a method on the input.

        Raises
        ------
        AttributionError
            If it needs a layer and the model has none, or takes none and one is named.
        """
        if name and not self.at_layer:
            raise AttributionError(f"{self.name} gives maps on the input; it takes no layer: omit {name!r}")
        return self.layer_names(classifier, [name] if name else [])[0]

    def with_settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The defaults, overridden by the given settings.

        Raises
        ------
        AttributionError
            If a setting is unknown, of another kind, or not positive.
        """
        for name, value in given.items():
            if name not in self.settings:
                known = ", ".join(self.settings) or "none"
                raise AttributionError(f"{self.name}: no setting {name!r}; it has {known}")
            default = self.settings[name]
            if name == "baseline":
                if value not in BASELINES:
                    raise AttributionError(f"baseline: expected {', '.join(BASELINES)}, not {value!r}")
            elif (
                not isinstance(value, type(default))
                or not 0 <= value < float("inf")
                or (value == 0 and (self.variant_of or self).settings[name] != 0)
            ):
                raise AttributionError(
                    f"{self.name}: {name}: expected a positive {type(default).__name__}, not {value!r}"
                )
        return {**self.settings, **given}
