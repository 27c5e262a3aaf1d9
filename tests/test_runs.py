"The run notebooks, as papermill runs them: from end to end at the smallest size, with wrong parameters, and by two processes at once"
import json, os, re, subprocess
from copy import deepcopy
from types import SimpleNamespace

import IPython.display
import nbformat
import pytest
import forked
from book import ROOT, cells, code
from jingles.core import load_tensors
from jingles.data.export import ExportSettings, export
from jingles.formats.codec import load_codec
from jingles.system import configure, preset
from jingles.trainer.checkpoints import read_log
from jingles.training import sweep_configs, train
from nbclient import NotebookClient

RUNS = ROOT/'nbs'/'runs'
pytestmark = pytest.mark.usefixtures('forked_kernels')


def command(name, written, **parameters):
    "The command that runs a notebook through papermill"
    given = [word for k, v in parameters.items() for word in ('-p', k, str(v))]
    return forked.command('-m', 'papermill', '--log-level', 'ERROR', '--no-progress-bar', str(RUNS/f'{name}.ipynb'), str(written), '--cwd', str(ROOT), *given)


def environment():
    env = {k: v for k, v in os.environ.items() if k != 'MPLBACKEND'}        # pictures belong into the notebook here
    return {**env, 'PYTHONPATH': os.pathsep.join([str(ROOT), *filter(None, [env.get('PYTHONPATH')])]), 'OMP_NUM_THREADS': '1'}


def start(words, **env): return subprocess.Popen(words, cwd=ROOT, env=environment() | env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
def launch(*args, **parameters): return start(command(*args, **parameters))


def ended(process):
    "Exit status and what was said"
    said = process.communicate(timeout=500)[0]
    return process.returncode, re.sub(r'\x1b\[[\d;]*m', '', said)


def outputs(path): return [o for c in json.loads(path.read_text())['cells'] for o in c.get('outputs', [])]
def shown(path, kind): return [o['data'][kind] for o in outputs(path) if kind in o.get('data', {})]
def said(path): return ''.join(''.join(o.get('text', '')) + ''.join(o.get('data', {}).get('text/markdown', '')) + ''.join(o.get('data', {}).get('text/plain', '')) for o in outputs(path))


def in_here(name, variables, **given):
    "Run the code cells of a run notebook one after the other in this process; yields after each"
    for cell in cells(RUNS/f'{name}.ipynb'):
        if cell.kind != 'code': continue
        exec(code(cell.source), variables)
        if 'parameters' in cell.tags: variables.update(given)
        yield cell


def players(path): return [h for h in shown(path, 'text/html') if '<audio' in ''.join(h)]


def test_train_by_two_processes(tiny, tmp_path):
    """Under torchrun each process runs the notebook; that of rank 0 is the record: data, network, a picture and a sound after each epoch, figures.
    The losses and weights are those of one process, within the tolerance that tests/test_training.py gives reasons for"""
    out = tmp_path/'run'
    settings = dict(codec=str(tiny/'codec'), steps=8, epoch_steps=4)
    papermill = command('train', tmp_path/'train-${local_rank}.ipynb', preset='smoke', data=tiny/'db', out=out, shown=1, scored=2, sampling_steps=2, **settings)
    both = start(forked.command('-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2', '--max-restarts', '3', '--no-python', *papermill), **forked.ALONE)
    train(configure(preset('smoke'), **settings), tiny/'db', tmp_path/'alone')
    status, words = ended(both)
    assert status == 0, words[-3000:]
    first, second = tmp_path/'train-0.ipynb', tmp_path/'train-1.ipynb'
    assert 'process 0 of 2' in said(first) and 'process 1 of 2' in said(second)
    rows = [json.loads(line) for line in (out/'log.jsonl').read_text().splitlines()]
    assert [r['step'] for r in rows] == [2, 4, 6, 8] and [r.get('epoch') for r in rows] == [None, 1, None, 2]
    assert all(f"**Epoch {r['epoch']}**, step {r['step']}: loss {r['loss']:.4f}, held out {r['held_out']:.4f}" in said(first) for r in rows[1::2])
    assert len(shown(first, 'image/jpeg')) == 1 + 1 + 2 and len(players(first)) == 1 + 2       # data, curves, one after each epoch
    assert '| model, no control |' in said(first) and "'best_step'" in said(first)
    assert 'Epoch' not in said(second) and 'rank 1 has no figures' in said(second)
    assert first.stat().st_size < 1_000_000
    for a, b in zip(read_log(tmp_path/'alone'), rows, strict=True): assert all(a.get(k) is b.get(k) is None or abs(a[k]/b[k] - 1) < 1e-5 for k in ('loss', 'held_out'))
    a, b = (load_tensors(folder/'model.safetensors') for folder in (tmp_path/'alone', out))
    assert a.keys() == b.keys() and max((a[k] - b[k]).abs().max() for k in a) < 2e-3


def test_train_without_held_out_clips(tiny, tmp_path, monkeypatch):
    "What can be shown is shown"
    export(tmp_path/'db', formats=dict(codec=load_codec(tiny/'codec')), settings=ExportSettings(clips=(8, 0), seconds=1), workers=1)
    monkeypatch.setattr(IPython.display, 'display', lambda *_, **__: SimpleNamespace(update=lambda _: None))
    variables = {}
    assert all(in_here('train', variables, preset='smoke', codec=str(tiny/'codec'), data=str(tmp_path/'db'), out=str(tmp_path/'run'), steps=4, epoch_steps=2))
    assert len(variables['held']) == 0 and [('epoch' in row, 'held_out' in row) for row in read_log(tmp_path/'run')] == [(True, False)]*2
    assert (tmp_path/'run'/'model.safetensors').exists()


def test_a_wrong_parameter_is_refused_before_any_work(tmp_path):
    status, words = ended(launch('train', tmp_path/'train.ipynb', preset='smoke', data=tmp_path/'no', out=tmp_path/'run', stepz=5))
    assert status == 1 and "ValueError: no setting 'stepz'; there are preset, data, out" in words
    assert not (tmp_path/'run').exists() and json.loads((tmp_path/'train.ipynb').read_text())['cells'][-1]['metadata']['papermill']['status'] == 'pending'


@pytest.mark.parametrize('name, given, complaint', [
    ('train', dict(steps='many'), "steps is 'many'; expected int, such as 7000"),
    ('train', dict(shown='all'), "shown is 'all'; expected int, such as 2"),
    ('evaluate', dict(modell='runs/small'), "no parameter 'modell'; there are model, midi, data"),
    ('evaluate', dict(count='many'), "count is 'many'; expected int, such as 200"),
    ('sweep', dict(presets='smoke', only='all'), "only is 'all'; expected int, such as -1"),
    ('sweep', dict(presets='smoke', stepz=5), "no setting 'stepz'; there are presets, setting, values"),
    ('sweep', dict(presets='smoke', setting='lr', values='slow,fast'), "lr is 'slow'; expected float, such as 0.0006"),
    ('sweep', dict(presets='smoky'), "no preset 'smoky'; there is small,"),
    ('export', dict(format='codec'), "no parameter 'format'; there are out, formats, midi"),
    ('export', dict(train=2.5), "train is 2.5; expected int, such as 2000"),
    ('train_codec', dict(clips=10), "no parameter 'clips'; there are format, midi, out"),
    ('train_codec', dict(lr='fast'), "lr is 'fast'; expected float, such as 0.001"),
    ('train_codec', dict(format=3), "format is 3, a number; expected text"),
    ('compare_codecs', dict(scale='large'), "scale is 'large'; expected smoke, small"),
    ('compare_codecs', dict(codec_minutes='many'), "codec_minutes is 'many'; expected float, such as -1.0"),
    ('compare_codecs', dict(variants='25'), "there is no '25'; choose of 37.5x48, 75x16")])
def test_wrong_parameters_of_each_notebook(name, given, complaint, tmp_path, monkeypatch):
    "Refused, in one line, by the cell after that of the parameters"
    monkeypatch.chdir(tmp_path)
    ran = in_here(name, {}, **given)
    assert 'parameters' in next(ran).tags
    with pytest.raises(ValueError, match=re.escape(complaint)) as e: next(ran)
    assert '\n' not in str(e.value) and not any(tmp_path.iterdir())


@pytest.mark.parametrize('name, given', [
    ('train', dict(preset='smoke', steps=2, epoch_steps=2, tries=2, shown=1, scored=0, sampling_steps=2)),
    ('sweep', dict(presets='smoke', setting='lr', values='1e-3,3e-3', steps=2, epoch_steps=2, tries=2)),
    ('evaluate', dict(count=1, teach=15, shown=1, sampling_steps=2, workers=1)),
    ('export', dict(train=2, valid=1, seconds=1., workers=1)),
    *[('train_codec', dict(format=format, sounds=4, latents=4, held_out=2, seconds=2., steps=2, save_every=2, batch=4, width=16, depth=1, books=2, classes=8, book_steps=2, book_batch=32, shown=1, workers=1))
      for format in ('codec', 'spectral')]])
def test_cells_twice_in_one_kernel(name, given, tiny, tmp_path, monkeypatch):
    "As in Jupyter: what the cells left behind the first time is no parameter the second"
    for k, v in environment().items(): monkeypatch.setenv(k, v)
    monkeypatch.delenv('MPLBACKEND', raising=False)
    out = dict(out=str(tmp_path/('metrics.json' if name == 'evaluate' else 'out'))) | (dict(data=str(tiny/'db'), codec=str(tiny/'codec')) if name in ('train', 'sweep') else {})
    nb = nbformat.read(RUNS/f'{name}.ipynb', 4)
    first = next(i for i, c in enumerate(nb.cells) if 'parameters' in c.metadata.get('tags', ()))
    nb.cells.insert(first + 1, nbformat.v4.new_code_cell('# Parameters\n' + '\n'.join(f'{k} = {v!r}' for k, v in {**given, **out}.items())))
    nb.cells = [deepcopy(c) for _ in range(2) for c in nb.cells if c.cell_type == 'code']
    for c in nb.cells: c.pop('id', None)
    NotebookClient(nb, timeout=300, kernel_name='python3', resources=dict(metadata=dict(path=str(ROOT)))).execute()
    half = len(nb.cells)//2
    assert [c.execution_count for c in nb.cells] == [*range(1, 2*half + 1)]


def test_digits_are_a_folder(tmp_path, monkeypatch):
    "papermill makes numbers of them; a job of the cluster hands them over as they are"
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT/'slurm'))
    import rank
    assert rank.options(RUNS/'train.ipynb', ['out=0042', 'shown=3', 'codec=007']) == ['-r', 'out', '0042', '-p', 'shown', '3', '-r', 'codec', '007']
    variables = {}
    ran = in_here('train', variables, preset='smoke', out=20261127, codec=20261128)
    next(ran), next(ran)
    assert variables['out'] == '20261127' and variables['cfg'].codec == '20261128'
    ran = in_here('export', {}, out=42)
    next(ran)
    with pytest.raises(ValueError, match='out is 42, a number; expected text.*give it by -r out 0042'): next(ran)


def test_sweep(tiny, tmp_path):
    "Two learning rates, of which one was trained before: it is not trained again, and both are in the table"
    settings = dict(codec=str(tiny/'codec'), steps=4, epoch_steps=2, tries=2)
    first, second = variants = sweep_configs('smoke', 'lr', '1e-3,3e-3', settings)
    train(variants[second], tiny/'db', tmp_path/second)
    weights = (tmp_path/second/'model.safetensors').stat().st_mtime_ns
    status, words = ended(launch('sweep', tmp_path/'sweep.ipynb', presets='smoke', setting='lr', values='1e-3,3e-3', data=tiny/'db', out=tmp_path, **settings))
    assert status == 0, words[-3000:]
    rows = [line.split('|')[1].strip() for line in said(tmp_path/'sweep.ipynb').splitlines() if line.startswith('| smoke-lr=')]
    assert rows == [first, second] and (tmp_path/first/'model.safetensors').exists()
    assert (tmp_path/second/'model.safetensors').stat().st_mtime_ns == weights


def test_evaluate(tmp_path):
    "The shipped model, far too few clips"
    status, words = ended(launch('evaluate', tmp_path/'evaluate.ipynb', out=tmp_path/'metrics.json', count=2, teach=15, shown=1, sampling_steps=2, workers=1))
    assert status == 0, words[-3000:]
    assert json.loads((tmp_path/'metrics.json').read_text())['clips'] == 2 and 'pitch class' in (tmp_path/'metrics.md').read_text()
    assert len(players(tmp_path/'evaluate.ipynb')) == 2 and 'pitch class' in said(tmp_path/'evaluate.ipynb')


def test_table_4_1_at_its_smallest(tmp_path):
    "All five pairs trained twice and compared; a second run makes nothing again"
    run = dict(scale='smoke', out=tmp_path/'table', minutes=0., workers=1)
    status, words = ended(launch('reproduce_table_4_1', tmp_path/'table.ipynb', **run))
    assert status == 0, words[-3000:]
    pairs = ['ddpm-cqt', 'edm-cqt', 'ddpm-latents', 'edm-latents', 'discdpm-codes']
    for table in ('equal-time', 'equal-parameters'):
        rows = (tmp_path/'table'/'tables'/table/'table.csv').read_text().splitlines()
        assert rows[0].split(',')[1:6] == pairs and any(r.startswith('"nearest training clip, samples"') for r in rows)
    assert said(tmp_path/'table.ipynb').count('Cheapest to sample') == 2
    before = {p: p.stat().st_mtime_ns for p in (tmp_path/'table').rglob('*.safetensors')}
    assert len([p for p in before if p.name == 'model.safetensors']) >= 8
    status, words = ended(launch('reproduce_table_4_1', tmp_path/'again.ipynb', **run, only='edm-latents'))
    assert status == 0 and {p: p.stat().st_mtime_ns for p in before} == before, words[-3000:]


def test_codecs_compared_at_their_smallest(tmp_path):
    "Two rates and four decoders are trained, measured and heard; a second run makes nothing again and says the same"
    run = dict(scale='smoke', out=tmp_path/'codecs', seconds=1.)
    tables = []
    for name in ('first', 'again'):
        status, words = ended(launch('compare_codecs', tmp_path/f'{name}.ipynb', **run))
        assert status == 0, words[-3000:]
        tables.append([[cell.strip() for cell in line.split('|')[1:3]] for text in shown(tmp_path/f'{name}.ipynb', 'text/markdown') for line in ''.join(text).splitlines() if line])
        kept = {p: p.stat().st_mtime_ns for p in (tmp_path/'codecs').rglob('*') if p.suffix in ('.safetensors', '.tfrecord', '.json') and p.name != 'running.json'}
        if name == 'first': before = kept
    assert kept == before and tables[0] == tables[1]
    assert [row[0] for row in tables[0]] == ['', '---', '37.5 Hz x 8', '25 Hz x 8', 'decoder', '---', 'shipped', 'magnitudes', 'inverse STFT', 'relative inverse STFT']
    assert 'mel distance [dB]: ' in said(tmp_path/'first.ipynb') and len(players(tmp_path/'first.ipynb')) == 1 + 2*2 + 5
    assert {p.parent.name for p in before if p.name == 'figures.json'} == {'37.5x8', '25x8'}


def test_a_sweep_of_sampling(tmp_path):
    "Two ways of sampling the shipped model: a table and a sentence for each measure, nothing trained"
    status, words = ended(launch('sweep', tmp_path/'sweep.ipynb', model='notes', setting='sampler+sampling_steps', values='dpmpp+2,euler+2', out=tmp_path, clips=2, workers=1))
    assert status == 0, words[-3000:]
    found = said(tmp_path/'sweep.ipynb')
    assert 'onset F1: ' in found and '| pitch class |' in found and 'sampler=euler, sampling_steps=2' in found
    assert shown(tmp_path/'sweep.ipynb', 'image/jpeg') and not list(tmp_path.rglob('*.safetensors'))
