"""Run several processes that train one detector, as torchrun starts them, each on a GPU of its own.

Each process takes its part of every batch, gradients are averaged, and so all hold the same weights. The
first alone validates, writes and speaks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import chain, cycle, islice
from typing import Any, Final, Literal, TypeVar

import torch
from torch import Tensor, distributed, nn

from distill.core.precision import choose_device
from edge.core.errors import ConfigError

Value = TypeVar("Value")
Item = TypeVar("Item")

LONGEST_WAIT: Final = timedelta(hours=6)
"""While the first measures a finished stage the others wait, longer than torch's ten minutes."""


@dataclass(frozen=True, slots=True)
class Processes:
    """Say which of how many processes this is, and speak with the others.

    Attributes:
        number: from 0.
        count: 1 is the usual case, in which nothing here does anything.
        device: where this one trains.
    """

    number: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_first(self) -> bool:
        return self.number == 0

    def wait(self) -> None:
        """Go on once all have come here."""
        if self.count > 1:
            distributed.barrier()

    def first_before_others(self, action: Callable[[], Value]) -> Value:
        """Let the first do something, then the others: they find done what it did."""
        result = action() if self.is_first else None
        self.wait()
        return action() if result is None else result

    def part_of(self, batch: int) -> int:
        """Return how many tiles of a batch are this process's.

        Raises:
            ConfigError: if they cannot be split evenly.
        """
        if batch % self.count:
            raise ConfigError(
                f"A batch of {batch} tiles cannot be split evenly to {self.count} processes.",
                f"Set batch in the recipe to a multiple of {self.count}.",
            )
        return batch // self.count

    def fraction_of(self, order: Sequence[Item]) -> list[Item]:
        """Return every count-th of an order, as many for each process: the first ones fill the last row."""
        filled = chain(order, islice(cycle(order), -len(order) % self.count))
        return list(filled)[self.number :: self.count]

    def average_gradients(self, modules: Iterable[nn.Module]) -> None:
        """Put the mean over all processes in the place of each gradient."""
        if self.count == 1:
            return
        parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        together = torch.cat([gradient.flatten() for gradient in gradients]) / self.count
        distributed.all_reduce(together)
        sizes = [gradient.numel() for gradient in gradients]
        for gradient, mean in zip(gradients, torch.split(together, sizes), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def average(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """Return the mean of each number over all processes; all must have the same names."""
        return self._reduced(numbers, distributed.ReduceOp.SUM, 1 / self.count)

    def greatest(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """Return the greatest of each number, as `average` does."""
        return self._reduced(numbers, distributed.ReduceOp.MAX, 1.0)

    def from_first(self, value: Value) -> Value:
        """Return what the first process holds."""
        if self.count == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def copy_from_first(self, module: nn.Module) -> None:
        """Give a module the weights, and the statistics of its normalisation, that it has in the first."""
        if self.count > 1:
            for tensor in module.state_dict().values():
                distributed.broadcast(tensor, src=0)

    def _reduced(self, numbers: Mapping[str, float], how: Any, factor: float) -> dict[str, float]:
        if self.count == 1:
            return dict(numbers)
        values: Tensor = torch.tensor(list(numbers.values()), dtype=torch.float32, device=self.device)
        distributed.all_reduce(values, op=how)
        return dict(zip(numbers, (values * factor).tolist(), strict=True))


ALONE: Final = Processes()
"""The usual case."""


@contextmanager
def joined(
    wanted: Literal["auto", "cpu", "cuda"], environment: Mapping[str, str] = os.environ
) -> Iterator[Processes]:
    """Join the processes that torchrun started beside this one; without torchrun it is alone.

    Args:
        wanted: device: auto, cpu or cuda.
    Raises:
        ConfigError: if there is no such device, or fewer GPUs than processes.
    """
    device, count = choose_device(wanted), int(environment.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes(device=device)
        return
    place = int(environment["LOCAL_RANK"])
    if device.type == "cuda":
        if place >= torch.cuda.device_count():
            raise ConfigError(
                f"torchrun started {place + 1} processes here or more, and there are "
                f"{torch.cuda.device_count()} GPUs.",
                "Set --nproc-per-node to the number of GPUs.",
            )
        device = torch.device("cuda", place)
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=LONGEST_WAIT)
    try:
        yield Processes(distributed.get_rank(), count, device)
    finally:
        distributed.destroy_process_group()
