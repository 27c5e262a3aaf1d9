"""What holds for every format of the system alike: names, frames, any length, batches, gradients, refusals; and that what stands above asks the
format for its frame rate. EnCodec with random weights in a real checkpoint file"""
import numpy as np
import pytest
import torch
from jingles.core import generator, randn
from jingles.data.pvt import RawAudio
from jingles.evaluation import tables
from jingles.evaluation.adherence import instrument_classifier
from jingles.evaluation.tables import Sampling, real_clips
from jingles.formats.encodec import random_encodec, save_encodec
from jingles.generate import generate
from jingles.system import FORMATS, build, configure, make_format


@pytest.fixture(scope='module')
def formats(tmp_path_factory):
    "{name: format}: all rows of the system, and raw audio"
    stand_in = str(save_encodec(random_encodec(), tmp_path_factory.mktemp('encodec')))
    where = {name: stand_in for name in FORMATS if name.startswith('encodec')}
    return {name: make_format(configure(format=name, codec=where.get(name, ''))) for name in FORMATS} | {'audio': RawAudio()}


@pytest.fixture(params=[*FORMATS, 'audio'])
def form(request, formats): return formats[request.param]


@pytest.fixture(scope='module')
def noise(): return 0.1*randn((2, 12_345), generator(0))


def of_system(form): return not isinstance(form, RawAudio)


def test_each_has_its_name(formats):
    for name, form in formats.items(): assert form.name == name


@pytest.mark.parametrize('n', [1, 319, 320, 321, 4801])
def test_any_length(form, noise, n):
    "Frames are those that were promised, and `n` samples come back when `n` are asked for"
    x = form.encode(noise[:, :n])
    assert x.shape == form.spec.shape(form.frames(n/24_000), 2)
    if form.spec.classes: assert x.dtype == torch.int64 and 0 <= x.min() and x.max() < form.spec.classes
    else: assert x.is_floating_point() and x.isfinite().all()
    back = form.decode(x, n)
    assert back.shape == (2, n) and back.dtype == torch.float32 and back.isfinite().all()


def test_a_clip_does_not_depend_on_its_company(form, noise):
    both, alone = form.encode(noise), torch.cat([form.encode(a[None]) for a in noise])
    if form.spec.classes: assert (both == alone).float().mean() > 0.98           # other sums of float32 may turn a close choice
    else: assert (both - alone).abs().max() < 2e-3
    apart = form.decode(both) - torch.cat([form.decode(x[None]) for x in both])
    assert apart.abs().max() < 1e-3


def test_gradients_flow_where_there_are_real_numbers(form, noise):
    sound = noise[:1, :6400].clone().requires_grad_()
    x = form.encode(sound)
    if form.spec.classes: assert not x.requires_grad; return
    x.square().mean().backward()
    assert sound.grad.isfinite().all() and sound.grad.abs().max() > 0
    z = x.detach().requires_grad_()
    form.decode(z).square().mean().backward()
    assert z.grad.isfinite().all() and z.grad.abs().max() > 0


def test_precision_does_not_matter(form, noise):
    "float64 sound, as NumPy makes it, is taken too"
    assert torch.equal(form.encode(noise.double()).float(), form.encode(noise).float())


def test_refusals(form, noise):
    "One line that says what was expected"
    if not of_system(form): return
    x = form.encode(noise)
    bad = [lambda: form.encode(noise[0]), lambda: form.encode(noise[:, :0]), lambda: form.encode(noise[:0]), lambda: form.encode((noise*32767).short()),
           lambda: form.encode(noise/0), lambda: form.decode(x[:, :0]), lambda: form.decode(x[..., :0]), lambda: form.decode(x[0]), lambda: form.decode(x[:0]),
           lambda: form.decode(x.float() if form.spec.classes else x.int()), lambda: form.decode(x, 10**6), lambda: form.decode(x, -1)]
    for i, f in enumerate(bad):
        try: f()
        except ValueError as e: assert '\n' not in str(e) and len(str(e)) < 200, (i, e)
        else: pytest.fail(f'case {i} was accepted')


# ---- above the formats: nobody assumes 75 frames a second

@pytest.fixture(scope='module')
def classifier(): return instrument_classifier(real_clips(None, 24, 'train', 2))


def tiny(**changes):
    torch.manual_seed(0)
    model = build(configure(widths=(8, 12), depth=1, emb=16, control_channels=4, times=20, **changes))
    model.net.eval().requires_grad_(False)
    return model


def test_a_model_of_240_frames_a_second_is_evaluated(classifier, monkeypatch):
    "The whole evaluation of a tiny untrained CQT model: curves of 240 Hz ask, the measures answer on their own clock"
    model = tiny(format='cqt')
    monkeypatch.setattr(tables, 'instrument_classifier', lambda clips: classifier)
    found = tables.evaluate(model, count=2, sampling=Sampling(steps=1, guidance=1, unconditional_scale=1), workers=1, teach=1)
    def mean(name, measure): return next(r['mean'] for r in found['follow'][name] if r['measure'] == measure)
    assert mean('real clips', 'pitch class') > 0.9 and mean('through the codec', 'pitch class') > 0.9
    assert mean('real clips', 'onset F1') > 0.8 and not mean('model', 'pitch class') > 0.6
    assert next(r['mean'] for r in found['codec']['all'] if r['measure'].startswith('SI-SDR')) > 20


@pytest.mark.parametrize('name', ['cqt', 'codec', 'codec-codes'])
def test_a_jingle_is_as_long_as_its_curves(name):
    model = tiny(format=name, paradigm='discdpm' if name == 'codec-codes' else 'edm')
    clip = real_clips(None, 1, seconds=1, format=model.format)[0]
    from jingles.system import cond_of
    cond = cond_of(model.config, clip.curves)
    assert clip.rate == model.spec.rate and cond.frames == model.format.frames(1)
    sound = generate(model, cond, steps=1, guidance=1, unconditional_scale=1)
    assert sound.shape == (1, 24_000) and np.isfinite(sound).all()


def test_memory_that_cannot_be_measured(tmp_path):
    "What went wrong in the other process is said in one line"
    from jingles.evaluation.formats import peak_memory
    with pytest.raises(ValueError, match='memory could not be measured: FileNotFoundError: no weights at') as e: peak_memory([configure(codec=tmp_path/'gone')])
    assert '\n' not in str(e.value)
