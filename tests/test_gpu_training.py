"The script that trains the shipped models on one GPU, as far as it goes without: its SoundFont, its plan, and all of its stages at a tiny size on the CPU"
import json, sys

import numpy as np
import pytest

from book import ROOT

sys.path.insert(0, str(ROOT/'gpu'))
import soundfont, train

TINY = train.Sizes(minutes=0.1, workers=1, audio=(20, 4), notes=(8, 4), sound=(8, 4), codes=(8, 2), seconds=2, count=2, first=2, programs=(0, 40, 56, 73),
                   settings=('batch=4', 'streams=1', 'widths=16,24', 'emb=32', 'control_channels=8', 'seconds=1', 'warmup=2', 'log_every=1', 'save_every=2', 'tries=2'))


# ---- the SoundFont

def font():
    from jingles.data.synth import find_soundfont
    return find_soundfont()


def test_cut_soundfont_sounds_the_same(tmp_path):
    "Notes of all velocities, rendered by FluidSynth with the whole SoundFont and with what was cut from it: the same samples"
    from jingles.data.melody import Note
    from jingles.data.synth import Synth
    size = soundfont.cut(font(), tmp_path/'small.sf2', {0, 40, 73}, (48, 84))
    assert size == (tmp_path/'small.sf2').stat().st_size < font().stat().st_size/2
    whole, small = Synth(font()), Synth(tmp_path/'small.sf2')
    melody = [Note(0.4*i, 0.4*i + 0.35, 48 + 4*i, 20 + 11*i) for i in range(10)]
    for program in (0, 40, 73):
        sound = whole.render(melody, program, 4)
        assert np.abs(sound).max() > 0.1
        assert np.array_equal(small.render(melody, program, 4), sound)
    with pytest.raises(ValueError, match='has no'): small.render(melody, 56, 4)


def test_cut_soundfont_holds_only_what_is_asked_for(tmp_path):
    soundfont.cut(font(), tmp_path/'wide.sf2', {0})
    soundfont.cut(font(), tmp_path/'narrow.sf2', {0}, (60, 61))
    assert (tmp_path/'narrow.sf2').stat().st_size < (tmp_path/'wide.sf2').stat().st_size
    _, samples, tables = soundfont.read(tmp_path/'narrow.sf2')
    assert tables['phdr']['program'].tolist()[:-1] == [0]
    assert tables['shdr']['end'][:-1].max() + soundfont.GUARD <= len(samples)
    with pytest.raises(ValueError, match='no program 300'): soundfont.cut(font(), tmp_path/'none.sf2', {300})
    (tmp_path/'text.sf2').write_text('no SoundFont at all')
    with pytest.raises(ValueError, match='is not a SoundFont'): soundfont.cut(tmp_path/'text.sf2', tmp_path/'none.sf2', {0})


def test_squeezed_soundfont_comes_back(tmp_path):
    "For the way: samples as FLAC, in about half of the size; unpacked it is the same file"
    soundfont.cut(font(), tmp_path/'a.sf2', {40}, (60, 72))
    soundfont.squeeze(tmp_path/'a.sf2', tmp_path/'a.zip')
    soundfont.unsqueeze(tmp_path/'a.zip', tmp_path/'b.sf2')
    assert (tmp_path/'b.sf2').read_bytes() == (tmp_path/'a.sf2').read_bytes()
    assert (tmp_path/'a.zip').stat().st_size < 0.75*(tmp_path/'a.sf2').stat().st_size


# ---- the plan

class Clock:
    def __init__(self): self.now = 0.
    def __call__(self): return self.now


def test_plan_needs_only_what_comes_before():
    found = train.stages('out', 'MIDI', train.Sizes())
    names = [s.name for s in found]
    assert len(set(names)) == len(names)
    for i, stage in enumerate(found): assert set(stage.needs) <= set(names[:i]), stage


def test_training_fills_its_time(tmp_path):
    "A training whose process takes 5 s to begin and whose steps take 0.05 s ends when it should: its steps are chosen from those"
    clock = Clock()
    log = tmp_path/'runs'/'spectral'/'log.jsonl'
    log.parent.mkdir(parents=True)
    def call(arguments, _):
        steps = int(arguments[arguments.index('--steps') + 1])
        done = train.last_step(log.parent)
        clock.now += 5 + 0.05*(steps - done)
        log.write_text(json.dumps(dict(step=steps, steps_per_second=20.)) + '\n')
    stage = next(s for s in train.stages(tmp_path, None, train.Sizes()) if s.name == 'spectral')
    steps = train.train(stage, tmp_path, train.Sizes(), 0., call, clock)
    assert steps == pytest.approx((0.25*480 - 2*5)/0.05, rel=0.01)
    assert clock.now == pytest.approx(0.25*480, abs=1)
    assert train.train(stage, tmp_path, train.Sizes(), 0., call, clock) == steps, 'a finished one is not begun again'


def test_an_error_ends_the_run(tmp_path):
    def call(arguments, log): raise RuntimeError(f'`jingles {arguments[0]}` ended with 1')
    with pytest.raises(RuntimeError, match='`jingles export` ended with 1'): train.run(tmp_path, None, TINY, call, together=1)


# ---- all of it, tiny

@pytest.mark.slow
def test_all_stages_at_a_tiny_size(tmp_path, monkeypatch):
    "Every command is taken by the command line as it is, one after the other in this process; what comes out is laid out as the shipped weights are, loads, and makes a sound"
    from functools import partial
    from jingles.cli import app
    from jingles.formats import codec, spectral
    from jingles.generate import demo_curves, generate
    from jingles.models import load_model
    monkeypatch.setattr(codec, 'learn_codebooks', partial(codec.learn_codebooks, steps=8, batch=256))      # of 300 and 4096, which take minutes
    monkeypatch.setattr(spectral, 'diffusability', partial(spectral.diffusability, steps=4))                        # of 100: what a codec's log says of its latents
    def call(arguments, log): app([str(a) for a in arguments], standalone_mode=False)
    times = train.run(tmp_path, None, TINY, call, together=1)
    assert list(times) == [s.name for s in train.stages(tmp_path, None, TINY)]
    assert all(t['steps'] >= TINY.first for name, t in times.items() if 'steps' in t)
    assert json.loads((tmp_path/'times.json').read_text()) == times
    for name in ('notes', 'sound'):
        model = load_model(tmp_path/'weights'/name, codec=tmp_path/'weights'/'spectral', device='cpu')
        cond = demo_curves(1, rate=model.spec.curve_rate, features=model.config.features)
        assert np.isfinite(generate(model, cond, steps=2)[0]).all()
        assert json.loads((tmp_path/'weights'/name/'metrics.json').read_text())
