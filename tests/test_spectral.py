"The spectral codec's decoder is trained on by itself: stopped and gone on with, and nothing that was learned on its latents is lost"
import shutil

import pytest
import torch
from jingles.audio import load
from jingles.data.clips import MelodySource
from jingles.data.export import ExportSettings, export
from jingles.data.shards import RawAudio
from jingles.evaluation.tables import render_clips
from jingles.formats.codec import WEIGHTS, codebook_use, load_codec, save_codec
from jingles.formats.spectral import FLOOR, SpectralCodec, widen_decoder, load_spectral, load_spectral_codes
from jingles.core import Spec, load_tensors, weights_sha256
from jingles.models import is_shipped, load_model, save_model
from jingles.system import build, configure, preset
from jingles.trainer.checkpoints import Plan
from jingles.trainer.codecs import train_codec, train_codes, tune_decoder


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


@pytest.mark.parametrize('pair', [1, 3])
def test_other_frame_rates_are_trained(sounds, tmp_path, pair):
    "Three frames of magnitudes to a latent vector do not fit into crops of 128; whole vectors are cut"
    codec = train_codec(sounds, tmp_path, Plan(steps=2, warmup=1), 2, 'spectral', pair=pair, channels=8, widths=(16, 16), depths=(1, 1))
    assert codec.spec.rate == 75/pair and load_spectral(tmp_path).encode(torch.zeros(1, 24_000)).shape == (1, 8, 75//pair)


def test_models_take_the_better_decoder(old, tmp_path):
    torch.manual_seed(0)
    better = tmp_path/'better'
    save_codec(widen_decoder(load_spectral(old)), better)
    config = configure(preset('smoke'), format='spectral', codec=str(old))
    model = build(config)
    save_model(model, tmp_path/'model')
    assert load_model(tmp_path/'model', codec=better).format.config['texture'] == 16
    assert not is_shipped(config, model.format)


# ---- its codes

def test_codes_from_a_database_of_latents_to_a_sound(jingles, tmp_path):
    "Codebooks are learned beside a copy of the codec, a database is exported in them, a model trained on it and heard"
    codec, codes = tmp_path/'codec', tmp_path/'codes'
    torch.manual_seed(0)
    save_codec(SpectralCodec(widths=(16, 16), depths=(1, 1)), codec)
    def made(out, form): jingles('export', out, '--format', form, '--train', 8, '--valid', 2, '--seconds', 1, '--workers', 1)
    made(tmp_path/'latents', f'spectral={codec}')
    learned = train_codes(tmp_path/'latents', codes, codec, books=3, classes=16, steps=6, batch=64)
    assert learned.spec == Spec(3, 37.5, classes=16, curves_per_frame=2) and learned.name == 'spectral-codes'
    made(tmp_path/'db', f'spectral-codes={codes}:books=3')
    jingles('train', '--data', tmp_path/'db', '--out', tmp_path/'model', '--preset', 'smoke', '--set', f'format=spectral-codes={codes}:books=3',
            '--set', 'paradigm=discdpm', '--set', 'times=20', '--set', 'steps=4', '--set', 'epoch_steps=2')
    for folder in (codec, codes): shutil.rmtree(folder)                  # the model carries both
    jingles('generate', '--model', tmp_path/'model', '--seconds', 1, '--out', tmp_path/'a.wav', '--no-picture')
    assert len(load(tmp_path/'a.wav')) == 24_000


def test_a_folder_without_codebooks_is_named_with_the_command_that_makes_them(jingles, old, tmp_path):
    failed = jingles('export', tmp_path/'no', '--format', f'spectral-codes={old}', '--train', 1, ok=False)
    assert failed.returncode and f'no codebooks in {old}' in failed.stderr and 'jingles train-codes' in failed.stderr
    assert failed.stderr.count('\n') == 1 and not (tmp_path/'no').exists()


def test_shipped_codebooks_fit_the_shipped_codec_and_have_no_dead_entries():
    "Of three minutes of invented melodies (7200 frames for 1024 entries) most entries occur in each codebook, and each takes something away"
    codes = load_spectral_codes()
    assert (codes.spec.channels, codes.spec.classes, codes.spec.rate) == (16, 1024, 37.5)
    for book in load_tensors(WEIGHTS/'spectral'/'quantizer.safetensors')['books']: assert len(book.unique(dim=0)) == 1024
    sounds = torch.stack([torch.from_numpy(c.sound) for c in render_clips(None, 24, seconds=8)])
    with torch.no_grad(): x = codes.codec.encode(sounds)
    found = codes.quantise(x)
    share, perplexity = codebook_use(found, 1024)
    assert (share > 0.5).all() and (perplexity > 0.2).all(), (share, perplexity)
    errors = [(codes.latents(found[:, :q]) - x).mul(codes.weight[:, None]).square().mean().item() for q in range(1, 17)]
    assert all(b < a for a, b in zip(errors, errors[1:])), errors


def test_a_codec_of_another_kind_is_named(tmp_path):
    "A waveform codec given as a spectral one, or the other way round, is refused in one line that names no argument of a class"
    for load_it, other in ((load_spectral, 'codec'), (load_codec, 'spectral')):
        with pytest.raises(ValueError, match='holds another kind of codec than .*; name the folder of one of its own'): load_it(WEIGHTS/other)
    with pytest.raises(ValueError, match='another kind of codec'): tune_decoder(tmp_path/'nowhere', tmp_path/'out', WEIGHTS/'codec', Plan(steps=1))
