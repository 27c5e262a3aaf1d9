"Settings and fixtures shared by the tests"
import os, subprocess, sys

os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')     # else PyTorch's waiting threads slow down whatever runs beside the tests
os.environ.setdefault('OMP_NUM_THREADS', '1')           # several tests run at once, on as many processors; sums are then the same on any machine
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('MPLBACKEND', 'Agg')

import pytest

import forked
from book import ROOT

forked.folder()      # the workers of pytest-xdist inherit its name
if 'PYTEST_XDIST_WORKER' not in os.environ:
    # librosa's functions are compiled when they are first imported; two processes that do so at once mix up the files of Numba's cache, and crash
    subprocess.run([sys.executable, '-c', 'import librosa.core.audio, librosa.core.pitch, librosa.sequence, librosa.util.utils'])

pytest_plugins = ['skips']
# these take longest: begun first, so that none is left alone at the end
SLOWEST = ('browser', 'slurm', 'explore', 'codes', 'gpu_training', 'package', 'toy', 'export', 'training', 'runs', 'docs', 'architecture')


LONG_CHAPTERS = ('test_chapter[30_toy.swissroll]', 'test_chapter[31_toy.mnist]')
ALONE = ('test_chapters.py', 'test_runs.py')      # files whose tests share nothing: each may run beside the others


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    "One worker for the tests of a file, which may share a page, a cluster or a database; for each test of the files in `ALONE` whichever is free"
    from xdist.scheduler import LoadScopeScheduling
    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            path = nodeid.partition('::')[0]
            return nodeid if os.path.basename(path) in ALONE else path
    if config.getvalue('dist') == 'loadscope': return ByFile(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    "The slowest files first, the others as they come, the chapters last; `--no-loadscope-reorder` keeps xdist to it, `--dist loadscope` the tests of a file together"
    place = {f'test_{name}.py': i for i, name in enumerate(SLOWEST)} | {'test_chapters.py': len(SLOWEST) + 1}
    items.sort(key=lambda item: 2 if item.name in LONG_CHAPTERS else place.get(item.path.name, len(SLOWEST)))


def pytest_terminal_summary(terminalreporter):
    "The chapters that took longest, in processor seconds; 60 are aimed at, and `chapters.py` lets those fail that take over its LIMIT"
    reports = terminalreporter.stats.get('passed', []) + terminalreporter.stats.get('failed', [])
    took = {r.nodeid.partition('[')[2][:-1]: dict(r.user_properties)['processor seconds'] for r in reports if 'processor seconds' in dict(r.user_properties)}
    slowest = sorted(((seconds, name) for name, seconds in took.items() if seconds), reverse=True)[:10]
    if slowest: terminalreporter.section('slowest chapters, processor seconds')
    for seconds, name in slowest: terminalreporter.write_line(f'{seconds:8.1f} {name}', yellow=seconds > 60)


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
def forked_python():
    "The same, forked from a process that has imported what is slow to import: for code that does not ask what is imported"
    def forked_python(code, *args, ok=True, timeout=300):
        done = subprocess.run(forked.command('-c', code, *args), cwd=ROOT, capture_output=True, text=True, timeout=timeout)
        assert not ok or done.returncode == 0, f'exit {done.returncode}\n{done.stdout}\n{done.stderr}'
        return done
    return forked_python


@pytest.fixture(scope='session')
def jingles(python):
    """jingles(*args) runs the command line as a user does; `ok=False` when it may fail. Returns the finished process.
    It is forked from one that has imported what is slow to import; with another environment it is a new one"""
    def jingles(*args, ok=True, **kw):
        if kw.keys() <= {'timeout'}:
            done = forked.jingles(*args, **kw)
            assert not ok or done.returncode == 0, f'exit {done.returncode}\n{done.stdout}\n{done.stderr}'
            return done
        return python('import sys; sys.argv[0] = "jingles"; from jingles.cli import main; main()', *args, ok=ok, **kw)
    return jingles


@pytest.fixture(scope='session')
def forked_kernels():
    "Jupyter's kernels begin with what is slow to import, as `jingles` does; pictures are in the notebook, as a user sees them"
    with pytest.MonkeyPatch.context() as m:
        m.setenv('JUPYTER_PATH', os.pathsep.join(filter(None, [forked.kernels(), os.environ.get('JUPYTER_PATH')])))
        yield


@pytest.fixture(scope='session')
def tiny(tmp_path_factory):
    "A folder with a tiny untrained codec, `codec`, and a database in its format, `db`: 24 clips to train with and 6 to test with, of 1 s"
    import torch
    from jingles.data.export import ExportSettings, export
    from jingles.formats.codec import Codec, load_codec, save_codec
    folder = tmp_path_factory.mktemp('tiny')
    torch.manual_seed(0)
    save_codec(Codec(width=16, depth=1), folder/'codec')
    export(folder/'db', formats=dict(codec=load_codec(folder/'codec')), settings=ExportSettings(clips=(24, 6), seconds=1), workers=1)
    return folder
