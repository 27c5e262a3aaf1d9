"The spectral codec's decoder is trained on by itself: stopped and gone on with, and nothing that was learned on its latents is lost"
import pytest
import torch
from jingles.data.pvt import MelodySource, RawAudio, ExportSettings, export
from jingles.formats.codec import save_codec
from jingles.formats.spectral import FLOOR, SpectralCodec, load_spectral, add_noise_input
from jingles.core import weights_sha256
from jingles.system import build, configure, is_shipped, load_model, preset, save_model
from jingles.training import Plan, tune_decoder


@pytest.fixture(scope='module')
def sounds(tmp_path_factory):
    "Raw sound of eight clips of two seconds"
    out = tmp_path_factory.mktemp('tune')/'audio'
    export(out, MelodySource(), dict(audio=RawAudio()), ExportSettings((8, 2), 2), workers=1)
    return out


@pytest.fixture(scope='module')
def old(tmp_path_factory):
    "A small codec as it was before decoders had a noise input"
    torch.manual_seed(0)
    out = tmp_path_factory.mktemp('old')
    save_codec(SpectralCodec(widths=(16, 16), depths=(1, 1), texture=0, floor=FLOOR), out)
    return out


def test_latents_stay_and_an_interrupted_run_goes_on(sounds, old, tmp_path):
    def run(out, steps): return tune_decoder(sounds, out, old, Plan(steps=steps, lr=1e-3, warmup=1, cooldown=0, save_every=2, log_every=2), batch=2, seconds=0.3)
    whole = run(tmp_path/'whole', 4)
    run(tmp_path/'parts', 2)
    parts = run(tmp_path/'parts', 4)
    assert all(torch.equal(v, parts.state_dict()[k]) for k, v in whole.state_dict().items())
    kept, before = load_spectral(tmp_path/'whole'), load_spectral(old)
    assert kept.config['texture'] == 16 and weights_sha256(kept) == weights_sha256(before)
    assert weights_sha256(kept, whole=True) != weights_sha256(before, whole=True)
    wav = torch.randn(1, 4800, generator=torch.Generator().manual_seed(0))/9
    assert torch.equal(kept.encode(wav), before.encode(wav))


def test_models_take_the_better_decoder(old, tmp_path):
    torch.manual_seed(0)
    better = tmp_path/'better'
    save_codec(add_noise_input(load_spectral(old)), better)
    config = configure(preset('smoke'), format='spectral', codec=str(old))
    model = build(config)
    save_model(model, tmp_path/'model')
    assert load_model(tmp_path/'model', codec=better).format.config['texture'] == 16
    assert not is_shipped(config, model.format)
