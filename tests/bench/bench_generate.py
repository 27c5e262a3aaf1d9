"""Eight seconds of sound in default quality and in few steps, and a preview of four: how long, beside the control embedded anew at each step, 70 evaluations of the network (Heun), and the floor of one evaluation and one decoding"""
import time
from statistics import median


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
            'loading before [s]': loading, 'threads': torch.get_num_threads()}
