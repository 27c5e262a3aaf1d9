"""Schedules and samplers side by side with diffusers', on the same oracles

Everything there is float32 and everything here float64, so nothing can agree better than float32 allows: about 1e-7 of the largest
number that was involved, a few times that after many steps. Each tolerance below says what the largest number is."""
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, EDMDPMSolverMultistepScheduler, EDMEulerScheduler

from jingles.paradigms.ddpm import DDPM, Timesteps, ancestral, ddim, beta_variance, posterior_variance
from jingles.paradigms.edm import EDM, scalings
from jingles.paradigms.samplers import dpmpp_2m, euler
from jingles.paradigms.schedules import cosine_betas, karras_sigmas, append_dims, linear_betas, sigma_from_alpha_bar

SHAPE = (4, 3, 5)
WEIGHT, MEAN, STD = torch.tensor([[0.3, 0.7], [-1., 0.6], [0.3, 0.4]], dtype=torch.float64)     # of the mixture that the data is from


def denoise(x, sigma):
    "The perfect denoiser of the mixture"
    var, d = STD**2 + sigma[..., None]**2, x[..., None] - MEAN
    share = (WEIGHT.log() - var.log()/2 - d**2/(2*var)).softmax(-1)
    return (share*(MEAN + STD**2/var*d)).sum(-1)


def randn(*shape, seed=0): return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
def far(a, b): return (a.double() - b.double()).abs().max().item()


# ---- EDM

class EDMOracle(torch.nn.Module):
    "What EDM's network should answer: the perfect denoiser with the preconditioning undone. Computes in float64, answers in its input's type"
    def __init__(self, sigma_data):
        super().__init__()
        self.sigma_data, self.dtype = sigma_data, torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, x, t, cond=None):
        sigma = append_dims((4*t.double()).exp(), x.double())
        c_skip, c_out, c_in = scalings(sigma, self.sigma_data)
        noisy = x.double()/c_in
        return ((denoise(noisy, sigma) - c_skip*noisy)/c_out).to(x)


def path_of_theirs(scheduler, net, x, n):
    "What a scheduler of diffusers makes of `x`, after each of `n` steps"
    scheduler.set_timesteps(n)
    path = []
    for t in scheduler.timesteps:
        answer = net(scheduler.scale_model_input(x, t), t.expand(len(x)))
        x = scheduler.step(answer, t, x).prev_sample
        path.append(x)
    return torch.stack(path)


def path_of_ours(sampler, x, n, sigma_data):
    "The same by `EDM.sample`; where the sampler is after a step is seen when it asks for the next"
    path = []
    def recording(D, _, sigmas, **options):
        def spy(x, sigma): path.append(x); return D(x, sigma)
        return sampler(spy, x.double(), sigmas, **options)
    end = EDM(sigma_data).sample(EDMOracle(sigma_data), x.shape, steps=n, sampler=recording)
    return torch.stack([*path[1:], end])


@pytest.mark.parametrize('n', [1, 2, 10, 18, 50])
def test_karras_sigmas(n):
    "Ours are float64. Theirs are rounded to float32 at the end (Euler, 6e-8 of each), or computed in it (seven-fold power: 1e-6)"
    for kind, accuracy in ((EDMEulerScheduler, 1e-7), (EDMDPMSolverMultistepScheduler, 3e-6)):
        theirs = kind()
        theirs.set_timesteps(n)
        assert far(theirs.sigmas[:-1]/karras_sigmas(n)[:-1], torch.ones(n)) < accuracy
        assert theirs.sigmas[-1] == karras_sigmas(n)[-1] == 0


def test_noise_to_start_from():
    "A difference on purpose: theirs starts from sqrt(80^2 + 1), which is 80.00625, ours from sigma_max as in Karras et al. (2022)"
    assert abs(EDMEulerScheduler().init_noise_sigma - 80.00625) < 1e-5
    class Silent(torch.nn.Module):
        def forward(self, x, t, cond=None): return torch.zeros_like(x)
    x = EDM().sample(Silent(), SHAPE, generator=torch.Generator().manual_seed(0), sampler=lambda D, x, sigmas, generator: x)
    assert far(x, 80*randn(*SHAPE)) < 1e-5       # exact up to float32's rounding of numbers up to 300


@pytest.mark.parametrize('n', [1, 2, 5, 14, 18, 40])
@pytest.mark.parametrize('sampler, kind', [(euler, EDMEulerScheduler), (dpmpp_2m, EDMDPMSolverMultistepScheduler)])
def test_edm_paths(sampler, kind, n):
    """Step by step from the same noise. x is 200 at first, where float32's rounding is 1e-5, and the multistep schedule is a few roundings off;
    then the paths come together, but for the one or two long steps of Euler, which take the difference of such numbers"""
    x = 80*randn(*SHAPE)
    for sigma_data in (0.5, 1.3):       # the preconditioning must cancel out
        theirs = path_of_theirs(kind(sigma_data=sigma_data), EDMOracle(sigma_data), x, n)
        ours = path_of_ours(sampler, x, n, sigma_data)
        assert ours.shape == theirs.shape == (n, *SHAPE)
        assert far(ours, theirs) < 5e-5
        assert far(ours[-1], theirs[-1]) < (3e-6 if n > 2 else 2e-5)


# ---- DDPM

class DDPMOracle(torch.nn.Module):
    "The perfect noise predictor of the mixture. Computes in float64, answers in its input's type"
    def __init__(self, alpha_bar):
        super().__init__()
        self.alpha_bar, self.dtype = alpha_bar, torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, x, t, cond=None):
        a = append_dims(self.alpha_bar[t.long() + 1], x.double())
        noisy = x.double()/a.sqrt()
        return ((noisy - denoise(noisy, sigma_from_alpha_bar(a)))/sigma_from_alpha_bar(a)).to(x)


@pytest.fixture
def float64():
    "Draws, and what else has no type of its own, are float64"
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def scheduler(kind, n, alpha_bar=None, **options):
    "A scheduler of diffusers with `n` steps, where asked for with `alpha_bar` in place of its own in float32"
    made = kind(clip_sample=False, timestep_spacing='trailing', **options)
    made.set_timesteps(n)
    if alpha_bar is not None:
        made.alphas_cumprod = alpha_bar[1:]
        made.one = made.final_alpha_cumprod = torch.tensor(1., dtype=torch.float64)
    return made


@pytest.mark.parametrize('name, schedule', [('linear', linear_betas), ('squaredcos_cap_v2', cosine_betas)])
def test_schedules(name, schedule):
    "float32's rounding of numbers up to 1: once in each beta, and a few times more on the way to an alpha-bar"
    theirs, ours = DDPMScheduler(beta_schedule=name), DDPM(schedule=schedule)
    assert far(theirs.betas, ours.betas) < 6e-8
    assert far(theirs.alphas_cumprod, ours.alpha_bar[1:]) < 1e-6


def one_step(theirs, variance, t, s, x, net, alpha_bar):
    "Both ancestral steps from `t` to `s` with the same fresh noise"
    eps, g = (lambda x, t: net(x, torch.full((len(x),), t - 1.))), [torch.Generator().manual_seed(t) for _ in range(2)]
    return theirs.step(eps(x, t), t - 1, x, generator=g[0]).prev_sample, ancestral(eps, x, Timesteps((t, s), alpha_bar), variance, g[1])


SOME = [*range(1, 30), *range(40, 1001, 40)]
VARIANCES = pytest.mark.parametrize('variance, name', [(posterior_variance, 'fixed_small'), (beta_variance, 'fixed_large')])


@VARIANCES
def test_ancestral_steps(variance, name, float64):
    "Given our float64 alpha-bar, theirs is the same step, mean and fresh noise, to float64's rounding (1e-16 over 1 - alpha-bar, which is 1e-4 at t=1)"
    bars = DDPM().alpha_bar
    theirs, net = scheduler(DDPMScheduler, 1000, bars, variance_type=name), DDPMOracle(bars)
    for t in SOME:
        a, b = one_step(theirs, variance, t, t - 1, randn(*SHAPE, seed=t), net, bars)
        assert far(a, b) < 1e-11, f't = {t}'
        fresh, ours = one_step(theirs, variance, t, t - 1, torch.zeros(SHAPE), lambda x, t: x, bars)       # nothing to denoise: only fresh noise
        assert far(fresh, ours) < 1e-11 and (fresh.std() > 0) == (t > 1)


@VARIANCES
def test_ancestral_steps_as_they_come(variance, name):
    """With their own float32 alpha-bar, 1 - alpha-bar and beta = 1 - alpha carry a rounding of 6e-8 each, which is divided by 1 - alpha-bar:
    2e-4 in the first few steps, but for the very first, where the two cancel, and less than 5e-6 from t = 100"""
    bars = DDPM().alpha_bar
    theirs, net = scheduler(DDPMScheduler, 1000, variance_type=name), DDPMOracle(bars)
    wrong = {t: far(*one_step(theirs, variance, t, t - 1, randn(*SHAPE, seed=t), net, bars)) for t in SOME}
    assert max(v for t, v in wrong.items() if t >= 100) < 5e-6
    assert wrong[1] < 1e-6 and all(v < 5e-6 + 1.2e-7/(1 - bars[t]) for t, v in wrong.items())


@VARIANCES
@pytest.mark.parametrize('n', [10, 50])
def test_strided_ancestral_steps(variance, name, n, float64):
    "A step over several. The last one differs on purpose: theirs adds noise of variance beta where it does not end at its step 0, ours adds none"
    bars, gap = DDPM().alpha_bar, 1000//n
    theirs, net = scheduler(DDPMScheduler, n, bars, variance_type=name), DDPMOracle(bars)
    assert (theirs.timesteps + 1).tolist() == list(DDPM().times(n).t[:-1])
    for t in range(2*gap, 1001, gap): assert far(*one_step(theirs, variance, t, t - gap, randn(*SHAPE, seed=t), net, bars)) < 1e-11, f't = {t}'
    a, b = one_step(theirs, variance, gap, 0, randn(*SHAPE), net, bars)
    left = (variance(bars[gap], bars[0])**0.5).item()
    assert far(a - b, left*torch.randn(SHAPE, generator=torch.Generator().manual_seed(gap))) < 1e-9       # their least variance is 1e-20, not 0


@pytest.mark.parametrize('n', [10, 50, 100])
@pytest.mark.parametrize('eta', [0., 0.6, 1.])
@pytest.mark.parametrize('precise', [True, False])
def test_ddim_paths(n, eta, precise, request):
    "Step by step with the same noise: to float64's rounding given our alpha-bar, to float32's without it (some 1e-7 a step)"
    if precise: request.getfixturevalue('float64')
    ddpm, g, theirs_path, ours_path = DDPM(), torch.Generator().manual_seed(1), [], []
    theirs, net = scheduler(DDIMScheduler, n, ddpm.alpha_bar if precise else None), DDPMOracle(ddpm.alpha_bar)
    x = torch.randn(SHAPE, generator=g)
    for t in theirs.timesteps:
        theirs_path.append(x)
        x = theirs.step(net(x, t.expand(len(x))), t, x, eta=eta, generator=g).prev_sample
    def recording(eps, x, times, **options):
        def spy(x, t): ours_path.append(x); return eps(x, t)
        return ddim(spy, x, times, **options)
    end = ddpm.sample(net, SHAPE, steps=n, generator=torch.Generator().manual_seed(1), sampler=recording, eta=eta)
    assert far(torch.stack([*theirs_path, x]), torch.stack([*ours_path, end])) < (1e-11 if precise else 1e-5)
