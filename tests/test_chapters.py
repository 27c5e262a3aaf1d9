"The chapters run from top to bottom, and print what is saved in them; each in a process of its own, and in the processor seconds that `chapters.LIMIT` allows"
import pytest

from book import ROOT, chapters
from chapter_runs import run_chapter


@pytest.mark.chapter
@pytest.mark.parametrize('path', [*(c.path for c in chapters()), ROOT/'nbs'/'index.ipynb'], ids=lambda path: path.stem)
def test_chapter(path, record_property):
    ran = run_chapter(path)
    record_property('processor seconds', ran.processor_seconds)      # shown at the end (conftest.py)
    assert ran.returncode == 0, f'{ran.stdout}\n{ran.stderr}'
