"Models that follow what is measured in sound: trained on clips without notes, steered by curves taken from a recording"
import json

import numpy as np
import pytest
import torch
from jingles.audio import load, save
from jingles.control.curves import DESCRIPTORS_CHANNELS, NOTES_CHANNELS, PVT_CHANNELS, read_curves, save_curves
from jingles.control.descriptors import descriptors, from_audio
from jingles.core import Cond, rng_for
from jingles.data.records import write_shapes, write_shard
from jingles.formats.codec import Codec, load_codec, save_codec
from jingles.generate import demo_curves, generate
from jingles.models import load_model
from jingles.system import configure
from jingles.training import train

SMALL = dict(widths=(8, 12), emb=16, control_channels=4, steps=6, save_every=6, warmup=2, batch=4, seconds=0.5, features='descriptors')


def tone(k, seconds=1.):
    "A tone with three harmonics in noise, of random pitch and loudness"
    rng, t = rng_for('tone', k), np.arange(round(24000*seconds))/24000
    hz = 110*2**rng.uniform(0, 3)
    wav = sum(np.sin(2*np.pi*hz*i*t)/i for i in (1, 2, 3))*rng.uniform(0.05, 0.3)
    return np.float32(wav + 0.01*rng.standard_normal(len(t)))


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    "A tiny codec, a database of sounds without notes in its latents, and a model trained on it for a few steps"
    folder = tmp_path_factory.mktemp('descriptors')
    torch.manual_seed(0)
    save_codec(Codec(width=16, depth=1), folder/'codec')
    codec, sounds = load_codec(folder/'codec'), [tone(k) for k in range(8)]
    with torch.no_grad(): x = codec.encode(torch.from_numpy(np.stack(sounds)))
    items = [dict(x=row.numpy(), **descriptors(wav, codec.spec.rate, x.shape[-1])) for row, wav in zip(x, sounds)]
    write_shapes(folder/'db'/'train', items[0])
    write_shard(folder/'db'/'train'/'00000.tfrecord', items)
    flat = x.transpose(0, 1).flatten(1)
    facts = dict(statistics=dict(mean=flat.mean(1).tolist(), std=flat.std(1).tolist()))
    (folder/'db'/'manifest.json').write_text(json.dumps(facts))
    train(configure(codec=str(folder/'codec'), **SMALL), folder/'db', folder/'model')
    return folder


def test_trained_and_sampled(small):
    model = load_model(small/'model', device='cpu')
    assert model.config.features == 'descriptors' and list(model.net.control.embed.parts) == list(DESCRIPTORS_CHANNELS)
    wish = from_audio(tone(20, 0.6))
    wav, again, other = (generate(model, c, steps=3, guidance=g) for c, g in ((wish, 2.), (wish, 2.), (from_audio(tone(21, 0.6)), dict.fromkeys(DESCRIPTORS_CHANNELS, 2.))))
    assert wav.shape == (1, 14400) and np.isfinite(wav).all() and np.array_equal(wav, again) and not np.array_equal(wav, other)


@pytest.mark.parametrize('features', [PVT_CHANNELS, PVT_CHANNELS | DESCRIPTORS_CHANNELS])
def test_other_curves_are_refused(small, features):
    model, wrong = load_model(small/'model', device='cpu'), Cond({k: torch.zeros(1, c, 16) for k, c in features.items()})
    with pytest.raises(ValueError, match="^this model follows pitch, voiced, loudness, brightness, noisiness, not velocity, chroma, instruments; give .*'descriptors'$"):
        generate(model, wrong, steps=1)


def test_the_shipped_model_follows_notes():
    model = load_model(device='cpu')
    assert model.config.features == 'notes' and list(model.net.control.embed.parts) == list(NOTES_CHANNELS)
    with pytest.raises(ValueError, match='^this model follows velocity, pitch, chroma, instruments, not voiced'): generate(model, from_audio(tone(1)))
    bare, whole = demo_curves(0.3), demo_curves(0.3, features='notes')
    assert np.isfinite(generate(model, whole, steps=1, guidance=1)).all()
    left = Cond(whole.local | dict(pitch=-torch.ones(1, 1, whole.frames)))
    assert np.array_equal(generate(model, bare, steps=1, guidance=1), generate(model, left, steps=1, guidance=1))      # curves without a pitch leave it open


@pytest.mark.parametrize('ending', ['csv', 'json', 'npz'])
def test_curves_of_a_recording_survive_a_file(tmp_path, ending):
    cond = from_audio(tone(3), rate=240)
    save_curves(tmp_path/f'c.{ending}', cond)
    for k, v in read_curves(tmp_path/f'c.{ending}').local.items(): assert torch.equal(v, cond[k])


def test_command_line(small, tmp_path, jingles):
    "A recording is followed, as it is or by way of a table; curves of the other kind are refused in one line"
    save(tmp_path/'tone.wav', tone(5, 0.52))                  # whole frames
    save_curves(tmp_path/'tone.csv', from_audio(tmp_path/'tone.wav'))
    for name in ('tone.csv', 'tone.wav'): jingles('generate', '--model', small/'model', '--curves', tmp_path/name, '--steps', 2, '--out', tmp_path/f'of-{name[5:]}.wav')
    table, sound = load(tmp_path/'of-csv.wav'), load(tmp_path/'of-wav.wav')
    assert len(table) == 12480 and np.array_equal(table, sound) and (tmp_path/'of-wav.png').is_file()
    done = jingles('generate', '--model', small/'model', '--velocity', 0.5, '--out', tmp_path/'no.wav', ok=False)
    assert done.returncode == 1 and 'this model follows pitch, voiced' in done.stderr and not (tmp_path/'no.wav').exists()


def test_studio(small):
    "The board of a trained model of this kind: what is drawn is asked for, what is heard is drawn over it"
    pytest.importorskip('anywidget')
    from jingles.studio import START_MODES, Studio
    studio = Studio(load_model(small/'model', device='cpu'), from_audio(tone(6), 1))
    studio.set(steps=3)
    for begin in START_MODES:
        if begin == 'changed': studio.board.put('brightness', np.where(np.arange(75) < 40, studio.board.rows[3], 0.6))
        studio.set(start=begin)
        studio.generate(); studio.worker.join()
        assert studio.status['code'] == 'done', (begin, studio.status)
        take = studio.takes[0]
        heard = descriptors(take.wav, 75, 75)
        assert all(torch.equal(take.cond[k], studio.board.cond[k]) for k in DESCRIPTORS_CHANNELS) and np.array_equal(take.measured['loudness'][0], heard['loudness'])
        assert np.array_equal(np.frombuffer(studio.board.measured, '<f4').reshape(5, -1)[1:3], np.concatenate([heard['voiced'], heard['loudness']]))
