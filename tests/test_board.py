"The board's own code, draw.js, in node: what the browser's test would need too much luck to see"
import json, shutil, subprocess

import pytest

from book import ROOT
from jingles.control.curves import SETS

NODE, BOARD = shutil.which('node'), ROOT/'tests'/'board.mjs'


def node(*args):
    lane_specs = pytest.importorskip('jingles.control.draw').lane_specs
    return subprocess.run([NODE, BOARD, json.dumps({name: lane_specs(name) for name in SETS}), *args], capture_output=True, text=True, timeout=60)


@pytest.mark.skipif(not NODE, reason='no node; as root: apt-get install nodejs')
def test_board():
    "Every test of board.mjs; its comments say what each looks at"
    names = node().stdout.split()
    assert 'shorter' in names
    wrong = {name: done.stderr[-1500:] for name in names if (done := node(name)).returncode}
    assert not wrong, '\n'.join(f'{name}: {said}' for name, said in wrong.items())
