"""Devices that are not at hand, as far as they can be told without: every paradigm and sampler, guided, and the training of both codecs on PyTorch's
meta device, where a tensor that was left on the CPU is an error, and in bfloat16 under the CPU's autocast"""
from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from jingles.core import Cond, Spec, generator
from jingles.paradigms.guidance import with_guidance, with_unconditional_scale
from jingles.paradigms.samplers import Inpaint
from jingles.system import PARADIGMS, build, configure

FRAMES, SHAPES = 48, dict(velocity=1, chroma=1, instruments=3)
WAYS = [(paradigm, name) for paradigm, row in PARADIGMS.items() for name in row.samplers or [None]]


class Promise(nn.Module):
    "A format that only promises"
    def __init__(self, spec):
        super().__init__()
        self.spec = spec


def made(paradigm, std=0.):
    "A small model; its weights get noise of `std`, as after some training"
    torch.manual_seed(0)
    codes = PARADIGMS[paradigm].paradigm.discrete
    cfg = configure(paradigm=paradigm, format='codec-codes' if codes else 'codec', widths=(16, 24), emb=32, control_channels=8)
    model = build(cfg, format=Promise(Spec(4, 75., classes=50) if codes else Spec(6, 75.)))
    for p in model.net.requires_grad_(False).parameters():
        if std: p.add_(std*torch.randn(p.shape))
    return model


def control():
    "Of two items; the last frames of the second are open"
    local = {k: torch.rand(2, c, FRAMES, generator=generator(c)) for k, c in SHAPES.items()}
    for v in local.values(): v[1, :, 8:] = -1
    return Cond(local)


def guided(model):
    net = with_guidance(model.net, dict(velocity=3., chroma=1.5), (0.2, 20.))
    return with_unconditional_scale(net, 1.6, model.paradigm, 2.)


def draw(model, sampler, cond, steps=6, **options):
    "Two items, each with its own generator"
    options |= dict(sampler=PARADIGMS[model.config.paradigm].samplers[sampler]) if sampler else {}
    draws = [generator(1), generator(2)]
    return model.paradigm.sample(guided(model), model.spec.shape(FRAMES, 2), cond, steps=steps, generator=draws, **options)


@pytest.mark.parametrize('paradigm, sampler', WAYS)
def test_meta_device(paradigm, sampler):
    "New sounds, and sounds that keep some of an older one, stay on the device of the network"
    model, cond = made(paradigm), control().to('meta')
    model.net.to('meta')
    old = torch.zeros(model.spec.shape(FRAMES, 2), dtype=torch.int64 if model.spec.classes else torch.float32, device='meta')
    for inpaint in (None, Inpaint(old, torch.linspace(0, 1, FRAMES)), Inpaint(old, strength=0.5)):
        x = draw(model, sampler, cond, steps=9, inpaint=inpaint)
        assert (x.device.type, x.shape, x.dtype) == ('meta', old.shape, old.dtype)


@pytest.mark.parametrize('paradigm', PARADIGMS)
def test_meta_device_in_training(paradigm):
    model = made(paradigm)
    model.net.to('meta').requires_grad_(True)
    x0 = torch.zeros(model.spec.shape(FRAMES, 2), dtype=torch.int64 if model.spec.classes else torch.float32, device='meta')
    loss = model.paradigm.loss(model.net, x0, control().to('meta'), [generator(1), generator(2)])
    loss.backward()
    assert loss.device.type == 'meta' and all(p.grad is not None for p in model.net.parameters())


@pytest.mark.parametrize('paradigm, sampler', WAYS)
def test_bfloat16(paradigm, sampler):
    """Under autocast the same seeds give the same sounds but for the rounding of 8 bits; what is sampled stays in single precision.
    The tolerances are about three times what was found. Codes take one step only: a token that rounding makes another one is another input"""
    model, cond, steps = made(paradigm, std=0.15 if paradigm == 'discdpm' else 0.05), control(), 1 if paradigm == 'discdpm' else 6
    exact = draw(model, sampler, cond, steps)
    with torch.autocast('cpu', torch.bfloat16): rough = draw(model, sampler, cond, steps)
    assert rough.dtype == exact.dtype
    if model.spec.classes: off = (rough != exact).double().mean().item()              # share of tokens
    else: off = ((rough - exact).square().mean().sqrt()/exact.std()).item()           # share of the standard deviation
    print(f'{paradigm} {sampler}: {off:.4f}')
    assert 0 < off < dict(edm=0.02, consistency=0.02, ddpm=0.005, discdpm=0.06)[paradigm]


class Products(TorchDispatchMode):
    "Notes the types and sizes of all matrix products"
    def __init__(self): super().__init__(); self.seen = []
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.bmm, torch.ops.aten.addmm, torch.ops.aten.baddbmm): self.seen.append((out.numel(), out.dtype))
        return out


def test_largest_product_of_training_is_in_half_precision():
    "The logits of codes, whether the loss is under autocast or, as Accelerate has it, only the network"
    model, x0 = made('discdpm'), torch.randint(50, (2, 4, FRAMES), generator=generator(0))
    model.net.requires_grad_(True)
    def under(x, t, cond):
        with torch.autocast('cpu', torch.bfloat16): return model.net(x, t, cond).float()
    for net, around in ((under, False), (model.net, True)):
        with torch.autocast('cpu', torch.bfloat16, enabled=around), Products() as products: model.paradigm.loss(net, x0, control(), generator(0))
        logits = [kind for size, kind in products.seen if size == 2*50*FRAMES]
        assert len(logits) >= 4 and set(logits) == {torch.bfloat16}


def codecs():
    "A small codec of each kind with some training behind it: its weights have noise, where they would begin at zero"
    from jingles.formats.codec import Codec
    from jingles.formats.spectral import SpectralCodec
    torch.manual_seed(0)
    made = dict(codec=Codec(8, 32, 1), spectral=SpectralCodec(8, 2, (32, 48), (1, 1)))
    for codec in made.values():
        for p in (p for layer in (codec.encoder[-1], codec.decoder[-1]) for p in layer.parameters()): p.data.add_(0.02*torch.randn(p.shape))
    return made


def crops(kind, device='cpu'):
    "Tones for one step's loss"
    from jingles.trainer.codecs import codec_recipes
    row = codec_recipes()[kind]
    t = torch.arange(row.length)/24_000
    return row.loss, torch.stack([0.3*torch.sin(2*torch.pi*f*t) for f in (220., 330., 523., 880.)]).to(device)


@pytest.mark.parametrize('kind', ('codec', 'spectral'))
def test_codecs_on_the_meta_device(kind):
    "A step of training; latents' statistics from sounds on the CPU, as they are taken for each save; and what is decoded"
    from jingles.formats.codec import set_latent_statistics
    codec, (loss, audio) = codecs()[kind].to('meta'), crops(kind, 'meta')
    loss(codec, audio).backward()
    assert all(p.grad is not None and p.grad.device.type == 'meta' for p in codec.parameters())
    set_latent_statistics(codec, [crops(kind)[1]])
    assert codec.mean.device.type == 'meta'
    wav = codec.decode(torch.zeros(2, 8, 12, device='meta'))
    assert (wav.device.type, wav.shape) == ('meta', (2, 12*320*(2 if kind == 'spectral' else 1)))


@pytest.mark.parametrize('kind', ('codec', 'spectral'))
def test_codecs_in_bfloat16(kind):
    """Only the layers are in half precision: spectra, waveforms and losses are in single precision, under autocast around the network alone, as Accelerate has it, and around all.
    Tolerances: bfloat16 rounds to 1/256, and a few layers are passed"""
    exact = codecs()[kind]
    loss, audio = crops(kind)
    def computed(around, inside):
        codec = deepcopy(exact)
        if inside: codec.forward = torch.autocast('cpu', torch.bfloat16)(codec.forward)
        torch.manual_seed(1)
        with torch.autocast('cpu', torch.bfloat16, enabled=around): value = loss(codec, audio)
        value.backward()
        return value.detach(), torch.cat([p.grad.flatten() for p in codec.parameters()])
    value, slope = computed(False, False)
    for around, inside in ((True, False), (False, True)):
        rough, steep = computed(around, inside)
        assert rough.dtype == torch.float32 and 0 < abs(rough - value) < 0.02*abs(value)
        assert torch.cosine_similarity(slope, steep, 0) > 0.99
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        parts = exact(audio)
        x = exact.encode(audio)
        wav = exact.decode(x)
    assert all(p.dtype == torch.float32 for p in (*parts, x, wav))
    heard = exact.magnitudes if kind == 'spectral' else exact.decode                     # its phases are found anew, from whatever magnitudes
    with torch.no_grad(): alone = heard(x)
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16): off = ((heard(x) - alone).norm()/alone.norm()).item()
    print(f'{kind}: {off:.4f}')
    assert 0 < off < 0.05
    if kind == 'codec':
        with torch.no_grad(), torch.autocast('cpu', torch.bfloat16): linear = exact.lapped.decode(exact.lapped.encode(audio))
        assert torch.equal(linear, exact.lapped.decode(exact.lapped.encode(audio)))      # the linear path not at all


@pytest.mark.parametrize('kind, small', [('codec', dict(channels=8, width=32, depth=1)), ('spectral', dict(channels=8, widths=(32, 48), depths=(1, 1)))])
def test_train_codec_in_bfloat16(kind, small, tmp_path):
    "The whole run, as on a GPU: two steps, saves, and a run that is taken up"
    from jingles.data.export import ExportSettings, export
    from jingles.trainer.checkpoints import Plan, read_log
    from jingles.trainer.codecs import train_codec
    export(tmp_path/'db', settings=ExportSettings((8, 0), 2), workers=1)
    plan = Plan(steps=2, warmup=1, save_every=1, log_every=1, precision='bf16')
    with pytest.warns(UserWarning, match='precision is bf16'): train_codec(tmp_path/'db', tmp_path/'run', plan, 2, kind, **small)
    with pytest.warns(UserWarning, match='precision is bf16'): codec = train_codec(tmp_path/'db', tmp_path/'run', plan._replace(steps=3), 2, kind, **small)
    assert [r['step'] for r in read_log(tmp_path/'run')] == [1, 2, 3]
    assert all(p.isfinite().all() and p.dtype == torch.float32 for p in codec.state_dict().values())
