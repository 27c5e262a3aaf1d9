"""The codecs against peers of the same run: encode and decode 8 s beside EnCodec's network (random weights; time only), phases beside librosa's griffinlim; targets beside

What the codecs' latents are like to generate, on rendered held-out clips, is measured here too (diffusability, chapter 44). JINGLES_MIDI is a folder of MIDI
files that the clips are rendered from; without it, melodies are invented."""
import os, time

SECONDS, ROUNDS, CLIPS = 8, 5, 32
TARGETS = {'spectral, encode + decode [x real time]': 60, 'spectral, decode [ms]': 60}      # on two cores


def best_of(calls, rounds=ROUNDS):
    "Shortest time in s of each of `calls`, which are taken in turn after a first one that does not count, so that other work slows all of them alike"
    taken = [[] for _ in calls]
    for i in range(rounds + 1):
        for call, times in zip(calls, taken):
            began = time.perf_counter()
            call()
            if i: times.append(time.perf_counter() - began)
    return [min(times) for times in taken]


def speeds():
    import librosa, torch
    from jingles.formats.codec import HOP, N_FFT, load_codec
    from jingles.formats.encodec import EnCodecLatents, random_encodec
    from jingles.formats.spectral import load_spectral
    ours, theirs = dict(waveform=load_codec(), spectral=load_spectral()), EnCodecLatents(random_encodec())
    sound, figures = 0.1*torch.randn(1, SECONDS*24_000), {'threads': torch.get_num_threads()}
    with torch.inference_mode():
        x = {name: f.encode(sound) for name, f in ours.items()}
        m = ours['spectral'].magnitudes(x['spectral'])[0].T.numpy()
        pairs = [(lambda f=f: f.encode(sound), lambda f=f, z=x[name]: f.decode(z)) for name, f in ours.items()]
        times = best_of([*sum(pairs, ()), lambda: librosa.griffinlim(m, n_iter=32, hop_length=HOP, win_length=N_FFT, n_fft=N_FFT, random_state=0)])
        peer, = best_of([lambda: theirs.decode(theirs.encode(sound))], 2)
    for name, encode, decode in zip(ours, times[::2], times[1::2]):
        figures |= {f'{name}, encode + decode [x real time]': SECONDS/(encode + decode), f'{name}, encode [ms]': 1000*encode, f'{name}, decode [ms]': 1000*decode,
                    f'{name} / EnCodec, encode + decode': peer/(encode + decode)}
    figures |= {'EnCodec, encode + decode [x real time]': SECONDS/peer, "librosa's griffinlim, 32 rounds [ms]": 1000*times[-1], "griffinlim / spectral decode": times[-1]/times[3]}
    return figures | {f'target: {name}': target for name, target in TARGETS.items()}


def generating():
    import torch
    from jingles.backbones.unet import UNet
    from jingles.data.collection import load_melodies
    from jingles.evaluation.tables import render_clips
    from jingles.formats.codec import load_codec
    from jingles.formats.spectral import PROBE_NETWORK, PROBE_EDM, diffusability, load_spectral
    from jingles.paradigms.edm import EDM
    sounds = torch.stack([torch.from_numpy(c.sound) for c in render_clips(load_melodies(os.environ.get('JINGLES_MIDI'))[0], CLIPS, seconds=SECONDS)])
    figures = {}
    for f in (load_codec(), load_spectral()):
        found = diffusability(f, sounds, EDM(**PROBE_EDM), lambda spec: UNet(spec, **PROBE_NETWORK))
        figures |= {f'{f.name}: {name}': value for name, value in zip(('shift sensitivity', 'lag-1 correlation', 'loss of a small EDM'), found)}
    return figures


def run(): return speeds() | generating()
