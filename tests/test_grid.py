"Every paradigm x format x backbone x injection either composes - trains a step, draws a sample - or is refused by one clear line"
import itertools

import pytest
import torch
from torch import nn
from jingles.core import Cond, Spec, generator
from jingles.system import BACKBONES, FORMATS, INJECTORS, PARADIGMS, build, configure

SPECS = {'cqt': Spec(2, 240., dims=(216,), centred=True), 'encodec': Spec(128, 75.), 'encodec-codes': Spec(16, 75., classes=1024),
         'codec': Spec(64, 75.), 'spectral': Spec(48, 37.5, curves_per_frame=2), 'codec-codes': Spec(16, 75., classes=1024),
         'spectral-codes': Spec(16, 37.5, curves_per_frame=2, classes=1024)}
FRAMES, SMALL = 9, dict(widths=(8, 12), depth=1, emb=16, control_channels=4, times=30, schedule='cosine')


class Promise(nn.Module):
    "A format that only promises"
    def __init__(self, spec):
        super().__init__()
        self.spec = spec


def control(batch=2, frames=FRAMES):
    local = {k: torch.rand(batch, c, frames) for k, c in dict(velocity=1, chroma=1, instruments=3).items()}
    local['chroma'][:, :, ::3] = -1
    return Cond(local)


def clean(spec):
    shape = spec.shape(FRAMES, 2)
    return torch.randint(spec.classes, shape) if spec.classes else torch.randn(shape)


def made(paradigm, form, backbone, injection):
    cfg = configure(format=form, paradigm=paradigm, backbone=backbone, injection=injection, **SMALL)
    return build(cfg, format=Promise(SPECS[form]))


def one_step(model, x0, cond):
    "A step of training; returns the loss before it, and which parameters learn nothing at all"
    optimizer = torch.optim.Adam(model.net.parameters(), lr=1e-3)
    for _ in range(2):
        loss = model.paradigm.loss(model.net, x0, cond, generator(0))
        optimizer.zero_grad(); loss.backward(); optimizer.step()
    assert all(p.isfinite().all() for p in model.net.parameters())
    return loss.item(), [n for n, p in model.net.named_parameters() if p.grad is None]


def composes(paradigm, form, backbone, injection):
    torch.manual_seed(0)
    try: model = made(paradigm, form, backbone, injection)
    except ValueError as refused:
        assert '\n' not in str(refused) and f'{paradigm!r} cannot make format {form!r}' in str(refused) and 'use ' in str(refused)
        return False
    spec, cond = SPECS[form], control(frames=FRAMES*SPECS[form].curves_per_frame)
    loss, idle = one_step(model, clean(spec), cond)
    assert torch.tensor(loss).isfinite() and loss > 0 and not idle, (loss, idle)
    x = model.paradigm.sample(model.net.requires_grad_(False), spec.shape(FRAMES, 2), cond, steps=2, generator=generator(1))
    assert x.shape == spec.shape(FRAMES, 2)
    if spec.classes: assert x.dtype == torch.int64 and 0 <= x.min() and x.max() < spec.classes
    else: assert x.dtype == torch.float32 and x.isfinite().all()
    return True


def test_promises():
    "The promises above are the formats' own, and every format of the system is in the grid"
    assert SPECS.keys() == FORMATS.keys()
    for form in ('cqt', 'codec', 'spectral', 'codec-codes', 'spectral-codes'): assert FORMATS[form](configure(format=form)).spec == SPECS[form]


@pytest.mark.parametrize('paradigm', PARADIGMS)
def test_grid(paradigm):
    found = {k: composes(paradigm, *k) for k in itertools.product(SPECS, BACKBONES, INJECTORS)}
    each = len(BACKBONES)*len(INJECTORS)
    assert len(found) == 168 and each == 24
    assert sum(found.values()) == dict(edm=96, consistency=96, ddpm=96, discdpm=72)[paradigm], [k for k, ok in found.items() if not ok]
    for form, spec in SPECS.items():
        assert sum(ok for k, ok in found.items() if k[0] == form) == (each if (paradigm == 'discdpm') == bool(spec.classes) else 0)


def test_samplers_by_name():
    "Every sampler of a paradigm's row draws, and another one draws something else"
    for paradigm, row in PARADIGMS.items():
        torch.manual_seed(0)
        model, drawn = made(paradigm, 'codec-codes' if paradigm == 'discdpm' else 'codec', 'unet', 'concat'), []
        for p in model.net.requires_grad_(False).parameters(): nn.init.normal_(p, std=0.1)
        for sampler in row.samplers.values():
            drawn.append(model.paradigm.sample(model.net, model.spec.shape(FRAMES, 1), control(1), steps=6, generator=generator(0), sampler=sampler))
        for a, b in itertools.combinations(drawn, 2): assert a.isfinite().all() and (a - b).abs().max() > 1e-4
