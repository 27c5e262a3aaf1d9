"""Codes at full size, 16 codebooks of 1024 classes: memory and time of DiscDPM's loss and sampling step, against full logits and one-hot vectors

Three ways to do the same: `pieces`, what jingles does; `full logits`, the same closed formulas on the whole answer of the network, differentiated as usual;
`one-hot`, eq. 2.14-2.19 of the report as they are written, with vectors of 1024 for each token.
Memory is what PyTorch's allocator hands out (its profiler sees every allocation, temporary buffers included), at the highest, less what the network's body
holds after its forward pass; the unit is one float32 tensor of all logits. As a check on the counting, the process's resident memory is taken, too.
Time is processor time, the best of several rounds, each of which measures all three, on two clips; memory also on sixteen."""
import gc, json, os, subprocess, sys, time
from pathlib import Path

os.environ.setdefault('KINETO_LOG_LEVEL', '99')     # the profiler is quiet
import torch
from torch import nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from jingles.core import generator
from jingles.logits import Logits
from jingles.paradigms import discdpm
from jingles.paradigms.discdpm import DiscDPM

CODEBOOKS, K, FRAMES, WIDTH = 16, 1024, 600, 512
FEW, MANY = 2, 16


class Net(nn.Module):
    "A small network: the codes' embeddings, one convolution, and a last layer that is not multiplied out"
    def __init__(self, c=CODEBOOKS, K=K, w=WIDTH):
        super().__init__()
        self.enter, self.mix = nn.Embedding(c*K, w), nn.Conv1d(w, w, 3, padding=1)
        self.weight, self.bias = nn.Parameter(torch.randn(c, K, w)/w**0.5), nn.Parameter(torch.zeros(c, K))

    def body(self, x, t):
        h = sum(self.enter(x[:, i] + i*self.weight.shape[1]) for i in range(x.shape[1])).mT
        return F.silu(self.mix(h)*(1 + t[:, None, None]/1000))

    def forward(self, x, t, cond=None): return Logits(self.body(x, t), self.weight, self.bias)


class Full(nn.Module):
    "The same network with an ordinary last layer: all logits at once, `(b, c, K, t)`"
    def __init__(self, net): super().__init__(); self.net = net
    def forward(self, x, t, cond=None):
        h, (c, K, w) = self.net.body(x, t), self.net.weight.shape
        return F.conv1d(h, self.net.weight.view(c*K, w, 1), self.net.bias.view(-1)).view(len(h), c, K, -1)


# ---- the closed formulas on all logits

def flat(x): return x.flatten(0, 1)     # (b, c, ...) -> (b c, ...)


def full_loss(chain, net, x0, seed=0):
    g = generator(seed)
    t = 1 + (discdpm.rand(x0.shape[:1], g)*chain.T).long()
    xt = discdpm.q_sample_codes(x0, chain.alpha_bar[t], chain.K, g)
    out, step = discdpm.predict_logits(chain, net, xt, (t, t - 1))
    step = discdpm.ReverseStep(*(s.repeat_interleave(x0.shape[1], 0) for s in step))
    return chain.T*discdpm.kl_divergence(flat(out), flat(x0), flat(xt), step).mean() + chain.prior


@torch.no_grad()
def full_step(chain, net, xt, seed=0):
    g, t = generator(seed), torch.full((len(xt),), chain.T//2)
    out, step = discdpm.predict_logits(chain, net, xt, (t, t - 1))
    step = discdpm.ReverseStep(*(s.repeat_interleave(xt.shape[1], 0) for s in step))
    u, v = (discdpm.rand(xt.shape, g) for _ in range(2))
    return discdpm.sample_posterior(flat(out), flat(xt), step, flat(u), flat(v)).view(xt.shape)


@torch.no_grad()
def piece_step(chain, net, xt, seed=0):
    "What `DiscDPM.sample` does in each of its steps"
    g, t = generator(seed), torch.full((len(xt),), chain.T//2)
    out, step = discdpm.predict_logits(chain, net, xt, (t, t - 1))
    u, v, new = discdpm.rand(xt.shape, g), discdpm.rand(xt.shape, g), torch.empty_like(xt)
    for logits, i, rows in discdpm.iterate_chunks(out): new[rows, i] = discdpm.sample_posterior(logits, xt[rows, i], step.rows(rows), u[rows, i], v[rows, i])
    return new


# ---- eq. 2.14-2.19 as they stand: log-probabilities as vectors (b, c, K, t)

def vectors(x, K): return F.one_hot(x, K).movedim(-1, 2).float().clamp(min=1e-30).log()


def mixed(log_p, share):
    "log(share p + (1 - share)/K), `share` `(b,)` (2.14)"
    share, K = share.view(-1, 1, 1, 1), log_p.shape[2]
    return torch.logaddexp(log_p + share.log().float(), ((1 - share)/K).log().float())


def drawn(log_p):
    gumbel = -(-torch.rand_like(log_p).clamp(min=1e-30).log()).log()
    return (log_p + gumbel).argmax(2)


def one_hot_posterior(chain, log_x0, log_xt, t):
    "log q(x_{t-1} | x_t, x_0), where x_0 may be a prediction (2.15-2.18)"
    a = chain.alpha_bar
    product = mixed(log_xt, a[t]/a[t - 1]) + mixed(log_x0, a[t - 1])
    return product - product.logsumexp(2, keepdim=True)


def one_hot_kl(chain, net, x0, xt, t):
    "(2.19), and the reconstruction at the first step"
    log_x0, log_xt = vectors(x0, chain.K), vectors(xt, chain.K)
    q = one_hot_posterior(chain, log_x0, log_xt, t)
    p = one_hot_posterior(chain, net(xt, (t - 1).float()).log_softmax(2), log_xt, t)
    distance, reconstruction = (q.exp()*(q - p)).sum(2), -(log_x0.exp()*p).sum(2)
    return torch.where((t == 1).view(-1, 1, 1), reconstruction, distance)


def one_hot_loss(chain, net, x0, seed=0):
    torch.manual_seed(seed)
    t = torch.randint(1, chain.T + 1, (len(x0),))
    xt = drawn(mixed(vectors(x0, chain.K), chain.alpha_bar[t]))
    return chain.T*one_hot_kl(chain, net, x0, xt, t).mean() + chain.prior


@torch.no_grad()
def one_hot_step(chain, net, xt, seed=0):
    torch.manual_seed(seed)
    t = torch.full((len(xt),), chain.T//2)
    return drawn(one_hot_posterior(chain, net(xt, (t - 1).float()).log_softmax(2), vectors(xt, chain.K), t))


# ---- measuring

def allocated(run) -> tuple:
    "Bytes held at most while `run()` runs, and at its end, beyond what was held before"
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as p: kept = run()
    now = most = 0
    for _, n in sorted((e.start_ns(), e.nbytes()) for e in p.profiler.kineto_results.events() if e.name() == '[memory]'):
        now += n; most = max(most, now)
    del kept
    return most, now


def peak(net, x, run, grad) -> float:
    "The most that `run()` holds beyond the body's activations, in tensors of all logits"
    with torch.set_grad_enabled(grad): body = allocated(lambda: (net.body(x, torch.zeros(len(x)))))[1]
    net.zero_grad(set_to_none=True)
    most = allocated(run)[0]
    net.zero_grad(set_to_none=True)
    return (most - body)/(4*x.numel()*K)


def resident(clips):
    "The same from outside: how far the resident memory of a fresh process rises above that after the body's forward pass"
    def status(key): return next(int(l.split()[1]) for l in open('/proc/self/status') if l.startswith(key))*1024
    net, chain, x, _ = setting(clips)
    chain.loss(net, x[:1, :, :8]).backward(); net.zero_grad(set_to_none=True)       # libraries loaded
    held = net.body(x, torch.zeros(clips))
    before = status('VmRSS:')
    del held
    chain.loss(net, x, generator=generator(0)).backward()
    return (status('VmHWM:') - before)/(4*x.numel()*K)


def setting(clips):
    torch.manual_seed(0)
    net = Net()
    return net, DiscDPM(K), torch.randint(K, (clips, CODEBOOKS, FRAMES)), Full(net)


def trained(loss, net):
    net.zero_grad(set_to_none=True); loss().backward()


def seconds(ways, rounds=4) -> dict:
    "Processor time of each way, the best of some rounds"
    best = dict.fromkeys(ways, float('inf'))
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.process_time(); way()
            best[name] = min(best[name], time.process_time() - start)
    return best


def same(net, chain):
    "All three compute the same KL"
    small, (x0, xt), t = Net(3, 9, 8), torch.randint(9, (2, 40, 3, 11)), torch.arange(1, 41)*25 - 24
    chain = DiscDPM(9)
    out, step = discdpm.predict_logits(chain, small, xt, (t, t - 1))
    ours = torch.stack([discdpm.kl_divergence(z, x0[rows, i], xt[rows, i], step) for z, i, rows in discdpm.iterate_chunks(out)], 1)
    worst = (ours - one_hot_kl(chain, Full(small), x0, xt, t)).abs().max().item()
    assert worst < 1e-4, f'the one-hot way differs by {worst}'
    a, b = (loss.item() for loss in (chain.loss(small, x0, generator=generator(0)), full_loss(chain, Full(small), x0)))
    assert abs(a - b) < 1e-4*abs(a), f'full logits give {b}, pieces {a}'


def run():
    figures, (net, chain, x, full) = {}, setting(FEW)
    same(net, chain)
    losses = {'pieces': lambda: trained(lambda: chain.loss(net, x, generator=generator(0)), net),
              'full logits': lambda: trained(lambda: full_loss(chain, full, x), net),
              'one-hot': lambda: trained(lambda: one_hot_loss(chain, full, x), net)}
    steps = {'pieces': lambda: piece_step(chain, net, x), 'full logits': lambda: full_step(chain, full, x), 'one-hot': lambda: one_hot_step(chain, full, x)}
    for what, ways, grad in (('loss', losses, True), ('step', steps, False)):
        took = seconds(ways)
        for name, way in ways.items():
            figures[f'{what}, {name}: peak, {FEW} clips [logits]'] = peak(net, x, way, grad)
            figures[f'{what}, {name}: time [of full logits]'] = took[name]/took['full logits']
        figures[f'{what}, full logits: time, {FEW} clips [s]'] = took['full logits']
    net, chain, x, _ = setting(MANY)
    figures[f'loss, pieces: peak, {MANY} clips [logits]'] = peak(net, x, lambda: trained(lambda: chain.loss(net, x, generator=generator(0)), net), True)
    figures[f'step, pieces: peak, {MANY} clips [logits]'] = peak(net, x, lambda: piece_step(chain, net, x), False)
    del net
    code = f'import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import bench_discdpm as b; print(b.resident({MANY}))'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    figures[f'loss, pieces: resident, {MANY} clips [logits]'] = json.loads(done.stdout)
    figures['one tensor of logits, 16 clips [MiB]'] = 4*x.numel()*K/2**20
    figures['threads'] = torch.get_num_threads()
    return figures
