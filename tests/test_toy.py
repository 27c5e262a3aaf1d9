"""The toy checks must fail for broken samplers: each is broken on purpose here, with the networks that the chapter trained, which pass

The bounds are those of the chapter (toy.swissroll.BOUND): well above what fresh data and working samplers give, and below every broken one.
Mistakes that no picture shows are left out, such as a noise level that is off by one step in a thousand: known answers in the paradigms' chapters find those."""
import gzip, struct
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from chapter_runs import trained_networks
from jingles.backbones.toy import MLP
from jingles.backbones.unet import UNetExpand
from jingles.core import Spec, generator, randn
from jingles.paradigms import discdpm
from jingles.paradigms.ddpm import DDPM, Timesteps, ancestral, beta_variance, posterior_variance
from jingles.paradigms.discdpm import DiscDPM, sample_categorical
from jingles.paradigms.edm import EDM, measure_sigma_data
from jingles.paradigms.samplers import Churn, ode_derivative, heun
from jingles.toy import mnist
from jingles.toy.swissroll import ROLL_BOUND, dequantise, to_points, quantise, score_points, swiss_roll

N, SERIES = 4096, (128, 2, 32)      # points that are judged, and as what they are sampled


@pytest.fixture(scope='module')
def fresh(): return to_points(swiss_roll(N, generator=generator(100)))


@pytest.fixture(scope='module')
def chapter(): return trained_networks('30_toy.swissroll')


def trained(paradigm, net, state):
    net.load_state_dict(state)
    return SimpleNamespace(paradigm=paradigm, net=net.requires_grad_(False))


@pytest.fixture(scope='module')
def ddpm(chapter): return trained(DDPM(), MLP(Spec(2, 1), emb=64), chapter['ddpm_mlp'])


@pytest.fixture(scope='module')
def edm(chapter, fresh): return trained(EDM(measure_sigma_data(fresh)), MLP(Spec(2, 1), emb=64), chapter['mlp'])


@pytest.fixture(scope='module')
def disc(chapter): return trained(DiscDPM(40, T=100), UNetExpand(Spec(2, 1, classes=40), (32, 64), emb=64), chapter['expand'])


class Told(torch.nn.Module):
    "`net` with other inputs than the paradigm means it to have"
    def __init__(self, net, time=lambda t: t, x=lambda x, t: x):
        super().__init__()
        self.net, self.time, self.x = net, time, x

    def forward(self, x, t, cond=None): return self.net(self.x(x, t), self.time(t), cond)


# ---- DDPM

def no_root(eps, x, times, generator=None):
    "Ancestral sampling with 1 - alpha-bar where its square root belongs"
    for t, a, b in times.each():
        x = (x - beta_variance(a, b)/(1 - a)*eps(x, t))/(a/b)**0.5
        if b < 1: x = x + posterior_variance(a, b)**0.5*randn(x.shape, generator, x)
    return x


def late(eps, x, times, generator=None):
    "Ancestral sampling with the alpha-bar of another visited step, three of 50 further on"
    levels = times.levels.tolist()
    later = [*levels[3:], 1., 1., 1.]
    moved = Timesteps(times.t, times.alpha_bar.clone())
    moved.alpha_bar[list(times.t)] = torch.tensor(later, dtype=torch.float64)
    kept = Timesteps(times.t[:-3], moved.alpha_bar)
    return ancestral(eps, x, kept, generator=generator)


def ddpm_score(ddpm, fresh, net=None, **options):
    return score_points(to_points(ddpm.paradigm.sample(net or ddpm.net, SERIES, steps=50, generator=generator(1), **(dict(sampler=ancestral) | options))), fresh)


def test_ddpm(ddpm, fresh):
    right = ddpm_score(ddpm, fresh)
    assert right.within(ROLL_BOUND), right


BROKEN_DDPM = dict(
    no_noise=lambda net: dict(variance=lambda a, b: 0.),
    variance_for_deviation=lambda net: dict(variance=lambda a, b: posterior_variance(a, b)**2),
    no_root=lambda net: dict(sampler=no_root),
    late=lambda net: dict(sampler=late),
    time_in_0_to_1=lambda net: dict(net=Told(net, lambda t: t/1000)),
    time_from_the_end=lambda net: dict(net=Told(net, lambda t: 999 - t)),
)

@pytest.mark.parametrize('how', BROKEN_DDPM)
def test_broken_ddpm(ddpm, fresh, how):
    broken = ddpm_score(ddpm, fresh, **BROKEN_DDPM[how](ddpm.net))
    assert not broken.within(ROLL_BOUND), broken


# ---- EDM

def untold_churn(D, x, sigmas, generator=None):
    "Heun with churn whose denoiser is told the level before noise was put back"
    churn, n = Churn(40), len(sigmas) - 1
    for sigma, after in zip(sigmas[:-1], sigmas[1:]):
        hat = sigma*(1 + churn.gamma(float(sigma), n))
        x = x + (hat**2 - sigma**2).sqrt()*randn(x.shape, generator, x)
        d = ode_derivative(D, x, sigma)
        ahead = x + (after - sigma)*d
        x = ahead if after == 0 else x + (after - sigma)*(d + ode_derivative(D, ahead, after))/2
    return x


def edm_score(edm, fresh, net=None, paradigm=None, **options):
    return score_points(to_points((paradigm or edm.paradigm).sample(net or edm.net, SERIES, generator=generator(1), **options)), fresh)


@pytest.mark.parametrize('options', [{}, dict(churn=Churn(40))], ids=['plain', 'churn'])
def test_edm(edm, fresh, options):
    right = edm_score(edm, fresh, **options)
    assert right.within(ROLL_BOUND), right


BROKEN_EDM = dict(
    told_sigma=lambda net: dict(net=Told(net, lambda t: (4*t).exp())),
    no_c_in=lambda net: dict(net=Told(net, x=lambda x, t: x*(1 + (8*t).exp()).sqrt()[:, None, None])),
    other_sigma_data=lambda net: dict(paradigm=EDM(0.5)),
    too_little_noise_at_the_start=lambda net: dict(sampler=lambda D, x, sigmas, **k: heun(D, x/80, sigmas)),
    last_steps_missing=lambda net: dict(sampler=lambda D, x, sigmas, **k: heun(D, x, sigmas[:-6])),
    untold_churn=lambda net: dict(sampler=untold_churn),
)

@pytest.mark.parametrize('how', BROKEN_EDM)
def test_broken_edm(edm, fresh, how):
    broken = edm_score(edm, fresh, **BROKEN_EDM[how](edm.net))
    assert not broken.within(ROLL_BOUND), broken


# ---- DiscDPM

def disc_score(disc, fresh, steps, net=None):
    codes = disc.paradigm.sample(net or disc.net, (N//16, 2, 16), steps=steps, generator=generator(1))
    return score_points(to_points(dequantise(codes)), dequantise(quantise(fresh)))


def test_disc(disc, fresh):
    right = disc_score(disc, fresh, 50)
    assert right.within(ROLL_BOUND), right


BROKEN_DISC = dict(
    never_noised_again=lambda logits, xt, step, u, v: sample_categorical(logits.softmax(1), v),       # x_0 drawn where x_(t-1) belongs
    most_probable=lambda logits, xt, step, u, v: logits.argmax(1),
)

@pytest.mark.parametrize('how', BROKEN_DISC)
def test_broken_disc(disc, fresh, how, monkeypatch):
    monkeypatch.setattr(discdpm, 'sample_posterior', BROKEN_DISC[how])
    broken = disc_score(disc, fresh, 50)
    assert not broken.within(ROLL_BOUND), broken


def test_posterior_of_the_wrong_step(disc, fresh, monkeypatch):
    "alpha-bar of t where that of t-1 belongs. In a chain of many steps it hardly shows, as the next steps put it right; in one of two it does"
    right, between = disc_score(disc, fresh, 2), discdpm.reverse_step
    def wrong(*args):
        step = between(*args)
        return step._replace(keep_s=step.keep_t, noise_s=step.noise_t)
    monkeypatch.setattr(discdpm, 'reverse_step', wrong)
    broken = disc_score(disc, fresh, 2)
    assert right.blur < 0.29 < broken.blur, (right, broken)
    assert right.distance < 0.12 < broken.distance, (right, broken)


# ---- digits from files

@pytest.fixture
def arrays():
    draw = np.random.default_rng(0)
    return {k: (draw.integers(256, size=(n, 28, 28), dtype=np.uint8), draw.integers(10, size=n, dtype=np.uint8)) for k, n in (('train', 7), ('test', 3))}


def write_idx(folder, arrays, pack):
    "The four files of MNIST"
    for kind, name in (('train', 'train'), ('test', 't10k')):
        for array, what in zip(arrays[kind], ('images-idx3', 'labels-idx1')):
            content = bytes([0, 0, 8, array.ndim]) + struct.pack(f'>{array.ndim}I', *array.shape) + array.tobytes()
            (folder/f'{name}-{what}-ubyte{".gz" if pack else ""}').write_bytes(gzip.compress(content) if pack else content)


def same(digits, arrays):
    for part, (images, labels) in zip(digits, (arrays['train'], arrays['test'])):
        assert part.images.shape == (len(images), 1, 28, 28) and part.labels.tolist() == labels.tolist()
        assert np.abs(part.images[:, 0].numpy() - (images/127.5 - 1)).max() < 1e-6     # float32


@pytest.mark.parametrize('pack', [False, True])
def test_idx_files(tmp_path, arrays, monkeypatch, pack):
    write_idx(tmp_path, arrays, pack)
    same(mnist.digits(tmp_path), arrays)
    monkeypatch.setenv('JINGLES_MNIST', str(tmp_path))
    assert 'idx' in mnist.digits()[0].source
    same(mnist.digits(), arrays)


def test_kerass_copy(tmp_path, arrays, monkeypatch):
    path = tmp_path/'.keras'/'datasets'/'mnist.npz'
    path.parent.mkdir(parents=True)
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.delenv('JINGLES_MNIST', raising=False)
    assert 'scikit-learn' in mnist.digits()[0].source       # nothing there yet
    np.savez(path, **{f'{axis}_{k}': array for k, pair in arrays.items() for axis, array in zip('xy', pair)})
    assert 'Keras' in mnist.digits()[0].source
    same(mnist.digits(), arrays)
    same(mnist.digits(path), arrays)


@pytest.mark.parametrize('spoil, error, says', [
    (lambda f: f.unlink(), FileNotFoundError, 'no t10k-labels-idx1-ubyte or'),
    (lambda f: f.write_bytes(f.read_bytes()[:-1]), ValueError, 'has 2 numbers for the shape'),
    (lambda f: f.write_bytes(b''), ValueError, 'begins with nothing'),
    (lambda f: f.write_bytes(f.read_bytes()[:6]), ValueError, 'ends within its head'),
    (lambda f: f.with_name(f.name + '.gz').write_bytes(gzip.compress(f.read_bytes())[:-9]) and f.unlink(), ValueError, 'can not be unpacked'),
    (lambda f: f.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 5, 5])), ValueError, r'labels \(2,\)'),
], ids=['missing', 'cut', 'empty', 'cut in the head', 'cut and packed', 'too few labels'])
def test_spoilt_files(tmp_path, arrays, spoil, error, says):
    write_idx(tmp_path, arrays, False)
    spoil(tmp_path/'t10k-labels-idx1-ubyte')
    with pytest.raises(error, match=says): mnist.digits(tmp_path)


def test_path_of_nothing(tmp_path):
    with pytest.raises(FileNotFoundError, match='no MNIST at'): mnist.digits(tmp_path/'nothing')
