"""Eight seconds of sound in default quality and in few steps, and a preview of four: how long, beside the control embedded anew at each step, 70 evaluations of the network (Heun), and the floor of one evaluation and one decoding

An evaluation has some 200 stretches that PyTorch deals to OpenMP's threads. What these do in between - sleep, as the command line has it, or spin - is an environment variable, read when
a process begins: so processes of their own say what one thread, two that sleep, two that spin for 0.2 ms and two that spin as long as OpenMP likes make of it, by the wall. On a machine with idle cores only."""
import json, os, subprocess, sys, time
from statistics import median

CHILD = """
import json, time, torch
from jingles import generate as g
from jingles.models import load_model
model = load_model(device='cpu')
cond = g.demo_curves(rate=model.spec.curve_rate, features=model.config.features)
x, asked = torch.zeros(model.spec.shape(model.frames(cond))), model.condition(cond)
ways = dict(evaluation=lambda: model.net(x, torch.zeros(1), asked), decoding=lambda: model.decode(x), generated=lambda: g.generate(model, cond))
def seconds(f, n):
    def once(): began = time.perf_counter(); f(); return time.perf_counter() - began
    once()
    return min(once() for _ in range(n))
with torch.inference_mode(): print(json.dumps({name: seconds(f, 3 if name == 'generated' else 15) for name, f in ways.items()} | dict(threads=torch.get_num_threads())))
"""
WAITS = {'one thread': dict(OMP_NUM_THREADS='1'), 'sleeping threads': dict(OMP_WAIT_POLICY='PASSIVE'),
         'threads that spin for 0.2 ms': dict(OMP_WAIT_POLICY='PASSIVE', GOMP_SPINCOUNT='20000'), 'threads that spin': {}}


def by_threads(waits=WAITS):
    "Seconds of an evaluation, a decoding and 8 s of sound in processes whose threads wait in another way each"
    plain = {k: v for k, v in os.environ.items() if k not in ('OMP_NUM_THREADS', 'OMP_WAIT_POLICY', 'GOMP_SPINCOUNT')}
    found = {}
    for name, env in waits.items():
        done = subprocess.run([sys.executable, '-c', CHILD], env=plain | env, capture_output=True, text=True)
        took = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {done.stderr.strip().splitlines()[-1]: 0.}
        found |= {f'{name}: {what}': took[what] for what in took if what != 'threads'}
    return found


def run(repeats=5):
    import torch
    from jingles import generate as g
    from jingles.paradigms.samplers import heun
    from jingles.models import load_model, preview_model
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter     # with one thread other work matters little
    began = time.perf_counter()
    model = load_model(device='cpu')
    loading = time.perf_counter() - began
    cond = g.demo_curves(rate=model.spec.curve_rate, features=model.config.features)
    few, half = preview_model(model), g.demo_curves(4, rate=model.spec.curve_rate, features=model.config.features)
    frames = model.frames(cond)

    def anew():
        usual, g.with_cache = g.with_cache, lambda cond: cond
        try: g.generate(model, cond)
        finally: g.with_cache = usual

    @torch.inference_mode()
    def evaluation(): model.net(torch.zeros(model.spec.shape(frames)), torch.zeros(1), model.condition(cond))

    @torch.inference_mode()
    def decoding(): model.decode(torch.zeros(model.spec.shape(frames)))

    ways = dict(
        ours=lambda: g.generate(model, cond), few=lambda: g.generate(few, cond), preview=lambda: g.generate(few, half), anew=anew,
        heun=lambda: g.generate(model, cond, sampler=heun, guidance_interval=(0., 1e9)), evaluation=evaluation, decoding=decoding)

    def seconds(f):
        start = clock(); f()
        return clock() - start

    rounds = [{name: seconds(f) for name, f in ways.items()} for _ in range(repeats + 1)][1:]     # in turns, after one that warms up
    def ratio(a, *b): return median(r[a]/sum(r[k] for k in b) for r in rounds)
    def middle(name): return median(r[name] for r in rounds)
    return {'8 s generated in [s]': middle('ours'), 'at most [s]': 0.5, '8 s in few steps [s]': middle('few'), 'few at most [s]': 0.15,
            'preview of 4 s [s]': middle('preview'), 'preview at most [s]': 0.08,
            'control anew at each step / ours': ratio('anew', 'ours'), '70 evaluations with Heun / ours': ratio('heun', 'ours'), '70 evaluations with Heun / few steps': ratio('heun', 'few'),
            'ours / floor': ratio('ours', 'evaluation', 'decoding'), 'few steps / floor': ratio('few', 'evaluation', 'decoding'),
            'one evaluation [s]': middle('evaluation'), 'one decoding [s]': middle('decoding'), 'of ours the codec [share]': ratio('decoding', 'ours'),
            'loading before [s]': loading, 'threads': torch.get_num_threads()} | by_threads()
