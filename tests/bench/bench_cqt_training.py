"""A training step of the report's CQT network: curves kept apart from the bins and features computed again, against writing everything out and keeping it

The network is Table 4.1's (57 M parameters) on one clip of a second. Peer is the same network with the curves written out for every bin and everything kept for the gradients, in the same run.
Each is measured in a process of its own: the processor time of a forward and a backward pass, the least of three, and by how much the process grows. The memory of four crops of 4 s is that of one second, 16 times:
all of it lies in features, which grow with the data."""
import json, os, subprocess, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
WAYS = {'written out, kept': (True, False), 'apart, kept': (False, False), 'apart, computed again': (False, True)}


def child(dense, recompute):
    "Time and growth of one step, as a line of JSON"
    import threading, time
    import torch
    from jingles.backbones import blocks, control
    from jingles.core import Cond
    from jingles.system import PRESETS, build_net, configure, features_of, make_format
    if dense: control.RowConcat = lambda h, row: blocks.RowConcat(h, row).dense()
    cfg = configure(configure(**PRESETS['edm-cqt']), recompute=recompute)
    spec = make_format(cfg).spec
    net, frames = build_net(cfg, spec), 240
    x, curves = torch.randn(1, *spec.shape(frames)[1:]), {k: torch.rand(1, f.channels, frames) for k, f in features_of(cfg).items()}
    def step(frames): net(x[..., :frames], torch.rand(1), Cond({k: v[..., :frames] for k, v in curves.items()})).square().mean().backward()
    def resident(): return int(Path('/proc/self/statm').read_text().split()[1])*os.sysconf('SC_PAGE_SIZE')/2**20
    step(16)
    before, peak, done = resident(), [0], threading.Event()
    def watch():
        while not done.wait(0.01): peak[0] = max(peak[0], resident())
    watcher = threading.Thread(target=watch)
    watcher.start()
    def timed():
        start = time.process_time()
        step(frames)
        return time.process_time() - start
    seconds = min(timed() for _ in range(3))
    done.set()
    watcher.join()
    print(json.dumps(dict(seconds=seconds, grows=peak[0] - before)))


def run():
    figures, found = {}, {}
    env = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    for name, given in WAYS.items():
        done = subprocess.run([sys.executable, __file__, json.dumps(given)], capture_output=True, text=True, cwd=ROOT, env=env)
        if done.returncode: raise RuntimeError(done.stderr[-2000:])
        found[name] = json.loads(done.stdout.splitlines()[-1])
    peer = found['written out, kept']
    for name, f in found.items():
        figures[f'{name}: time, written out / this'] = peer['seconds']/f['seconds']
        figures[f'{name}: memory, this / written out'] = f['grows']/peer['grows']
        figures[f'{name}: four crops of 4 s [GiB]'] = 16*f['grows']/1024
    return figures


if __name__ == '__main__': child(*json.loads(sys.argv[1]))
