"The run notebooks, as papermill runs them: from end to end at the smallest size, with wrong parameters, and by two processes at once"
import json, os, re, subprocess, sys

from book import ROOT
from doomed import together
from jingles.training import sweep_of, train

RUNS = ROOT/'nbs'/'runs'


def command(name, written, **parameters):
    "The command that runs a notebook through papermill"
    given = [word for k, v in parameters.items() for word in ('-p', k, str(v))]
    return [sys.executable, '-m', 'papermill', '--log-level', 'ERROR', '--no-progress-bar', str(RUNS/f'{name}.ipynb'), str(written), '--cwd', str(ROOT), *given]


def environment(**more):
    env = {k: v for k, v in os.environ.items() if k != 'MPLBACKEND'}        # pictures belong into the notebook here
    return {**env, 'PYTHONPATH': os.pathsep.join([str(ROOT), *filter(None, [env.get('PYTHONPATH')])]), 'OMP_NUM_THREADS': '1', **more}


def launch(*args, env={}, **parameters): return subprocess.Popen(command(*args, **parameters), cwd=ROOT, env=environment(**env), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(process):
    "Exit status and what was said"
    said = process.communicate(timeout=500)[0]
    return process.returncode, re.sub(r'\x1b\[[\d;]*m', '', said)


def outputs(path): return [o for c in json.loads(path.read_text())['cells'] for o in c.get('outputs', [])]
def shown(path, kind): return [o['data'][kind] for o in outputs(path) if kind in o.get('data', {})]
def said(path): return ''.join(''.join(o.get('text', '')) + ''.join(o.get('data', {}).get('text/markdown', '')) + ''.join(o.get('data', {}).get('text/plain', '')) for o in outputs(path))


def players(path): return [h for h in shown(path, 'text/html') if '<audio' in ''.join(h)]


def test_train_by_two_processes(tiny, tmp_path):
    "Each process runs the notebook; that of rank 0 is the record: data, network, a picture and a sound after each epoch, figures"
    out = tmp_path/'run'
    settings = dict(preset='smoke', codec=tiny/'codec', data=tiny/'db', out=out, shown=1, scored=2, sampling_steps=2, steps=8, epoch_steps=4)
    both = [launch('train', tmp_path/f'train-{e["RANK"]}.ipynb', env=e, **settings) for e in together(2)]
    for status, words in map(ended, both): assert status == 0, words[-3000:]
    first, second = tmp_path/'train-0.ipynb', tmp_path/'train-1.ipynb'
    assert 'process 0 of 2' in said(first) and 'process 1 of 2' in said(second)
    rows = [json.loads(line) for line in (out/'log.jsonl').read_text().splitlines()]
    assert [r['step'] for r in rows] == [2, 4, 6, 8] and [r.get('epoch') for r in rows] == [None, 1, None, 2]
    assert all(f"**Epoch {r['epoch']}**, step {r['step']}: loss {r['loss']:.4f}, held out {r['held_out']:.4f}" in said(first) for r in rows[1::2])
    assert len(shown(first, 'image/jpeg')) == 1 + 1 + 2 and len(players(first)) == 1 + 2       # data, curves, one after each epoch
    assert '| model, no control |' in said(first) and "'best_step'" in said(first)
    assert 'Epoch' not in said(second) and 'rank 1 has no figures' in said(second)
    assert (out/'model.safetensors').exists() and first.stat().st_size < 1_000_000


def test_wrong_parameters_are_refused_before_any_work(tmp_path):
    wrong = {"no setting 'stepz'; there are preset, data, out": dict(stepz=5), "steps is 'many'; expected int, such as 7000": dict(steps='many')}
    runs = [(complaint, tmp_path/f'{i}.ipynb', launch('train', tmp_path/f'{i}.ipynb', preset='smoke', data=tmp_path/'no', out=tmp_path/'run', **given))
            for i, (complaint, given) in enumerate(wrong.items())]
    for complaint, written, process in runs:
        status, words = ended(process)
        assert status == 1 and f'ValueError: {complaint}' in words
        assert not (tmp_path/'run').exists() and json.loads(written.read_text())['cells'][-1]['metadata']['papermill']['status'] == 'pending'


def test_sweep(tiny, tmp_path):
    "Two learning rates, of which one was trained before: it is not trained again, and both are in the table"
    settings = dict(codec=str(tiny/'codec'), steps=4, epoch_steps=2, tries=2)
    first, second = variants = sweep_of('smoke', 'lr', '1e-3,3e-3', settings)
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
