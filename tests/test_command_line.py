"What the command line does with files that are there, with numbers, and with errors that nobody foresaw"
import os, subprocess, sys

import pytest
from jingles.audio import load
from jingles.cli import main
from jingles.control.curves import read_curves
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
    monkeypatch.setattr('jingles.models.load_model', broken)
    line = rejected(*SHORT, '--out', tmp_path/'a.wav')
    assert ' '.join(str(error).split()) in line and not os.listdir(tmp_path)


def test_no_home(jingles, tmp_path):
    "Neither Numba nor Matplotlib has a place of its own; as root nothing is read-only, so the home is below a file"
    (tmp_path/'file').touch()
    env = {k: v for k, v in os.environ.items() if k not in ('XDG_CACHE_HOME', 'NUMBA_CACHE_DIR', 'MPLCONFIGDIR')} | dict(HOME=str(tmp_path/'file'/'home'), TMPDIR=str(tmp_path))
    done = jingles(*SHORT, '--out', tmp_path/'a.wav', env=env)
    assert not done.stderr.strip() and sorted(os.listdir(tmp_path)) == ['a.png', 'a.wav', 'file']


def test_mistakes_are_said_before_torch(python, tmp_path):
    "Loading PyTorch takes longer than anything else; what is wrong with the options themselves is said without it"
    mistakes = {('--curves', 'README.md'): 'expected a table that ends in .csv, .json, .npz, or a sound that ends in .wav', ('--voice', 'top'): '--voice says how --midi is read', ('--track', '2'): '--track says',
                ('--start', 1): '--start says', ('--seconds', 31): '--seconds is 31; expected 0.1 to 30', ('--redo', '1:2'): 'name it with --init-audio', ('--velocity', 'loud'): "--velocity is 'loud'",
                ('--midi', 'gone.mid'): 'there is no file gone.mid', ('--guidance', 'much'): '--guidance is', ('--sampling', 'eta'): 'expected NAME=VALUE', ('--model', 'gone'): 'comes with jingles: notes',
                ('--midi', 'a.mid', '--curves', 'b.csv'): 'one is enough'}
    said = python('''
import os, sys
sys.modules["torch"] = None
from jingles.cli import main
os.chdir(sys.argv[1])
for line in sys.argv[2:]:
    sys.argv = ["jingles", "generate", *line.split("|")]
    try: main()
    except SystemExit as e: assert e.code == 1, line
print("torch" in sys.modules and sys.modules["torch"])''', tmp_path, *('|'.join(map(str, args)) for args in mistakes))
    lines = said.stderr.splitlines()
    assert len(lines) == len(mistakes) and all(expected in line for expected, line in zip(mistakes.values(), lines)), said.stderr
    assert said.stdout.strip() == 'None' and not os.listdir(tmp_path)


def test_pictures_come_last(said, tmp_path, monkeypatch):
    "The path of a sound is said before its picture is begun, and the picture may be left out"
    seen = []
    monkeypatch.setattr('jingles.cli.draw_pictures', lambda cond, sounds, paths, rate: seen.append([p.exists() for p in paths]))
    lines = said(*SHORT, '--out', tmp_path/'a.wav').splitlines()
    assert lines[0] == str(tmp_path/'a.wav') and 'of pictures; seed 0' in lines[1] and seen == [[True]]
    said(*SHORT, '--out', tmp_path/'b.wav', '--no-picture')
    assert len(seen) == 1


def test_models_by_name(said, tmp_path):
    assert said('models').startswith('notes ')
    said(*SHORT, '--out', tmp_path/'a.wav', '--no-picture'); said(*SHORT, '--model', 'notes', '--out', tmp_path/'b.wav', '--no-picture')
    assert (load(tmp_path/'a.wav') == load(tmp_path/'b.wav')).all()


@pytest.mark.parametrize('encoding', ['utf-16', 'utf-8-sig', 'utf-8'])
def test_tables_as_spreadsheets_save_them(tmp_path, encoding):
    "Excel's `Unicode text` is UTF-16 with a mark in front and tabs between the cells"
    table = tmp_path/'drawn.csv'
    table.write_bytes('Velocity\tChroma\n0,5\t0\n1\t0,25\n'.encode(encoding))
    read = read_curves(table)
    assert read['velocity'].tolist() == [[[0.5, 1]]] and read['chroma'].tolist() == [[[0, 0.25]]]


@pytest.mark.parametrize('error', ['ImportError("libcudart.so: cannot open\\nshared object")', 'TypeError("Descriptors cannot be created directly")'])
def test_tensorflow_that_does_not_load(python, jingles, tmp_path, error):
    "Databases are written without it, and NumPy reads them: a warning says why"
    (tmp_path/'tensorflow').mkdir()
    (tmp_path/'tensorflow'/'__init__.py').write_text(f'raise {error}')
    broken = dict(os.environ, PYTHONPATH=str(tmp_path))
    jingles('export', tmp_path/'db', '--train', 2, '--valid', 0, '--seconds', 1, '--workers', 1, '--format', 'audio', env=broken)
    done = python('import sys; from jingles.data.records import Records; print(sum(len(b["x"]) for b in Records(sys.argv[1])))', tmp_path/'db'/'train', env=broken)
    assert done.stdout.strip() == '2' and 'TensorFlow is installed and does not load (' in done.stderr and 'NumPy reads the records' in done.stderr, done.stderr
