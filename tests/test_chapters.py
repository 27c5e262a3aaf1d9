"The chapters run from top to bottom, and print what is saved in them; each in a process of its own"
import pytest

from book import ROOT, chapters
from chapter_runs import run_chapter


@pytest.mark.chapter
@pytest.mark.parametrize('path', [*(c.path for c in chapters()), ROOT/'nbs'/'index.ipynb'], ids=lambda path: path.stem)
def test_chapter(path):
    ran = run_chapter(path)
    assert ran.returncode == 0, f'{ran.stdout}\n{ran.stderr}'
