"""Where a model's products are computed, and at which precision."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

import torch

from workbench.core.records import Precision
from workbench.errors import DataError
from workbench.models.classifier import OnDemand

if TYPE_CHECKING:
    from torch import nn

    from workbench.models.classifier import Classifier

Asked = Literal["float32", "bfloat16", "auto"]
DEVICES = "auto, cpu, cuda or cuda:N"


@contextmanager
def products(device: torch.device, precision: Precision) -> Iterator[None]:
    """Where a forward or backward pass belongs: its products are in ``precision``, weights and results in float32.

    bfloat16 is by autocast. float32 is whole float32 on a GPU, too, whose convolutions would round to TF32 by default.
    """
    cudnn = torch.backends.cudnn
    whole: AbstractContextManager[None] = nullcontext()
    if device.type == "cuda" and precision == "float32":
        whole = cudnn.flags(
            enabled=cudnn.enabled, benchmark=cudnn.benchmark, deterministic=cudnn.deterministic, allow_tf32=False
        )
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"), whole:
        yield


def device_named(name: str) -> torch.device:
    """The device of that name; ``"auto"`` is a GPU if there is one, and under ``torchrun`` each process takes its own.

    Raises
    ------
    DataError
        If there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DataError(f"device: expected {DEVICES}, not {name!r}") from error
    if device.type == "cuda":
        count = torch.cuda.device_count()
        number = int(name.partition(":")[2] or int(os.environ.get("LOCAL_RANK", "0")) % max(1, count))
        device = torch.device("cuda", number)
        if number >= count:
            there = f"only {count} GPU{'s' * (count > 1)}" if count else "no GPU that this torch can use"
            raise DataError(f"device: {name!r} was named and there is {there}: take cpu, or leave it to auto")
    elif device.type != "cpu":
        raise DataError(f"device: expected {DEVICES}, not {name!r}")
    return device


def on_device(classifier: Classifier, device: str | torch.device) -> Classifier:
    """The classifier with its model on a device; a model in memory moves there, as by ``module.to``.

    ``device`` is ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``; see `device_named`. A model that can't be looked
    into (`Classifier.opaque`) can't be moved either.

    Raises
    ------
    DataError
        If there is no such device, or a model that can't be moved is elsewhere.
    """
    held = vars(classifier)["_held"]
    if device == "auto" and not isinstance(held, OnDemand) and classifier.device.type != "cpu":
        return classifier  # the user has put it there, and it may be a device that is not looked for
    place = device_named(device) if isinstance(device, str) else device
    if not isinstance(held, OnDemand) and classifier.opaque:
        if device != "auto" and place.type != classifier.device.type:
            raise DataError(f"device: {classifier.opaque}, so that it stays on {classifier.device}: omit the device")
        return classifier

    def moved() -> nn.Module:
        module: nn.Module = (held.get() if isinstance(held, OnDemand) else held).to(place)
        return module

    module: Any = OnDemand(moved) if isinstance(held, OnDemand) else moved()
    found = dataclasses.replace(classifier, module=module)
    where = place if isinstance(held, OnDemand) else found.device
    origin = dataclasses.replace(classifier.provenance, device=where.type)
    return dataclasses.replace(found, module=module, provenance=origin)
