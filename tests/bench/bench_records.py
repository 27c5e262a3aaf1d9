"""Reading a database: clips per second beside compressed .npz files with the same arrays, beside what training takes; memory at 1 000 and 10 000 clips"""
import os, subprocess, sys, tempfile, time
from itertools import islice
from pathlib import Path

import numpy as np

MEMORY = """
import sys, resource
from jingles.data.records import Records
n = sum(len(b['x']) for b in Records(sys.argv[1], batch=32, shuffle=512))
print(n, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024)
"""


def item(rng, frames=600):
    "Latents of 8 s with their curves, as incompressible as real ones"
    return dict(x=rng.normal(size=(64, frames)).astype(np.float32), velocity=np.repeat(rng.random((1, frames//20), np.float32), 20, 1),
                chroma=np.repeat(rng.integers(12, size=(1, frames//20))/np.float32(11), 20, 1).astype(np.float32), instruments=np.zeros((3, frames), np.float32))


def write(folder, clips, shard=100, frames=600):
    from jingles.data.records import write_shapes, write_shard
    rng = np.random.default_rng(0)
    write_shapes(folder, item(rng, frames))
    for i in range(clips//shard): write_shard(folder/f'{i:05d}.tfrecord', (item(rng, frames) for _ in range(shard)))


def rate(batches) -> float:
    "Clips per second of processor time, after one batch to warm up"
    batches = iter(batches); next(batches)
    began, n = time.process_time(), 0
    for b in batches: n += len(b['x'])
    return n/(time.process_time() - began)


def from_npz(folder, names, batch):
    "Batches of arrays in files of their own"
    for i in range(0, len(names) - batch + 1, batch):
        clips = [dict(np.load(folder/n)) for n in names[i:i + batch]]
        yield {k: np.stack([c[k] for c in clips]) for k in clips[0]}


def training() -> float:
    "Clips per second that training the shipped model's network takes, of one core"
    import torch
    from jingles.system import build, configure
    from jingles.training import Part, draws_of, to_batch
    cfg = configure(batch=8)
    model, rng = build(cfg), np.random.default_rng(0)
    batch = {k: torch.from_numpy(np.stack([item(rng)[k] for _ in range(8)])) for k in item(rng)}
    def step(): model.paradigm.loss(model.net, *to_batch(Part(batch, draws_of(0, 0, range(8))), model, cfg)).backward()
    step(); began = time.process_time()
    for _ in range(3): step()
    return 24/(time.process_time() - began)


def run():
    from jingles.data.records import Records
    with tempfile.TemporaryDirectory() as d:
        d = Path(d)
        write(d/'shards', 1000)
        (d/'npz').mkdir()
        rng = np.random.default_rng(0)
        for i in range(200): np.savez_compressed(d/'npz'/f'{i}.npz', **item(rng))
        names = [f'{i}.npz' for i in rng.permutation(200)]
        ours = rate(Records(d/'shards', batch=20, shuffle=200))
        theirs = rate(from_npz(d/'npz', names, 20))
        again = rate(Records(d/'shards', batch=20, shuffle=200))
        mb = {}
        for n in (1000, 10_000):
            write(d/f'm{n}', n, frames=60)
            mb[n] = float(subprocess.run([sys.executable, '-c', MEMORY, str(d/f'm{n}')], capture_output=True, text=True, check=True, env=dict(os.environ, OMP_NUM_THREADS='1')).stdout.split()[-1])
    taken = training()
    return {'shards [clips per second of one core]': (ours + again)/2, 'compressed .npz [clips per second]': theirs, 'shards / .npz': (ours + again)/2/theirs,
            'training of the small model [clips per second]': taken, 'shards / training': (ours + again)/2/taken,
            'memory at 1 000 clips [MB]': mb[1000], 'memory at 10 000 clips [MB]': mb[10_000]}
