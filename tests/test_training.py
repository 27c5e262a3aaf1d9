"A run that is killed and taken up again ends with the weights of one that never was"
import signal, subprocess, sys, time

import pytest
import torch
from jingles.core import load_tensors
from jingles.formats.codec import Codec, save_codec

RUN = """
import sys, time, torch
torch.set_num_threads(1)
import jingles.training as t
from jingles.system import configure
data, codec, out, pause = sys.argv[1:]
plain = t.optimize
def slow(*args): time.sleep(float(pause)); return plain(*args)
t.optimize = slow
t.train(configure(codec=codec, widths='16,24', steps=30, save_every=5, warmup=5, batch=4, seconds=0.5), data, out)
"""


@pytest.fixture(scope='module')
def small(tmp_path_factory, jingles):
    "A tiny codec and a tiny database in its format"
    folder = tmp_path_factory.mktemp('small')
    torch.manual_seed(0)
    save_codec(Codec(width=16, depth=1), folder/'codec')
    jingles('export', folder/'db', '--codec', folder/'codec', '--train', 12, '--valid', 4, '--seconds', 1, '--workers', 1)
    return folder


def start(small, out, pause=0): return subprocess.Popen([sys.executable, '-c', RUN, *map(str, (small/'db', small/'codec', out, pause))], stderr=subprocess.PIPE, text=True)


def steps_done(out):
    "Steps in the last checkpoint"
    from jingles.training import load_state
    return load_state(out/'last.safetensors')[0]


@pytest.mark.parametrize('sign', [signal.SIGKILL, signal.SIGTERM])
def test_killed_and_resumed_is_the_same(small, tmp_path, sign):
    whole = start(small, small/'whole') if not (small/'whole').exists() else None
    broken = start(small, tmp_path/'run', pause=0.2)
    deadline = time.time() + 240
    while steps_done(tmp_path/'run') < 5 and time.time() < deadline: time.sleep(0.05)
    broken.send_signal(sign); broken.communicate()
    assert broken.returncode != 0 and 5 <= steps_done(tmp_path/'run') < 30
    again = start(small, tmp_path/'run'); _, said = again.communicate()
    assert again.returncode == 0, said
    if whole: assert whole.wait() == 0
    a, b = (load_tensors(f/'model.safetensors') for f in (small/'whole', tmp_path/'run'))
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
