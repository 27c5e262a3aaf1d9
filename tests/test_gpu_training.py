"The script that trains the shipped models on one GPU, as far as it goes without: its SoundFont, its plan, and all of its stages at a tiny size on the CPU"
import json, os, subprocess, sys, tarfile, zipfile
from contextlib import redirect_stdout

import numpy as np
import pytest
import torch

from book import ROOT

sys.path.insert(0, str(ROOT/'gpu'))
import pack, soundfont, train

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


def test_weights_are_those_that_are_shipped():
    "Every file of jingles/weights but the model cards, and the table of timbres, which is measured and not trained"
    for folder in (ROOT/'jingles'/'weights').iterdir():
        if folder.name == 'timbre': continue
        made = {file for files in train.FILES[folder.name].values() for file in files.split()}
        assert made == {f.name for f in folder.iterdir()} - {'README.md'}, folder.name


def test_training_fills_its_time(tmp_path):
    "A training whose process takes 5 s to begin and whose steps take 0.05 s ends when it should: its steps are chosen from those"
    clock = Clock()
    log = tmp_path/'runs'/'spectral'/'log.jsonl'
    log.parent.mkdir(parents=True)
    def call(arguments, _, limit=None):
        steps = int(arguments[arguments.index('--steps') + 1])
        done = train.last_step(log.parent)
        clock.now += 5 + 0.05*(steps - done)
        log.write_text(json.dumps(dict(step=steps, steps_per_second=20.)) + '\n')
    stage = next(s for s in train.stages(tmp_path, None, train.Sizes()) if s.name == 'spectral')
    steps = train.train(stage, tmp_path, train.Sizes(), 0., call, clock)
    assert steps == pytest.approx((0.25*480 - 2*5)/0.05, rel=0.01)
    assert clock.now == pytest.approx(0.25*480, abs=1)
    assert train.train(stage, tmp_path, train.Sizes(), 0., call, clock) == steps, 'a finished one is not begun again'


def test_slow_training_is_stopped_in_time(tmp_path):
    "The processor is shared: a training may get slower than its first steps were. It is given a limit, and what it has reached counts"
    clock, log, limits = Clock(), tmp_path/'runs'/'spectral'/'log.jsonl', []
    log.parent.mkdir(parents=True)
    def call(arguments, _, limit=None):
        limits.append(limit)
        steps = int(arguments[arguments.index('--steps') + 1]) if limit is None else 500
        clock.now += 3 if limit is None else limit
        log.write_text(json.dumps(dict(step=steps, steps_per_second=30.)) + '\n')
    stage = next(s for s in train.stages(tmp_path, None, train.Sizes()) if s.name == 'spectral')
    assert train.train(stage, tmp_path, train.Sizes(), 0., call, clock) == 500
    assert limits == [None, pytest.approx(0.29*480 - 3)] and clock.now == pytest.approx(0.29*480)


def test_command_is_stopped_at_its_limit(tmp_path):
    "A process that is not done is asked to end, and that is no error; without a limit it is one, and so is another status"
    import time
    began = time.monotonic()
    assert train.jingles(['evaluate', '--count', '100000'], tmp_path/'log.txt', 1.)
    assert time.monotonic() - began < 60
    with pytest.raises(RuntimeError, match='`jingles train` ended with'): train.jingles(['train'], tmp_path/'log.txt', 60.)


def test_an_error_stops_what_needs_it(tmp_path):
    "All else is done, what came out is collected, and the error is raised in the end"
    done = []
    def call(arguments, log, *limit):
        if '--tune-decoder' in arguments: raise RuntimeError('no memory')
        if arguments[0] == 'train-codec' and log.stem == 'codec':
            (tmp_path/'runs'/'codec').mkdir(parents=True, exist_ok=True)
            (tmp_path/'runs'/'codec'/'model.safetensors').write_bytes(b'weights')
        folder = tmp_path/'runs'/log.stem
        folder.mkdir(parents=True, exist_ok=True)
        (folder/'log.jsonl').write_text(json.dumps(dict(step=60, steps_per_second=1e-9)))
        done.append(log.stem)
    with pytest.raises(RuntimeError, match='no memory'): train.run(tmp_path, None, TINY, call, together=1)
    names = [s.name for s in train.stages(tmp_path, None, TINY)]
    assert set(names) - set(done) == {'decoder', *(n for n in names if n.startswith('evaluate'))}
    assert (tmp_path/'weights'/'codec'/'model.safetensors').read_bytes() == b'weights'
    assert sorted(f.name for f in (tmp_path/'parcel').iterdir()) == ['codec.zip', 'logs.zip']
    assert json.loads((tmp_path/'times.json').read_text()).keys() == set(done)


# ---- what is brought along

def test_pack_holds_what_the_script_needs(tmp_path):
    "Without wheels and SoundFont here: it is unpacked by its own script, and the package, the script and the checks load from there"
    size = pack.pack(tmp_path/'pack', [], '3.12', midi=ROOT/'data_cards', wheels=False)
    assert size < 20e6
    where = 'import sys, jingles.cli, jingles.trainer.codecs; sys.path[:0] = ["gpu", "tests"]; import train, test_gpu; print(jingles.__file__, train.__file__, test_gpu.__file__, sep="\\n")'
    def run(*args): return subprocess.run(['bash', tmp_path/'pack'/'run.sh', *args], env=os.environ | dict(PYTHON=sys.executable, PYTHONPATH=''), capture_output=True, text=True, cwd=tmp_path)
    done = run('python', '-c', where)
    unpacked = tmp_path/'pack'/'unpacked'
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(unpacked/f) for f in ('jingles/__init__.py', 'gpu/train.py', 'tests/test_gpu.py')]
    assert list((unpacked/'midi').iterdir()) and not list((unpacked/'jingles'/'weights').rglob('*.safetensors'))
    assert run('dance').returncode == 2
    with tarfile.open(tmp_path/'pack'/'libs.tar.gz') as tar: names = tar.getnames()
    assert 'libs/libfluidsynth.so.3' in names and not [n for n in names if 'libc.so' in n or 'stdc++' in n]


def test_pack_brings_packages_that_are_missing_only():
    "TensorFlow is not among them, nor what the machine has; what these require is"
    needed = pack.required([])
    assert {'soundfile', 'symusic', 'librosa', 'pyfluidsynth', 'numpy', 'numba', 'pooch'} <= set(needed) and not {'tensorflow', 'keras', 'torch'} & set(needed)
    assert not {'numpy', 'numba'} & set(pack.required(['numpy', 'Numba', 'scikit_learn'])) and 'scikit-learn' not in pack.required(['scikit_learn'])


# ---- all of it, tiny

@pytest.mark.slow
@pytest.mark.parametrize('tensorflow', [True, False])
def test_all_stages_at_a_tiny_size(tmp_path, monkeypatch, tensorflow):
    """Every command is taken by the command line as it is, one after the other in this process, with TensorFlow and where it is not installed; what comes out is laid out
    as the shipped weights are, fits into a parcel of at most 8 files below 16 MB, loads, and makes a sound"""
    from functools import partial
    from jingles.cli import app
    from jingles.data import records
    from jingles.evaluation import fad
    from jingles.formats import codec
    from jingles.generate import demo_curves, generate
    from jingles.models import load_model
    from jingles.trainer import codecs
    monkeypatch.setattr(codec, 'learn_codebooks', partial(codec.learn_codebooks, steps=8, batch=256))      # of 300 and 4096, which take minutes
    sizes, plain = dict(codec=dict(width=32, depth=1), spectral=dict(widths=(32, 32), depths=(1, 1))), codecs.train_codec
    monkeypatch.setattr(codecs, 'train_codec', lambda data, out, plan, format='codec': plain(data, out, plan, 2, format, **sizes[format]))
    monkeypatch.setattr(codecs, 'diffusability_columns', lambda *_: {})                                    # a network is trained for it
    if not tensorflow:
        def missing(): raise ValueError('TensorFlow is not installed')      # None in sys.modules is no substitute: einops takes it for a module
        monkeypatch.setattr(records, 'has_tensorflow', lambda: False)
        for module in (records, fad): monkeypatch.setattr(module, 'tensorflow', missing)
    def call(arguments, log, *limit):
        with open(log, 'a') as said, redirect_stdout(said): app([str(a) for a in arguments], standalone_mode=False)
    times = train.run(tmp_path, None, TINY, call, together=1)
    assert times.keys() == {s.name for s in train.stages(tmp_path, None, TINY)}
    assert all(t['steps'] >= TINY.first for name, t in times.items() if 'steps' in t)
    assert json.loads((tmp_path/'times.json').read_text()) == times
    for name in ('notes', 'notes-few', 'sound'):
        model = load_model(tmp_path/'weights'/name, codec=tmp_path/'weights'/'spectral', device='cpu')
        cond = demo_curves(1, rate=model.spec.curve_rate, features=model.config.features)
        assert np.isfinite(generate(model, cond, steps=2)[0]).all()
        assert json.loads((tmp_path/'weights'/name/'metrics.json').read_text())
    assert model.config.start_from == '' and json.loads((tmp_path/'weights'/'notes-few'/'config.json').read_text())['start_from'] == 'notes', 'as the preview looks for it'
    parcel = list((tmp_path/'parcel').iterdir())
    assert {f.stem for f in parcel} == {'codec', 'spectral', 'notes', 'notes-few', 'sound', 'logs'} and all(f.stat().st_size < train.LARGEST for f in parcel)
    inside = {f.stem: zipfile.ZipFile(f).namelist() for f in parcel}
    for name in inside.keys() - {'logs'}: assert set(inside[name]) == {f'{name}/{file}' for files in train.FILES[name].values() for file in files.split()}, name
    assert {'times.json', 'logs/notes.txt', 'runs/notes-few/log.jsonl'} <= set(inside['logs'])


def test_full_size_fits_the_parcel():
    "Weights of the sizes that the script trains: those of the presets and of the codecs, in half precision as they are saved"
    from jingles.formats.spectral import SpectralCodec
    from jingles.system import build, configure, preset
    for name in ('notes', 'notes-few', 'sound'):
        with torch.device('meta'): model = build(configure(preset(name), **dict(w.split('=') for w in train.Sizes().settings)), format=SpectralCodec())
        numbers = sum(p.numel() for p in model.net.parameters())
        assert 1e6 < numbers and 2*numbers < 0.9*train.LARGEST
