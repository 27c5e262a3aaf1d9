"""Eight seconds of sound with 18 Heun steps: how long, and what share of it each part takes"""
import time


def run():
    import torch
    from jingles.generate import demo, generate
    from jingles.system import load_model
    began = time.perf_counter()
    model = load_model(device='cpu')
    loading = time.perf_counter() - began
    generate(model, demo(1), steps=2)
    times = []
    for seed in range(3):
        began = time.perf_counter(); generate(model, demo(), seed=seed); times.append(time.perf_counter() - began)
    with torch.inference_mode():
        x = torch.randn(model.spec.shape(600)); model.decode(x)
        began = time.perf_counter(); model.decode(x); decoding = time.perf_counter() - began
    took = sorted(times)[1]
    return {'8 s generated in [s]': took, 'of it the codec [share]': decoding/took, 'loading before [s]': loading, 'threads': torch.get_num_threads()}
