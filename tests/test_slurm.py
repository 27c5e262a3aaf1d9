"The jobs of slurm/ on a real SLURM: ranks, warnings, runs, arrays"
import json, re, shlex, subprocess
from hashlib import sha256

import pytest
import torch
from jingles.core import load_tensors

import forked
from book import ROOT, cells
from cluster import Cluster, missing, until

pytestmark = [pytest.mark.slurm, pytest.mark.skipif(missing() is not None, reason=f'no SLURM here: {missing()}'), pytest.mark.usefixtures('broken', 'whole')]
TWO = dict(ntasks_per_node=2, cpus_per_task=1)
APART = dict(nodes=2, ntasks_per_node=1, cpus_per_task=1)
STEPS = 40
CPU = dict(CUDA_VISIBLE_DEVICES='')


@pytest.fixture(scope='module')
def warm(tmp_path_factory):
    "The environment of a job on processors, whose Python begins with what is slow to import"
    path = tmp_path_factory.mktemp('warm')/'python'
    path.write_text(f'#!/bin/sh\nexec {shlex.join(forked.command())} "$@"\n')
    path.chmod(0o755)
    return CPU | dict(PYTHON=str(path))


@pytest.fixture(scope='module')
def cluster(tmp_path_factory, forked_kernels):
    with Cluster(tmp_path_factory.mktemp('slurm')) as c: yield c
    assert not c.left(), 'the cluster is gone, and so is all it ran'


@pytest.fixture(scope='module')
def small(tmp_path_factory, tiny):
    "A folder for runs, with a tiny codec and a tiny database in its format"
    folder = tmp_path_factory.mktemp('small')
    for name in ('codec', 'db'): (folder/name).symlink_to(tiny/name)
    return folder


def smoke(small):
    "What is trained: settings beside the preset's"
    return f'codec={small}/codec', f'steps={STEPS}', 'save_every=20', 'epoch_steps=20', 'log_every=10'


@pytest.fixture(scope='module')
def whole(cluster, small):
    "The smoke model, trained by a step of two processes on one node that nobody disturbs, without the scripts or a notebook; it runs while the tests do"
    command = forked.command('-c', forked.CLI, 'train', '--preset', 'smoke', '--data', small/'db', '--out', small/'whole', *(f'--set={s}' for s in smoke(small)))
    step = subprocess.Popen(['srun', '--nodes=1', '--ntasks=2', *command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=cluster.env | CPU | forked.ALONE | dict(OMP_NUM_THREADS='1'))
    yield step
    step.kill()


@pytest.fixture(scope='module')
def broken(cluster, small):
    "The job that trains the same on two nodes, warned on its way"
    job = cluster.sbatch('train.sbatch', 'preset=smoke', f'data={small}/db', f'out={small}/broken', 'shown=0', 'scored=0', *smoke(small), env=CPU | forked.ALONE, **APART)
    until((small/'broken'/'train.ipynb').exists, 120, lambda: cluster.said(job))
    cluster.warn(job)
    return job


@pytest.fixture
def pretend(tmp_path):
    "pretend(script): the environment of a job whose Python is that shell script, in which $n counts the runs"
    def pretend(script, **env):
        (tmp_path/'python').write_text(f'#!/bin/bash\nn=${{SLURM_RESTART_COUNT:-0}}\n{script}\n')
        (tmp_path/'python').chmod(0o755)
        return dict(PYTHON=str(tmp_path/'python')) | env
    return pretend


def test_ranks_are_told_who_they_are(cluster, pretend, tmp_path):
    env = pretend('echo "$* | $SLURM_PROCID of $SLURM_STEP_NUM_TASKS, $SLURM_LOCALID on node $SLURM_NODEID of $SLURM_STEP_NODELIST, threads $OMP_NUM_THREADS"')
    job = cluster.sbatch('train.sbatch', 'preset=smoke', f'out={tmp_path}/a', env=env, nodes=2, **TWO)
    assert cluster.ended(job) == ['COMPLETED']
    asked = f'slurm/rank.py nbs/runs/train.ipynb {tmp_path}/a/train.ipynb preset=smoke out={tmp_path}/a'
    assert sorted(cluster.said(job).splitlines()) == [f'{asked} | {rank} of 4, {rank % 2} on node {rank//2} of 127.0.0.[1-2], threads 1' for rank in range(4)]


def test_a_job_that_does_not_listen_begins_again(cluster, pretend, tmp_path):
    "After GRACE seconds; LIVES is the old name of MAX_RUNS"
    env = pretend('[ $n = 1 ] || exec sleep 60', GRACE='1', LIVES='2')
    job = cluster.sbatch('train.sbatch', f'out={tmp_path}/a', env=env, **TWO)
    until((tmp_path/'a').exists, 20, 'the job has not begun')
    cluster.warn(job)
    assert cluster.ended(job) == ['COMPLETED']
    assert cluster.jobs(job)[0]['Restarts'] == '1'


def test_runs_come_to_an_end(cluster, pretend, tmp_path):
    "The second rank is a moment behind the first, and is not ended for it"
    env = pretend(f'until [ -e {tmp_path}/a/stop ]; do sleep 0.1; done; if [ $SLURM_PROCID = 0 ]; then touch {tmp_path}/a/again; else sleep 2; touch {tmp_path}/late; fi', MAX_RUNS='1')
    job = cluster.sbatch('train.sbatch', f'out={tmp_path}/a', env=env, **TWO)
    until((tmp_path/'a').exists, 20, 'the job has not begun')
    cluster.warn(job)
    assert cluster.ended(job) == ['FAILED'] and cluster.jobs(job)[0]['Restarts'] == '0'
    assert 'not done after 1 of 1 runs; the same sbatch command goes on from here' in cluster.said(job)
    assert (tmp_path/'late').exists() and not (tmp_path/'a'/'again').exists()


@pytest.mark.parametrize('ends', ['exit 1', '[ $SLURM_PROCID = 1 ] || exit 75'])
def test_failing_or_stopped_by_hand_is_not_begun_again(cluster, pretend, tmp_path, ends):
    job = cluster.sbatch('train.sbatch', f'out={tmp_path}/a', env=pretend(ends), **TWO)
    assert cluster.ended(job) == ['FAILED'] and cluster.jobs(job)[0]['Restarts'] == '0'


def test_the_last_task_of_an_export_completes_it(cluster, pretend, tmp_path):
    "Here it is one that was warned, and had to begin again"
    env = pretend(f'[ $n$SLURM_ARRAY_TASK_ID != 02 ] || {{ touch {tmp_path}/begun; exec sleep 60; }}; echo "$*"')
    job = cluster.sbatch('export.sbatch', f'out={tmp_path}/a', env=env, array='1-3')
    until((tmp_path/'begun').exists, 20, 'the second task has not begun')
    cluster.warn(f'{job}_2')
    assert cluster.ended(job) == ['COMPLETED']*3
    asked = [line.split()[-1] for line in cluster.said(job).splitlines() if line.startswith('slurm/rank.py')]
    assert sorted(asked[:2]) == ['part=1/3', 'part=3/3'] and asked[2:] == ['part=2/3', f'out={tmp_path}/a']
    assert not any((tmp_path/'a'/'log').iterdir()), 'no marks are left'


def parameters(notebook):
    "The names in the cell of parameters"
    source, = (c.source for c in cells(ROOT/'nbs'/'runs'/notebook) if 'parameters' in c.tags)
    return set(re.findall(r'^(\w+) *=', source, re.M))


def test_jobs_ask_for_what_their_notebooks_know(cluster, pretend, tmp_path):
    env = pretend('echo "$*"')
    evaluate = cluster.sbatch('evaluate.sbatch', f'model={tmp_path}/a', 'midi=MIDI', env=env)
    sweep = cluster.sbatch('sweep.sbatch', f'out={tmp_path}/b', 'steps=9', env=env, array='0-1', **TWO)
    codec = cluster.sbatch('train_codec.sbatch', 'format=spectral', f'out={tmp_path}/c', env=env, cpus_per_task=1)
    assert cluster.ended(evaluate, sweep, codec) == ['COMPLETED']*4
    assert cluster.said(codec).split() == ['slurm/rank.py', 'nbs/runs/train_codec.ipynb', f'{tmp_path}/c/train_codec.ipynb', 'workers=1', 'format=spectral', f'out={tmp_path}/c']
    assert {'workers', 'format', 'out'} <= parameters('train_codec.ipynb')
    _, notebook, record, *asked = cluster.said(evaluate).split()
    assert record == f'{tmp_path}/a/evaluate.ipynb' and {f'model={tmp_path}/a', f'out={tmp_path}/a/metrics.json', 'midi=MIDI'} < set(asked)
    assert {a.split('=')[0] for a in asked} <= parameters('evaluate.ipynb')
    tasks = sorted(cluster.said(sweep).splitlines())
    assert len(tasks) == 4, 'two ranks of two tasks'
    for n, line in zip((0, 0, 1, 1), tasks):
        _, notebook, record, *asked = line.split()
        assert record == f'{tmp_path}/b/{n}/sweep.ipynb' and asked[-1] == f'only={n}' and 'presets=ddpm-cqt' in asked[0]
        assert {a.split('=')[0] for a in asked} - {'steps'} <= parameters('sweep.ipynb')


def files(folder):
    "What an export into `folder` consists of: its manifest, and checksums of the other files; notebooks and cards tell of it and are no part"
    def content(p): return json.loads(p.read_text()) if p.name == 'manifest.json' else sha256(p.read_bytes()).hexdigest()
    return {p.relative_to(folder).as_posix(): content(p) for p in sorted(folder.rglob('*')) if p.is_file() and p.suffix != '.ipynb' and p.stem != 'card'}


def test_export_in_shares_is_the_same_as_in_one_piece(cluster, small, warm):
    asked = f'out={small}/shares/db', f'formats=codec={small}/codec', 'train=24', 'valid=6', 'seconds=1.0'
    job = cluster.sbatch('export.sbatch', *asked, env=warm, array='1-2', cpus_per_task=1)
    assert cluster.ended(job, seconds=300) == ['COMPLETED']*2, cluster.said(job)
    assert files(small/'shares'/'db') == files(small/'db')
    notebooks = {p.relative_to(small/'shares'/'db').as_posix() for p in (small/'shares').rglob('*.ipynb')}
    assert notebooks == {'export.ipynb', 'log/export.1.ipynb', 'log/export.2.ipynb'}


def test_warned_training_goes_on_and_ends_with_the_same_weights(cluster, broken, whole, small):
    assert cluster.ended(broken, seconds=300) == ['COMPLETED'], cluster.said(broken)
    printed = whole.communicate(timeout=300)[0]
    assert whole.returncode == 0 and printed.count('hear it with: jingles generate') == 1, printed       # two processes, one of which speaks
    assert 'process 0 of 2' in (small/'broken'/'train.ipynb').read_text()
    said = cluster.said(broken)
    stopped = int(re.search(f'rank 0: KeyboardInterrupt: stopped after step (\\d+) of {STEPS}', said)[1])
    assert 0 < stopped < STEPS and 'run 1 of 5 ends here' in said and cluster.jobs(broken)[0]['Restarts'] == '1'
    assert [json.loads(line)['step'] for line in (small/'broken'/'log.jsonl').read_text().splitlines()] == [10, 20, 30, 40]
    a, b = (load_tensors(small/name/'model.safetensors') for name in ('broken', 'whole'))
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    assert not (small/'broken'/'stop').exists() and (small/'broken'/'log'/'train.rank1.ipynb').exists()
    assert any(c.tags == ('injected-parameters',) for c in cells(small/'broken'/'train.ipynb')), 'the record says what was asked for'
