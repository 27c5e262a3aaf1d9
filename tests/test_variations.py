"Variations where a notebook has no model at hand: every paradigm and sampler, codes too, and every length"
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from jingles.core import generator
from jingles.generate import demo_curves, generate
from jingles.paradigms.samplers import Inpaint
from jingles.models import load_model
from jingles.system import PARADIGMS, build, configure
from jingles.variations import keep_mask_outside, inpaint_sound, vary

SMALL = dict(widths=(8, 12), depth=1, emb=16, control_channels=4, times=30, schedule='cosine')


def untrained(paradigm):
    "A model of the codec's latents or codes whose weights are noise"
    torch.manual_seed(0)
    model = build(configure(format='codec-codes' if paradigm == 'discdpm' else 'codec', paradigm=paradigm, **SMALL))
    for p in model.net.requires_grad_(False).parameters(): nn.init.normal_(p, std=0.1)
    return model


@pytest.mark.parametrize('paradigm', PARADIGMS)
def test_inpainting_in_every_paradigm(paradigm):
    "What is kept comes back - tokens exactly, numbers up to rounding -, what is not is drawn, with each sampler; sounds are untouched outside of the stretch"
    model, cond = untrained(paradigm), demo_curves(1)
    wav = (0.3*np.sin(2*np.pi*330*np.arange(24000)/24000)).astype(np.float32)
    x0 = model.encode(torch.as_tensor(wav)[None])
    keep = keep_mask_outside(75, 0.4, 0.7)
    for sampler, steps in product(PARADIGMS[paradigm].samplers.values() or [None], (4, 18)):         # 18: some of them four times
        options, taken = dict(sampler=sampler) if sampler else {}, []
        x = model.paradigm.sample(model.net, x0.shape, cond, steps=steps, generator=generator(0), inpaint=Inpaint(x0, keep), progress=taken.append, **options)
        assert taken == list(range(steps)) and model.paradigm.count(steps) == steps
        wrong = (x - x0).abs()
        assert wrong[..., keep == 1].max() <= (0 if x0.dtype == torch.int64 else 1e-3) and wrong[..., keep == 0].max() > 0.1, sampler
    new = inpaint_sound(model, wav, cond, keep, seed=1, steps=4)[0]
    assert (new[:9600] == wav[:9600]).all() and (new[16800:] == wav[16800:]).all() and np.abs(new - wav)[11000:15000].max() > 1e-3


@pytest.mark.parametrize('paradigm', PARADIGMS)
def test_strength_in_every_paradigm(paradigm):
    "Little strength keeps more of the data than much, and takes as many steps as the paradigm says"
    model, cond = untrained(paradigm), demo_curves(1)
    x0 = model.encode(torch.zeros(1, 24000).uniform_(-0.3, 0.3, generator=generator(3)))
    def apart(strength):
        taken = []
        x = model.paradigm.sample(model.net, x0.shape, cond, steps=10, generator=generator(0), inpaint=Inpaint(x0, strength=strength), progress=taken.append)
        assert len(taken) == model.paradigm.count(10, strength)
        return (x != x0).float().mean() if x0.dtype == torch.int64 else (x - x0).square().mean()
    assert apart(0.1) < 0.8*apart(0.9)
    with pytest.raises(ValueError, match='strength is 0'): vary(model, np.ones(24000, np.float32), cond, 0)


@pytest.mark.parametrize('seconds', [1, 2.5, 10])
def test_lengths(seconds):
    "From 1 to 10 s, new and varied; a sound that is too short is followed by silence"
    model = load_model(device='cpu')
    cond = demo_curves(seconds)
    wav = generate(model, cond, steps=2)[0]
    assert abs(len(wav)/24000 - seconds) < 1/75 and np.isfinite(wav).all()
    again = vary(model, wav[:12000], cond, 0.3, steps=4)[0]
    assert len(again) == len(wav) and np.isfinite(again).all()


@pytest.mark.parametrize('paradigm', PARADIGMS)
def test_studio_with_every_paradigm(paradigm):
    "The panel offers the samplers that there are, and each beginning gives a take"
    pytest.importorskip('anywidget')
    from jingles.studio import START_MODES, Studio
    studio = Studio(untrained(paradigm), seconds=1)
    offered = studio.rows_of_settings['sampler'].choices if 'sampler' in studio.settings else ()
    assert [name for name, _ in offered] == list(PARADIGMS[paradigm].samplers)
    studio.set(steps=4)
    for begin in START_MODES:
        if begin == 'changed': studio.board.put('velocity', 0.5*studio.board.rows[0])
        studio.set(start=begin)
        studio.generate(); studio.worker.join()
        assert studio.status['code'] == 'done', (begin, studio.status)


def test_studio_in_the_frames_of_the_format():
    "A format that has a frame more than its rate says is asked for that one too, as by the command line"
    pytest.importorskip('anywidget')
    from jingles.studio import Studio, plan_generation
    studio = Studio(build(configure(format='cqt', **SMALL)), seconds=1)
    (request, _), = plan_generation(studio).requests
    assert (studio.board.rows.shape[1], request.cond.frames, studio.model.format.frames(1.)) == (240, 241, 241)
