"A run of training: killed at any step, stopped by a signal, dealt to two processes, or out of luck, it goes on where it was"
import json, os, resource, signal, socket, subprocess, sys, time

import numpy as np
import pytest
import torch
import forked
from book import ROOT
from doomed import config, together
from jingles import training
from jingles.trainer import loop
from jingles.core import load_tensors
from jingles.data.records import write_shapes, write_shard
from jingles.models import load_model
from jingles.system import PARADIGMS, preset
from jingles.data.batches import make_batches, clip_generators
from jingles.trainer.checkpoints import Plan, start_run, load_checkpoint, read_log, training_seconds
from jingles.trainer.loop import train_module, optimizer_step
from jingles.trainer.processes import lock_run
from jingles.training import held_out_loss, train


def start(*args, **options):
    "`doomed.run` in a process of its own"
    return subprocess.Popen(forked.command(ROOT/'tests'/'doomed.py', *args, json.dumps(options)), env=os.environ | (forked.ALONE if 'env' in options else {}))


def ended(process):
    "Its exit status"
    return process.wait(240)


def same(a, b):
    a, b = (load_tensors(f/'model.safetensors') for f in (a, b))
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def losses(out): return [(r['step'], r['loss'], r.get('held_out')) for r in read_log(out)]


@pytest.fixture(scope='module', autouse=True)
def one_thread():
    "As in the processes that are compared with: another number of threads sums in another order"
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope='module')
def whole(tiny):
    "A run that nothing happened to: its folder"
    train(config(tiny), tiny/'db', tiny/'whole')
    return tiny/'whole'


# ---- stopped and taken up

def test_killed_and_resumed_is_the_same(tiny, whole, tmp_path):
    "kill -9 before the first checkpoint, and between two: the same bits in the end, and the same story in the log"
    for step in (1, 8):
        assert ended(start(tiny, tmp_path, deadly=step)) == -signal.SIGKILL
        assert load_checkpoint(tmp_path/'last.safetensors')[0] == step//3*3        # smoke saves every third step
        assert (tmp_path/'running.json').exists()                             # left behind, and in nobody's way
        (tmp_path/'.last-half.safetensors').write_bytes(b'as a kill in the middle of writing leaves it')
    train(config(tiny), tiny/'db', tmp_path)
    assert same(tmp_path, whole) and losses(tmp_path) == losses(whole)
    seconds = [r['seconds'] for r in read_log(tmp_path)]
    assert seconds == sorted(seconds) and abs(training_seconds(tmp_path) - seconds[-1]) < 60 and 0 < training_seconds(tmp_path/'best') <= training_seconds(tmp_path), 'training time adds up'
    assert same(tmp_path/'best', whole/'best') and not list(tmp_path.rglob('.*'))
    assert sorted(p.name for p in tmp_path.glob('step-*')) == ['step-00000012.safetensors', 'step-00000014.safetensors']


def test_killed_and_resumed_is_the_same_with_a_teacher(tiny, whole, tmp_path):
    "Consistency training as in the preset: its stage goes by the progress of the run, its teacher is loaded again"
    few = preset('notes-few')
    changes = dict(start_from=str(whole)) | {k: getattr(few, k) for k in ('paradigm', 'consistency_teacher', 'sigma_std', 'guidance', 'unconditional_scale')}
    train(config(tiny, **changes), tiny/'db', tmp_path/'straight')
    for step in (1, 8): assert ended(start(tiny, tmp_path/'killed', deadly=step, changes=changes)) == -signal.SIGKILL
    train(config(tiny, **changes), tiny/'db', tmp_path/'killed')
    killed, straight, alone = tmp_path/'killed', tmp_path/'straight', tmp_path/'alone'
    assert same(killed, straight) and losses(killed) == losses(straight) and not same(straight, whole)
    train(config(tiny, **changes | dict(consistency_teacher=False)), tiny/'db', alone)
    assert not same(alone, straight), 'the teacher has a say'


@pytest.mark.parametrize('sign', [signal.SIGTERM, signal.SIGUSR1])
def test_signals_save_and_stop(tiny, whole, tmp_path, sign, monkeypatch):
    "A signal in the middle of a step: the run is saved at the next place, a file says that it wants to go on, and it does"
    plain = loop.optimizer_step
    def warned(run, *rest):
        if run.step == 7: os.kill(os.getpid(), sign)
        return plain(run, *rest)
    monkeypatch.setattr(loop, 'optimizer_step', warned)
    with pytest.raises(KeyboardInterrupt, match='stopped after step [89] of 14; the same command goes on from there'): train(config(tiny), tiny/'db', tmp_path)
    word = json.loads((tmp_path/'stopped.json').read_text())
    assert word['signals'] == [sign.name] and word['step'] == load_checkpoint(tmp_path/'last.safetensors')[0] < 10
    monkeypatch.setattr(loop, 'optimizer_step', plain)
    train(config(tiny), tiny/'db', tmp_path)
    assert same(tmp_path, whole) and losses(tmp_path) == losses(whole) and not (tmp_path/'stopped.json').exists()


def press_ctrl_c(monkeypatch, times):
    "In step 7 send this process SIGINT, so often, with a second between"
    plain = loop.optimizer_step
    def pressed(run, *rest):
        for i in range(times*(run.step == 7)): time.sleep(1.1*(i > 0)); os.kill(os.getpid(), signal.SIGINT)
        return plain(run, *rest)
    monkeypatch.setattr(loop, 'optimizer_step', pressed)


@pytest.mark.parametrize('times', [1, 2])
def test_ctrl_c_twice_ends_at_once(tiny, whole, tmp_path, monkeypatch, times):
    "Once: the step in progress is finished and saved. Twice: it is not; the run goes on from its last checkpoint"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)       # ignored, where the tests run in the background
    try:
        with monkeypatch.context() as m:
            press_ctrl_c(m, times)
            with pytest.raises(KeyboardInterrupt): train(config(tiny), tiny/'db', tmp_path)
    finally: signal.signal(signal.SIGINT, before)
    reached = load_checkpoint(tmp_path/'last.safetensors')[0]
    assert (tmp_path/'stopped.json').exists() == (times == 1) and (reached == 6 if times == 2 else 7 < reached < 10)
    train(config(tiny), tiny/'db', tmp_path)
    assert same(tmp_path, whole) and losses(tmp_path) == losses(whole)


def test_ignored_sigint_stays_ignored(tiny, whole, tmp_path, monkeypatch):
    "As a shell starts what runs in the background: `jingles train ... &` is not stopped by the Ctrl-C meant for another"
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    press_ctrl_c(monkeypatch, 1)
    try:
        train(config(tiny), tiny/'db', tmp_path)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally: signal.signal(signal.SIGINT, before)
    assert same(tmp_path, whole)


def test_command_line_tells_stopped_from_failed(tiny, tmp_path, monkeypatch, capsys):
    from jingles.cli import main
    monkeypatch.setattr(loop, 'optimizer_step', lambda *_: os.kill(os.getpid(), signal.SIGTERM) or torch.tensor(1.))
    arguments = ['jingles', 'train', '--preset', 'smoke', '--set', f'codec={tiny}/codec', '--data', str(tiny/'db'), '--out', str(tmp_path)]
    monkeypatch.setattr(sys, 'argv', arguments)
    with pytest.raises(SystemExit) as done: main()
    assert done.value.code == 130 and 'the same command goes on from there' in capsys.readouterr().err
    monkeypatch.setattr(sys, 'argv', [*arguments, '--set', 'seed=2'])
    with pytest.raises(SystemExit) as done: main()
    assert done.value.code == 1 and 'choose another folder' in capsys.readouterr().err


def test_two_runs_in_one_folder(tiny, whole, tmp_path, monkeypatch):
    "The second is refused in one line that names the first, and harms nothing; when the first is killed the next one goes on by itself"
    plain, refused = loop.optimizer_step, []
    def meanwhile(run, *rest):
        if run.step == 5: refused.append(ended(start(tiny, tmp_path)))
        return plain(run, *rest)
    with monkeypatch.context() as m:
        m.setattr(loop, 'optimizer_step', meanwhile)
        train(config(tiny), tiny/'db', tmp_path)
    said = (tmp_path/'said-0.txt').read_text()
    assert refused == [1] and f'ValueError: {tmp_path} is in use by process {os.getpid()} on {socket.gethostname()}, since ' in said and '\n' not in said
    assert same(tmp_path, whole) and losses(tmp_path) == losses(whole) and not (tmp_path/'running.json').exists()


# ---- several processes

def test_processes_of_a_run_are_refused_together(tiny, tmp_path):
    "By a run that is there already: none of them waits for the others for ever"
    claimed = lock_run(tmp_path)
    try: assert [ended(p) for p in [start(tiny, tmp_path, env=env) for env in together(2)]] == [1, 1]
    finally: claimed.release()
    assert all(f'in use by process {os.getpid()}' in (tmp_path/f'said-{rank}.txt').read_text() for rank in (0, 1))


def test_two_processes_follow_one(tiny, whole, tmp_path):
    """Two gloo processes with half of the batch each, stopped by a signal to one of them and finished by a single process, follow the losses of one.
    Tolerance: the sums are taken in another order, float32's 6e-8 a time, and Adam passes it on for 14 steps; 1e-5 is ten times what was seen"""
    both = [start(tiny, tmp_path, stop=9, env=env) for env in together(2)]
    assert [ended(p) for p in both] == [1, 1]
    for rank in (0, 1): assert (tmp_path/f'said-{rank}.txt').read_text().startswith('KeyboardInterrupt: stopped after step')
    assert 9 < json.loads((tmp_path/'stopped.json').read_text())['step'] < 12
    train(config(tiny), tiny/'db', tmp_path)
    for (n, a, x), (m, b, y) in zip(losses(whole), losses(tmp_path), strict=True):
        assert n == m and abs(a/b - 1) < 1e-5 and (x is y is None or abs(x/y - 1) < 1e-5)
    a, b = (load_tensors(f/'model.safetensors') for f in (whole, tmp_path))
    assert max((a[k] - b[k]).abs().max() for k in a) < 2e-3                   # stored in half precision: its last digit may differ


@pytest.mark.parametrize('paradigm', PARADIGMS)
def test_loss_of_a_batch_is_that_of_its_parts(paradigm):
    "Whatever the paradigm draws for a clip comes from that clip's own generator"
    from test_grid import FRAMES, clean, control, made, SPECS
    form = 'codec-codes' if paradigm == 'discdpm' else 'codec'
    torch.manual_seed(0)
    model, x0, cond = made(paradigm, form, 'unet', 'concat'), clean(SPECS[form]).repeat(2, 1, 1), control(4)
    for p in model.net.parameters(): torch.nn.init.normal_(p, std=0.1)
    whole = model.paradigm.loss(model.net, x0, cond, clip_generators(0, 5, range(4)))
    halves = [model.paradigm.loss(model.net, x0[i:i + 2], cond.map(lambda v: v[i:i + 2]), clip_generators(0, 5, range(i, i + 2))) for i in (0, 2)]
    assert abs(sum(halves)/2/whole - 1) < 1e-5                                # float32
    assert abs(model.paradigm.loss(model.net, x0, cond, clip_generators(0, 6, range(4)))/whole - 1) > 1e-4, 'another step, other noise'


@pytest.mark.parametrize('paradigm', PARADIGMS)
def test_loss_keeps_to_the_device(paradigm):
    "All that meets in a loss and its gradient is on the network's device. In place of a GPU PyTorch's meta device, which holds no numbers but refuses what lies elsewhere"
    from test_grid import SPECS, clean, control, made
    form = 'codec-codes' if paradigm == 'discdpm' else 'codec'
    model, x0, cond = made(paradigm, form, 'unet', 'concat'), clean(SPECS[form]), control()
    net = model.net.to('meta')
    with pytest.raises(RuntimeError, match='device'): model.paradigm.loss(net, x0, cond, clip_generators(0, 5, range(2)))
    loss = model.paradigm.loss(net, x0.to('meta'), cond.to('meta'), clip_generators(0, 5, range(2)))
    loss.backward()
    assert {v.device.type for v in (loss, *(p.grad for p in net.parameters() if p.grad is not None))} == {'meta'}


@pytest.mark.parametrize('paradigm', PARADIGMS)
def test_half_precision(paradigm, tmp_path):
    "In bf16 a step of each paradigm has nearly the same loss, and what it moves are float32 weights"
    from test_grid import SPECS, clean, control, made
    form = 'codec-codes' if paradigm == 'discdpm' else 'codec'
    def first(precision):
        torch.manual_seed(0)
        model, x0, cond = made(paradigm, form, 'unet', 'concat'), clean(SPECS[form]), control()
        for p in model.net.parameters(): torch.nn.init.normal_(p, std=0.1)
        run = start_run(model.net, Plan(precision=precision), tmp_path)
        loss = optimizer_step(run, [x0], lambda net, x0: model.paradigm.loss(net, x0, cond, clip_generators(0, 5, range(2))))
        return loss, [p.dtype for p in run.module.parameters()]
    (fine, _), (coarse, kinds) = first('no'), first('bf16')
    assert 0 < abs(coarse/fine - 1) < 0.02 and set(kinds) == {torch.float32}          # bf16: 2^-8 a time


# ---- bad luck

@pytest.fixture
def shards(tmp_path):
    "Three shards of four clips"
    clips = [dict(x=np.full((1, 2), i, np.float32)) for i in range(12)]
    write_shapes(tmp_path/'db', clips[0])
    for i in range(3): write_shard(tmp_path/'db'/'train'/f'{i:05}.tfrecord', clips[4*i:4*i + 4])
    return tmp_path/'db'/'train'


def test_vanished_shard(shards, tmp_path):
    "A shard that vanishes under a run is named, with the last good state"
    def loss(net, part):
        (shards/'00001.tfrecord').unlink(missing_ok=True)
        return net(part.arrays['x'][..., :1]).square().mean()
    with pytest.raises(ValueError, match=r'00001.tfrecord is missing; .* - stopped after step \d+; .*last.safetensors holds step \d+') as e:
        train_module(torch.nn.Linear(1, 1), loss, make_batches(shards, 2), Plan(steps=99, save_every=2), tmp_path/'run')
    assert '\n' not in str(e.value) and load_checkpoint(tmp_path/'run'/'last.safetensors')[0] >= 2


@pytest.mark.parametrize('bad', [lambda y: y*float('nan'), lambda y: (0*y).sqrt()], ids=['loss', 'gradient'])
def test_nan_keeps_the_last_good_state(shards, tmp_path, bad):
    "A loss that is no number, and one that is 0 but has no gradient there; at a step after which the run is saved"
    seen = []
    def loss(net, part):
        seen.append(part)
        y = net(part.arrays['x'][..., :1]).square().mean()
        return bad(y) if len(seen) == 6 else y
    with pytest.raises(ValueError, match='the loss or its gradient became nan at step 5; .*last.safetensors holds step 4, the last good state: try a lower lr'):
        train_module(torch.nn.Linear(1, 1), loss, make_batches(shards, 4), Plan(steps=99, save_every=2), tmp_path/'run')
    assert all(v.isfinite().all() for v in load_checkpoint(tmp_path/'run'/'last.safetensors')[2].values())


def test_full_disk(tiny, tmp_path, monkeypatch):
    "The model itself, too, is written whole or not at all, and the message says what is left. Here no file may grow beyond 20 kB from the third checkpoint on"
    limits, plain = resource.getrlimit(resource.RLIMIT_FSIZE), loop.save_all
    def full(run, save):
        if run.step > 6: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
        plain(run, save)
    monkeypatch.setattr(loop, 'save_all', full)
    try:
        with pytest.raises(OSError, match='cannot save step 9 in .*last.safetensors holds step 6, the last good state: make room'): train(config(tiny), tiny/'db', tmp_path)
    finally: resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert load_checkpoint(tmp_path/'last.safetensors')[0] == 6 and load_model(tmp_path) and not list(tmp_path.rglob('.*'))


# ---- what is logged

def test_tensorboard(tiny, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    train(config(tiny, tensorboard=True, steps=6), tiny/'db', tmp_path)
    found = EventAccumulator(str(tmp_path/'tensorboard'))
    found.Reload()
    rows = read_log(tmp_path)
    assert [(e.step, e.value) for e in found.Scalars('loss')] == [(r['step'], pytest.approx(r['loss'])) for r in rows]
    assert {'lr', 'clips_per_second', 'memory_gib', 'held_out'} <= set(found.Tags()['scalars'])
    assert all(0 < r['memory_gib'] < 64 and r['steps_per_second'] > 0 and 0 <= r['waited'] <= 1 for r in rows)


def test_best_is_kept(tiny, whole):
    held = {r['step']: r['held_out'] for r in read_log(whole) if 'held_out' in r}
    assert list(held) == [6, 12, 14]
    model = load_model(whole/'best')
    assert held_out_loss(model, model.net, tiny/'db') == pytest.approx(min(held.values()), rel=1e-3)      # stored in half precision
    assert held_out_loss(model, model.net, tiny/'db', 1) == pytest.approx(held_out_loss(model, model.net, tiny/'db'), rel=1e-5)


def test_held_out_loss_takes_no_more_at_once_than_training(tiny, tmp_path, monkeypatch):
    "The network sees the share of the batch that it sees in training, with gradients or without"
    seen, plain = {True: set(), False: set()}, training.to_batch
    def counted(part, *rest):
        seen[torch.is_grad_enabled()].add(len(part.generators))
        return plain(part, *rest)
    monkeypatch.setattr(training, 'to_batch', counted)
    train(config(tiny, accumulate=2), tiny/'db', tmp_path)
    assert seen == {True: {2}, False: {2}}
