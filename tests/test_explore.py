"The notebooks to explore with run from top to bottom, as a user would run them"
import nbformat, pytest
from nbclient import NotebookClient

from book import ROOT


@pytest.mark.parametrize('path', sorted((ROOT/'nbs'/'explore').glob('[0-9]*.ipynb')), ids=lambda p: p.stem)
def test_explore(path, forked_kernels, monkeypatch):
    monkeypatch.delenv('MPLBACKEND', raising=False)         # pictures in the notebook, as a user sees them
    nb = NotebookClient(nbformat.read(path, 4), timeout=300, resources=dict(metadata=dict(path=path.parent))).execute()
    shown = [kind for cell in nb.cells for o in cell.get('outputs', []) for kind in o.get('data', {})]
    assert 'image/jpeg' in shown and sum('html' in k for k in shown) >= 3, 'a picture and three players are what it is for'
