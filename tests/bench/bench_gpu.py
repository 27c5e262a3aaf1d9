"""One GPU, in under 4 minutes: training of the presets of Table 4.1, inference of 8 x 4 s, distance from the roofline, GroupNorm with one group, CUDA graphs

Without a GPU it says so and measures nothing; `run(device='cpu', tiny=True)` goes through all of it at a small size, which tests/test_gpu.py does."""
import gc, time
from statistics import median

REPORT = {'edm-encodec': 1.6, 'ddpm-encodec': 39.6, 'discdpm-encodec': 112.8}      # s for 8 x 4 s on the report's GPU (Table 4.1)
TINY = dict(widths=(8, 12), up_widths=(), depth=1, emb=16, control_channels=4)
PEAKS = {'H200': 989e12, 'H100': 989e12, 'A100': 312e12}     # dense bf16 FLOP/s of the data sheets


def finish(device):
    import torch
    if device == 'cuda': torch.cuda.synchronize()


def seconds(call, device, rounds=5):
    "Median time of `call` after one that warms up"
    def once():
        finish(device)
        began = time.perf_counter()
        call()
        finish(device)
        return time.perf_counter() - began
    once()
    return median(once() for _ in range(rounds))


def network(name, device, tiny=False):
    "(model, shape of 8 x 4 s, control) of a preset, without its format's weights"
    import torch
    from bench_training import preset_spec
    from jingles.control.curves import PVT_CHANNELS
    from jingles.core import Cond
    from jingles.system import build_net, build_paradigm, configure, preset
    cfg = configure(preset(name), **(TINY if tiny else {}))
    spec = preset_spec(cfg)
    frames, batch = (16, 2) if tiny else (round(4*spec.rate), 8)
    cond = Cond({k: torch.rand(batch, c, frames*spec.curves_per_frame) for k, c in PVT_CHANNELS.items()}).to(device)
    return build_net(cfg, spec).to(device).eval().requires_grad_(False), build_paradigm(cfg, spec), spec, spec.shape(frames, batch), cond


def inference(name, device, tiny):
    "Seconds for 8 sounds of 4 s: as the report drew them, measured in a few steps and counted up where there are many"
    import torch
    net, paradigm, spec, shape, cond = network(name, device, tiny)
    steps = 3 if tiny else 18 if name.startswith('edm') else 20
    asked = dict(edm=18).get(name.partition('-')[0], 1000)
    with torch.inference_mode(), torch.autocast(device, torch.bfloat16):
        took = seconds(lambda: paradigm.sample(net, shape, cond, steps=steps), device, 2)
    return {f'{name}, 8 x 4 s in {asked} steps, bf16 [s]': took*asked/steps, f'{name}, the report [s]': REPORT[name]}


def roofline(name, device, tiny):
    "FLOP of an evaluation, achieved TFLOP/s, and the share of what the largest product of matrices reaches here"
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    net, paradigm, spec, shape, cond = network(name, device, tiny)
    x = torch.randint(spec.classes, shape, device=device) if spec.classes else torch.randn(shape, device=device)
    t = torch.ones(len(x), device=device)
    with torch.inference_mode(), torch.autocast(device, torch.bfloat16):
        with FlopCounterMode(display=False) as counter: net(x, t, cond)
        took = seconds(lambda: net(x, t, cond), device)
    flop = counter.get_total_flops()
    n = 64 if tiny else 8192
    a = torch.randn(n, n, device=device, dtype=torch.bfloat16)
    ceiling = 2*n**3/seconds(lambda: a @ a, device)
    return {f'{name}, one evaluation [GFLOP]': flop/1e9, f'{name}, one evaluation [ms]': 1000*took, f'{name}, achieved [TFLOP/s]': flop/took/1e12,
            'product of matrices here [TFLOP/s]': ceiling/1e12, f'{name}, share of that': flop/took/ceiling}


def group_norm(device, tiny):
    "GroupNorm with one group on CQT's first level, forward and backward, beside a copy of the tensor (its floor by memory), and compiled"
    import torch
    from torch import nn
    shape = (2, 8, 24, 32) if tiny else (4, 200, 216, 960)
    x = torch.randn(shape, device=device, requires_grad=True)
    norm = nn.GroupNorm(1, shape[1]).to(device)
    def both(f):
        def call(): x.grad = None; f(x).sum().backward()
        return call
    took, copy = seconds(both(norm), device), seconds(lambda: x.detach().clone(), device)
    figures = {'GroupNorm(1) of CQT, both ways [ms]': 1000*took, 'the same / copies of the tensor': took/copy}
    if device == 'cuda':
        fast = torch.compile(nn.Sequential(norm, nn.SiLU()))
        plain = nn.Sequential(norm, nn.SiLU())
        figures |= {'GroupNorm(1) and SiLU, plain / compiled': seconds(both(plain), device)/seconds(both(fast), device)}
    return figures


def graphs(name, device, tiny):
    "One evaluation of a small network, and the same replayed as a CUDA graph"
    import torch
    net, paradigm, spec, shape, cond = network(name, device, tiny)
    x, t = torch.randn(shape, device=device), torch.ones(shape[0], device=device)
    with torch.inference_mode():
        plain = seconds(lambda: net(x, t, cond), device, 20)
        if device != 'cuda': return {f'{name}, one evaluation [ms]': 1000*plain}
        side = torch.cuda.Stream()
        with torch.cuda.stream(side): net(x, t, cond)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph): net(x, t, cond)
        replayed = seconds(graph.replay, device, 20)
    return {f'{name}, one evaluation [ms]': 1000*plain, f'{name}, as a CUDA graph [ms]': 1000*replayed, f'{name}, plain / graph': plain/replayed}


LIMIT = 240                                   # seconds for all of it
COMPILING = 60                                # a network that torch.compile has not seen, forward and backward: none is begun with less time left
TO_COMPILE = ('small', 'edm-encodec', 'edm-cqt', 'discdpm-encodec', 'best')      # the others have the networks of these


def parts_of(device, tiny):
    "`[(seconds that must be left, function that gives figures)]`, what matters most first"
    from bench_training import KINDS, PRESETS, gpu_figures
    small = dict(seconds=0.5, steps=1, warm=1) | TINY if tiny else {}
    plain, compiled = ({k: v for k, v in KINDS.items() if ('compiled' in k) == c} for c in (False, True))
    def training(name, kinds): return lambda: gpu_figures(device, (name,), kinds, **small)
    parts = [(5, training(name, plain)) for name in (('small',) if tiny else PRESETS)]
    parts += [(5, lambda n=n: inference(n, device, tiny)) for n in REPORT]
    parts += [(5, lambda: roofline('edm-encodec', device, tiny)), (15, lambda: group_norm(device, tiny)), (5, lambda: graphs('small', device, tiny))]
    return parts + [(COMPILING, training(name, {kind: how})) for name in TO_COMPILE for kind, how in reversed(compiled.items()) if not tiny]


def against_fp32(figures):
    "How much faster each kind of training is than float32"
    names = [k.removesuffix(', fp32 [steps/s]') for k in figures if k.endswith(', fp32 [steps/s]')]
    return {f'{name}, {kind} / fp32, by the step': figures[key]/figures[f'{name}, fp32 [steps/s]'] for name in names
            for kind in ('bf16', 'bf16 compiled', 'fp32 compiled') if (key := f'{name}, {kind} [steps/s]') in figures}


def run(device=None, tiny=False, clock=time.perf_counter):
    import torch
    device = device or ('cuda' if torch.cuda.is_available() else None)
    if device is None: return {'GPU': 'none here: PyTorch sees no CUDA GPU'}
    began, figures, left_out = clock(), {}, 0
    for needed, part in parts_of(device, tiny):
        if clock() - began + needed > LIMIT: left_out += 1; continue
        gc.collect()
        if device == 'cuda': torch.cuda.empty_cache()
        try: figures |= part()
        except Exception as e:
            if tiny: raise
            figures[f'{type(e).__name__}'] = str(e).splitlines()[0][:120]      # what does not go is said, and the rest is measured
    peak = next((v for k, v in PEAKS.items() if device == 'cuda' and k in torch.cuda.get_device_name()), None)
    figures |= against_fp32(figures) | ({'data sheet, bf16 [TFLOP/s]': peak/1e12} if peak else {})
    return figures | {f'parts left out for want of time, of {len(parts_of(device, tiny))}': left_out, 'all of it [s]': clock() - began}
