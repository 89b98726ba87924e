"""The other side of benchmarks/fleet.py: one shadow model, trained as a careful user of PyTorch would write it.

One process with torch's own choice of threads, a torchvision pipeline over PIL images in a DataLoader, SGD with cosine
annealing, the test set at the end. On a GPU: bf16 autocast, channels_last, pinned memory.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from lit_privq.data.pool import Pool


class Images(Dataset[tuple[Tensor, int]]):
    """Images as torchvision's data sets hold them: an array, each item opened with PIL and transformed."""

    def __init__(self, images: Tensor, labels: Tensor, transform: transforms.Compose) -> None:
        self.images = images.permute(0, 2, 3, 1).squeeze(-1).numpy()  # (examples, height, width[, channels])
        self.labels, self.transform = labels.tolist(), transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


@dataclass(frozen=True)
class Timing:
    """What a training took.

    Args:
        seconds: of the whole training.
        cpu: CPU seconds of the whole training, loader processes included.
        epoch: seconds of an epoch, the first left out where there are more.
        epoch_cpu: CPU seconds of an average epoch (loader processes are only seen at the end).
        accuracy: on the test set.
    """

    seconds: float
    cpu: float
    epoch: float
    epoch_cpu: float
    accuracy: float


def train(
    pool: Pool, net: nn.Module, epochs: int, batch_size: int, padding: int, mirror: bool, num_workers: int
) -> Timing:
    """Train on a random half of a pool and look at the test set."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    gpu = device.type == "cuda"
    normalise = [transforms.ToTensor(), transforms.Normalize(pool.mean, pool.std)]
    size = tuple(pool.inputs.shape[-2:])
    augment = [transforms.RandomCrop(size, padding)] * bool(padding) + [transforms.RandomHorizontalFlip()] * mirror
    members = torch.from_numpy(np.random.default_rng(0).permutation(len(pool.labels))[: len(pool.labels) // 2])
    started, cpu = time.perf_counter(), _cpu()
    loader = DataLoader(
        Images(pool.inputs[members], pool.labels[members], transforms.Compose(augment + normalise)),
        batch_size,
        shuffle=True,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=gpu,
    )
    tests = DataLoader(Images(pool.test_inputs, pool.test_labels, transforms.Compose(normalise)), 4 * batch_size)
    net = net.to(device, memory_format=torch.channels_last) if gpu else net  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    seconds = []
    for _ in range(epochs):
        start = time.perf_counter()
        for images, labels in loader:
            with torch.autocast(device.type, torch.bfloat16, enabled=gpu):
                logits = net(images.to(device, non_blocking=True))
                loss = nn.functional.cross_entropy(logits, labels.to(device, non_blocking=True))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
        if gpu:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    del loader  # ends its processes, so that their CPU time is counted
    epoch_cpu = (_cpu() - cpu) / epochs
    accuracy = _accuracy(net, tests, device)
    later = seconds[1:] or seconds
    return Timing(time.perf_counter() - started, _cpu() - cpu, float(np.median(later)), epoch_cpu, accuracy)


@torch.no_grad()
def _accuracy(net: nn.Module, loader: DataLoader[tuple[Tensor, int]], device: torch.device) -> float:
    """Share of a set that a network gets right."""
    net.eval()
    right = [(net(images.to(device)).argmax(1).cpu() == labels).float() for images, labels in loader]
    return float(torch.cat(right).mean())


def _cpu() -> float:
    """CPU seconds of this process and of its children that ended."""
    return sum(os.times()[:4])
