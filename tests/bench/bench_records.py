"""Reading a database in each format: clips per second beside compressed .npz files with the same arrays, beside what training takes; memory at 1 000 and 10 000 clips"""
import os, subprocess, sys, tempfile, time
from pathlib import Path

import numpy as np

CLIPS = 240     # of 8 s
REPEATS = {'audio': 5, 'codec': 20, 'codec-codes': 40, 'cqt': 2}      # format -> how often the clips are read in an epoch

MEMORY = """
import sys
from pathlib import Path
from jingles.data.records import Records
n = sum(len(b['x']) for b in Records(sys.argv[1], batch=32, shuffle=512))
print(n, int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])/1024)      # of this program alone, unlike ru_maxrss
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


def export(folder):
    "240 clips of 8 s in every format that needs no download"
    from jingles.data.export import ExportSettings, export
    from jingles.system import parse_formats
    export(folder, formats={k: v for name in REPEATS for k, v in parse_formats(name).items()}, settings=ExportSettings((CLIPS, 0)), workers=1)


def repeat(folder, times):
    "All clips of `folder/train` in two shards, under `times` names each, as if the database were so much larger: starting the reader and opening files is not what is measured"
    large, small = folder/'large', sorted((folder/'train').glob('*.tfrecord'))
    large.mkdir()
    os.link(folder/'shapes.txt', large/'shapes.txt')
    for half in (0, 1): (folder/f'{half}').write_bytes(b''.join(f.read_bytes() for f in small[half::2]))
    for i in range(2*times): os.link(folder/f'{i % 2}', large/f'{i:05d}.tfrecord')
    return large


def as_npz(folder):
    "The clips of `folder/train` in files of their own"
    from jingles.data.records import Records
    (folder/'npz').mkdir()
    for i, b in enumerate(Records(folder/'train')): np.savez_compressed(folder/'npz'/f'{i}.npz', **{k: v[0].numpy() for k, v in b.items()})
    return folder/'npz'


def rate(batches):
    "Clips per second, by processor time and by the wall, from the first step on"
    clocks = lambda: np.array([time.process_time(), time.perf_counter()])
    began, n = clocks(), 0
    for b in batches: n += len(b['x'])
    return n/(clocks() - began)


def from_npz(folder, batch=20):
    "Batches of arrays in files of their own, in random order"
    names = np.random.default_rng(0).permutation(sorted(os.listdir(folder)))
    for i in range(0, len(names) - batch + 1, batch):
        clips = [dict(np.load(folder/n)) for n in names[i:i + batch]]
        yield {k: np.stack([c[k] for c in clips]) for k in clips[0]}


def both(folder, times):
    "Clips per second `[[ours by processor time, by the wall], [theirs ...]]`, the middle of three times in turn after one to warm up"
    from jingles.data.records import Records
    large, npz = repeat(folder, times), as_npz(folder)
    pairs = [(rate(Records(large, batch=20, shuffle=200)), rate(from_npz(npz))) for _ in range(4)][1:]
    return np.median(pairs, 0)


def training() -> float:
    "Clips per second that training the shipped model's network takes, of one core"
    import torch
    from jingles.system import build, configure
    from jingles.data.batches import MicroBatch, clip_generators
    from jingles.training import to_batch
    cfg = configure(batch=8)
    model, rng = build(cfg), np.random.default_rng(0)
    batch = {k: torch.from_numpy(np.stack([item(rng)[k] for _ in range(8)])) for k in item(rng)}
    def step(): model.paradigm.loss(model.net, *to_batch(MicroBatch(batch, clip_generators(0, 0, range(8))), model, cfg)).backward()
    step(); began = time.process_time()
    for _ in range(3): step()
    return 24/(time.process_time() - began)


def run():
    with tempfile.TemporaryDirectory() as d:
        d, found, mb = Path(d), {}, {}
        export(d/'real')
        for name, times in REPEATS.items():
            (ours, wall), (theirs, npz) = both(d/'real'/f'PVT-{name}', times)
            found |= {f'{name}: shards [clips per second of one core]': ours, f'{name}: compressed .npz [clips per second of one core]': theirs,
                      f'{name}: shards / .npz': ours/theirs, f'{name}: shards / .npz by the wall': wall/npz}
        for n in (1000, 10_000):
            write(d/f'm{n}', n, frames=60)
            mb[n] = float(subprocess.run([sys.executable, '-c', MEMORY, str(d/f'm{n}')], capture_output=True, text=True, check=True, env=dict(os.environ, OMP_NUM_THREADS='1')).stdout.split()[-1])
    taken = training()
    return {**found, 'training of the small model [clips per second]': taken, 'codec: shards / training': found['codec: shards [clips per second of one core]']/taken,
            'memory at 1 000 clips [MB]': mb[1000], 'memory at 10 000 clips [MB]': mb[10_000]}
