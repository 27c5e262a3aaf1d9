"""What holds for every format of the system alike: names, frames, any length, batches, gradients, refusals; and that what stands above asks the
format for its frame rate. EnCodec with random weights in a real checkpoint file"""
import json
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
import torch
from jingles.core import fingerprint, generator, options_of, options_text, randn, weights_sha256, with_options
from jingles.control.descriptors import delay_half_frame, frame_loudness, frame_centres
from jingles.data.melody import Note
from jingles.data.clips import PlayedClip
from jingles.data.shards import RawAudio, clip_records
from jingles.data.recordings import MeasuredClip, RecordedClip
from jingles.data.synth import find_soundfont
from jingles.evaluation import tables
from jingles.evaluation.adherence import instrument_classifier
from jingles.evaluation.tables import SamplingOptions, render_clips
from jingles.formats.cqt import CQT, kurtosis, snr, bandpass
from jingles.formats.encodec import BANDWIDTHS, EnCodecCodes, random_encodec, save_encodec
from jingles.generate import generate
from jingles.system import FORMATS, build, configure, format_text, parse_formats, make_format


OTHERS = ('cqt:power=0.5,per_bin=true', 'cqt:f_min=65.4,n_bins=168,bins_per_octave=24,hop=60,power=0.7', 'encodec-codes:books=32')     # with options


@pytest.fixture(scope='module')
def formats(tmp_path_factory):
    "{name: format}: all rows of the system, and raw audio"
    stand_in = str(save_encodec(random_encodec(), tmp_path_factory.mktemp('encodec')))
    where = {name: stand_in for name in FORMATS if name.startswith('encodec')}
    named = (*FORMATS, *OTHERS)
    return {name: make_format(configure(format=name, codec=where.get(name.partition(':')[0], ''))) for name in named} | {'audio': RawAudio()}


@pytest.fixture(params=[*FORMATS, *OTHERS, 'audio'])
def form(request, formats): return formats[request.param]


@pytest.fixture(scope='module')
def noise(): return 0.1*randn((2, 12_345), generator(0))


def replace_spec(form, **changes):
    "`form` with another spec"
    form.spec = replace(form.spec, **changes)
    return form


def of_system(form): return not isinstance(form, RawAudio)


def test_each_has_its_name(formats):
    for name, form in formats.items(): assert form.name == name.partition(':')[0]


def test_each_is_made_again_from_its_config(formats):
    "Plain JSON, in which the options of its class are; as a text they ask for the same; whatever differs has another fingerprint"
    for name, form in formats.items():
        config, options = json.loads(json.dumps(form.config)), getattr(form, 'options', {})
        assert config == form.config and options.keys() <= config.keys()
        if form.name != 'audio': assert format_text(configure(format=with_options(form.name, options_text(options_of(form), dict.fromkeys(options))))) == name
    assert CQT(**formats[OTHERS[1]].config).config == formats[OTHERS[1]].config
    known = {fingerprint(form) for name, form in formats.items() if name != 'audio'}
    assert len(known) == len(formats) - 1
    assert weights_sha256(formats['cqt']) is None and sha256().hexdigest() not in known


def test_table_3_1(formats):
    "All bit rates of the report can be asked for by the number of codebooks"
    asked = parse_formats(','.join(f'encodec-codes:books={q}' for q in BANDWIDTHS.values()), 'EnCodec')
    assert [make.args[0].books for make in asked.values()] == [2, 4, 8, 16, 32] and list(asked)[3] == 'encodec-codes'
    model = formats['encodec'].model
    assert [EnCodecCodes(model, kbps).config for kbps in BANDWIDTHS] == [dict(books=q) for q in BANDWIDTHS.values()]


def test_compressed_magnitudes():
    "What the chapter says of rendered clips: peaked, less so with square roots, least with a scale for each bin; and an error of 20 dB costs less"
    wav = torch.from_numpy(np.stack([c.sound for c in render_clips(None, 12, 'train', 4)]))
    def scaled(x): return x/x.square().mean((0, 1, 3), keepdim=True).sqrt()
    raw, half = CQT().encode(wav), CQT(power=0.5).encode(wav)
    found = kurtosis(raw), kurtosis(half), kurtosis(scaled(half))
    assert found[0] > 150 and 12 < found[1] < 40 and 5 < found[2] < 20, found
    def heard(form, x):
        e = torch.randn(x.shape, generator=generator(0))
        y = form.decode(x + e*(0.01*x.square().mean()/e.square().mean()).sqrt(), wav.shape[1])
        return snr(bandpass(y), bandpass(wav)).mean()
    assert heard(CQT(power=0.5), half) > heard(CQT(), raw) + 8


# ---- frames that are centred

def test_curves_follow_centred_frames():
    "Onsets are at the nearest frame, where the CQT shows them, and the last note covers the last frame"
    clip = PlayedClip((Note(0.5, 1., 60, 100), Note(1.0029, 1.5, 67, 100), Note(1.5, 2., 72, 100)), 'piano', (), str(find_soundfont()))
    form = CQT()
    sound = clip.sound(2)
    record = next(clip_records(form, [clip], sound[None], 2))
    chroma = (11*record['chroma'][0]).round()
    assert record['x'].shape[-1] == len(chroma) == 481
    assert (chroma[120:241] == 0).all() and (chroma[241:360] == 7).all() and (chroma[360:] == 0).all() and record['velocity'][0, -1] > 0
    assert record['velocity'][0, 119] == 0 and record['velocity'][0, 120] > 0        # 0.5 s is frame 120
    plain = next(clip_records(replace_spec(form, centred=False), [clip], sound[None], 2))
    assert plain['velocity'][0, -1] == 0 and (11*plain['chroma'][0, 240]).round() == 7       # as it was: the last one open, 1.0029 s a frame early
    assert np.isclose(record['style'][0], 3/2/8)


def test_descriptors_follow_centred_frames():
    "A sound that begins at 0.5 s is heard as beginning there: the frames' middles are where they stand"
    x = np.zeros(48_000, np.float32); x[12_000:] = np.sin(2*np.pi*440*np.arange(36_000)/24_000)
    at = lambda sound, start: frame_loudness(sound, 481, 240)[round(240*start)]
    assert abs(at(delay_half_frame(x, 240), 0.5) - frame_loudness(x[50:], 480, 240)[120 - 1]) < 3 and frame_centres(481, 240)[120] - 50 == 12_000
    for clip in (RecordedClip('', 0.), MeasuredClip(PlayedClip((), 'piano', (), ''))):
        found = clip.curves(x, 481, 240, True)
        assert found['loudness'].shape == (1, 481) and found['loudness'][0, -1] > 0.5


@pytest.mark.parametrize('n', [1, 319, 320, 321, 4801])
def test_any_length(form, noise, n):
    "Frames are those that were promised, and `n` samples come back when `n` are asked for"
    x = form.encode(noise[:, :n])
    assert x.shape == form.spec.shape(form.frames(n/24_000), 2)
    if form.spec.classes: assert x.dtype == torch.int64 and 0 <= x.min() and x.max() < form.spec.classes
    else: assert x.is_floating_point() and x.isfinite().all()
    back = form.decode(x, n)
    assert back.shape == (2, n) and back.dtype == torch.float32 and back.isfinite().all()


def test_a_clip_does_not_depend_on_its_company(form, noise):
    both, alone = form.encode(noise), torch.cat([form.encode(a[None]) for a in noise])
    if form.spec.classes: assert (both == alone).float().mean() > 0.98           # other sums of float32 may turn a close choice
    else: assert (both - alone).abs().max() < 2e-3
    apart = form.decode(both) - torch.cat([form.decode(x[None]) for x in both])
    assert apart.abs().max() < 1e-3


def test_gradients_flow_where_there_are_real_numbers(form, noise):
    sound = noise[:1, :6400].clone().requires_grad_()
    x = form.encode(sound)
    if form.spec.classes: assert not x.requires_grad; return
    x.square().mean().backward()
    assert sound.grad.isfinite().all() and sound.grad.abs().max() > 0
    z = x.detach().requires_grad_()
    form.decode(z).square().mean().backward()
    assert z.grad.isfinite().all() and z.grad.abs().max() > 0


def test_precision_does_not_matter(form, noise):
    "float64 sound, as NumPy makes it, is taken too"
    assert torch.equal(form.encode(noise.double()).float(), form.encode(noise).float())


def test_refusals(form, noise):
    "One line that says what was expected"
    if not of_system(form): return
    x = form.encode(noise)
    bad = [lambda: form.encode(noise[0]), lambda: form.encode(noise[:, :0]), lambda: form.encode(noise[:0]), lambda: form.encode((noise*32767).short()),
           lambda: form.encode(noise/0), lambda: form.decode(x[:, :0]), lambda: form.decode(x[..., :0]), lambda: form.decode(x[0]), lambda: form.decode(x[:0]),
           lambda: form.decode(x.float() if form.spec.classes else x.int()), lambda: form.decode(x, 10**6), lambda: form.decode(x, -1)]
    for i, f in enumerate(bad):
        try: f()
        except ValueError as e: assert '\n' not in str(e) and len(str(e)) < 200, (i, e)
        else: pytest.fail(f'case {i} was accepted')


# ---- above the formats: nobody assumes 75 frames a second

@pytest.fixture(scope='module')
def classifier(): return instrument_classifier(render_clips(None, 24, 'train', 2))


def tiny(**changes):
    torch.manual_seed(0)
    model = build(configure(widths=(8, 12), depth=1, emb=16, control_channels=4, times=20, **changes))
    model.net.eval().requires_grad_(False)
    return model


def test_a_model_of_240_frames_a_second_is_evaluated(classifier, monkeypatch):
    "The whole evaluation of a tiny untrained CQT model: curves of 240 Hz ask, the measures answer on their own clock"
    model = tiny(format='cqt')
    monkeypatch.setattr(tables, 'cached_classifier', lambda source, model, teach: classifier)
    found = tables.evaluate(model, count=2, sampling=SamplingOptions(steps=1, guidance=1, unconditional_scale=1), workers=1, teach=1)
    def mean(name, measure): return next(r['mean'] for r in found['follow'][name] if r['measure'] == measure)
    assert mean('real clips', 'pitch class') > 0.9 and mean('through the codec', 'pitch class') > 0.9
    assert mean('real clips', 'onset F1') > 0.8 and not mean('model', 'pitch class') > 0.6
    assert next(r['mean'] for r in found['codec']['all'] if r['measure'].startswith('SI-SDR')) > 20


@pytest.mark.parametrize('name', ['cqt', 'codec', 'codec-codes'])
def test_a_jingle_is_as_long_as_its_curves(name):
    model = tiny(format=name, paradigm='discdpm' if name == 'codec-codes' else 'edm')
    clip = render_clips(None, 1, seconds=1, format=model.format)[0]
    from jingles.system import cond_from_arrays
    cond = cond_from_arrays(model.config, clip.curves)
    assert clip.rate == model.spec.rate and cond.frames == model.format.frames(1)
    sound = generate(model, cond, steps=1, guidance=1, unconditional_scale=1)
    assert sound.shape == (1, 24_000) and np.isfinite(sound).all()


def test_memory_that_cannot_be_measured(tmp_path):
    "What went wrong in the other process is said in one line"
    from jingles.evaluation.formats import peak_memory
    with pytest.raises(ValueError, match='memory could not be measured: FileNotFoundError: no weights at') as e: peak_memory([configure(codec=tmp_path/'gone')])
    assert '\n' not in str(e.value)


# ---- requests in the frames of a format

def test_requests_for_centred_frames_know_the_nearest_frame(tmp_path):
    "A note that begins at sample 12 050, asked of a CQT model as MIDI, as a recording and as a table, begins in frame 121, which stands at 0.5042 s; of a codec in the frame that holds it"
    import pretty_midi
    from jingles.audio import save
    from jingles.cli import requested_curves
    midi = pretty_midi.PrettyMIDI(resolution=960)
    midi.instruments = [pretty_midi.Instrument(0, name='melody')]
    start = 12_050/24_000
    midi.instruments[0].notes = [pretty_midi.Note(100, p, t, t + 0.2) for p, t in ((60, 0), (69, start), (64, 1.2), (60, 1.6))]
    midi.write(str(tmp_path/'a.mid'))
    tone = 0.3*np.sin(np.arange(48_000)/9)*((np.arange(48_000) < 3000) | (np.arange(48_000) >= 12_050))
    save(tmp_path/'a.wav', tone.astype('float32'))
    (tmp_path/'a.csv').write_text(f'time,velocity,chroma\n0,0.5,0\n0.2,0,0\n{start - 1e-4},0,0\n{start},0.5,0.5\n2,0.5,0.5\n')
    def onset(cond, after=60): return (cond['velocity'][0, 0, after:] > 0).nonzero()[0, 0].item() + after
    def asked(model, **given): return requested_curves(model, {}, given.get('midi'), given.get('curves'), 2., None)
    centred, plain = tiny(format='cqt', features='pvt'), tiny(format='codec', features='pvt')
    for given in (dict(midi=tmp_path/'a.mid'), dict(curves=tmp_path/'a.wav'), dict(curves=tmp_path/'a.csv')):
        cond = asked(centred, **given)
        assert (cond.frames, onset(cond)) == (481, 121), given
    cond = asked(plain, midi=tmp_path/'a.mid')
    assert (cond.frames, onset(cond, 20)) == (150, 37) and int(start*75) == 37
