"""The loop of training: how much of its time the network takes, and what a second process adds

The smoke test of a run is too small to tell; measured is the shipped small model's training (preset `small`, 16 clips of 4 s per step) on a database of random latents.
Timers around the parts say which share of a step lies in the network - the forward passes, all of the backward pass, and the optimiser's step with the average of the weights - and
which outside: batches, crops, forgetting, noise, the log. Two processes with half of the batch each are then timed against one: on a GPU each where there are two, else on one thread each. By the
wall the latter is right on a machine with two idle cores only; by processor time - twice one's time per step over that of both - it says what the sharing costs wherever it runs.
Where there is a GPU, the shares are those on it, and the networks of Tables 4.1 and 4.2 are timed there: steps per second and memory, in float32, bf16, and bf16 compiled."""
import gc, json, os, subprocess, sys, tempfile, time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT/'tests'))


# ---- a database of noise

def database(folder, model, clips=64, seconds=8.):
    "An export as chapter 58 writes it, of random numbers in the format of `model`"
    import numpy as np
    from jingles.control.curves import PVT_CHANNELS
    from jingles.data.records import write_shapes, write_shard
    rng, spec = np.random.default_rng(0), model.spec
    frames = round(seconds*spec.rate)
    def clip():
        shape = spec.shape(frames)[1:]
        x = rng.integers(spec.classes, size=shape) if spec.classes else rng.standard_normal(shape, dtype=np.float32)
        return dict(x=x, **{k: rng.random((c, frames), dtype=np.float32) for k, c in PVT_CHANNELS.items()})
    items = [clip() for _ in range(clips)]
    write_shapes(folder, items[0])
    write_shard(folder/'train'/'00000.tfrecord', items)
    mean = [0.]*spec.channels
    (folder/'manifest.json').write_text(json.dumps(dict(statistics=dict(mean=mean, std=[1.]*spec.channels), counts=dict(train=clips, valid=0))))


# ---- where the time goes

def shares(cfg, data, out, first=3, steps=12):
    "Seconds of a step, and the shares of it in the network, in making batches and in waiting for data, after the `first` steps"
    import jingles.training as t
    from jingles.trainer import loop
    now = clock_of()
    def clock(): finish(); return now()      # what a GPU was given to do belongs to who gave it
    spent = dict(network=0., batch=0.)
    def timed(name, f):
        def call(*args, **kw):
            start = clock()
            try: return f(*args, **kw)
            finally: spent[name] += clock() - start
        return call
    run = t.prepare_training(cfg, data, out)
    it, plain, average = run.run, t.to_batch, loop.update_ema
    for part, name in ((it.wrapped, 'forward'), (it.accelerator, 'backward'), (it.accelerator, 'clip_grad_norm_'), (it.optimizer, 'step')):
        setattr(part, name, timed('network', getattr(part, name)))
    t.to_batch, loop.update_ema = timed('batch', plain), timed('network', average)
    try:
        for row in run:
            if row['step'] == first: spent.update(network=0., batch=0.); start = clock()
            if row['step'] == steps: break
        total = clock() - start
    finally: t.to_batch, loop.update_ema = plain, average
    return total/(steps - first), spent['network']/total, spent['batch']/total, row['waited']


def clock_of():
    "With one thread the process's own time, TensorFlow's reader included: then other work on the machine matters little. Else, and on a GPU, the wall's"
    import torch
    return time.process_time if torch.get_num_threads() == 1 and not torch.cuda.is_available() else time.perf_counter


def finish():
    "Wait until the GPU, if there is one, has done what it was given"
    import torch
    if torch.cuda.is_available(): torch.cuda.synchronize()


CHILD = """
import json, sys, time, torch
torch.set_num_threads(1)
from jingles.system import configure
from jingles.training import prepare_training
times = {}
for row in prepare_training(configure(**json.loads(sys.argv[1])), *sys.argv[2:]): times[row['step']] = time.perf_counter(), time.process_time()
(a, b), (c, d) = times[5], times[15]
print(json.dumps([10/(c - a), (d - b)/10]))
"""

def together_and_alone(cfg, data, out):
    "(steps per second, processor's seconds per step of all processes) of one process, and of two with half of the batch each; a GPU each if there are two, else one thread each"
    import torch
    from doomed import together
    place = {} if torch.cuda.device_count() > 1 else dict(CUDA_VISIBLE_DEVICES='')
    def measure(n):
        env = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(ROOT), **place)
        args = [sys.executable, '-c', CHILD, json.dumps(cfg), str(data), f'{out}-{n}']
        children = [subprocess.Popen(args, env={**env, **e}, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL) for e in ([{}] if n == 1 else together(n))]
        said = [p.communicate()[0] for p in children]
        speed, one = json.loads(said[0])
        return speed, n*one
    return measure(1), measure(2)


# ---- on a GPU

PRESETS = ('small', 'ddpm-cqt', 'edm-cqt', 'ddpm-encodec', 'edm-encodec', 'discdpm-encodec', 'best')

def preset_spec(cfg):
    "What the format of a preset promises, without its weights"
    from jingles.core import Spec
    return dict(cqt=Spec(2, 240., dims=(216,)), encodec=Spec(128, 75.), codec=Spec(64, 75.)).get(cfg.format) or Spec(16, 75., classes=1024)


def speed_of(name, device, seconds=4., steps=12, warm=5, **changes):
    "Steps per second and GiB of a preset's network with the batch of one of its processes, on random data that is there already"
    import torch
    from jingles.control.curves import PVT_CHANNELS
    from jingles.core import Cond
    from jingles.system import build_net, build_paradigm, configure, preset
    from jingles.trainer.checkpoints import start_run
    from jingles.trainer.loop import peak_memory_gib, optimizer_step
    from jingles.training import plan_from_config
    cfg = configure(preset(name), **changes)
    spec = preset_spec(cfg)
    batch, frames = cfg.batch//cfg.streams, round(min(seconds, cfg.seconds)*spec.rate)
    x = torch.randint(spec.classes, spec.shape(frames, batch)) if spec.classes else torch.randn(spec.shape(frames, batch))
    cond, paradigm = Cond({k: torch.rand(batch, c, frames) for k, c in PVT_CHANNELS.items()}).to(device), build_paradigm(cfg, spec)
    torch.compiler.reset(); gc.collect()      # else what was compiled for other networks counts against this one, and what they held too
    if device.type == 'cuda': torch.cuda.empty_cache(); torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as out:
        run, x = start_run(build_net(cfg, spec), plan_from_config(cfg), out), x.to(device)
        for i in range(warm + steps):
            if i == warm: finish(); start = time.perf_counter()
            optimizer_step(run, [x], lambda net, x: paradigm.loss(net, x, cond))
        finish()
    return steps/(time.perf_counter() - start), peak_memory_gib()


KINDS = {'fp32': dict(precision='fp32'), 'bf16': dict(precision='bf16'), 'fp32 compiled': dict(precision='fp32', compile=True), 'bf16 compiled': dict(precision='bf16', compile=True)}

def gpu_figures(device='cuda', presets=PRESETS, kinds=KINDS, **options):
    "Each preset in each kind of arithmetic; where one does not go, why"
    import torch
    found = {'GPU': torch.cuda.get_device_name() if device == 'cuda' else device}
    for name in presets:
        for kind, changes in kinds.items():
            try: speed, gib = speed_of(name, torch.device(device), **changes, **options)
            except Exception as e: found[f'{name}, {kind}'] = f'{type(e).__name__}: {e}'.splitlines()[0]; continue
            found |= {f'{name}, {kind} [steps/s]': speed, f'{name}, {kind} [GiB]': gib}
        speeds = {kind: found[key] for kind in kinds if (key := f'{name}, {kind} [steps/s]') in found}
        found |= {f'{name}, {kind} / fp32, by the step': speed/speeds['fp32'] for kind, speed in speeds.items() if 'fp32' in speeds and kind != 'fp32'}
    return found


def run():
    import torch
    from jingles.system import build, configure
    torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS', 1)))
    settings = dict(tries=0, save_every=10**6, epoch_steps=10**6, streams=2)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        database(folder/'db', build(configure()))
        took, network, batch, waited = shares(configure(**settings, steps=100, log_every=3), folder/'db', folder/'run')
        (one, alone), (both, together) = together_and_alone(dict(settings, steps=15, log_every=5), folder/'db', folder/'run')
    figures = {'step of the small model [s]': took, 'share in the network': network, 'share in making batches': batch, 'share waiting for data': waited,
               'one process [steps/s]': one, 'two processes [steps/s]': both, 'two / one, by the wall': both/one,
               'two / one, by processor time': 2*alone/together, 'cores': os.cpu_count(), 'load of the machine': os.getloadavg()[0]}
    return figures | (gpu_figures() if torch.cuda.is_available() else {'GPU': 'none here, so no figures of one'})
