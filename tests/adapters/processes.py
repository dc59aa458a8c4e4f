"""Two real processes, connected by gloo over the loopback interface, each measure a padded share of one data set."""

import os
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.utils.data import DistributedSampler

N, M, SIZE, BATCH, WORLD = 3, 4, 23, 4, 2


def samples():
    """Features, true and observed labels of 23 samples. The first is an outlier, so counting a copy of it shows."""
    generator = torch.Generator().manual_seed(5)
    true = torch.tensor([0] * 11 + [1] * 7 + [2] * 5)[torch.randperm(SIZE, generator=generator)]
    observed = torch.where(torch.rand(SIZE, generator=generator) < 0.3, (true + 1) % N, true)
    features = torch.randn(SIZE, M, generator=generator) + 3 * torch.eye(N, M)[true]
    features[0] += 40
    logits = torch.randn(SIZE, N, generator=generator) + 2 * torch.eye(N)[observed]
    return features, logits, true, observed


def sampler(rank):
    chosen = DistributedSampler(range(SIZE), WORLD, rank, shuffle=False, seed=3)
    return torch.tensor(list(chosen)).split(BATCH)


SHARES = {
    # 12 samples per process: the last sample of the second process is the first sample of the first process
    "sampler": sampler,
    # the same shares, in an order that the loader shuffles for each epoch
    "shuffled": lambda rank: torch.tensor(
        list(DistributedSampler(range(SIZE), WORLD, rank, shuffle=True, seed=3))
    ).split(BATCH),
    # the last batch of the second process is padded with earlier samples of both processes
    "filled": lambda rank: [
        [torch.arange(0, 8), torch.arange(8, 16)],
        [torch.arange(16, 22), torch.tensor([22, 0, 1, 0, 22, 16])],
    ][rank],
    # the second process gets no samples
    "one empty": lambda rank: [[torch.arange(0, 20), torch.arange(20, 23)], []][rank],
    # both processes get all samples, as from a loader without a sampler
    "all twice": lambda rank: torch.arange(SIZE).split(BATCH),
}


def measure(share, rank, averaged):
    """Return the values of all three metrics after the batches of one process, or the error that was raised."""
    from byrote.adapters.torchmetrics import MemorizationDistance, MemorizationRates, NeuralCollapseNC1

    features, logits, true, observed = samples()
    counts = torch.bincount(true, minlength=N) if averaged else None
    metrics = (
        NeuralCollapseNC1(N, M, SIZE, counts, "class-averaged" if averaged else "pooled"),
        MemorizationRates(SIZE),
        MemorizationDistance(SIZE),
    )
    collapse, fate, mem = metrics
    mem.measure_from(torch.eye(N, M) * 3)
    for index in SHARES[share](rank):
        collapse.update(index, features[index], true[index])
        fate.update(index, logits[index], true[index], observed[index])
        mem.update(index, features[index], true[index], observed[index])
    values = {**fate.compute(), **mem.compute()}
    try:
        values["nc1"] = collapse.compute()
        values["count"] = collapse.moments().counts.sum()
    except ValueError as error:
        return {name: float(value) for name, value in values.items()} | {"error": str(error)}
    return {name: float(value) for name, value in values.items()}


def work(rank, folder):
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=WORLD)
    try:
        measured = {(share, averaged): measure(share, rank, averaged) for share in SHARES for averaged in (False, True)}
        torch.save(measured, f"{folder}/{rank}.pt")
        dist.barrier()
    finally:
        dist.destroy_process_group()


def in_two_processes(folder, limit=120):
    """Return the result of each process; both are killed if they take longer than `limit` seconds."""
    context = mp.spawn(work, args=(str(folder),), nprocs=WORLD, join=False)
    end = time.monotonic() + limit
    while not context.join(timeout=1):
        if time.monotonic() > end:
            for process in context.processes:
                process.kill()
            raise TimeoutError(f"the two processes did not finish within {limit} s")
    return [torch.load(f"{folder}/{rank}.pt") for rank in range(WORLD)]
