"""Kinds of changes with one strength each; a kind is one entry of `KINDS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from workbench.errors import DataError
from workbench.robustness.changes import Change


@dataclass(frozen=True)
class ChangeKind:
    """A kind of change.

    Parameters
    ----------
    name, unit : str
        What it is called, and what its strength counts.
    variants : tuple of function
        Its directions: each makes the change of a strength.
    weakest, strongest : float
        Strengths that are looked at; in pixels of an image of 32, and growing with it, for a kind ``of_side``.
    whole : bool
        Whether only whole strengths are different changes.
    of_side : bool
        Whether its strength is a length in the image.
    directions : tuple of str
        A word for each variant.
    """

    name: str
    unit: str
    variants: tuple[Callable[[float], Change], ...]
    weakest: float
    strongest: float
    whole: bool = False
    of_side: bool = False
    directions: tuple[str, ...] = ("", "−")

    def words(self, strength: float, variant: int) -> str:
        """A change of this kind in words, such as ``shift right 2 pixels``."""
        if self.is_switch:
            return self.name
        direction = self.directions[variant]
        amount = amount_of(strength)
        whole = f"{direction}{amount}" if direction in ("", "−") else f"{direction} {amount}"
        return f"{self.name} {whole} {self.unit.partition(' (')[0]}"

    @property
    def is_switch(self) -> bool:
        """Whether it has no strength: the image is changed or not."""
        return self.weakest == self.strongest

    def grid(self, side: int) -> tuple[float, ...]:
        """Strengths to look at one after the other, each twice the one before, from weakest to strongest."""
        scale = max(1.0, side / 32) if self.of_side else 1.0
        found = [self.weakest * scale]
        while found[-1] * 2 < self.strongest * scale:
            found.append(found[-1] * 2)
        if found[-1] < self.strongest * scale:
            found.append(self.strongest * scale)
        return tuple(dict.fromkeys(self.rounded(strength) for strength in found))

    def rounded(self, strength: float) -> float:
        """The strength that is applied, a whole one if only such ones differ."""
        return float(round(strength)) if self.whole else strength


def amount_of(strength: float) -> str:
    """A strength with two digits, and whole from 10 on, rounded up so that it flips what the exact one flips."""
    digits = 0 if strength >= 10 else 1 - int(np.floor(np.log10(strength)))
    return f"{np.ceil(strength * 10**digits - 1e-9) / 10**digits:.{digits}f}"


def _shift(right: int, down: int) -> Callable[[float], Change]:
    return lambda strength: Change(shift=(right * round(strength), down * round(strength)))


def _signed(name: str, *signs: int) -> tuple[Callable[[float], Change], ...]:
    return tuple(_of_field(name, sign) for sign in signs or (1, -1))


def _of_field(name: str, sign: int) -> Callable[[float], Change]:
    return lambda strength: Change(**{name: sign * strength})  # type: ignore[arg-type]


def _cutout(strength: float) -> Change:
    """A grey square about the middle, whose side is a share of the image's."""
    return Change(cutout=((1 - strength) / 2, (1 - strength) / 2, strength, strength))


_AROUND = {"right": (1, 0), "left": (-1, 0), "down": (0, 1), "up": (0, -1)}
_SHIFTS = tuple(_shift(*step) for step in _AROUND.values())
KINDS: Mapping[str, ChangeKind] = {
    kind.name: kind
    for kind in (
        ChangeKind("flip", "", (lambda _: Change(flip=True),), 1, 1),
        ChangeKind("shift", "pixels", _SHIFTS, 1, 8, whole=True, of_side=True, directions=tuple(_AROUND)),
        ChangeKind("rotate", "degrees", _signed("rotate"), 2, 45),
        ChangeKind("scale", "share of the size", _signed("scale"), 0.03, 0.5),
        ChangeKind("crop", "share of the side", _signed("crop", 1), 0.07, 0.5),
        ChangeKind("brightness", "share of white", _signed("brightness"), 0.03, 0.5),
        ChangeKind("contrast", "share of the contrast", _signed("contrast"), 0.05, 0.8),
        ChangeKind("saturation", "share of the saturation", _signed("saturation"), 0.06, 1),
        ChangeKind("hue", "degrees", _signed("hue"), 5, 180),
        ChangeKind("grey", "", (lambda _: Change(grey=True),), 1, 1),
        ChangeKind("blur", "pixels (standard deviation)", _signed("blur", 1), 0.3, 4, of_side=True),
        ChangeKind("sharpness", "share", _signed("sharpness", 1), 0.06, 1),
        ChangeKind("noise", "share of white (standard deviation)", _signed("noise", 1), 0.01, 0.3),
        ChangeKind("jpeg", "100 less the quality", (lambda strength: Change(jpeg=round(strength)),), 5, 95, whole=True),
        ChangeKind("cutout", "share of the side", (_cutout,), 0.06, 0.6),
    )
}
DEFAULT = ("flip", "shift", "rotate", "brightness", "blur", "noise")


def kinds_named(names: Sequence[str]) -> list[ChangeKind]:
    """The kinds of these names, in their order.

    Raises
    ------
    DataError
        If there is no such kind, or none is named.
    """
    if not names:
        raise DataError(f"changes: expected some of {', '.join(KINDS)}, not none")
    if unknown := [name for name in names if name not in KINDS]:
        raise DataError(f"changes: expected some of {', '.join(KINDS)}, not {unknown[0]!r}")
    return [KINDS[name] for name in dict.fromkeys(names)]
