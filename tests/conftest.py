"Settings and fixtures shared by the tests"
import os, subprocess, sys

os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')     # else PyTorch's waiting threads slow down whatever runs beside the tests
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('MPLBACKEND', 'Agg')

import pytest
from book import ROOT


@pytest.fixture(scope='session')
def root():
    "The project's folder"
    return ROOT


@pytest.fixture(scope='session')
def python():
    "python(code, *args) runs `code` in an interpreter of its own, in the project's folder; a failure shows what it printed"
    def python(code, *args, ok=True, timeout=300, **kw):
        done = subprocess.run([sys.executable, '-c', code, *map(str, args)], cwd=ROOT, capture_output=True, text=True, timeout=timeout, **kw)
        assert not ok or done.returncode == 0, f'exit {done.returncode}\n{done.stdout}\n{done.stderr}'
        return done
    return python


@pytest.fixture(scope='session')
def jingles(python):
    "jingles(*args) runs the command line as a user does; `ok=False` when it may fail. Returns the finished process"
    def jingles(*args, **kw):
        return python('import sys; sys.argv[0] = "jingles"; from jingles.cli import main; main()', *args, **kw)
    return jingles


@pytest.fixture(scope='session')
def tiny(tmp_path_factory):
    "A folder with a tiny untrained codec, `codec`, and a database in its format, `db`: 24 clips to train with and 6 to test with, of 1 s"
    import torch
    from jingles.data.pvt import ExportSettings, export
    from jingles.formats.codec import Codec, load_codec, save_codec
    folder = tmp_path_factory.mktemp('tiny')
    torch.manual_seed(0)
    save_codec(Codec(width=16, depth=1), folder/'codec')
    export(folder/'db', formats=dict(codec=load_codec(folder/'codec')), recipe=ExportSettings(clips=(24, 6), seconds=1), workers=1)
    return folder
