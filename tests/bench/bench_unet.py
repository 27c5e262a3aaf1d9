"""The U-Net against three libraries' U-Nets: time of forward + backward, theirs / ours at equal parameters (above 1: ours is faster)

Compared are denoising-diffusion-pytorch's Unet1D, audio-diffusion-pytorch's UNetV0 and diffusers' UNet1DModel and UNet2DModel. They drag in torchvision
and torchaudio, which must not enter .venv. So they are installed, with the pins of peers.txt and without dependencies, into .venv-bench, which borrows
everything else from .venv: one process, with the same PyTorch for all, measures them and ours.

Each keeps its library's own choices - blocks, kernels, width of the time embedding, attention - at a small size and with four resolutions. Ours gets
the same channel factors at the same resolutions, as many residual blocks per level, a time embedding of the same width, and a base width that brings it within
5 % of the peer's number of parameters. No control enters: the peers have none. Ours has no attention; where a peer's default has it, it is measured with it and
without. Lengths are multiples of 16 because the peers need that. Each pair is timed in turns and the figure is the median of the ratios. With one thread
(OMP_NUM_THREADS=1) it is the process's own time that counts, so that other work on the machine matters little."""
import json, os, subprocess, sys, sysconfig, time, types, venv
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PLACE = ROOT/'.venv-bench'
PYTHON = PLACE/'bin'/'python'


# ---- the environment

def pins(): return [l.strip() for l in (HERE/'peers.txt').read_text().splitlines() if l.strip() and l[0] != '#']


def environment():
    "Make .venv-bench, unless it is as peers.txt says; returns the packages that could not be had"
    stamp, wanted = PLACE/'made.json', dict(pins=pins(), python=sys.version, borrows=sysconfig.get_path('purelib'))
    made = json.loads(stamp.read_text()) if stamp.exists() else {}
    if {k: made.get(k) for k in wanted} == wanted: return made['missing']
    venv.create(PLACE, with_pip=True, clear=True, symlinks=True)
    (PLACE/'.gitignore').write_text('*\n')
    def fails(pin): return subprocess.run([PYTHON, '-m', 'pip', 'install', '-q', '--no-deps', pin], capture_output=True).returncode != 0
    missing = [pin for pin in wanted['pins'] if fails(pin)]
    site = next((PLACE/'lib').glob('python*/site-packages'))
    (site/'borrowed.pth').write_text(f"{wanted['borrows']}\n{ROOT}\n")      # looked at last: what was installed here comes first
    if not missing: stamp.write_text(json.dumps(dict(wanted, missing=missing)))
    return missing


# ---- the peers; from here on in the child process

def bare(package):
    "Make `package` importable without running its __init__, which would import far more than its U-Net"
    module = types.ModuleType(package)
    module.__path__ = [str(p/package) for p in map(Path, sys.path) if (p/package).is_dir()]
    sys.modules[package] = module


def unet1d(channels, width, attention):
    "denoising-diffusion-pytorch's Unet1D with its default channel factors"
    from torch import nn
    bare('denoising_diffusion_pytorch')
    from denoising_diffusion_pytorch import denoising_diffusion_pytorch_1d as theirs
    net = theirs.Unet1D(width, channels=channels)
    places = [(m, name) for m in net.modules() for name, c in m.named_children() if isinstance(c, theirs.Residual)]     # of attention
    for m, name in [] if attention else places: setattr(m, name, nn.Identity())
    return net, dict(factors=(1, 2, 4, 8), depth=2, emb=4*width)


def unetv0(channels, width, attention=False):
    "audio-diffusion-pytorch's UNetV0; attention is off by default. torchaudio, which its module imports for a spectrogram, is left out"
    for name in ('torchaudio', 'torchaudio.transforms'): sys.modules[name] = types.ModuleType(name)
    sys.modules['torchaudio'].transforms = sys.modules['torchaudio.transforms']
    bare('audio_diffusion_pytorch')
    from audio_diffusion_pytorch.components import UNetV0
    factors = 1, 2, 4, 8
    net = UNetV0(dim=1, in_channels=channels, channels=[width*f for f in factors], factors=[1, 2, 2, 2], items=[2, 2, 2, 2])
    return net, dict(factors=factors, depth=2, emb=1024)


def unet1d_model(channels, width, attention):
    "diffusers' UNet1DModel with its default kinds of blocks; its middle is one level deeper, at the last width"
    from diffusers import UNet1DModel
    deep = ('AttnDownBlock1D', 'AttnUpBlock1D') if attention else ('DownBlock1D', 'UpBlock1D')
    net = UNet1DModel(in_channels=channels, out_channels=channels, extra_in_channels=2*width, block_out_channels=(width, 2*width, 4*width),
        down_block_types=('DownBlock1DNoSkip', 'DownBlock1D', deep[0]), up_block_types=(deep[1], 'UpBlock1D', 'UpBlock1DNoSkip'))
    return (lambda x, t: net(x, t[0]).sample), dict(factors=(1, 2, 4, 4), depth=3, emb=2*width, net=net)


def unet2d_model(channels, width, attention):
    "diffusers' UNet2DModel with its default channel factors"
    from diffusers import UNet2DModel
    kind, factors = 'Attn'*attention, (1, 2, 3, 4)
    net = UNet2DModel(in_channels=channels, out_channels=channels, block_out_channels=[width*f for f in factors], add_attention=attention, norm_num_groups=8,
        down_block_types=('DownBlock2D', *[f'{kind}DownBlock2D']*3), up_block_types=(*[f'{kind}UpBlock2D']*3, 'UpBlock2D'))
    return (lambda x, t: net(x, t).sample), dict(factors=factors, depth=2, emb=4*width, net=net)


CASES = {     # how it is built, its base width, ours, with attention?, shape of the data
    'Unet1D': (unet1d, 48, 48, True, (4, 32, 608)),
    'Unet1D, no attention': (unet1d, 64, 60, False, (4, 32, 608)),
    'UNetV0': (unetv0, 64, 56, False, (4, 32, 608)),
    'UNetV0, 128 channels of data': (unetv0, 64, 56, False, (4, 128, 608)),
    'UNet1DModel': (unet1d_model, 64, 72, True, (4, 32, 608)),
    'UNet1DModel, no attention': (unet1d_model, 56, 64, False, (4, 32, 608)),
    'UNet2DModel': (unet2d_model, 32, 40, True, (2, 2, 72, 80)),
    'UNet2DModel, no attention': (unet2d_model, 40, 48, False, (1, 2, 216, 240)),
}


# ---- the comparison

def count(net): return sum(p.numel() for p in net.parameters())/1e6


def ours(shape, width, factors, depth, emb, net=None):
    "The U-Net of that structure"
    from jingles.backbones.unet import UNet
    from jingles.core import Spec
    return UNet(Spec(shape[1], 75., dims=shape[2:-1]), [width*f for f in factors], depth, emb)


def seconds(net, x, t, clock):
    "Of one forward and backward pass"
    start = clock()
    net(x, t).square().mean().backward()
    return clock() - start


def ratio(peer, mine, shape, repeats=9):
    "Median of the peer's time divided by ours, over pairs of passes after a first pair that warms up"
    import torch
    x, t = torch.randn(shape), torch.rand(shape[0])
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    return median([seconds(peer, x, t, clock)/seconds(mine, x, t, clock) for _ in range(repeats + 1)][1:])


def child():
    "Compare with every peer and print the figures as one line of JSON; a peer that is not to be had is named"
    import torch
    torch.manual_seed(0)
    figures = {}
    for name, (build, width, our_width, attention, shape) in CASES.items():
        try: peer, structure = build(shape[1], width, attention)
        except (ImportError, RuntimeError) as e: figures[f'{name}: not to be had'] = str(e).splitlines()[-1][:80]; continue
        mine = ours(shape, our_width, **structure)
        sizes = count(structure.get('net', peer)), count(mine)
        assert abs(sizes[1]/sizes[0] - 1) < 0.05, f'{name}: {sizes} M parameters; choose another width'
        figures |= {f'{name} / ours': ratio(peer, mine, shape), f'{name}, ours [M parameters]': '{:.2f}, {:.2f}'.format(*sizes)}
    print(json.dumps(figures | {'threads': torch.get_num_threads()}))


def run():
    missing = environment()
    done = subprocess.run([PYTHON, __file__], capture_output=True, text=True, cwd=ROOT, env=dict(os.environ, OMP_WAIT_POLICY='PASSIVE'))
    if done.returncode: raise RuntimeError(done.stderr[-2000:])
    return {f'{pin}: not to be had': '' for pin in missing} | json.loads(done.stdout.splitlines()[-1])


if __name__ == '__main__': child()
