"The chapters run from top to bottom, and print what is saved in them; each in a process of its own"
import subprocess

import pytest

import forked
from book import ROOT, chapters


@pytest.mark.chapter
@pytest.mark.parametrize('path', [*(c.path for c in chapters()), ROOT/'nbs'/'index.ipynb'], ids=lambda path: path.stem)
def test_chapter(path, monkeypatch):
    monkeypatch.delenv('MPLBACKEND', raising=False)         # pictures in the notebook
    done = subprocess.run(forked.command(ROOT/'tests'/'chapters.py', '--path', path, '--n_workers', 0), cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f'{done.stdout}\n{done.stderr}'
