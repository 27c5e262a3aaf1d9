"""The codecs' integer codes: SI-SDR, mel distance and log-magnitude error by number of codebooks, on held-out clips and on strangers; use of the codebooks

JINGLES_DATA names exports of the codecs' latents (data/codec,data/spectral), JINGLES_MIDI the folder of MIDI files they were made from. Without
the one, use is measured on the rendered clips alone; without the other, melodies are invented. JINGLES_CODES names the formats (codec-codes)."""
import math, os
from pathlib import Path

BOOKS = (1, 2, 4, 8, 16)
PROGRAMS = dict(vibraphone=11, organ=19, guitar=24, distorted=30, cello=42, choir=52, sax=65, clarinet=71, flute=73, square=80)   # General MIDI, from 0
CLIPS, SECONDS = 60, 8


def stranger(soundfont=None):
    "A synthesizer that plays the programs above by name"
    from jingles.data.synth import INSTRUMENTS, Synth

    class Stranger(Synth):
        def play(self, name): assert self.fs.program_select(0, self.font, 0, (INSTRUMENTS | PROGRAMS)[name]) == 0
    return Stranger(soundfont)


def speech_like(seed, seconds=SECONDS):
    "Syllables at random: a buzz of 90 to 220 Hz or noise, through three resonances that change with each, with pauses"
    import numpy as np
    from scipy.signal import lfilter
    from jingles.core import SAMPLE_RATE, rng_for
    rng, parts = rng_for('speech', seed), []
    while sum(map(len, parts)) < seconds*SAMPLE_RATE:
        n = int(rng.uniform(0.08, 0.3)*SAMPLE_RATE)
        pitch = rng.uniform(90, 220)*np.exp(np.linspace(0, rng.uniform(-.3, .3), n))
        buzz = np.diff(np.cumsum(pitch)/SAMPLE_RATE % 1, prepend=0) < 0
        sound = buzz + 0.02*rng.standard_normal(n) if rng.random() < 0.7 else 0.2*rng.standard_normal(n)
        for low, high in ((250, 900), (800, 2400), (2200, 4000)):
            r, f = 0.98, 2*np.pi*rng.uniform(low, high)/SAMPLE_RATE
            sound = lfilter([1 - r], [1, -2*r*np.cos(f), r*r], sound)
        parts.append(sound*np.hanning(n)*rng.uniform(0.3, 1) if rng.random() < 0.85 else np.zeros(n))
    wav = np.concatenate(parts)[:int(seconds*SAMPLE_RATE)]
    return (0.3*wav/np.abs(wav).max()).astype('float32')


def sounds():
    "{kind: sounds [n]}: held-out clips, the same melodies on other instruments, three of the clips at once, speech-like noise"
    from jingles.data.clips import draw_clip
    from jingles.data.collection import load_melodies, melodies_of_split
    from jingles.evaluation.tables import render_clips
    melodies, _ = load_melodies(os.environ.get('JINGLES_MIDI'))
    clips, synth, source = render_clips(melodies, CLIPS, seconds=SECONDS), stranger(), melodies_of_split(melodies, 'valid')
    found = {'held-out clips': [c.sound for c in clips]}
    found |= {f'- {name}': [c.sound for c in clips if c.instrument == name] for name in ('piano', 'violin', 'trumpet')}
    found['other instruments'] = []
    for i, name in enumerate(PROGRAMS):
        found[f'- {name}'] = [synth.render(draw_clip(source, 1_000_000, 'valid', k, SECONDS)[0], name, SECONDS) for k in range(4*i, 4*i + 4)]
        found['other instruments'] += found[f'- {name}']
    found['three clips at once'] = [sum(c.sound for c in clips[i:i + 3])/2 for i in range(0, 30, 3)]
    found['speech-like noise'] = [speech_like(i) for i in range(12)]
    return found


def held_out_latents(found, codec):
    "Latents `(b, c, t)`: the valid part of the export in them, or the held-out clips"
    import torch
    from jingles.core import read_json
    from jingles.data.records import Records
    for folder in map(Path, os.environ.get('JINGLES_DATA', 'data/codec,data/spectral').split(',')):
        if folder.is_dir() and read_json(folder/'manifest.json')['parameters']['format']['name'] == codec.name: return torch.cat([b['x'] for b in Records(folder/'valid', batch=50)])
    return torch.cat([codec.encode(torch.from_numpy(s)[None]) for s in found['held-out clips']])


def magnitude_error(a, b):
    "Mean difference [dB] of the STFT magnitudes of two sounds where those of the first are less than 60 dB below its loudest"
    import torch
    from jingles.formats.codec import HOP, stft
    one, other = (stft(torch.from_numpy(w[:len(w)//HOP*HOP])[None]).abs() for w in (a, b))
    floor = one.max()/1000
    return 20*((other + floor).log10() - (one + floor).log10()).abs()[one > floor].mean().item()


def distances(decode, sounds):
    "Mean SI-SDR, mel distance and log-magnitude error, all in dB, of `decode(sound (1, n))` against each of `sounds`"
    import numpy as np
    import torch
    from jingles.evaluation.adherence import mel_distance, si_sdr
    pairs = [(s, decode(torch.from_numpy(s)[None])[0].numpy()) for s in sounds]
    return [float(np.mean([f(*p) for p in pairs])) for f in (si_sdr, mel_distance, magnitude_error)]


def figures_of(codes, found):
    from jingles.formats.codec import codebook_use
    x, name = held_out_latents(found, codes.codec), codes.name
    share, perplexity = codebook_use(codes.quantise(x), codes.spec.classes)
    figures = {f'{name}: held-out frames': x.shape[0]*x.shape[2], f'{name}: entries that none of them uses': round((1 - share).sum().item()*codes.spec.classes),
               f'{name}: codes used, worst codebook [%]': 100*share.min().item()}
    figures |= {f'{name}: perplexity of codebook {q + 1} [% of classes]': 100*p.item() for q, p in enumerate(perplexity)}
    versions = {f'{q:2} codebooks, {q*codes.spec.rate*math.log2(codes.spec.classes)/1000:6.3f} kbit/s': lambda s, f=codes.first(q): f.decode(f.encode(s), s.shape[1]) for q in BOOKS}
    versions['continuous'] = lambda s: codes.codec.decode(codes.codec.encode(s), s.shape[1])
    for kind, group in found.items():
        for version, decode in versions.items():
            for what, value in zip(('SI-SDR', 'mel distance', 'log-magnitude error'), distances(decode, group)): figures[f'{name}, {kind}, {version}: {what} [dB]'] = value
    return figures


def run():
    from jingles.system import configure, make_format
    found, wanted = sounds(), os.environ.get('JINGLES_CODES', 'codec-codes').split(',')
    return {k: v for name in wanted for k, v in figures_of(make_format(configure(format=name)), found).items()}
