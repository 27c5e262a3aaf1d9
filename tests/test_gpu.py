"""What a GPU must do as the CPU does: `make gpu-check` runs this where there is one (marker `cuda`), the ordinary suite runs the same bodies on the CPU

There the comparison of float32 is with itself, which proves the tests; that of bfloat16 is with the CPU's own autocast. What needs no device is in test_devices.py, on PyTorch's
meta device. Tolerances are of the largest or of the mean square error, as said beside each; float32 products on a GPU are summed in another order, and TF32 is switched off."""
import itertools, os, subprocess, sys
from contextlib import contextmanager, nullcontext

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from book import ROOT
from jingles.core import Cond, Spec, generator, rand, randn
from jingles.system import BACKBONES, INJECTORS, PARADIGMS
from test_grid import FRAMES, SPECS, clean, control, made

REASON = 'no CUDA GPU here; `make gpu-check` on a machine with one'
NEEDS_GPU = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason=REASON)]
DEVICES = ['cpu', pytest.param('cuda', marks=NEEDS_GPU)]
only_on_a_gpu = lambda f: pytest.mark.cuda(pytest.mark.skipif(not torch.cuda.is_available(), reason=REASON)(f))

# relative: of the loss; 1 - cosine of all gradients; root mean square of what is sampled, or share of other tokens
TOLERANCES = dict(fp32=dict(loss=1e-4, slope=1e-4, sample=1e-3, tokens=0.01), bf16=dict(loss=0.03, slope=0.03, sample=0.05, tokens=0.15))
# consistency tuning compares two outputs at noise levels side by side: their difference is small beside the rounding of each. 0.095 was found
OF_DIFFERENCES = dict(consistency=dict(fp32=dict(slope=1e-3), bf16=dict(slope=0.2)))


@pytest.fixture(autouse=True)
def exact_products():
    "Convolutions in float32 are in float32: cuDNN would take TF32's ten bits"
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def on_cpu(tensor): return tensor.detach().float().cpu()


def learn_and_draw(model, x0, cond, device, precision):
    "(loss, all gradients, what is sampled in two steps) of a model on `device`, on the CPU again"
    net, paradigm = model.net.to(device).requires_grad_(True), model.paradigm
    x0, cond = x0.to(device), cond.to(device)
    around = torch.autocast(device, torch.bfloat16) if precision == 'bf16' else nullcontext()
    with around: loss = paradigm.loss(net, x0, cond, [generator(1), generator(2)])
    loss.backward()
    slope = torch.cat([p.grad.flatten() for p in net.parameters()])
    net.requires_grad_(False)
    with around: x = paradigm.sample(net, model.spec.shape(FRAMES, 2), cond, steps=2, generator=[generator(3), generator(4)])
    assert x.device.type == device and x.dtype == (torch.int64 if model.spec.classes else torch.float32)
    return on_cpu(loss), on_cpu(slope), x.cpu()


def differences(found, exact):
    (loss, slope, x), (loss0, slope0, x0) = found, exact
    off = dict(loss=((loss - loss0).abs()/loss0.abs()).item(), slope=1 - torch.cosine_similarity(slope, slope0, 0).item())
    if x.dtype == torch.int64: return off | dict(tokens=(x != x0).double().mean().item())
    return off | dict(sample=((x - x0).square().mean().sqrt()/x0.std()).item())


def combination(paradigm, form, backbone, injection):
    "A model with noise in its weights, where they would begin at zero, and data for it"
    torch.manual_seed(0)
    model = made(paradigm, form, backbone, injection)
    with torch.no_grad():
        for p in model.net.parameters(): p.add_(0.05*torch.randn(p.shape))
    return model, clean(model.spec), control(frames=FRAMES*model.spec.curves_per_frame)


def grid(paradigm, device):
    "Every combination on a GPU; of the CPU's, which test_grid.py goes through, one for each injection"
    forms = [form for form, spec in SPECS.items() if PARADIGMS[paradigm].paradigm.discrete == bool(spec.classes)]
    yield from itertools.product([paradigm], forms if device == 'cuda' else forms[-1:], BACKBONES if device == 'cuda' else ['unet'], INJECTORS)


@pytest.mark.parametrize('precision', TOLERANCES)
@pytest.mark.parametrize('paradigm', PARADIGMS)
@pytest.mark.parametrize('device', DEVICES)
def test_every_combination_equals_the_cpu(device, paradigm, precision):
    "Format x backbone x injection: a step of training and a sample"
    wrong, seen = [], 0
    allowed = TOLERANCES[precision] | OF_DIFFERENCES.get(paradigm, {}).get(precision, {})
    for names in grid(paradigm, device):
        model, x0, cond = combination(*names)
        exact = learn_and_draw(model, x0, cond, 'cpu', 'fp32')
        model, x0, cond = combination(*names)
        off = differences(learn_and_draw(model, x0, cond, device, precision), exact)
        seen += 1
        assert precision == 'fp32' or any(off.values()), f'{names} was not computed in bfloat16'
        wrong += [f'{" x ".join(names)}: {what} is off by {value:.2g}' for what, value in off.items() if not value < allowed[what]]
    assert seen == (len(BACKBONES)*len(INJECTORS)*(3 if PARADIGMS[paradigm].paradigm.discrete else 4) if device == 'cuda' else len(INJECTORS))
    assert not wrong, '\n'.join(wrong)


def test_grid_of_a_gpu_has_every_combination():
    "Those that compose, as test_grid.py counts them: 96 of each continuous paradigm, 72 of the discrete one"
    assert {p: len(list(grid(p, 'cuda'))) for p in PARADIGMS} == dict(edm=96, consistency=96, ddpm=96, discdpm=72)


@pytest.mark.parametrize('device', DEVICES)
def test_seeds_draw_the_same_everywhere(device):
    "Noise is drawn on the CPU and moved: bit for bit the same on any device, one generator or one for each item"
    like = torch.empty(0, device=device)
    for draw in (randn, rand):
        for seeds in (lambda: generator(5), lambda: [generator(5), generator(6)]):
            assert torch.equal(draw((2, 3, 40), seeds(), like).cpu(), draw((2, 3, 40), seeds()))


@pytest.mark.parametrize('device', DEVICES)
def test_shipped_model_makes_the_same_sound(device):
    "Latents of the shipped model by seed, in float32 and few steps, within rounding that eight evaluations let grow; and the decoder"
    from jingles.generate import demo_curves
    from jingles.models import load_model
    def drawn(place):
        model = load_model(device=place)
        cond = demo_curves(2, rate=model.spec.curve_rate, features=model.config.features)
        x = model.paradigm.sample(model.net, model.spec.shape(model.frames(cond)), model.condition(cond), steps=8, generator=[generator(7)])
        return model, x
    (_, exact), (model, x) = drawn('cpu'), drawn(device)
    assert x.device.type == device
    assert (x.cpu() - exact).abs().max() < 2e-3*exact.std()
    magnitudes = [m.format.magnitudes(m.denormalise(exact.to(m.device))).cpu() for m in (load_model(device='cpu'), model)]
    assert (magnitudes[0] - magnitudes[1]).norm() < 1e-3*magnitudes[0].norm()


class Largest(TorchDispatchMode):
    "Notes the largest tensor that is made"
    def __init__(self): super().__init__(); self.numel = 0
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for t in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(t, torch.Tensor) and t.untyped_storage().nbytes() >= t.numel(): self.numel = max(self.numel, t.numel())      # not expanded views
        return out


def codes_model(books=16, classes=1024, frames=600):
    from jingles.system import build, configure
    from test_grid import Promise
    cfg = configure(paradigm='discdpm', format='codec-codes', widths=(64, 96), emb=64, control_channels=8)
    torch.manual_seed(0)
    return build(cfg, format=Promise(Spec(books, 75., classes=classes))), books*classes*frames


def loss_of(model, batch, frames, device):
    x0 = torch.zeros(model.spec.shape(frames, batch), dtype=torch.int64, device=device)
    cond = Cond({k: torch.zeros(batch, c, frames) for k, c in dict(velocity=1, chroma=1, instruments=3).items()}).to(device)
    return model.paradigm.loss(model.net.to(device).requires_grad_(True), x0, cond, [generator(i) for i in range(batch)])


def test_loss_of_codes_never_holds_all_logits():
    "On the meta device: the largest tensor of forward and backward pass is that of one codebook, or an activation, far below the logits of all"
    model, logits = codes_model()
    with Largest() as largest: loss_of(model, 4, 600, 'meta').backward()
    assert 0 < largest.numel <= 4*logits/8


@only_on_a_gpu
def test_memory_of_the_loss_of_codes():
    "Peak memory of loss and gradients above what is there before, against one float32 tensor of all logits: below it"
    model, logits = codes_model()
    loss_of(model, 4, 600, 'cuda').backward()      # kernels and gradients are there now
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    loss_of(model, 4, 600, 'cuda').backward()
    peak = torch.cuda.max_memory_allocated() - before
    print(f'{peak/2**20:.0f} MiB; one tensor of logits has {4*4*logits/2**20:.0f}')
    assert peak < 4*4*logits


@pytest.mark.filterwarnings('ignore:precision is bf16')
def test_bench_at_a_tiny_size(monkeypatch):
    "`make bench BENCH=gpu` on the CPU, tiny: every part of it runs and gives figures"
    monkeypatch.syspath_prepend(str(ROOT/'tests'/'bench'))
    import bench_gpu
    found = bench_gpu.run('cpu', tiny=True)
    wanted = ('small, fp32 [steps/s]', 'edm-encodec, 8 x 4 s in 18 steps, bf16 [s]', 'discdpm-encodec, 8 x 4 s in 1000 steps, bf16 [s]', 'edm-encodec, achieved [TFLOP/s]',
              'GroupNorm(1) of CQT, both ways [ms]', 'small, one evaluation [ms]')
    assert all(found[name] > 0 for name in wanted), found
    assert found['small, bf16 / fp32, by the step'] > 0
    late = iter(range(0, 10**6, 60))      # each part takes a minute: the fifth is not begun
    assert 0 < bench_gpu.run('cpu', tiny=True, clock=lambda: next(late))['parts left out for want of time, of 7'] < 7
    if not torch.cuda.is_available(): assert bench_gpu.run() == {'GPU': 'none here: PyTorch sees no CUDA GPU'}


# ---- whole runs

CHILD = """
import sys, torch
from pathlib import Path
from doomed import config
from jingles.training import train
tiny, out, steps = sys.argv[1:]
train(config(Path(tiny), steps=int(steps), precision='fp32'), Path(tiny)/'db', out)
print('DEVICE', 'cuda' if torch.cuda.is_available() else 'cpu')
"""


def trained(tiny, out, steps, device):
    "Train to `steps` in a process that sees a GPU, or none; the lines of its log"
    from jingles.trainer.checkpoints import read_log
    env = {**os.environ, 'PYTHONPATH': f'{ROOT/"tests"}:{ROOT}'} | ({} if device == 'cuda' else dict(CUDA_VISIBLE_DEVICES=''))
    done = subprocess.run([sys.executable, '-c', CHILD, str(tiny), str(out), str(steps)], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f'DEVICE {device}' in done.stdout
    return {row['step']: row['loss'] for row in read_log(out)}


@only_on_a_gpu
def test_resume_across_devices(tiny, tmp_path):
    "A run that goes on on the other device has the losses of one that stayed: within 1 %, which six steps at a high learning rate make of rounding"
    stayed = trained(tiny, tmp_path/'stayed', 12, 'cpu')
    for first, then in (('cpu', 'cuda'), ('cuda', 'cpu')):
        trained(tiny, tmp_path/f'from-{first}', 6, first)
        moved = trained(tiny, tmp_path/f'from-{first}', 12, then)
        assert moved.keys() == stayed.keys()
        assert all(abs(moved[k] - stayed[k]) < 0.01*stayed[k] for k in stayed), (moved, stayed)


@only_on_a_gpu
def test_two_processes_on_one_gpu(tmp_path):
    "Two sounds at once, each in a process of its own: both are what one alone makes"
    import soundfile
    code = 'import sys; sys.argv[0] = "jingles"; from jingles.cli import main; main()'
    def start(name): return subprocess.Popen([sys.executable, '-c', code, 'generate', '--seconds', '1', '--seed', '3', '--no-picture', '--out', str(tmp_path/name)], cwd=ROOT)
    alone = start('alone.wav')
    assert alone.wait() == 0
    both = [start('a.wav'), start('b.wav')]
    assert [p.wait() for p in both] == [0, 0]
    sounds = [soundfile.read(tmp_path/name)[0] for name in ('alone.wav', 'a.wav', 'b.wav')]
    assert all(abs(s - sounds[0]).max() < 1e-3 for s in sounds)


@only_on_a_gpu
def test_training_together_on_one_gpu_is_refused(tiny, tmp_path):
    "A second process that has no GPU of its own says so in one line, before it waits for the first"
    from doomed import together
    n = torch.cuda.device_count() + 1
    env = {**os.environ, 'PYTHONPATH': f'{ROOT/"tests"}:{ROOT}'} | together(n)[-1]
    done = subprocess.run([sys.executable, '-c', CHILD, str(tiny), str(tmp_path/'run'), '4'], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode and 'has no GPU of its own' in done.stderr.splitlines()[-1], done.stderr
