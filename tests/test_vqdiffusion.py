"""DiscDPM beside diffusers' VQDiffusionScheduler, and trained by two processes

VQ-Diffusion (Gu et al. 2022) replaces tokens by others or by a mask. Without the mask it is multinomial diffusion - with one difference: it averages the posterior
over a prediction of x_0, p(x_0 | x_t), where DiscDPM plugs in the prediction that leaves the token itself out."""
import pytest
import torch

from jingles.core import generator, rand
from jingles.paradigms.discdpm import DiscDPM, sample_posterior, reverse_step, kl_divergence

K, T = 12, 50


@pytest.fixture(scope='module')
def vq():
    "Their scheduler with a mask that never comes, and our chain with the same probabilities"
    module = pytest.importorskip('diffusers.schedulers.scheduling_vq_diffusion', reason='diffusers is not installed')
    theirs = module.VQDiffusionScheduler(K + 1, T, gamma_cum_start=1e-30, gamma_cum_end=1e-30)
    return theirs, DiscDPM(K, T, lambda T: torch.tensor(1 - module.alpha_schedules(T)[0]))


def prediction(xt, abar):
    "Logits that leave the token out, `(1, K, n)`, and the log-probabilities p(x_0 | x_t) that belong to them"
    logits = 2*torch.randn(1, K, xt.shape[1], generator=generator(0))
    observed = (torch.arange(K)[None, :, None] == xt[:, None])
    return logits, (logits + observed*torch.log1p(K*abar/(1 - abar)).float()).log_softmax(1)


def test_kl(vq):
    "Their posterior of the true x_0 against their posterior of a prediction: our closed form, for all pairs of tokens and at all times"
    theirs, ours = vq
    x0, xt = torch.arange(K).repeat_interleave(K)[None], torch.arange(K).repeat(K)[None]
    certain = torch.where(torch.arange(K)[None, :, None] == x0[:, None], 0., -70.)
    for t in range(1, T + 1):
        abar = ours.alpha_bar[[t]]
        logits, believed = prediction(xt, abar)
        q, p = (theirs.q_posterior(x, xt, torch.tensor(t - 1))[:, :-1] for x in (certain, believed))
        expected = torch.where(q > -60, q.exp()*(q - p), 0.).sum(1)
        found = kl_divergence(logits, x0, xt, reverse_step(ours.alpha_bar[[t - 1]], abar, K))
        assert (found - expected).abs().max() < 2e-5, t         # float32: theirs keeps logarithms of up to 70


@pytest.mark.parametrize('t', (1, 20, T))
def test_step(vq, t):
    "What is sampled has the probabilities of their step"
    theirs, ours = vq
    n, xt = 100_000, torch.arange(K)[None]
    logits, believed = prediction(xt, ours.alpha_bar[[t]])
    expected = theirs.q_posterior(believed, xt, torch.tensor(t - 1))[0, :-1].exp().double()
    u, v = (rand((n, K), generator(s)) for s in (1, 2))
    drawn = sample_posterior(logits.expand(n, -1, -1), xt.expand(n, -1), reverse_step(ours.alpha_bar[[t - 1]], ours.alpha_bar[[t]], K), u, v)
    shares = torch.stack([torch.bincount(column, minlength=K)/n for column in drawn.T], 1)
    assert ((shares - expected).abs() < 4.5*(expected*(1 - expected)/n).sqrt() + 2/n).all()      # 144 shares; four and a half standard errors


TWO = '''
import multiprocessing, os, sys, torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from jingles.core import generator
from jingles.logits import Logits
from jingles.paradigms.discdpm import DiscDPM

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter, self.weight, self.bias = nn.Embedding(9, 8), nn.Parameter(torch.randn(3, 9, 8)), nn.Parameter(torch.zeros(3, 9))
    def forward(self, x, t, cond=None): return Logits(self.enter(x).sum(1).mT, self.weight, self.bias)

def gradients(net, module, items):
    x0 = torch.randint(9, (4, 3, 10), generator=generator(0))[items]
    DiscDPM(9).loss(net, x0, generator=[generator(i) for i in range(4)][items]).backward()
    found = [p.grad.clone() for p in module.parameters()]
    module.zero_grad()
    return found

def work(rank, folder):
    torch.set_num_threads(1)
    distributed.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2)
    for unused in (False, True):
        torch.manual_seed(0)
        net = Net()
        alone = gradients(net, net, slice(0, 4))
        parallel = DistributedDataParallel(net, find_unused_parameters=unused)
        for _ in range(2):
            for g, e in zip(gradients(parallel, net, slice(2*rank, 2*rank + 2)), alone): assert (g - e).abs().max() < 1e-4*e.abs().max(), (unused, g, e)
    distributed.destroy_process_group()

workers = [multiprocessing.get_context('fork').Process(target=work, args=(rank, sys.argv[1])) for rank in range(2)]
for w in workers: w.start()
for w in workers: w.join()
assert [w.exitcode for w in workers] == [0, 0]
'''


def test_two_processes(python, tmp_path):
    "Two processes with half of the clips each have the gradients of one with all: DDP sees those that the loss takes on its way"
    python(TWO, tmp_path)
