"The wheel: it carries the weights, and makes a jingle in an empty environment"
import os, shutil, subprocess, sys, tempfile, venv, zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from book import ROOT, project_files
from jingles.limits import SECONDS, STEPS, VARIATIONS, shipped_models

WEIGHTS = ROOT/'jingles'/'weights'
TRAINING = 'tensorflow', 'librosa', 'numba', 'sklearn'      # what only training and scoring need


def shipped(): return sorted(p.relative_to(ROOT).as_posix() for p in project_files() if WEIGHTS in p.parents)


@pytest.fixture(scope='session')
def wheel(tmp_path_factory):
    "The wheel of the project's files, built in a copy so that no build folder of old can get into it"
    tree, out = tmp_path_factory.mktemp('tree'), tmp_path_factory.mktemp('wheel')
    for path in project_files():
        if path.parent != ROOT and ROOT/'jingles' not in path.parents: continue
        (tree/path.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tree/path.relative_to(ROOT))
    subprocess.run([sys.executable, '-m', 'pip', 'wheel', '-q', '.', '--no-deps', '--no-build-isolation', '-w', out], cwd=tree, check=True)
    found = list(out.glob('*.whl'))
    assert len(found) == 1
    return found[0]


def test_weights_are_small_and_documented():
    "Every shipped model is a safetensors file with its configuration and its card, each below 16 MB"
    models = [p for p in shipped() if p.endswith('.safetensors')]
    assert models, 'no weights are shipped in jingles/weights'
    for model in models:
        assert (ROOT/model).stat().st_size < 16e6, f'{model} is over 16 MB'
        beside = {Path(p).suffix for p in shipped() if Path(p).parent == Path(model).parent}
        assert {'.json', '.md'} <= beside, f'{model} has beside it {sorted(beside)}; a configuration (.json) and a card (.md) are wanted'


@pytest.mark.parametrize('name', shipped_models())
def test_cards_say_the_bounds_of_chapter_00(name):
    card = (WEIGHTS/name/'README.md').read_text()
    for limit, unit in ((SECONDS, 's at a time'), (VARIATIONS, 'variations'), (STEPS, 'steps')):
        assert f'{limit.low:g} to {limit.high:g} {unit}' in card


def test_wheel_carries_what_is_needed(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert shipped() and set(shipped()) <= names, f'not in the wheel: {sorted(set(shipped()) - names)}'
    modules = {p.relative_to(ROOT).as_posix() for p in project_files() if ROOT/'jingles' in p.parents and p.suffix == '.py'}
    assert {n for n in names if n.endswith('.py')} == modules
    assert {'jingles/control/draw.js', 'jingles/studio.js', 'jingles/serve.js'} <= set(names), 'the drawing board has nothing to draw with'
    assert any(n.endswith('LICENSE') for n in names)
    assert not any(n.startswith(('tests/', 'nbs/', 'build/')) for n in names)


def test_wheel_says_what_it_is(wheel):
    archive = zipfile.ZipFile(wheel)
    def read(name): return archive.read(next(n for n in archive.namelist() if n.endswith(f'.dist-info/{name}'))).decode()
    about = read('METADATA')
    import jingles
    assert f'\nVersion: {jingles.__version__}\n' in about
    assert all(f'Provides-Extra: {extra}' in about for extra in ('train', 'lab', 'serve', 'hub', 'dev', 'docs'))
    assert 'made from nbs/index.ipynb' in about, 'README.md is the long description'
    assert 'jingles = jingles.cli:main' in read('entry_points.txt')


@pytest.mark.slow
def test_jingle_in_an_empty_environment(wheel):
    "The wheel and its base requirements, nothing else: no TensorFlow, no notebooks, no checkout in reach"
    env = {k: v for k, v in os.environ.items() if not k.startswith(('PYTHON', 'VIRTUAL_ENV', 'JINGLES'))}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        venv.create(place/'venv')
        def run(*args): return subprocess.run([str(a) for a in args], cwd=place, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout
        python = place/'venv'/'bin'/'python'
        run(sys.executable, '-m', 'pip', '--python', python, 'install', '-q', '--no-compile', '-c', ROOT/'constraints.txt', wheel)      # what is imported is compiled then
        said = run(place/'venv'/'bin'/'jingles', 'generate', '--seconds', 2, '--out', place/'a.wav')
        assert 'a.wav' in said
        sound, rate = soundfile.read(place/'a.wav')
        where = run(python, '-c', f'import jingles, importlib.util as u; print(jingles.__file__, *[m for m in {TRAINING} if u.find_spec(m)])').split()
    assert where[0].startswith(folder) and not where[1:], where
    assert rate == 24_000 and sound.shape == (2*24_000,)
    assert 0.01 < np.abs(sound).max() <= 1, 'the jingle is silent or out of range'
