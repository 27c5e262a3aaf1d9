"What the command line does with files that are there, with numbers, and with errors that nobody foresaw"
import os, subprocess, sys

import pytest
from jingles.audio import load
from jingles.cli import main
from test_faults import rejected

SHORT = 'generate', '--seconds', 0.2, '--steps', 1


@pytest.fixture
def said(monkeypatch, capfd):
    "said(*args): what the command line prints, in this process"
    def said(*args):
        monkeypatch.setattr(sys, 'argv', ['jingles', *map(str, args)])
        capfd.readouterr()
        try: main()
        except SystemExit as e: assert not e.code, capfd.readouterr().err
        return capfd.readouterr().out
    return said


def test_nothing_is_replaced_unawares(said, rejected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path/'cover.png').write_text('mine')
    assert 'cover.png is there already' in rejected(*SHORT, '--out', 'cover.wav')
    assert (tmp_path/'cover.png').read_text() == 'mine'
    for name in ('jingle.wav', 'jingle-2.wav'): assert name in said(*SHORT)                # no name was given
    before = load('jingle.wav')
    rejected(*SHORT, '--seed', 1, '--like', 'jingle.wav', '--out', 'jingle.wav')
    assert (before == load('jingle.wav')).all()
    said(*SHORT, '--seed', 1, '--like', 'jingle.wav', '--out', 'jingle.wav', '--force')
    assert (before != load('jingle.wav')).any()
    said(*SHORT, '--variations', 2, '--seed', 7, '--out', 'v.wav')
    assert {'v-seed7.wav', 'v-seed8.wav'} <= set(os.listdir())
    assert 'v-seed8.wav is there' in rejected(*SHORT, '--variations', 2, '--seed', 8, '--out', 'v.wav')
    (tmp_path/'metrics.md').touch()
    assert 'metrics.md is there' in rejected('evaluate', '--out', 'metrics.json')


def test_seeds(said, rejected, tmp_path):
    assert said(*SHORT, '--seed', 2**63 - 1, '--out', tmp_path/'a.wav').rstrip().endswith(f'seed {2**63 - 1}')
    seed = said(*SHORT, '--seed', -1, '--out', tmp_path/'b.wav').split()[-1]
    said(*SHORT, '--seed', seed, '--out', tmp_path/'c.wav')
    assert (load(tmp_path/'b.wav') == load(tmp_path/'c.wav')).all()                      # the seed that is said brings the sound back
    for seed in (2**63, -2): assert f'--seed is {seed}; expected 0 to' in rejected(*SHORT, '--seed', seed, '--out', tmp_path/'d.wav')


def test_version_and_a_wrong_name_come_without_torch(python, tmp_path):
    code = 'import sys; sys.modules["torch"] = None; sys.argv[0] = "jingles"; from jingles.cli import main; main()'
    assert python(code, '--version').stdout.startswith('jingles ')
    for out in ('new/a.mp3', '/proc/no/a.wav'):
        done = python(code, 'generate', '--out', tmp_path/out, ok=False)
        assert done.returncode == 1 and done.stderr.count('\n') == 1 and 'torch' not in done.stderr, done.stderr
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize('error', [RuntimeError('odd\nthings'), MemoryError(), TypeError('TensorFlow is broken'), ImportError('libx.so'), KeyError('k'), AssertionError()])
def test_no_traceback_ever(rejected, monkeypatch, tmp_path, error):
    def broken(*a, **k): raise error
    monkeypatch.setattr('jingles.system.load_model', broken)
    line = rejected(*SHORT, '--out', tmp_path/'a.wav')
    assert ' '.join(str(error).split()) in line and not os.listdir(tmp_path)


def test_no_home(jingles, tmp_path):
    "Neither Numba nor Matplotlib has a place of its own; as root nothing is read-only, so the home is below a file"
    (tmp_path/'file').touch()
    env = {k: v for k, v in os.environ.items() if k not in ('XDG_CACHE_HOME', 'NUMBA_CACHE_DIR', 'MPLCONFIGDIR')} | dict(HOME=str(tmp_path/'file'/'home'), TMPDIR=str(tmp_path))
    done = jingles(*SHORT, '--out', tmp_path/'a.wav', env=env)
    assert not done.stderr.strip() and sorted(os.listdir(tmp_path)) == ['a.png', 'a.wav', 'file']
