"Mistakes of the user's: one line on standard error, an exit code that is not 0, nothing half-written left behind"
import os, shutil, sys

import numpy as np
import pytest
from jingles.cli import main
from jingles.formats.codec import WEIGHTS
from jingles.limits import DEFAULT_MODEL


def the_line(status, said):
    "The one line of a refusal on standard error, progress bars aside"
    lines = [line for line in said.strip().splitlines() if '%|' not in line]
    assert status == 1 and len(lines) == 1 and lines[0].startswith('jingles: '), (status, said)
    return lines[0]


@pytest.fixture
def rejected(monkeypatch, capfd):
    "rejected(*args): the one line with which the command line refuses `args`; in this process, for the sake of time"
    def rejected(*args):
        monkeypatch.setattr(sys, 'argv', ['jingles', *map(str, args)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as done: main()
        return the_line(done.value.code, capfd.readouterr().err)
    return rejected


@pytest.mark.parametrize('args', [['generate', '--instrument', 'kazoo', '--out', 'a.wav'], ['export', 'db', '--format', 'mp3'], ['train', '--data', 'none', '--out', 'run']])
def test_a_process_that_refuses(jingles, tmp_path, args):
    "A process of its own says no more than that line, whatever it imports on the way"
    done = jingles(*(tmp_path/a if a in ('a.wav', 'db', 'none', 'run') else a for a in args), ok=False)
    the_line(done.returncode, done.stderr)
    assert not os.listdir(tmp_path)


def table(path, rows): path.write_text('velocity,chroma\n' + '\n'.join(rows) + '\n')


def test_midi_that_is_none(rejected, tmp_path):
    (tmp_path/'tune.mid').write_text('no MIDI at all')
    assert 'tune.mid' in rejected('generate', '--midi', tmp_path/'tune.mid', '--out', tmp_path/'a.wav')
    rejected('generate', '--midi', tmp_path/'gone.mid', '--out', tmp_path/'a.wav')
    assert os.listdir(tmp_path) == ['tune.mid']


@pytest.mark.parametrize('rows, word', [(['0.5,0.2', '1.5,0.2'], '1.5'), (['0.5,0.2'], '1 frames'), (['0.5,0.2', 'loud,0.2'], 'loud'), (['0.5,0.2', 'nan,0.2'], 'NaN')])
def test_curves_that_cannot_be(rejected, tmp_path, rows, word):
    table(tmp_path/'c.csv', rows)
    assert word.lower() in rejected('generate', '--curves', tmp_path/'c.csv', '--out', tmp_path/'a.wav').lower()
    assert os.listdir(tmp_path) == ['c.csv']


def test_instrument_that_cannot_be(rejected, tmp_path):
    "Said before anything is generated"
    table(tmp_path/'c.csv', ['0.5,0.2', '0.5,0.2'])
    assert "--pitches is '72:48:3'" in rejected('instrument', '--pitches', '72:48:3', '--out', tmp_path/'a.sfz')
    assert 'has 2 frames; give at least 8' in rejected('instrument', '--curves', tmp_path/'c.csv', '--out', tmp_path/'a.sfz')
    assert os.listdir(tmp_path) == ['c.csv']


def test_curves_of_different_lengths(rejected, tmp_path):
    np.savez(tmp_path/'c.npz', velocity=np.zeros((1, 75)), chroma=np.zeros((1, 70)))
    line = rejected('generate', '--curves', tmp_path/'c.npz', '--out', tmp_path/'a.wav')
    assert '75' in line and '70' in line


def test_unknown_instrument(rejected, tmp_path):
    assert 'piano, violin, trumpet' in rejected('generate', '--instrument', 'kazoo', '--out', tmp_path/'a.wav')
    for seconds in (0, -1, 31, 'nan'): assert 'expected 0.1 to 30' in rejected('generate', '--seconds', seconds, '--out', tmp_path/'a.wav')
    assert not os.listdir(tmp_path)


def test_weights_missing_or_cut_short(rejected, tmp_path):
    assert 'no model at' in rejected('generate', '--model', tmp_path/'gone', '--out', tmp_path/'a.wav')
    shutil.copytree(WEIGHTS/DEFAULT_MODEL, tmp_path/'model')
    whole = (tmp_path/'model'/'model.safetensors').read_bytes()
    (tmp_path/'model'/'model.safetensors').write_bytes(whole[:len(whole)//2])
    assert 'damaged' in rejected('generate', '--model', tmp_path/'model', '--out', tmp_path/'a.wav')
    assert os.listdir(tmp_path) == ['model']


def test_output_that_cannot_be_written(rejected, tmp_path):
    (tmp_path/'file').touch()
    for out in (tmp_path/'file'/'a.wav', '/proc/nowhere/a.wav', tmp_path/'a.mp3', tmp_path): rejected('generate', '--seconds', 1, '--out', out)
    assert os.listdir(tmp_path) == ['file']


def test_exports_and_runs_that_cannot_be(rejected, tmp_path):
    (tmp_path/'midi').mkdir(); (tmp_path/'midi'/'a.mid').write_bytes(b'MThd rubbish')
    assert 'corrupt' in rejected('export', tmp_path/'db', '--midi', tmp_path/'midi', '--format', 'audio', '--workers', 1)[-400:]
    assert "no format 'mp3'; there is audio, codec, " in rejected('export', tmp_path/'db', '--format', 'mp3')
    rejected('train', '--data', tmp_path/'none', '--out', tmp_path/'run')
    assert "no setting 'step'" in rejected('train', '--data', tmp_path, '--set', 'step=3')


def test_a_package_that_is_missing(python, tmp_path):
    "Training where only what a jingle needs is installed"
    done = python('''
import sys
sys.modules["accelerate"] = None
sys.argv[:] = ["jingles", "train", "--data", sys.argv[1]]
from jingles.cli import main
main()''', tmp_path, ok=False)
    assert done.returncode == 1 and done.stderr.strip().splitlines() == ["jingles: this needs the package accelerate, which is not installed; pip install 'jingles[train]'"], done.stderr
