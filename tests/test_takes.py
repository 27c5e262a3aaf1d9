"Takes that survive their kernel: a real one, that is killed and started again"
import json, os, subprocess, sys

import pytest
from jupyter_client.manager import KernelManager

from book import ROOT
from jingles.files.recipe import make_again, read_recipe
from jingles.files.takes import TakeFolder, read_stored_take

CELL = """
import hashlib, json
from jingles.studio import Studio
studio = Studio(seconds=1, keep='drawn.npz')
studio.set(steps=2)
def strip():
    if hasattr(studio, 'restoring'): studio.restoring.join()
    return [dict(how=c.take.how, keep=c.keep, state=c.state, measured=c.take.measured is not None, wav=hashlib.sha256(c.take.wav.tobytes()).hexdigest(),
                 curves={k: v.tolist() for k, v in c.take.cond.local.items()}, file=hashlib.sha256(__import__('jingles.studio').studio.card_file(studio, c)).hexdigest()) for c in studio.cards]
"""


class Notebook:
    "A kernel in a folder, and what its cells say"
    def __init__(self, folder):
        self.manager = KernelManager(kernel_name='python3')
        self.manager.start_kernel(cwd=str(folder), extra_arguments=[])
        self.connect()

    def connect(self):
        self.client = self.manager.blocking_client()
        self.client.start_channels(); self.client.wait_for_ready(120)

    def run(self, code, value='None'):
        "Run a cell; the value of an expression that JSON can carry"
        reply = self.client.execute_interactive(code, user_expressions=dict(x=f'__import__("json").dumps({value})'), output_hook=lambda m: None, timeout=300)['content']
        assert reply['status'] == 'ok', '\n'.join(reply.get('traceback', ()))
        x = reply['user_expressions']['x']
        assert x['status'] == 'ok', x
        return json.loads(eval(x['data']['text/plain']))

    def restart(self):
        "As the button does it, but at once: what the kernel is doing is not finished"
        self.client.stop_channels()
        self.manager.restart_kernel(now=True)
        self.connect()

    def close(self): self.client.stop_channels(); self.manager.shutdown_kernel(now=True)


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    monkeypatch.setenv('PYTHONPATH', str(ROOT)); monkeypatch.setenv('IPYTHONDIR', str(tmp_path/'.ipython'))
    notebook = Notebook(tmp_path)
    yield notebook
    notebook.close()


def test_takes_survive_a_restart(notebook, tmp_path):
    "The kernel is killed while it makes many takes: those that were there are there again, bit for bit, and no file is half written"
    notebook.run(CELL)
    notebook.run("studio.set(variations=2); studio.generate(); studio.worker.join(); [studio.on_request(None, dict(kind='keep', id=c.id, keep=True), []) for c in studio.cards]")
    before = notebook.run('', 'strip()')
    assert [(t['how'], t['keep'], t['state']) for t in before] == [('seed 1', True, 'measured'), ('seed 0', True, 'measured')]
    notebook.run("""
import threading
fourth = threading.Event()
studio.observe(lambda change: fourth.set() if any('seed 3' == t['how'] for t in change['new']) else None, 'strip')
studio.set(variations=60)
studio.generate()
fourth.wait()""")
    notebook.restart()
    notebook.run(CELL)
    after = notebook.run('', 'strip()')
    assert after[-2:] == before and [t['how'] for t in after] == [f'seed {k}' for k in reversed(range(len(after)))]
    assert 3 <= len(after) < 60 and all(t['measured'] for t in after)            # seed 2 was in its file when seed 3 came
    assert notebook.run('', '[studio.chosen.how, studio.settings["seed"]]') == [after[0]['how'], len(after)]
    files = sorted((tmp_path/'drawn-takes').glob('*.wav'))
    whole = [f for f in files if not f.name.startswith('.') and f.stat().st_size]
    assert len(whole) == len(after) and all(read_stored_take(f) for f in whole)
    recipe = read_recipe(tmp_path/'drawn-takes'/'jingle-1.wav')
    assert (make_again(recipe) == read_stored_take(tmp_path/'drawn-takes'/'jingle-1.wav').wav).all()
    notebook.run("studio.set(variations=1); studio.generate(); studio.worker.join()")
    assert notebook.run('', '[t.how for t in studio.takes]') == [f'seed {len(after)}', 'seed 1', 'seed 0']       # what is marked stays


ADD = """
import sys, time
import jingles.files.takes as takes
from jingles.generate import demo_curves
def held(*args):
    print('reserved', flush=True); time.sleep(600)
if sys.argv[1:] == ['held']: takes.write_stored_take = held
take = takes.StoredTake(takes.np.full(2400, 0.1, 'f4'), demo_curves(1), 3, 24_000, ('bell',), at=1.)
print(takes.TakeFolder('takes').add('jingle-3', take).name, flush=True)
"""


def test_killed_before_it_is_written(tmp_path):
    "A process that is killed when it has a name and has written nothing yet: while it lives the name is its own, then it is free"
    start = lambda *args: subprocess.Popen([sys.executable, '-c', ADD, *args], cwd=tmp_path, env=os.environ | dict(PYTHONPATH=str(ROOT)), stdout=subprocess.PIPE, text=True)
    add = lambda: start().communicate(timeout=120)[0].strip()
    names = lambda: [path.name for path, _ in TakeFolder(tmp_path/'takes').read()]
    slow = start('held')
    try:
        assert slow.stdout.readline() == 'reserved\n' and (tmp_path/'takes'/'jingle-3.wav').stat().st_size == 0
        assert add() == 'jingle-3-2.wav'
    finally: slow.kill(); slow.wait()
    assert names() == ['jingle-3-2.wav'] and (tmp_path/'takes'/'jingle-3.wav').stat().st_size == 0
    assert add() == 'jingle-3.wav' and sorted(names()) == ['jingle-3-2.wav', 'jingle-3.wav']
    assert add() == 'jingle-3-3.wav'
